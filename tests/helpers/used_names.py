"""Which names of other modules, and of Python itself, source code uses: what tests on security look at."""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT_IN = frozenset(dir(builtins))


@dataclass(frozen=True)
class Source:
    """A module of the package.

    Attributes:
        path: from the root of the repository.
        names: of `used_names`.
        chooses_attributes: of `chosen_attributes`.
    """

    path: str
    names: frozenset[str]
    chooses_attributes: bool


@cache
def sources() -> list[Source]:
    """Every module of the package."""
    found = []
    for path in sorted((ROOT / "rest_verl").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.append(Source(path.relative_to(ROOT).as_posix(), frozenset(used_names(tree)), chosen_attributes(tree)))
    return found


def used_names(tree: ast.AST) -> Iterator[str]:
    """Each name that is used, by the module that it comes from: `os.system` for any way to import and write it, `eval`
    for Python's own, `.eval` for a method of something else, `shell=True` for an argument that is a constant."""
    imported = dict(_imports(tree))
    yield from imported.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in BUILT_IN - imported.keys():
            yield node.id
        elif isinstance(node, ast.Attribute):
            whole = _dotted(node)
            yield f"{imported[whole[0]]}.{'.'.join(whole[1:])}" if whole[0] in imported else f".{node.attr}"
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            yield f"{node.arg}={node.value.value!r}"


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that an import binds, and what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield (one.asname, one.name) if one.asname else (one.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield one.asname or one.name, f"{node.module}.{one.name}"


def _dotted(node: ast.Attribute) -> list[str]:
    """`a.b.c` as its parts; the first is empty where it is no plain name."""
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    return [value.id if isinstance(value, ast.Name) else "", *reversed(parts)]


def chosen_attributes(tree: ast.AST) -> bool:
    """Whether source code reads an attribute whose name is not written in it."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "setattr")
        and not isinstance(node.args[1], ast.Constant)
        for node in ast.walk(tree)
    )
