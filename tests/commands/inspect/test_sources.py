"""Which files a path stands for, and which steps a page shows."""

from itertools import pairwise

import pytest
from record_tables import Part, record, write_step

from rest_verl.commands.inspect.sources import choose_steps, find_steps, step_numbers


@pytest.fixture
def run(tmp_path):
    for step in (10, 2):
        write_step(tmp_path / "run" / "records", [record([Part("a")])], step)
    return tmp_path / "run"


def test_a_run_its_folder_of_records_and_single_files_are_found(run):
    files = {2: run / "records" / "step_000002.parquet", 10: run / "records" / "step_000010.parquet"}
    assert find_steps([run]) == find_steps([run / "records"]) == find_steps(files.values()) == files
    assert list(find_steps([run])) == [2, 10]


def test_a_path_without_records_is_refused_with_what_makes_them(tmp_path):
    with pytest.raises(ValueError, match=r"no step_\*.parquet at or below it. A run with rest.dump_dir"):
        find_steps([tmp_path])
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        find_steps([tmp_path / "nowhere"])


def test_records_of_two_runs_are_never_mixed(run):
    write_step(run.parent / "other" / "records", [record([Part("a")])], 1)
    with pytest.raises(ValueError, match=r"records of several runs; name one: .*other.records, .*run.records"):
        find_steps([run.parent])
    with pytest.raises(ValueError, match=r"step 2 is both in .* and in .*: name one of them"):
        find_steps([run, run / "records" / "step_000002.parquet"])


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
        step_numbers("--at-step", given)
