"""Beside a verl of another range nothing is registered, and a preset ends the run with the reason."""

import os
import subprocess
import sys

import pytest
from tiers import HANG_GUARD

from rest_verl.plugin.version import RefuseVerl, UnsupportedVerl, check_verl, supported_versions

REFUSED = "rest-verl 0.2.0 works with verl <0.10,>=0.9, and verl 0.8.0 is installed: pip install 'verl<0.10,>=0.9'"
PLAIN_VERL = """
import sys
import verl
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
print("rest" in ADV_ESTIMATOR_REGISTRY, "grpo" in ADV_ESTIMATOR_REGISTRY)
"""

# As where verl looks for no plugins, which no version of the range can be made to do but by this variable.
DOCTOR = """
from rest_verl.commands.doctor.plugin import check_plugin
print([f"{one.check}: {one.found} -> {one.remedy}" for one in check_plugin()][-1])
"""


def install(site, **versions):
    """Metadata of distributions in a folder of `sys.path`."""
    for name, version in versions.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name.replace('_', '-')}", f"Version: {version}"]
        if name == "rest_verl":
            lines += ["Requires-Dist: torch>=2.6", "Requires-Dist: verl<0.10,>=0.9"]
        (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_the_range_is_that_of_the_packaging():
    assert str(supported_versions()) == "<0.10,>=0.9"


@pytest.mark.parametrize("version", ["0.9", "0.9.0", "0.9.1", "0.9.2.dev1", "0.9.1+local"])
def test_a_verl_of_the_range_passes(version, tmp_path, monkeypatch):
    install(tmp_path, verl=version, rest_verl="0.2.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    check_verl()


@pytest.mark.parametrize("version", ["0.8.0", "0.8.9.post1", "0.10.0", "0.10.0.dev1", "1.0"])
def test_a_verl_outside_of_the_range_is_named_with_the_command_that_mends_it(version, tmp_path, monkeypatch):
    install(tmp_path, verl=version, rest_verl="0.2.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UnsupportedVerl) as error:
        check_verl()
    assert str(error.value) == REFUSED.replace("0.8.0", version)
    with pytest.raises(SystemExit) as end:
        RefuseVerl().on_job_start({})
    assert end.value.code == str(error.value)  # which Python prints, with status 1


@pytest.mark.parametrize("there", [{"verl": "0.8.0"}, {"rest_verl": "0.2.0"}])
def test_without_metadata_there_is_nothing_to_compare(there, tmp_path, monkeypatch):
    install(tmp_path, **there)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    check_verl()


def test_verl_itself_runs_as_without_the_plugin_and_a_preset_is_refused_in_one_line(tmp_path):
    install(tmp_path / "site", verl="0.8.0")
    (tmp_path / "work").mkdir()
    commands = {
        "plain": [sys.executable, "-c", PLAIN_VERL],
        "preset": [sys.executable, "-m", "verl.trainer.main_ppo", "+rest=entropy"],
        "doctor": [sys.executable, "-c", DOCTOR],
    }
    none = {"doctor": {"VERL_USE_EXTERNAL_PLUGINS": "none"}}
    running = {
        name: subprocess.Popen(
            command,
            cwd=tmp_path / "work",
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")} | none.get(name, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in commands.items()
    }
    said = {name: process.communicate(timeout=HANG_GUARD) for name, process in running.items()}
    assert said["plain"][0].split() == ["False", "True"], said["plain"][1]
    assert running["preset"].returncode == 1
    assert said["preset"][1].strip().splitlines()[-1] == REFUSED
    assert "Traceback" not in said["preset"][1] and "rest-verl" not in said["preset"][0]
    assert said["doctor"][0].strip() == f"loaded by verl: no -> {REFUSED}", said["doctor"][1]
