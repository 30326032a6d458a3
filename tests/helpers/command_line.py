"""What a command says when it cannot go on, and what `rest-verl check` refuses."""

import pytest

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
