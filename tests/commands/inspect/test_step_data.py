"""The records of a step as the page gets them: every number as in the table."""

import math
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_tables import Part, record, records_of, step_rows, unpack

from rest_verl.commands.inspect.step_data import GENERATED, NULL_BITS, TRAINED, step_data, top_of
from rest_verl.core.regions import Region


def data_of(*rows):
    return unpack(step_data(records_of(list(rows))))


def test_every_number_and_every_token_of_the_table_is_there_in_order():
    rows = step_rows(step=1)

    def all_of(name):
        return list(chain.from_iterable(row[name] for row in rows))

    header, arrays = unpack(step_data(records_of(rows)))
    for name in ("entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob"):
        assert arrays[name].tolist() == np.float32(all_of(name)).tolist()
    tokens = [header["tokens"][index] for index in arrays["token"]]
    assert [token[0] for token in tokens] == all_of("ids")
    assert [bytes.fromhex(token[2]) for token in tokens] == all_of("bytes")
    assert [Region(region).name.lower() for region in arrays["region"]] == all_of("region")
    assert header["rows"][1]["begin"] == header["rows"][0]["end"] == len(rows[0]["ids"])
    assert header["rows"][-1]["end"] == len(tokens)
    assert header["rows"][0]["turns"][0]["end"] == rows[0]["turns"][0]["end"]


def test_null_and_a_computed_nan_stay_apart():
    row = record([Part("abc")], entropy=[math.nan], rollout_log_prob=[None], old_log_prob=[-math.inf], weight=None)
    _, arrays = data_of(row)
    bits = {name: arrays[name].view(np.uint32)[0] for name in arrays if arrays[name].dtype == np.float32}
    assert bits["rollout_log_prob"] == bits["weight"] == NULL_BITS
    assert np.isnan(arrays["entropy"][0]) and bits["entropy"] != NULL_BITS
    assert arrays["old_log_prob"][0] == -math.inf


def test_flags_tell_generated_trained_and_rejected_tokens():
    row = record([Part("a"), Part("b"), Part(" c", generated=False)], trained=[True, False, False])
    _, arrays = data_of(row)
    assert arrays["flags"].tolist() == [GENERATED | TRAINED, GENERATED, 0]


def test_rows_of_one_group_share_a_prompt_and_equal_tokens_an_entry():
    one, other = (record([Part("same")], session=number, prompt="Where is Oslo?") for number in range(2))
    header, _ = data_of(one, other)
    assert header["prompts"] == {"g0": {"headline": "Where is Oslo?", "shown": ["Where is Oslo?"], "tokens": 4}}
    assert header["tokens"] == [[one["ids"][0], ["same"], b"same".hex()]]


def test_text_of_tools_is_made_safe_and_missing_text_stays_missing():
    call = {"name": "a\u202e", "arguments": None, "result": "x\u2066", "error": "failed", "seconds": 0.5}
    turn = {"begin": 0, "end": 1, "user_turn": 2, "seconds": None, "calls": [call]}
    header, _ = data_of(record([Part("abc")], turns=[turn]))
    shown = {**call, "name": "a⟨U+202E⟩", "result": ["x", "⟨U+2066⟩"]}
    assert header["rows"][0]["turns"] == [{**turn, "calls": [shown]}]


def test_events_are_pairs_of_token_and_amount_or_none():
    events = [{"token": 0, "amount": 0.5}, {"token": 0, "amount": math.inf}]
    header, _ = data_of(record([Part("abc")], events=events), record([Part("abc")]))
    assert [row["events"] for row in header["rows"]] == [[[0, 0.5], [0, "inf"]], None]


