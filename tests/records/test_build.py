"""The table of records: every number under the right token, and any text that a model or a tool can write."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from rest_verl.core.regions import Region
from rest_verl.core.tokens import TokenBytes
from rest_verl.records.build import Rows, build_table
from rest_verl.records.sample import Output
from rest_verl.records.schema import SCHEMA, RecordMeta, meta_of, read_step

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
