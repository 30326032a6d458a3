"""Findings on an installation that is not as it should be."""

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from rest_verl import doctor


@pytest.fixture
def installed(monkeypatch):
    """The versions of the distributions that are installed; change them at will."""
    versions = {"verl": "0.9.1", "torch": "2.13.0", "transformers": "5.10.4", "ray": "2.50.0", "vllm": "0.24.0"}

    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor, "version", version)
    return versions


def entry_point(load):
    return SimpleNamespace(name="rest_verl", value="rest_verl.plugin", load=load)


@pytest.fixture
def plugin(monkeypatch):
    """The entry points of verl's plugins; change them at will."""
    points = [entry_point(lambda: None)]
    monkeypatch.setattr(doctor, "entry_points", lambda group: points if group == "verl.plugins" else [])
    return points


def found():
    return {finding.check: finding for finding in doctor.findings()}


@pytest.fixture
def registered(monkeypatch):
    names = {kind: list(names) for kind, (_, _, names) in doctor.REGISTRIES.items()}
    monkeypatch.setattr(doctor, "registered_names", lambda: names)
    return names


def test_on_a_good_installation_all_is_fine_and_needs_no_remedy(installed, plugin, registered):
    findings = found()
    assert all(finding.fine and not finding.remedy for finding in findings.values())
    assert findings["verl"].found == "0.9.1"
    assert findings["rollout engine"].found == "vllm 0.24.0"
    assert findings["trainer mode"].found == "rest_sync, rest_colocate_async, rest_separate_async"


@pytest.mark.parametrize(("version", "fine"), [("0.8.9", False), ("0.9", True), ("0.9.1", True), ("0.10.0", False)])
def test_the_supported_versions_of_verl(installed, plugin, registered, version, fine):
    installed["verl"] = version
    finding = found()["verl"]
    assert (finding.fine, finding.remedy) == (fine, "" if fine else "pip install 'verl>=0.9,<0.10'")


def test_what_is_not_installed_comes_with_the_command_that_installs_it(installed, plugin, registered):
    del installed["ray"], installed["vllm"]
    findings = found()
    assert (findings["ray"].found, findings["ray"].remedy) == ("not installed", "pip install ray")
    assert (findings["rollout engine"].found, findings["rollout engine"].fine) == ("none", False)


def test_a_missing_entry_point_ends_the_list(installed, plugin, registered):
    plugin.clear()
    findings = found()
    assert (findings["plugin"].found, findings["plugin"].fine) == ("no entry point", False)
    assert "policy loss" not in findings


def test_a_plugin_that_fails_to_import_shows_its_error(installed, plugin, registered):
    def fail():
        raise ImportError("no module named wrapt")

    plugin[:] = [entry_point(fail)]
    assert found()["plugin"].found == "ImportError: no module named wrapt"


def test_a_name_that_is_not_registered_is_named(installed, plugin, registered):
    registered["trainer mode"].remove("rest_colocate_async")
    finding = found()["trainer mode"]
    assert (finding.found, finding.fine) == ("missing: rest_colocate_async", False)
    assert "VERL_USE_EXTERNAL_PLUGINS" in finding.remedy
