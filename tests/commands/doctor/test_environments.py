"""`rest-verl doctor` as a command, in a good environment and in broken ones; each is real, made for the test.

Each costs some fifteen seconds of imports, so without `--all` there are two: in the others the same findings are made
as in test_versions.py and test_machine.py, from what is found there.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from tiers import HANG_GUARD, UNHURRIED

import rest_verl

ROOT = Path(__file__).parents[3]
DOCTOR = ["-c", "from rest_verl.cli import app; app()", "doctor", "--json"]
ACME = "acme_rl = acme_rl"
TAKES_LATER = """
import wrapt

@wrapt.when_imported("verl.trainer.ppo.v1")
def register(module):
    from verl.trainer.ppo.core_algos import register_policy_loss
    register_policy_loss("rest")(lambda *args, **kwargs: None)
"""
TAKES_FIRST = """
from verl.trainer.ppo.core_algos import register_adv_est
register_adv_est("rest")(lambda *args, **kwargs: None)
"""
OTHER_PLUGINS = {"taken later": TAKES_LATER, "taken first": TAKES_FIRST}
# a mount of its own, in a namespace that ends with the process
SMALL = ["--mount", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"', "sh"]


def can_mount(command):
    try:
        return subprocess.run([*command, "true"], capture_output=True, timeout=HANG_GUARD).returncode == 0
    except FileNotFoundError:
        return False


MOUNTS = next((one for one in (["unshare", *SMALL], ["unshare", "-r", *SMALL]) if can_mount(one)), None)


def python_without_vllm(folder):
    """A Python whose packages are links to those of this one, but for vLLM's."""
    venv.create(folder / "python", symlinks=True)
    site = folder / "site"
    site.mkdir()
    for entry in Path(torch.__file__).parents[1].iterdir():
        if not entry.name.lower().startswith("vllm"):
            (site / entry.name).symlink_to(entry)
    return str(folder / "python" / "bin" / "python"), [site]


class Reports:
    """What the doctor says in each environment, once it is asked for: (exit status, its JSON, standard error)."""

    def __init__(self, folder):
        self._folder = folder
        self._said = {}

    def __getitem__(self, name):
        if name not in self._said:
            self._said[name] = self._run(name)
        return self._said[name]

    def _run(self, name):
        site = self._folder / name.replace(" ", "_")
        site.mkdir()
        python, paths, options, before = sys.executable, [site], ["--no-worker"], []
        if name == "good":
            options = []
        elif name == "broken plugin":
            (site / "wrapt.py").write_text("raise ImportError('wrapt was built for another Python')\n")
        elif name == "wrong verl":
            metadata(site, "verl", "0.8.0")
        elif name in OTHER_PLUGINS:
            metadata(site, "acme-rl", "2.0", ACME)
            (site / "acme_rl.py").write_text(OTHER_PLUGINS[name])
        elif name == "no vllm":
            python, paths = python_without_vllm(site)
        else:
            before = MOUNTS
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("VERL_", "RAY_"))}
        environment |= UNHURRIED
        environment["PYTHONPATH"] = os.pathsep.join(map(str, [*paths, ROOT]))
        done = subprocess.run(
            [*before, python, *DOCTOR, *options],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_GUARD,
        )
        assert done.stdout.startswith("{"), f"{name}: {done.stdout}{done.stderr}"
        return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return Reports(tmp_path_factory.mktemp("environments"))


def metadata(site, name, version, entry=""):
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry:
        (info / "entry_points.txt").write_text(f"[verl.plugins]\n{entry}\n")


def failures(report):
    status, said, _ = report
    found = {(one["group"], one["check"]): one for one in said["findings"] if one["level"] == "failure"}
    assert (status, said["can_start"]) == (int(bool(found)), not found)
    assert all(one["remedy"] for one in found.values())
    return found


def test_in_the_good_environment_a_run_can_start(reports, all_names):
    assert failures(reports["good"]) == {}
    status, said, errors = reports["good"]
    assert (status, errors) == (0, "")
    for group in ("driver", "Ray worker"):
        found = {one["check"]: one["found"] for one in said["findings"] if one["group"] == group}
        assert {kind: found[kind] for kind in all_names} == {
            kind: ", ".join(names) for kind, names in all_names.items()
        }
    assert any(one["check"] == "engine vllm" and one["level"] == "ok" for one in said["findings"])


def test_a_plugin_that_fails_to_import_is_shown(reports):
    """With the error that verl hides."""
    found = failures(reports["broken plugin"])
    assert list(found) == [("plugin", "loaded by verl")]
    said = found["plugin", "loaded by verl"]
    assert said["found"].startswith("ImportError: wrapt was built for another Python (")
    assert "wrapt.py:1" in said["found"] and "Reinstall" in said["remedy"]


@pytest.mark.release
def test_a_verl_outside_of_the_range_is_named(reports):
    found = failures(reports["wrong verl"])
    assert list(found) == [("versions", "verl"), ("plugin", "loaded by verl")]
    plugin = found["plugin", "loaded by verl"]
    assert "and verl 0.8.0 is installed: pip install 'verl<0.10,>=0.9'" in plugin["found"] + plugin["remedy"]
    assert found["versions", "verl"]["found"] == f"0.8.0; rest-verl {rest_verl.__version__} requires <0.10,>=0.9"
    assert found["versions", "verl"]["remedy"] == "pip install 'verl<0.10,>=0.9'"


@pytest.mark.release
def test_a_missing_vllm_is_named(reports):
    found = failures(reports["no vllm"])
    assert found["versions", "rollout engine"]["found"] == "neither vLLM nor SGLang"
    assert "verl[vllm]" in found["versions", "rollout engine"]["remedy"]


@pytest.mark.release
def test_a_name_that_another_plugin_took_later_is_named(reports):
    """verl says no word of it."""
    found = failures(reports["taken later"])
    assert list(found) == [("driver", "policy loss")]
    assert found["driver", "policy loss"]["found"] == "rest is held by acme_rl"
    assert "VERL_USE_EXTERNAL_PLUGINS=rest_verl" in found["driver", "policy loss"]["remedy"]


@pytest.mark.release
def test_a_name_that_another_plugin_took_first_is_shown(reports):
    """It keeps our plugin from loading."""
    found = failures(reports["taken first"])
    assert list(found) == [("plugin", "loaded by verl")]
    said = found["plugin", "loaded by verl"]
    assert "Adv estimator rest has already been registered" in said["found"]
    assert "VERL_USE_EXTERNAL_PLUGINS=rest_verl" in said["remedy"]
    others = [one["found"] for one in reports["taken first"][1]["findings"] if one["check"] == "other plugin"]
    assert others == ["acme_rl (acme_rl, from acme-rl 2.0)"]


@pytest.mark.skipif(MOUNTS is None, reason="no right to mount a small /dev/shm in a namespace of its own")
@pytest.mark.release
def test_no_space_in_shared_memory_is_named(reports):
    found = failures(reports["no shared memory"])
    assert list(found) == [("machine", "shared memory")]
    assert found["machine", "shared memory"]["found"] == "8 MiB of 8 MiB free in /dev/shm"
    assert "--shm-size" in found["machine", "shared memory"]["remedy"]
