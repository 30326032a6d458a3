"""The verdicts of bfcl-eval's own program, `bfcl evaluate`, on a folder of result files.

It runs in a process of its own, this file as its program. The package imports the clients of every vendor, some
hundred packages, to no end here: those that are not installed are replaced by stand-ins, which nothing touches.
"""

import ast
import csv
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock


def official_verdicts(results: Path, model: str, work: Path) -> tuple[dict[str, bool], dict[str, float]]:
    """Run the official scorer.

    Args:
        results: folder of the result files.
        model: as whose answers they are written.
        work: an empty folder for what it writes.

    Returns:
        whether each question is right, by id; and the share of right answers that it says, by category.
    """
    environment = os.environ | {"BFCL_PROJECT_ROOT": str(work)}
    done = subprocess.run(
        [sys.executable, __file__, str(results), str(work / "score"), model],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts, shares = {}, {}
    for path in results.rglob("BFCL_v4_*_result.json"):
        category = path.name.removeprefix("BFCL_v4_").removesuffix("_result.json")
        ids = [entry["id"] for entry in _lines(path)]
        score = work / "score" / path.relative_to(results).with_name(f"BFCL_v4_{category}_score.json")
        header, *wrong = _lines(score)
        assert header["total_count"] == len(ids)
        shares[category] = header["accuracy"]
        verdicts |= dict.fromkeys(ids, True) | {entry["id"]: False for entry in wrong}
    return verdicts, shares


def official_overall(work: Path) -> str:
    """The overall score in the table that the official scorer wrote, such as "12.34%"."""
    with (work / "score" / "data_overall.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    return row["Overall Acc"]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class _StandIns:
    """Finds modules of packages that are not installed."""

    def __init__(self, packages: set[str]):
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self._packages else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = MagicMock(spec_set=None, name=spec.name)
        module.__path__ = []
        module.__spec__ = spec
        if spec.name == "overrides":  # base class and decorators of the handlers
            module.EnforceOverrides = type("EnforceOverrides", (), {})
            module.override = module.final = lambda method: method
        return module

    def exec_module(self, module: ModuleType) -> None:
        return None


def _imported_packages() -> set[str]:
    """The top-level names of all that bfcl_eval imports."""
    package = Path(str(importlib.util.find_spec("bfcl_eval").origin)).parent
    names = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def main(results: str, scores: str, model: str) -> None:
    missing = {name for name in _imported_packages() if importlib.util.find_spec(name) is None}
    sys.meta_path.append(_StandIns(missing | {"google"}))  # a namespace of which a part may be there
    runner = importlib.import_module("bfcl_eval.eval_checker.eval_runner")
    runner.main([model], ["all_scoring"], results, scores, partial_eval=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
