"""What `rest-verl check` refuses."""

import pytest

from rest_verl.commands.check.compose import DryRunError
from rest_verl.commands.check.run import dry_run


def problems(overrides):
    """The lines of a run's refusal, each of one problem."""
    with pytest.raises(DryRunError) as refused:
        dry_run(overrides)
    assert all("\n" not in problem for problem in refused.value.problems)
    return refused.value.problems
