"""`rest-verl inspect` as a user runs it; which files a path stands for, and which steps a page shows."""

import base64
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from command_line import one_error_line
from record_tables import Part, record, step_rows, unpack, write_step
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.inspect.side_by_side import names_of
from rest_verl.commands.inspect.sources import choose_steps, find_steps, step_numbers


def inspect(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    for step in range(1, 15):
        write_step(tmp_path / "run" / "records", [record([Part("a b")])] * 3, step)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(folder)
    return folder


def test_a_run_becomes_a_page_and_what_was_left_out_is_said(run, tmp_path):
    done = inspect(run, "--out", tmp_path / "new" / "page.html", "--limit", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "steps         12 of 14 (--steps chooses): 1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14"
    assert lines[1] == "trajectories  24 of 36 (--limit chooses)"
    assert lines[2] == "tokens        48"
    assert "page.html (0.1 MB): open it in a browser" in "".join(lines[3:])
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<title>run · rest-verl inspect</title>" in page
    assert done.stderr == ""


def test_wanted_steps_are_shown_and_nothing_more_is_said(run, tmp_path):
    done = inspect(run / "records", "--out", tmp_path / "page.html", "--steps", "14,1")
    assert done.stdout.startswith("steps         2 of 14 (--steps chooses): 1, 14\ntrajectories  6\n"), done.output
    assert "all" not in done.stdout


def test_a_missing_step_ends_without_a_page(run, tmp_path):
    error = one_error_line(inspect(run, "--out", tmp_path / "page.html", "--steps", "99"))
    assert error.startswith("--steps 99: there is no step 99; there are 1, 2,")
    assert not (tmp_path / "page.html").exists()


def test_a_wrong_table_is_named_with_its_file(tmp_path):
    write_step(tmp_path, [record([Part("a")], region=["nam"])], 7)
    error = one_error_line(inspect(tmp_path, "--out", tmp_path / "page.html"))
    assert "step_000007.parquet: unknown region 'nam'" in error


def test_texts_become_a_page_with_the_weights_of_each_wanted_step(model, tmp_path):
    (tmp_path / "texts.jsonl").write_text(json.dumps({"response": "<think>So.</think>Fine."}) + "\n")
    options = ["--tokenizer", model, "--format", "hermes", "--steps", "1,100,300", "--out", tmp_path / "page.html"]
    done = inspect(tmp_path / "texts.jsonl", *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("steps         1, 100, 300\ntrajectories  3\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{texts}"], "is a file of texts: it needs --tokenizer MODEL and --format NAME"),
        (["{texts}", "--tokenizer", "{model}"], "it needs --tokenizer MODEL and --format NAME"),
        (
            ["{texts}", "{texts}", "--tokenizer", "{model}", "--format", "hermes"],
            "texts.jsonl is named twice: name two",
        ),
        (
            ["{texts}", "other.jsonl", "--tokenizer", "{model}", "--format", "hermes", "--preset", "paper,static"],
            "2 paths and 2 presets: at most two are shown side by side",
        ),
        (["{run}", "{run}"], "run is named twice: name two runs"),
        (
            ["{texts}", "--tokenizer", "nowhere", "--format", "hermes"],
            "nowhere: no such folder, and no model of that name in the Hugging Face cache",
        ),
        (
            ["{texts}", "--tokenizer", "{texts_folder}", "--format", "hermes"],
            "no tokenizer can be read from .*",
        ),
        (["{texts}", "--tokenizer", "{model}", "--format", "hermse"], "did you mean 'hermes'?"),
        (["{texts}", "--tokenizer", "{model}", "--format", "hermes", "--preset", "entropy"], "use --preset paper"),
        (
            ["{texts}", "--tokenizer", "{model}", "--format", "hermes", "--steps", "0"],
            "--steps 0: must be step",
        ),
        (["{run}", "--tokenizer", "{model}"], "--tokenizer has no effect here: it is for a .jsonl file of texts"),
        (["{run}", "--preset", "static"], "--preset has no effect here: it is for a .jsonl file"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(run, model, tmp_path, options, message):
    (tmp_path / "texts.jsonl").write_text('{"response": "a"}\n')
    names = {"texts": tmp_path / "texts.jsonl", "model": model, "run": run, "texts_folder": tmp_path}
    done = inspect(*(option.format(**names) for option in options), "--out", tmp_path / "page.html")
    assert re.search(message.replace("?", r"\?"), one_error_line(done))


def test_the_records_of_real_dialogues_fit_into_a_small_page(tmp_path):
    write_step(tmp_path, step_rows(1, groups=8, group_size=4), 1)
    assert inspect(tmp_path, "--out", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").stat().st_size < 400_000


# Side by side


def pair_of(page):
    """The names of the runs on a page, and the headers of its steps."""
    text = page.read_text(encoding="utf-8")
    blobs = re.findall(r'<script type="application/octet-stream" id="step-\d+">(.*?)</script>', text)
    runs = re.search(r'id="runs">(.*?)</script>', text)[1]
    return json.loads(runs), [unpack(base64.b64decode(blob))[0] for blob in blobs]


def test_two_runs_stand_side_by_side_at_the_steps_of_both(tmp_path):
    for name, score, steps in (("paper", 1.0, (1, 2, 3)), ("grpo", 2.0, (2, 3, 4))):
        for step in steps:
            row = record([Part("a b")], uid=name, prompt="Paris?", score=score + step)
            write_step(tmp_path / name / "records", [row], step)
    done = inspect(tmp_path / "paper" / "records", tmp_path / "grpo" / "records", "--out", tmp_path / "page.html")
    assert done.stdout.startswith("steps         2, 3\ntrajectories  4\ntokens        8\n"), done.output
    runs, headers = pair_of(tmp_path / "page.html")
    assert runs == ["paper", "grpo"]
    assert [[(row["run"], row["score"]) for row in header["rows"]] for header in headers] == [
        [(0, 3.0), (1, 4.0)],
        [(0, 4.0), (1, 5.0)],
    ]
    assert {row["uid"] for header in headers for row in header["rows"]} == {"paper"}
    assert "<title>paper | grpo · " in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_two_runs_without_a_common_step_are_refused(tmp_path):
    for name, step in (("one", 5), ("other", 7)):
        write_step(tmp_path / name, [record([Part("a")])], step)
    error = one_error_line(inspect(tmp_path / "one", tmp_path / "other", "--out", tmp_path / "page.html"))
    assert re.search(r"no step is both in \S+one \(5\) and in \S+other \(7\)", error)


def test_two_presets_stand_side_by_side_on_the_same_texts(model, tmp_path):
    """At step 300 the preset paper gives reasoning more weight than static, which has no curriculum."""
    (tmp_path / "texts.jsonl").write_text(json.dumps({"response": "<think>So it is.</think>Fine."}) + "\n")
    options = ["--tokenizer", model, "--format", "hermes", "--steps", "300", "--preset", "paper,static"]
    done = inspect(tmp_path / "texts.jsonl", *options, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    runs, (header,) = pair_of(tmp_path / "page.html")
    assert runs == ["paper", "static"]
    assert [(row["run"], row["uid"]) for row in header["rows"]] == [(0, "0"), (1, "0")]
    weights = weights_of(tmp_path / "page.html")
    half = len(weights) // 2
    assert weights[:half] != weights[half:]


def weights_of(page):
    text = page.read_text(encoding="utf-8")
    blob = re.search(r'<script type="application/octet-stream" id="step-0">(.*?)</script>', text)[1]
    return unpack(base64.b64decode(blob))[1]["weight"].tolist()


def test_two_files_of_texts_stand_side_by_side(model, tmp_path):
    for name, answer in (("before", "No."), ("after", "Yes.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": "Is it?", "response": answer}) + "\n")
    files = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    done = inspect(*files, "--tokenizer", model, "--format", "hermes", "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    runs, (header,) = pair_of(tmp_path / "page.html")
    assert runs == ["before", "after"]
    texts = [bytes.fromhex("".join(token[2] for token in header["tokens"])).decode()]
    assert "No." in texts[0] and "Yes" in texts[0]
    assert len({row["uid"] for row in header["rows"]}) == 1


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("runs/paper/records", "runs/grpo/records", ("paper", "grpo")),
        ("runs/a.jsonl", "runs/b.jsonl", ("a", "b")),
        ("records", "old/records", ("", "old")),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(one, other, names):
    found = names_of([Path("/home") / one, Path("/home") / other])
    assert found == tuple(name or "home" for name in names)


@pytest.fixture
def two_steps(tmp_path):
    for step in (10, 2):
        write_step(tmp_path / "run" / "records", [record([Part("a")])], step)
    return tmp_path / "run"


def test_a_run_its_folder_of_records_and_single_files_are_found(two_steps):
    files = {2: two_steps / "records" / "step_000002.parquet", 10: two_steps / "records" / "step_000010.parquet"}
    assert find_steps([two_steps]) == find_steps([two_steps / "records"]) == find_steps(files.values()) == files
    assert list(find_steps([two_steps])) == [2, 10]


def test_a_path_without_records_is_refused_with_what_makes_them(tmp_path):
    with pytest.raises(ValueError, match=r"no step_\*.parquet at or below it. A run with rest.dump_dir"):
        find_steps([tmp_path])
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        find_steps([tmp_path / "nowhere"])


def test_records_of_two_runs_are_never_mixed(two_steps):
    write_step(two_steps.parent / "other" / "records", [record([Part("a")])], 1)
    with pytest.raises(ValueError, match=r"records of several runs; name one: .*other.records, .*run.records"):
        find_steps([two_steps.parent])
    with pytest.raises(ValueError, match=r"step 2 is both in .* and in .*: name one of them"):
        find_steps([two_steps, two_steps / "records" / "step_000002.parquet"])


def test_a_file_that_holds_no_records_is_named(tmp_path):
    (tmp_path / "step_000001.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"step_000001\.parquet: "):
        find_steps([tmp_path / "step_000001.parquet"])


def test_without_a_wish_at_most_twelve_steps_with_both_ends():
    assert choose_steps(range(1, 13), None) == list(range(1, 13))
    chosen = choose_steps(range(1, 301), None)
    assert len(set(chosen)) == 12 and (chosen[0], chosen[-1]) == (1, 300)
    gaps = {after - before for before, after in pairwise(chosen)}
    assert gaps <= {27, 28}  # 299 / 11


def test_wanted_steps_are_shown_in_order_and_once():
    assert choose_steps([1, 5, 9], "9, 1,9") == [1, 9]
    assert choose_steps(range(1, 99), "all") == list(range(1, 99))


def test_a_step_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="--steps 4: there is no step 4; there are 1, 5, 9"):
        choose_steps([1, 5, 9], "4")
    with pytest.raises(ValueError, match="and 80 more, up to 100"):
        choose_steps(range(1, 101), "200")


@pytest.mark.parametrize("given", ["", "0", "-1", "1;2", "1,,2", "one", "²"])
def test_what_is_no_step_is_refused(given):
    with pytest.raises(ValueError, match="must be step numbers from 1 separated by commas"):
        step_numbers("--steps", given)
