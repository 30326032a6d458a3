"""The page is one file that asks nobody for anything, and holds no text of a trajectory as markup; the records of a
step as it gets them, every number as in the table, and the line by which a reader knows a prompt."""

import base64
import gzip
import hashlib
import json
import math
import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from record_tables import Part, record, records_of, step_rows, unpack

from rest_verl.commands.inspect.page import PageStep, render_page
from rest_verl.commands.inspect.step_data import GENERATED, NULL_BITS, TRAINED, pack, step_data, top_of
from rest_verl.commands.inspect.token_text import LONGEST, headlines
from rest_verl.core.regions import Region

HOSTILE = "</script><script>steal(1)</script>"


@pytest.fixture(scope="module")
def page():
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    return render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)])


def hash_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == (
        f"default-src 'none'; script-src {hash_of(script)}; style-src {hash_of(style)}; base-uri 'none'; "
        "form-action 'none'"
    )


def test_no_address_and_no_attribute_with_code_or_style_is_in_the_page(page):
    without_names = page.replace('"http://www.w3.org/2000/svg"', "")  # of SVG's elements; nobody fetches it
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=", without_names)
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page)


def test_no_text_of_a_trajectory_and_no_title_is_markup(page):
    assert "steal" not in page.replace("&lt;script&gt;steal(1)&lt;/script&gt;", "")
    assert "\u202e" not in page and "⟨U+202E⟩" in page


def test_the_same_records_give_the_same_page(page):
    data = step_data(records_of([record([Part(HOSTILE)], uid=HOSTILE, prompt=HOSTILE)]))
    assert render_page(f"{HOSTILE}\u202e", [PageStep(3, 1, 1, data)]) == page


def test_text_is_never_read_as_markup_by_the_script(page):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


NUMBERS = arrays(np.dtype("<f4"), st.integers(0, 9), elements=st.floats(width=32))


@given(st.dictionaries(st.text(max_size=5), st.text()), NUMBERS, arrays(np.uint8, st.integers(0, 9)))
def test_header_and_arrays_come_back_bit_by_bit(header, numbers, flags):
    header.pop("arrays", None)
    got_header, got = unpack(pack(header, {"numbers": numbers, "flags": flags}))
    assert got_header == header
    assert got["numbers"].tobytes() == numbers.tobytes() and got["flags"].tobytes() == flags.tobytes()


def test_the_layout_is_what_the_module_says():
    packed = pack({"a": "ü"}, {"flags": np.array([7], np.uint8), "numbers": np.array([1.5], "<f4")})
    whole = gzip.decompress(packed)
    length = int.from_bytes(whole[:4], "little")
    assert length % 4 == 0 and whole[4 : 4 + length].isascii()
    header = json.loads(whole[4 : 4 + length])
    assert header == {"a": "ü", "arrays": [["flags", "|u1", 0, 1], ["numbers", "<f4", 4, 1]]}
    assert whole[4 + length :] == b"\x07\0\0\0" + np.float32(1.5).tobytes()


def test_the_same_input_gives_the_same_bytes():
    numbers = {"numbers": np.arange(9, dtype="<f4")}
    assert pack({"a": 1}, numbers) == pack({"a": 1}, numbers)


def test_another_dtype_and_a_number_outside_of_json_are_refused():
    with pytest.raises(ValueError, match=r"array 'x' of dtype <f8: allowed: <f4, <u4, \|u1"):
        pack({}, {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, {})


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>system\nTools.<|im_end|>\n<|im_start|>user\nOld.<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\nHow far is Oslo?<|im_end|>\n<|im_start|>assistant\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHow far is Oslo?<|eot_id|>",
        "<s>[INST] How far is Oslo? [/INST]",
        "<start_of_turn>user\nHow far is Oslo?<end_of_turn>\n<start_of_turn>model\n",
        "system:\nTools.\nuser:\nHow far is Oslo?",
        "How far is Oslo?",
    ],
)
def test_the_last_users_message_is_found_in_the_templates_of_the_formats(prompt):
    assert headlines([prompt]) == ["How far is Oslo?"]


def test_what_all_prompts_begin_with_is_left_out_where_it_is_long():
    opening = "Answer with a call of one of the tools that you know: "
    assert headlines([f"{opening}Oslo", f"{opening}Lima"]) == ["… Oslo", "… Lima"]
    assert headlines(["To Oslo", "To Lima"]) == ["To Oslo", "To Lima"]
    assert headlines([f"{opening}Oslo"] * 2) == [f"{opening}Oslo"] * 2


def test_a_long_or_hostile_message_becomes_one_short_line():
    (line,) = headlines(["a\u202e\n" + "b" * 1000])
    assert line.startswith("a⟨U+202E⟩ b") and "\n" not in line and len(line) == LONGEST + 1


def test_a_prompt_without_text_has_an_empty_headline():
    assert headlines(["", " \n"]) == ["", ""]


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
