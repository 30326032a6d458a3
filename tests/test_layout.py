"""The package is a house of rooms: what a room may import, and that no two need each other. Its front door: what
`from rest_verl import ...` gives, and what `import rest_verl` does not load."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
from tiers import HANG_GUARD

import rest_verl

PACKAGE = Path(rest_verl.__file__).parent
# From the front door down: a room imports only rooms that stand below it (CONTRIBUTING.md has the picture).
ROOMS = (
    "cli",
    "commands",
    "eval",
    "bfcl",
    "data",
    "plugin",
    "resilience",
    "records",
    "rollout",
    "reward",
    "weighting",
    "config",
    "formats",
    "core",
    "cpu",
    "common",
)
# The registries name these modules as text, so that a benchmark's room is imported only by who asks for its name.
CORE_MAY_IMPORT = {"core", "common"}


@cache
def imports():
    """(importing module, imported module) within the package; imports inside of functions count too."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        importer = ".".join(("rest_verl", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {(importer, alias.name) for alias in node.names if alias.name.startswith("rest_verl.")}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rest_verl."):
                found.add((importer, node.module))
    return found


def room(module):
    return module.split(".")[1]


def test_every_room_is_known():
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__", "hydra_configs"} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_below_it(name):
    above = set(ROOMS[: ROOMS.index(name)])
    upward = {(a, b) for a, b in imports() if a != "rest_verl" and room(a) == name and room(b) in above}
    assert upward == set()


def test_no_module_imports_itself_by_a_detour():
    graph = defaultdict(set)
    modules = {importer for importer, _ in imports()}
    for importer, imported in imports():
        if imported in modules:
            graph[importer].add(imported)
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_core_is_mathematics_alone():
    below = {room(b) for a, b in imports() if room(a + ".") == "core"}
    assert below <= CORE_MAY_IMPORT


def test_the_map_for_contributors_shows_the_rooms_in_this_order():
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    rooms = page.partition("## The rooms")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)(?:/|\.py)` \|", rooms, re.MULTILINE)) == ROOMS


HOMES = {
    "RestTrainerMixin": "rest_verl.plugin.trainer",
    "register_curriculum": "rest_verl.core.curriculum",
    "register_environment": "rest_verl.rollout.environment",
    "register_format": "rest_verl.formats",
    "register_scheme": "rest_verl.weighting.schemes",
    "register_scorer": "rest_verl.reward.scorers",
}


def in_a_fresh_process(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_GUARD)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_heavy_library():
    heavy = ("verl", "torch", "ray", "vllm", "transformers", "numpy", "pandas")
    script = f"import sys, rest_verl; dir(rest_verl); print([name for name in {heavy} if name in sys.modules])"
    assert in_a_fresh_process(script) == "[]\n"


@pytest.mark.parametrize("name", HOMES)
def test_every_name_is_the_object_of_its_module(name):
    assert getattr(rest_verl, name) is getattr(import_module(HOMES[name]), name)


def test_what_a_module_of_a_user_registers_with_loads_no_verl():
    """The `register_*` functions in a process that has nothing else imported, as in a user's own tests."""
    names = ", ".join(name for name in HOMES if name.startswith("register_"))
    assert in_a_fresh_process(f"import sys; from rest_verl import {names}; print('verl' in sys.modules)") == "False\n"


def test_the_names_are_listed():
    assert rest_verl.__all__ == sorted(HOMES)
    assert {*HOMES, "__version__"} <= set(dir(rest_verl))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'rest_verl' has no attribute 'register_schema'"):
        rest_verl.register_schema  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'register_schema'"):
        from rest_verl import register_schema  # noqa: F401
