"""A fault as data, and a copy of the checkout to plant it in."""

from __future__ import annotations

import ast
import compileall
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the tests read of a checkout.
PARTS = ("rest_verl", "hydra_configs", "tests", "examples", "benchmarks", "recipes", "docs")
FILES = ("pyproject.toml", "setup.py", "README.md")
SLOW_MARKS = {"e2e", "release"}  # of tests that are not in the fast tier


@dataclass(frozen=True)
class Planted:
    """A fault and the test that catches it.

    Attributes:
        name: what is wrong, in a few words.
        file: in rest_verl/.
        old: text that the file holds exactly once.
        new: what takes its place.
        test: node id of a test of the fast tier, without parameters: with parameters one of them has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


def planted_text(text: str, fault: Planted) -> str:
    """The text of the fault's file with the fault in it; ValueError unless `old` occurs once and `new` differs."""
    if fault.new == fault.old:
        raise ValueError(f"{fault.name}: changes nothing")
    if (found := text.count(fault.old)) != 1:
        raise ValueError(
            f"{fault.name}: the text to replace occurs {found} times in rest_verl/{fault.file}, expected once: adapt "
            "the fault to the code"
        )
    return text.replace(fault.old, fault.new)


def slow_marks(test: str, root: Path = ROOT) -> set[str]:
    """The marks of `SLOW_MARKS` that a test has, itself or by its module or folder, found without importing it.

    Raises:
        ValueError: there is no such test.
    """
    path, _, name = test.partition("::")
    module = _parsed((root / path).read_text(encoding="utf-8") if (root / path).is_file() else "")
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        near = get_close_matches(name, functions, n=1)
        raise ValueError(f"{test}: there is no such test{f'; did you mean {near[0]}?' if near else ''}")
    assigned = [node for node in module.body if isinstance(node, ast.Assign) and "pytestmark" in ast.dump(node)]
    marked = [*functions[name].decorator_list, *(node.value for node in assigned)]
    named = {node.attr for mark in marked for node in ast.walk(mark) if isinstance(node, ast.Attribute)}
    return (named | set(Path(path).parts)) & SLOW_MARKS  # tests/e2e/conftest.py marks all of its folder


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)  # of a file that many faults name


def copy_checkout(folder: Path) -> None:
    """Copy what the tests need into a new folder, with the package compiled."""
    folder.mkdir(parents=True)
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "corpus", "*.parquet", "*.safetensors")
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    compileall.compile_dir(folder / "rest_verl", quiet=1)


@contextmanager
def planted(fault: Planted, copy: Path) -> Iterator[None]:
    """Let a copy have the fault for as long as the block runs."""
    path = copy / "rest_verl" / fault.file
    before, times = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(planted_text(before, fault), encoding="utf-8")
    # Compiled code is told from its source by the second of its time: another time than it ever had.
    os.utime(path, (times.st_atime, times.st_mtime + 3600))
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