def test_a_score_that_json_cannot_hold_is_named():
    header, _ = data_of(record([Part("abc")]) | {"score": math.nan, "group_scores": [math.inf], "reward": None})
    assert (header["rows"][0]["score"], header["rows"][0]["group_scores"]) == ("nan", ["inf"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": [1.0, 1.0]}, "row 1: 2 entries in weight and 1 in ids"),
        ({"region": None}, "row 1: no region; only entropy, weight"),
        ({"region": ["nam"]}, "unknown region 'nam': did you mean 'name'?"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        data_of(record([Part("ab")]), record([Part("ab")], **changes))


def test_a_response_without_tokens_is_a_row_like_others():
    header, arrays = data_of(record([]), record([Part("ab")]))
    assert [(row["begin"], row["end"]) for row in header["rows"]] == [(0, 0), (0, 1)]
    assert len(arrays["entropy"]) == len(arrays["region"]) == 1


def test_the_scale_ends_at_the_99th_percentile_of_trained_tokens_by_size():
    sizes = np.arange(101, dtype=np.float32)
    assert top_of(-sizes) == 99.0
    assert top_of(np.float32([0, 0, math.nan, math.inf])) == 1.0
    assert top_of(np.float32([])) == 1.0
    row = record([Part("a"), Part("b"), Part("c")], trained=[True, False, False], entropy=[0.5, 9.0, 9.0])
    assert data_of(row)[0]["scales"]["entropy"] == 0.5


@given(st.lists(st.floats(width=32)))
def test_a_scale_never_ends_at_zero(values):
    assert 0 < top_of(np.float32(values)) < math.inf


# Side by side


def paired(first, second, total_steps=300):
    """The rows of two runs on one page, as (run, uid, score) each."""
    packed = step_data(records_of(first, total_steps=total_steps), records_of(second, total_steps=total_steps))
    header, _ = unpack(packed)
    return [(row["run"], row["uid"], row["score"]) for row in header["rows"]]


def asked(uid, prompt, score):
    return record([Part("a")], uid=uid, prompt=prompt, score=score)


def test_the_same_prompt_has_one_uid_in_both_runs():
    """verl draws other uids in each run; a prompt of the second run alone is its own."""
    first = [asked("a", "Paris?", 1.0), asked("b", "Oslo?", 2.0)]
    second = [asked("x", "Oslo?", 3.0), asked("y", "Lima?", 4.0), asked("z", "Paris?", 5.0), asked("x", "Oslo?", 6.0)]
    assert paired(first, second) == [
        (0, "a", 1.0),
        (0, "b", 2.0),
        *((1, "b", 3.0), (1, "beside y", 4.0), (1, "a", 5.0), (1, "b", 6.0)),
    ]


def test_prompts_of_the_same_text_are_paired_in_their_order():
    first = [asked("a", "Paris?", 1.0), asked("b", "Paris?", 2.0)]
    second = [asked("x", "Paris?", 3.0), asked("y", "Paris?", 4.0), asked("z", "Paris?", 5.0)]
    assert [uid for run, uid, _ in paired(first, second) if run] == ["a", "b", "beside z"]


def test_a_uid_that_both_runs_have_goes_before_the_text():
    first = [asked("a", "Paris?", 1.0), asked("b", "Paris?", 2.0)]
    second = [asked("b", "Paris, in the other format?", 3.0), asked("x", "Paris?", 4.0)]
    assert [uid for run, uid, _ in paired(first, second) if run] == ["b", "a"]


def test_uids_of_texts_are_line_numbers_and_say_nothing_of_prompts():
    first = [asked("0", "Paris?", 1.0), asked("1", "", 2.0)]
    second = [asked("0", "Oslo?", 3.0), asked("1", "", 4.0)]
    assert [uid for run, uid, _ in paired(first, second, total_steps=0) if run] == ["beside 0", "1"]


def test_both_runs_share_the_colours_of_the_page():
    """A scale of each would make equal colours stand for different numbers."""
    first, second = record([Part("a")], entropy=[0.5]), record([Part("b")], entropy=[2.0])
    header, arrays = unpack(step_data(records_of([first]), records_of([second])))
    assert arrays["entropy"].tolist() == [0.5, 2.0]
    assert header["scales"]["entropy"] == pytest.approx(0.5 + 0.99 * 1.5)
    assert len(header["metas"]) == 2


def test_damaged_records_beside_others_are_refused():
    with pytest.raises(ValueError, match="row 0: no uid"):
        step_data(records_of([record([Part("a")])]), records_of([record([Part("a")], uid=None)]))
