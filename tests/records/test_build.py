"""Which trajectories of a batch are written down, and their table: every number under the right token, and any text
that a model or a tool can write."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from rest_verl.core.regions import Region
from rest_verl.core.tokens import TokenBytes
from rest_verl.records.build import Rows, build_table
from rest_verl.records.sample import PER_GROUP, Output, group_scores, pick, sample_size
from rest_verl.records.schema import SCHEMA, RecordMeta, meta_of, read_step


def batch(scores, outputs=1):
    """Outputs of groups with the given scores; each trajectory has so many outputs."""
    return [
        Output(f"prompt{group}", session, output, score)
        for group, of_group in enumerate(scores)
        for session, score in enumerate(of_group)
        for output in range(outputs)
    ]


def test_of_a_group_the_best_and_the_worst_come_first():
    outputs = batch([[0.5, 2.0, -1.0, 0.25]])
    assert pick(outputs, 2, 0.0, seed=0) == {1: "best", 2: "worst"}
    picked = pick(outputs, 3, 0.0, seed=0)
    assert Counter(picked.values()) == {"best": 1, "worst": 1, "sample": 1}


def test_where_all_score_alike_none_is_the_best():
    assert set(pick(batch([[1.0, 1.0, 1.0]]), 3, 0.0, seed=0).values()) == {"sample"}


def test_a_best_one_never_comes_without_its_worst():
    outputs = batch([[0.0, 1.0]] * 3)
    assert Counter(pick(outputs, 1, 0.0, seed=0).values()) == {"best": 1, "worst": 1}


def test_several_groups_are_shown_before_one_is_shown_whole():
    outputs = batch([range(10)] * 4)
    picked = pick(outputs, 12, 0.0, seed=0)
    per_group = Counter(outputs[index].uid for index in picked)
    assert sorted(per_group.values()) == [PER_GROUP] * 3


def test_all_outputs_of_a_trajectory_come_together():
    outputs = batch([[0.0, 1.0, 2.0]] * 2, outputs=3)
    picked = pick(outputs, 2, 0.0, seed=1)
    chosen = Counter((outputs[index].uid, outputs[index].session) for index in picked)
    assert set(chosen.values()) == {3} and len(chosen) == 2


def test_the_same_seed_gives_the_same_choice_and_another_seed_another():
    outputs = batch([[0.0, 1.0]] * 50)
    assert pick(outputs, 10, 0.0, seed=3) == pick(outputs, 10, 0.0, seed=3)
    assert len({tuple(pick(outputs, 10, 0.0, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("trajectories", "at_least", "share", "size"),
    [(100, 32, 0.0, 32), (1000, 32, 0.05, 50), (1001, 32, 0.05, 51), (10, 32, 0.0, 10), (0, 32, 1.0, 0)],
)
def test_the_greater_of_number_and_share_is_taken(trajectories, at_least, share, size):
    assert sample_size(trajectories, at_least, share) == size


def test_scores_of_a_group_count_each_trajectory_once():
    outputs = batch([[0.5, 2.0], [1.0]], outputs=2)
    assert group_scores(outputs) == {"prompt0": [0.5, 2.0], "prompt1": [1.0]}


GROUPS = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.5]), min_size=1, max_size=9), max_size=9)


@given(GROUPS, st.integers(1, 40), st.floats(0, 1), st.integers(0, 9))
def test_as_many_as_asked_and_every_shown_group_has_its_extremes(groups, at_least, share, seed):
    outputs = batch(groups)
    picked = pick(outputs, at_least, share, seed)
    size = sample_size(len(outputs), at_least, share)
    assert size <= len(picked) <= size + 1  # one more where a worst one has to come along
    shown = {outputs[index].uid for index in picked}
    for uid, scores in group_scores(outputs).items():
        if uid in shown and min(scores) < max(scores):
            of_group = {why: outputs[index].score for index, why in picked.items() if outputs[index].uid == uid}
            assert (of_group["best"], of_group["worst"]) == (max(scores), min(scores))


META = RecordMeta(7, 100, "rlla", "paper", "loss", "grpo", trajectories=8)
PIECES = TokenBytes.from_pieces([b"a", b"\xe2\x82", b"\xac", b"<|im_end|>"])


def call(**changed):
    made = {"name": "f", "arguments": {"x": 1}, "result": "ok", "error": None, "seconds": 0.5}
    return made | changed


def rows(extra_fields=({}, {}), numbers=("weight", "entropy"), lengths=(3, 2)):
    """Two rows whose responses are [1, 2, 3] and [0, 9]; numbers are 0, 1, 2, ... over both."""
    tokens = sum(lengths)
    return Rows(
        outputs=[Output("p", 0, 0, 1.5), Output("p", 3, 0, -0.5)],
        picked=["best", "worst"],
        data_sources=["toy", None],
        group_scores=[[1.5, -0.5], [1.5, -0.5]],
        extra_fields=extra_fields,
        prompts=[np.array([0, 0]), np.array([1, 2])],
        lengths=np.array(lengths),
        ids=np.array([1, 2, 3, 0, 9]),
        generated=np.array([True, True, True, False, True]),
        trained=np.array([True, False, True, False, True]),
        regions=np.array([Region.NAME, Region.NAME, Region.OTHER, Region.OTHER, Region.THINK], dtype=np.int8),
        numbers={name: np.arange(tokens, dtype=np.float32) for name in numbers},
    )


def test_every_token_has_its_own_id_bytes_region_and_numbers():
    first, second = build_table(rows(), PIECES, META).to_pylist()
    assert (first["ids"], first["bytes"]) == ([1, 2, 3], [b"\xe2\x82", b"\xac", b"<|im_end|>"])
    assert (second["ids"], second["bytes"]) == ([0, 9], [b"a", b""])  # 9 is beyond the vocabulary
    assert (first["region"], second["region"]) == (["name", "name", "other"], ["other", "think"])
    assert (first["weight"], second["weight"]) == ([0.0, 1.0, 2.0], [3.0, 4.0])
    assert (first["trained"], second["generated"]) == ([True, False, True], [False, True])


def test_a_row_says_what_it_is():
    first, second = build_table(rows(), PIECES, META).to_pylist()
    assert (first["step"], first["uid"], first["session"], first["output"]) == (7, "p", 0, 0)
    assert (second["picked"], second["score"], second["session"]) == ("worst", -0.5, 3)
    assert (first["data_source"], second["data_source"]) == ("toy", None)
    assert (first["prompt_ids"], first["prompt"], second["prompt"]) == ([0, 0], b"aa", "€".encode())
    assert first["group_scores"] == [1.5, -0.5]


def test_what_verl_did_not_compute_is_null_and_not_zero():
    table = build_table(rows(numbers=("weight",)), PIECES, META)
    assert table["entropy"].null_count == 2 and table["old_log_prob"].null_count == 2


def test_a_response_that_no_agent_loop_recorded_is_one_turn():
    _, second = build_table(rows(), PIECES, META).to_pylist()
    assert second["turns"] == [{"begin": 0, "end": 2, "user_turn": 0, "seconds": None, "calls": []}]


def test_turns_and_their_calls_are_those_of_the_agent_loop():
    noted = {"tokens": [0, 2], "user_turn": 1, "seconds": 2.0, "calls": [call(truncated=True)]}
    first, _ = build_table(rows([{"rest_turn_table": [noted]}, {}]), PIECES, META).to_pylist()
    assert first["turns"] == [
        {
            "begin": 0,
            "end": 2,
            "user_turn": 1,
            "seconds": 2.0,
            "calls": [{"name": "f", "arguments": '{"x": 1}', "result": "ok", "error": None, "seconds": 0.5}],
        }
    ]


def test_of_a_trajectory_in_pieces_the_last_one_has_the_last_turns_calls():
    table = [{"tokens": [0, 40], "user_turn": 0, "seconds": 1.0, "calls": []}]
    table += [{"tokens": [60, 62], "user_turn": 2, "seconds": 3.0, "calls": [call(name="last")]}]
    fields = [{"rest_per_turn": True}, {"rest_per_turn": True, "rest_turn_table": table}]
    first, second = build_table(rows(fields), PIECES, META).to_pylist()
    assert first["turns"] == [{"begin": 0, "end": 3, "user_turn": 0, "seconds": None, "calls": []}]
    [turn] = second["turns"]
    assert (turn["begin"], turn["end"], turn["user_turn"]) == (0, 2, 2)
    assert [one["name"] for one in turn["calls"]] == ["last"]


@pytest.mark.parametrize(
    ("changed", "column", "text"),
    [
        ({"name": "\ud800"}, "name", "\\ud800"),
        ({"name": None}, "name", None),
        ({"arguments": None}, "arguments", None),
        ({"arguments": {"\udfff": [float("nan")]}}, "arguments", '{"\\udfff": [NaN]}'),
        ({"result": "</script>\u202e\ud83d"}, "result", "</script>\u202e\\ud83d"),
    ],
)
def test_text_that_utf8_cannot_hold_is_written_out(changed, column, text, tmp_path):
    noted = {"tokens": [0, 2], "user_turn": 0, "seconds": 1.0, "calls": [call(**changed)]}
    table = build_table(rows([{"rest_turn_table": [noted]}, {}]), PIECES, META)
    parquet.write_table(table, tmp_path / "step_000007.parquet")
    first, _ = read_step(tmp_path / "step_000007.parquet").table.to_pylist()
    assert first["turns"][0]["calls"][0][column] == text


def test_components_of_the_reward_are_its_numbers():
    fields = [{"reward_extra_info": {"acc": 1, "score": -2.5, "note": "text"}}, {"reward_extra_info": None}]
    first, second = build_table(rows(fields), PIECES, META).to_pylist()
    assert (dict(first["reward"]), second["reward"]) == ({"acc": 1.0, "score": -2.5}, [])


def test_events_are_those_of_the_row_and_null_without_any():
    with_events = replace(rows(), events=[[(0, 0.5), (2, 1.0)], []])
    first, second = build_table(with_events, PIECES, META).to_pylist()
    assert first["events"] == [{"token": 0, "amount": 0.5}, {"token": 2, "amount": 1.0}]
    assert second["events"] == []
    assert build_table(rows(), PIECES, META)["events"].null_count == 2


def test_a_file_older_than_events_is_read_without_them(tmp_path):
    path = tmp_path / "step_000007.parquet"
    parquet.write_table(build_table(rows(), PIECES, META).drop_columns(["events"]), path)
    assert read_step(path).table["events"].to_pylist() == [None, None]


def test_a_file_says_what_run_and_step_it_is_of(tmp_path):
    path = tmp_path / "step_000007.parquet"
    parquet.write_table(build_table(rows(), PIECES, META), path)
    read = read_step(path)
    assert read.meta == META
    assert read.table.schema.equals(SCHEMA)


def test_another_parquet_file_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "other.parquet"
    parquet.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ValueError, match=r"other.parquet: not a file of token records: set rest.dump_dir="):
        read_step(path)
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"other.parquet: "):
        read_step(path)


def test_records_of_another_version_are_refused():
    schema = SCHEMA.with_metadata({"rest_verl": json.dumps({"version": 99})})
    with pytest.raises(ValueError, match=r"version 99.*reads version 1"):
        meta_of(schema)
