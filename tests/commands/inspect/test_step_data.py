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
