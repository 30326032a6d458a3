"""`rest-verl data check`: what is wrong with data files is found, placed, and decides the exit status."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked_rows import ANSWER, CALL, SCHEMA, found, row, run
from hypothesis import given
from hypothesis import strategies as st
from shared_data import TOOLRL_TEST
from tiers import examples

from rest_verl.data.check import check_files
from rest_verl.data.check_report import Kind, Problem


def test_a_good_file_has_no_problem_and_its_rows_are_counted_by_source(written):
    path = written("good", [row(0, "a"), row(1, "b", data_source="apibank_level1"), row(2, "c", truth=ANSWER)])
    report = check_files([path])
    assert found(report) == [] and not report.failed
    assert report.files[0].rows == 3 and report.files[0].sources == {"rlla": 2, "apibank_level1": 1}
    done = run(path)
    assert done.exit_code == 0
    assert re.search(r"rows +│ 3 ", done.output) and re.search(r"of apibank_level1 +│ 1 ", done.output)


def test_rows_that_cannot_be_scored_are_named_with_the_scorers_reason(written):
    truths = [CALL, "no tags", CALL.replace("{}}", "{}"), ANSWER]
    path = written("bad", [row(index, f"question {index}", truth) for index, truth in enumerate(truths)])
    done = run(path)
    assert done.exit_code == 1
    assert re.search(r"rows that cannot be scored +│ 2 ", done.output)
    assert f"{path}, row 1: ground truth with neither <tool_call> nor <response>: 'no tags'" in done.output
    assert f"{path}, row 2: ground truth with a call that cannot be read" in done.output


def test_rows_with_holes_where_the_scorer_looks_cannot_be_scored(written):
    rows = [
        row(0, "a", reward_model=None),
        row(1, "b", reward_model={"style": "rule", "ground_truth": None}),
        row(2, "c", data_source=None),
    ]
    assert found(check_files([written("holes", rows)])) == [
        (Kind.TRUTH, 0, "no ground truth"),
        (Kind.TRUTH, 1, "no ground truth"),
        (Kind.TRUTH, 2, "no data_source, which names the scorer"),
    ]


def test_the_scorer_of_the_rows_data_source_reads_its_ground_truth(written):
    # rlla text is no ground truth of BFCL's, which is a JSON object
    path = written("bfcl", [row(0, "a"), row(1, "b", data_source="bfcl_simple_python")])
    assert [(kind, number) for kind, number, _ in found(check_files([path]))] == [(Kind.TRUTH, 1)]


@pytest.mark.parametrize(
    "prompt",
    [None, [], [None], [{"role": None, "content": "x"}], [{"role": "user", "content": None}]],
)
def test_a_row_without_a_readable_prompt_is_an_error_and_no_repetition(written, prompt):
    path = written("prompts", [row(0, "", prompt=prompt), row(1, "", prompt=prompt), row(2, "c")])
    report = check_files([path], count_tokens=lambda prompts: [len(prompt) for prompt in prompts])
    assert [(kind, number) for kind, number, _ in found(report)] == [(Kind.PROMPT, 0), (Kind.PROMPT, 1)]
    assert report.failed and report.files[0].lengths.maximum == 2


def test_repeated_prompts_are_told_apart_by_their_ground_truth_and_are_warnings(written):
    rows = [row(0, "a"), row(1, "b"), row(2, "a"), row(3, "a", ANSWER), row(4, "a", ANSWER)]
    path = written("repeated", rows)
    assert found(check_files([path])) == [
        (Kind.CONTRADICTION, 3, "same prompt as row 0, but another ground truth"),
        (Kind.CONTRADICTION, 4, "same prompt as row 0, but another ground truth"),
        (Kind.DUPLICATE, 2, "same prompt and ground truth as row 0"),
    ]
    assert run(path).exit_code == 0


def test_prompts_that_differ_in_a_role_or_in_where_a_message_ends_are_not_the_same(written):
    messages = [("user", "a b"), ("assistant", "a b")]
    rows = [row(index, "", prompt=[{"role": role, "content": text}]) for index, (role, text) in enumerate(messages)]
    rows.append(row(2, "", prompt=[{"role": "user", "content": "a"}, {"role": "user", "content": " b"}]))
    assert found(check_files([written("roles", rows)])) == []


@pytest.mark.parametrize("extra_info", [None, {"index": None, "id": "x", "split": "train"}])
def test_rows_without_an_index_are_warnings(written, extra_info):
    path = written("index", [row(0, "a"), row(1, "b", extra_info=extra_info)])
    report = check_files([path])
    assert [(kind, number) for kind, number, _ in found(report)] == [(Kind.INDEX, 1)] and not report.failed


@pytest.mark.parametrize("kind", [None, pa.null(), pa.struct({"split": pa.string()})])
def test_an_index_that_no_row_has_is_a_warning_for_each(written, kind):
    schema = SCHEMA.remove(SCHEMA.get_field_index("extra_info"))
    schema = schema if kind is None else schema.append(pa.field("extra_info", kind))
    rows = [row(index, str(index), extra_info=None) for index in range(3)]
    report = check_files([written("index", rows, schema)])
    assert [(kind, number) for kind, number, _ in found(report)] == [(Kind.INDEX, number) for number in range(3)]


def test_rows_are_numbered_through_the_whole_file_and_watched_to_its_end(written):
    rows = [row(index, str(index)) for index in range(3000)]
    rows[2500]["reward_model"]["ground_truth"] = "no tags"
    rows[2999]["prompt"] = rows[10]["prompt"]
    path = written("long", rows, row_group_size=700)
    watched = []
    report = check_files([path], watch=lambda *arguments: watched.append(arguments))
    assert [(kind, number) for kind, number, _ in found(report)] == [(Kind.TRUTH, 2500), (Kind.DUPLICATE, 2999)]
    assert "row 10" in report.problems[1].reason
    assert watched[-1] == (path, 3000, 3000) and len(watched) > 1


def test_a_prompt_in_two_files_is_an_error_that_names_both_rows(written):
    first = written("train", [row(0, "a"), row(1, "b"), row(2, "c")])
    second = written("validation", [row(0, "d"), row(1, "b", ANSWER)])
    other = written("other", [row(0, "e")])
    report = check_files([first, second, other])
    assert found(report) == [(Kind.OVERLAP, None, "row 1 and row 1 have the same prompt")]
    assert [pair.shared for pair in report.pairs] == [1, 0, 0]
    done = run(first, second, other)
    assert done.exit_code == 1
    assert f"{first} and {second}: row 1 and row 1 have the same prompt" in done.output


def test_files_without_a_common_prompt_are_said_to_be_apart(good, written):
    done = run(good, written("other", [row(0, "another")]))
    assert done.exit_code == 0
    assert "no prompt is in two files" in done.output.replace("\n", " ")


@given(
    files=st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from([CALL, ANSWER])), min_size=1), min_size=2, max_size=3
    )
)
@examples(60)
def test_repetitions_and_overlaps_are_those_that_comparing_all_rows_finds(files):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, content in enumerate(files):
            paths.append(Path(folder) / f"{number}.parquet")
            rows = [row(index, str(question), truth) for index, (question, truth) in enumerate(content)]
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), paths[-1])
        report = check_files(paths)
    for file, content in zip(report.files, files, strict=True):
        expected = []
        for index, (question, truth) in enumerate(content):
            first = next(other for other in content if other[0] == question)
            if any(other[0] == question for other in content[:index]):
                expected.append((Kind.DUPLICATE if first[1] == truth else Kind.CONTRADICTION, index))
        assert [(problem.kind, problem.row) for problem in file.problems] == expected
    pairs = [(files[i], files[j]) for i in range(len(files)) for j in range(i + 1, len(files))]
    shared = [len({question for question, _ in one} & {question for question, _ in other}) for one, other in pairs]
    assert [pair.shared for pair in report.pairs] == shared
    assert report.failed == any(shared)


# --- lengths

TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools\\nhere') }}{% endif %}"
    "<|im_end|>{{ message.role }} {{ message.content }}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}"
)


@pytest.fixture
def folder(tokenizer, tmp_path):
    """A folder with a tokenizer that has a chat template."""
    path = tmp_path / "tokenizer"
    tokenizer.save_pretrained(path)
    (path / "chat_template.jinja").write_text(TEMPLATE)
    return path


def test_lengths_are_those_that_verl_counts(folder, written):
    from transformers import AutoTokenizer

    rows = [row(index, "the weather " * (index + 1)) for index in range(40)]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    counted = sorted(
        len(tokenizer.apply_chat_template(entry["prompt"], add_generation_prompt=True, tokenize=True).input_ids)
        for entry in rows
    )
    assert len(set(counted)) == 40
    path = written("lengths", rows)
    done = run(path, "--tokenizer", folder, "--max-prompt-length", counted[36])
    assert done.exit_code == 0
    numbers = ", ".join(str(counted[index]) for index in (0, 19, 37, 39))
    assert re.search(rf"tokens of a prompt: min, median, p95, max +│ {numbers} ", done.output)
    lines = [line for line in done.output.splitlines() if line.startswith(f"{path}, row ")]
    assert lines == [
        f"{path}, row {index}: a prompt of {counted[index]} tokens, more than {counted[36]}" for index in (37, 38, 39)
    ]


def test_a_prompt_that_the_chat_template_refuses_is_an_error_and_spoils_no_other(folder, written):
    rows = [row(0, "a"), row(1, "", prompt=[{"role": "tool", "content": "x"}]), row(2, "c")]
    path = written("refused", rows)
    done = run(path, "--tokenizer", folder)
    assert done.exit_code == 1
    said = "row 1: the chat template refuses the prompt: TemplateError: no tools"
    assert done.output.splitlines()[-1] == f"{path}, {said}"
    assert re.search(r"prompts that the chat template refuses +│ 1 ", done.output)
    assert "tokens of a prompt" in done.output


def test_a_tokenizer_that_cannot_be_used_is_one_line_that_says_why(tokenizer, good, tmp_path):
    bare = tmp_path / "bare"
    tokenizer.save_pretrained(bare)
    (tmp_path / "nothing").mkdir()
    for name, said in (("absent", "no such folder"), ("nothing", "no tokenizer"), ("bare", "no chat template")):
        done = run(good, "--tokenizer", tmp_path / name)
        assert done.exit_code == 1
        assert said in done.output and len(done.output.splitlines()) == 1


def test_a_limit_without_a_tokenizer_is_refused(good):
    done = run(good, "--max-prompt-length", 5)
    assert done.exit_code == 2 and "--tokenizer" in done.output


# --- what is shown


def test_twenty_problems_of_a_kind_and_file_are_shown_and_the_others_counted(written):
    rows = [row(index, str(index), truth="no tags" if index < 33 else CALL) for index in range(60)]
    rows[40:45] = [row(index, "same") for index in range(40, 45)]
    paths = [written("one", rows), written("two", [row(index, f"x{index}", truth="no tags") for index in range(3)])]
    done = run(*paths)
    unscorable = [line for line in done.output.splitlines() if "neither <tool_call>" in line]
    assert [sum(line.startswith(str(path)) for line in unscorable) for path in paths] == [20, 3]
    assert f"... and 13 more rows that cannot be scored ({paths[0]}); --all shows them" in done.output
    assert done.output.count("same prompt and ground truth") == 4
    everything = run(*paths, "--all")
    assert sum("neither <tool_call>" in line for line in everything.output.splitlines()) == 36
    assert "... and" not in everything.output


def test_a_problem_is_one_line_whatever_its_reason_holds():
    assert str(Problem(Kind.TRUTH, "a.parquet", "one\n  two\r\nthree", 4)) == "a.parquet, row 4: one two three"


def test_toolrls_own_file_passes():
    if not TOOLRL_TEST.is_file():
        pytest.skip("ToolRL's file rlla_test.parquet is not here")
    report = check_files([TOOLRL_TEST])
    assert report.files[0].rows == 80 and found(report) == []


def imported(module):
    """What a new process has loaded after importing a module."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_data_is_checked_on_machines_without_verl_and_the_command_line_starts_quickly():
    assert not {"verl", "ray", "torch", "transformers"} & imported("rest_verl.data.check")
    assert not {"pyarrow", "jinja2"} & imported("rest_verl.data.check_command")
