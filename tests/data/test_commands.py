"""The data commands as a user runs them: files, table, manifest, and one line where data cannot be made. The folder
that they write: one layout for all makers, a manifest that fits the files, the same bytes each time."""

import hashlib
import importlib.util
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.data.data_set import Origin, file_source, write_data_set
from rest_verl.data.rows import SCHEMA, make_row
from rest_verl.data.template import BUILT_IN

ORIGIN = Origin("rlla", [{"file": "a.json", "sha256": "00"}], {"format": "rlla"})


def numbered_rows(count, source="rlla"):
    return [
        make_row(source, n, f"{source}_{n}", "train", [{"role": "user", "content": f"Q {n}"}], "t", tools="[]")
        for n in range(count)
    ]


def read(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_files_have_the_one_schema_and_the_manifest_says_what_is_in_them(tmp_path):
    counts = write_data_set(numbered_rows(40) + numbered_rows(9, "other"), 0.5, tmp_path, ORIGIN)
    manifest = read(tmp_path)
    assert manifest["rows"] == counts and sum(counts["train"].values()) + sum(counts["validation"].values()) == 49
    assert manifest["sources"] == ORIGIN.sources and manifest["command"] == "rlla"
    assert manifest["options"] == {"format": "rlla", "validation_share": 0.5}
    assert set(manifest["sha256"]) == {"train.parquet", "validation.parquet"}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
        assert pq.read_schema(tmp_path / name).equals(SCHEMA)
    side = pq.read_table(tmp_path / "validation.parquet").to_pylist()
    assert len(side) == counts["validation"].total()
    assert {row["extra_info"]["split"] for row in side} == {"validation"}


def test_two_runs_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_data_set(numbered_rows(30), 0.3, tmp_path / name, ORIGIN)
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {"train.parquet", "validation.parquet", "manifest.json"}
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


@pytest.mark.parametrize(("share", "kept"), [(0.0, "train"), (1.0, "validation")])
def test_a_side_without_rows_has_no_file_not_even_an_older_one(tmp_path, share, kept):
    write_data_set(numbered_rows(30), 0.5, tmp_path, ORIGIN)
    write_data_set(numbered_rows(30), share, tmp_path, ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == {f"{kept}.parquet", "manifest.json"}
    assert list(read(tmp_path)["sha256"]) == [f"{kept}.parquet"]


def test_a_run_that_breaks_off_leaves_no_manifest_beside_files_that_it_does_not_fit(tmp_path, monkeypatch):
    write_data_set(numbered_rows(30), 0.5, tmp_path, ORIGIN)

    def full(table, path):
        raise OSError("disk full")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="disk full"):
        write_data_set(numbered_rows(31), 0.5, tmp_path, ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == {"train.parquet", "validation.parquet"}


def test_a_split_that_is_refused_touches_nothing(tmp_path):
    write_data_set(numbered_rows(30), 0.5, tmp_path, ORIGIN)
    before = read(tmp_path)
    with pytest.raises(ValueError, match=r"none of the 1 rows"):
        write_data_set(numbered_rows(1), 0.5, tmp_path, ORIGIN)
    assert read(tmp_path) == before


def test_a_source_is_named_without_its_folder(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[]")
    assert file_source(tmp_path / "a.json") == {"file": "a.json", "sha256": hashlib.sha256(b"[]").hexdigest()}


CALL = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'

real_data = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None,
    reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23",
)


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def one_error_line(done):
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def toolrl(tmp_path):
    rows = [{"instruction": "Tools.", "input": f"Question {number}", "output": CALL} for number in range(40)]
    (tmp_path / "toolrl.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "toolrl.jsonl"


@pytest.fixture
def apibank(tmp_path):
    answer = {"name": "Find", "parameters": {}}
    rows = [{"system": "Tools.", "user": f"Question {number}", "answer": answer} for number in range(5)]
    (tmp_path / "level1.json").write_text(json.dumps(rows))
    return tmp_path / "level1.json"


def test_rlla_writes_both_sides_a_manifest_and_a_table(toolrl, tmp_path):
    out = tmp_path / "out"
    done = run("rlla", toolrl, "--out", out, "--validation-share", 0.25)
    assert done.exit_code == 0, done.output
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["sources"] == [{"file": "toolrl.jsonl", "sha256": hashlib.sha256(toolrl.read_bytes()).hexdigest()}]
    train, validation = (manifest["rows"][side]["rlla"] for side in ("train", "validation"))
    assert train + validation == 40
    assert re.search(rf"all\W+{train}\W+{validation}\W", done.stdout)
    assert done.stderr == ""  # no terminal, no progress bar


def test_apibank_is_for_validation_alone_unless_told_otherwise(apibank, tmp_path):
    assert run("apibank", apibank, "--out", tmp_path / "out").exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"validation.parquet", "manifest.json"}
    assert run("apibank", apibank, "--out", tmp_path / "out", "--level", 3, "--validation-share", 0).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train.parquet", "manifest.json"}
    assert set(pq.read_table(tmp_path / "out" / "train.parquet")["data_source"].to_pylist()) == {"apibank_level3"}


@real_data
def test_bfcl_notes_package_template_and_options(tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text(BUILT_IN.read_text() + "\nBe quick.\n")
    options = ["--categories", "parallel,live_relevance", "--format", "hermes", "--template", template]
    done = run("bfcl", "--out", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["sources"][0]["package"] == "bfcl-eval" and manifest["sources"][0]["version"]
    assert manifest["options"] == {
        "category": ["parallel", "live_relevance"],
        "format": "hermes",
        "template": {"file": "mine.jinja", "sha256": hashlib.sha256(template.read_bytes()).hexdigest()},
        "validation_share": 0.1,
    }
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert all(row["prompt"][0]["content"].endswith("Be quick.") for row in rows)


@real_data
def test_files_of_all_makers_can_be_concatenated_as_verl_does_it(toolrl, apibank, tmp_path):
    datasets = pytest.importorskip("datasets", reason="verl reads with it; not installed here")
    made = [
        run("rlla", toolrl, "--out", tmp_path / "a", "--validation-share", 1),
        run("apibank", apibank, "--out", tmp_path / "b"),
        run("bfcl", "--categories", "multiple", "--out", tmp_path / "c", "--validation-share", 1),
        run(
            "bfcl", "--categories", "irrelevance", "--out", tmp_path / "d", "--validation-share", 1, "--format", "glm"
        ),
    ]
    assert [done.exit_code for done in made] == [0, 0, 0, 0]
    files = [str(tmp_path / name / "validation.parquet") for name in "abcd"]
    info = SCHEMA.field("extra_info").type
    without_tools = SCHEMA.set(
        4, pa.field("extra_info", pa.struct([field for field in info if field.name != "tools"]))
    )
    # The stand-ins for ToolRL's files list no tools in their prompts, so nothing is known about them.
    schemas = [without_tools, without_tools, SCHEMA, SCHEMA]
    assert [pq.read_schema(file).equals(schema) for file, schema in zip(files, schemas, strict=True)] == [True] * 4
    read = [datasets.Dataset.from_parquet(file, cache_dir=str(tmp_path / "cache")) for file in files]
    assert len(datasets.concatenate_datasets(read)) == 40 + 5 + 200 + 240


@pytest.mark.parametrize("command", ["rlla", "apibank"])
def test_prompts_that_a_file_holds_cannot_be_asked_for_in_another_format(toolrl, apibank, tmp_path, command):
    source = toolrl if command == "rlla" else apibank
    error = one_error_line(run(command, source, "--out", tmp_path / "out", "--format", "hermes"))
    assert "--format hermes: the file holds whole prompts, which ask for rlla" in error
    error = one_error_line(run(command, source, "--out", tmp_path / "out", "--template", BUILT_IN))
    assert "prompt.jinja: the file holds whole prompts" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["rlla", "apibank"])
@pytest.mark.parametrize("name", ["level1.json", "level1.jsonl", "level1.parquet"])
@pytest.mark.parametrize("content", [None, b"", b'[{"prompt": [', b"PAR1 and no more", b'[{"a": 1}]', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_one_line_and_leaves_nothing(tmp_path, command, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert name in one_error_line(run(command, tmp_path / name, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_template_that_fails_is_one_line_with_file_and_line(tmp_path):
    (tmp_path / "mine.jinja").write_text("one\n{{ two")
    error = one_error_line(run("bfcl", "--out", tmp_path / "out", "--template", tmp_path / "mine.jinja"))
    assert "mine.jinja, line 2: not a Jinja2 template" in error


def test_an_out_that_is_a_file_is_one_line(toolrl, tmp_path):
    (tmp_path / "out").write_text("")
    assert "out" in one_error_line(run("rlla", toolrl, "--out", tmp_path / "out"))


def test_an_unknown_category_names_the_allowed_ones(tmp_path):
    error = one_error_line(run("bfcl", "--categories", "simple_pyton", "--out", tmp_path / "out"))
    assert "did you mean 'simple_python'" in error and "live_relevance" in error
