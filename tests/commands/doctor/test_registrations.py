"""Whose a registered name is."""

import pytest

from rest_verl.commands.doctor.registrations import judge_entries, module_of
from rest_verl.plugin.registries import REGISTRIES
from rest_verl.weighting.schemes import Scheme


def foreign():
    """A function of this module, which is not the package's."""


def test_a_name_that_is_ours_is_fine():
    finding = judge_entries("driver", "policy loss", ("rest",), {"rest": Scheme, "vanilla": foreign})
    assert (finding.level, finding.found) == ("ok", "rest")


def test_a_missing_name_is_named():
    finding = judge_entries("driver", "trainer mode", ("rest_sync", "rest_b"), {"rest_sync": Scheme})
    assert (finding.level, finding.found) == ("failure", "missing: rest_b")


def test_a_name_that_another_module_holds_is_named_with_it():
    finding = judge_entries("driver", "policy loss", ("rest",), {"rest": foreign})
    assert (finding.level, finding.found) == ("failure", f"rest is held by {__name__}")
    assert "VERL_USE_EXTERNAL_PLUGINS=rest_verl" in finding.remedy


@pytest.mark.parametrize(("module", "level"), [("rest_verl.rollout", "ok"), ("rest_verl_fork.loop", "failure")])
def test_agent_loops_are_known_by_the_class_that_their_node_names(module, level):
    entries = {"rest_tool_agent": {"_target_": f"{module}.Loop"}}
    assert module_of(entries["rest_tool_agent"]) == module
    assert judge_entries("driver", "agent loop", ("rest_tool_agent",), entries).level == level


def test_the_names_looked_for_are_all_eight(all_names):
    assert {kind: list(registry.names) for kind, registry in REGISTRIES.items()} == all_names
