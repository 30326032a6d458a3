"""What this package uses of other packages: a list that is complete, not stale, and held by what is installed. With a
verl of another range nothing is registered, and a preset ends the run with the reason."""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiers import HANG_GUARD

import rest_verl
from rest_verl.commands.doctor.parts import check_parts
from rest_verl.plugin.contract import CONTRACT, Part
from rest_verl.plugin.contract_check import Sources, check_contract
from rest_verl.plugin.version import RefuseVerl, UnsupportedVerl, check_verl, supported_versions

PACKAGE = Path(rest_verl.__file__).parent
OTHERS = ("verl", "ray", "vllm", "transfer_queue")
SITE = Path(find_spec("verl").origin).parents[1]
NAMES = {part.name for part in CONTRACT}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported():
    """What each module of the package imports from the others, as names of parts."""
    for used_in, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OTHERS:
                yield from ((f"{node.module}:{alias.name}", used_in) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((one.name, used_in) for one in node.names if one.name.partition(".")[0] in OTHERS)


def test_everything_that_is_imported_is_in_the_list():
    found = list(imported())
    assert len(found) > 60
    users = {part.name: part.used_in.split(", ") for part in CONTRACT}
    assert [(name, used_in) for name, used_in in found if used_in not in users.get(name, ())] == []


def test_every_overridden_method_is_in_the_list():
    """A method that calls the one below it relies on it, which is verl's unless it is ours."""
    methods = {part.name.rpartition(".")[2] for part in CONTRACT if ":" in part.name}
    folders = ("plugin.", "resilience.watched", "rollout.agent_loop", "rollout.verl_loop", "reward.manager")
    called = set()
    for name, tree in modules():
        if name.startswith(folders):
            called |= set(re.findall(r"super\(\)\.(\w+)\(", ast.unparse(tree)))
    ours = {"_servers", "_checkpoint_managers"}
    assert len(called) > 15 and called - methods <= ours


@pytest.mark.parametrize("part", CONTRACT, ids=lambda part: part.name)
def test_every_part_is_named_where_it_is_used(part):
    last = re.split(r"[.:]", part.name)[-1]
    for used_in in part.used_in.split(", "):
        text = (PACKAGE / Path(*used_in.split("."))).with_suffix(".py").read_text()
        wanted = [*part.fields, *part.attributes] or [last]
        assert any(one in text for one in (*wanted, last)), f"{used_in} does not name {part.name}"


def test_what_is_installed_has_every_part():
    assert check_contract(Sources([SITE])) == []
    (finding,) = check_parts()
    assert finding.level.value == "ok" and finding.found.startswith(f"{len(CONTRACT)} of {len(CONTRACT)} in verl")


MOVED = """
from .other import *
from .other import renamed as called

class Base:
    limit: int = 0

    def __init__(self):
        self.batch = None

class Trainer(Base):
    def step(self, batch, *, metrics): ...

def free(*args, **kwargs): ...
VALUE = {"scores": 1}
"""


@pytest.fixture
def moved(tmp_path):
    """A package whose parts are found by import, by star, by inheritance, or not at all."""
    (tmp_path / "verl").mkdir()
    (tmp_path / "verl" / "__init__.py").write_text(MOVED)
    (tmp_path / "verl" / "other.py").write_text("def renamed(config): ...\ndef shared(config): ...\n")
    return tmp_path


@pytest.mark.parametrize(
    "part",
    [
        Part("verl:Trainer.step", "", ("batch", "metrics")),
        Part("verl:Trainer.__init__", ""),
        Part("verl:Trainer", "", attributes=("batch", "limit", "step")),
        Part("verl:called", "", ("config",)),
        Part("verl:shared", "", ("config",)),
        Part("verl:free", "", ("anything",)),
        Part("verl:VALUE", "", fields=("scores",)),
        Part("verl:other", ""),
        Part("verl.other", ""),
    ],
    ids=lambda part: part.name,
)
def test_a_part_is_found_wherever_it_is_defined(moved, part):
    assert check_contract(Sources([moved]), [part]) == []


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (Part("verl.gone:name", "a"), "there is no such module"),
        (Part("verl:gone", "a"), "there is no such name"),
        (Part("verl:Trainer.fit", "a"), "there is no such method"),
        (Part("verl:VALUE.fit", "a"), "it is no class"),
        (Part("verl:Trainer", "a", ("batch",)), "it is no function"),
        (Part("verl:Trainer.step", "a", ("batch", "timing")), "it has no parameter timing, but self, batch, metrics"),
        (Part("verl:Trainer", "a", attributes=("batch", "queue")), "its instances have no queue"),
        (Part("verl", "a", fields=("rm_scores",)), "'rm_scores' occurs nowhere in it"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_part_that_moved_is_named_with_where_it_is_used(moved, part, problem):
    assert check_contract(Sources([moved]), [part]) == [f"{part.name}: {problem} (used in a)"]
    (finding,) = check_parts(moved, [part])
    assert finding.level.value == "failure" and problem in finding.found


def test_a_package_that_is_not_installed_lacks_nothing(moved):
    (finding,) = check_parts(moved, [Part("sglang_of_nobody:engine", "a"), Part("verl:Trainer", "b")])
    assert finding.found.startswith("1 of 1 in verl")


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
