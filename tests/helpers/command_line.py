"""What a command says when it cannot go on, what `rest-verl check` refuses, and the recipes as bash gives them to
verl: overrides, without starting anything."""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
from tiers import HANG_GUARD

from rest_verl.commands.check.compose import DryRunError
from rest_verl.commands.check.run import dry_run


def one_error_line(done):
    """The one line on standard error with which a command has ended, with status 1 and without a traceback."""
    assert done.exit_code == 1, done.output
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr


def problems(overrides):
    """The lines of a run's refusal, each of one problem."""
    with pytest.raises(DryRunError) as refused:
        dry_run(overrides)
    assert all("\n" not in problem for problem in refused.value.problems)
    return refused.value.problems


FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.name for path in FOLDER.glob("run_*.sh"))


def run_recipe(name, *overrides, folder=FOLDER, cwd=None, **variables):
    """Run a recipe in a clean environment with these variables; its output is captured."""
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "PYTHONPATH")}
    return subprocess.run(
        ["bash", str(folder / name), *overrides],
        env=environment | variables,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=HANG_GUARD,
    )


def runs_of(name, *overrides, **variables):
    """The overrides of each run that a recipe would start: one, but for a sweep."""
    done = run_recipe(name, *overrides, DRY_RUN="print", **variables)
    assert done.returncode == 0, done.stderr
    return [run.splitlines() for run in done.stdout.split("\n\n") if run.strip()]


@cache
def all_runs():
    """(recipe, its index among the recipe's runs, overrides) of every run of every recipe."""
    return [(name, index, run) for name in RECIPES for index, run in enumerate(runs_of(name))]
