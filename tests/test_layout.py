"""The package is a house of rooms: what a room may import, and that no two need each other."""

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

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
