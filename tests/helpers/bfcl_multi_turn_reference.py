"""What BFCL's own executor and checker say about multi-turn trajectories.

They run in a process of their own, this file as its program, since they evaluate source text and keep every instance
under a global name. Before each trajectory all that they keep is brought back to how a new process has it.
"""

import ast
import copy
import importlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval"
MODEL = "m"


@dataclass
class Job:
    """A trajectory on one task.

    Attributes:
        entry: id, initial_config and involved_classes of the task.
        due: Python source of the calls that are due in each turn.
        made: of those that the trajectory made, by turn and step.
    """

    entry: dict[str, Any]
    due: list[list[str]]
    made: list[list[list[str]]]


def source_of(name: str, arguments: dict[str, Any]) -> str:
    """A call by value as Python source."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def ask_reference(jobs: list[Job]) -> list[dict[str, Any]]:
    """Return {"valid": the checker's verdict, "results": of all calls made, in their order} of each job."""
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps([asdict(job) for job in jobs]), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class _Handler:
    """Stands in for a model's handler: the steps are decoded already."""

    def decode_execute(self, step: list[str], has_tool_call_tag: bool) -> list[str]:
        return step


def _published_verdict(utils: Any) -> Any:
    """The function behind the leaderboard, taken out of a module that cannot be imported without the whole package."""
    checker = importlib.import_module(f"{PACKAGE}.multi_turn_checker")
    path = importlib.import_module("bfcl_eval").__path__[0] + "/eval_checker/eval_runner.py"
    name = "_evaluate_single_multi_turn_entry"
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    known = {
        "BaseHandler": _Handler,
        "is_empty_execute_response": utils.is_empty_execute_response,
        "multi_turn_checker": checker.multi_turn_checker,
    }
    exec(compile(tree, path, "exec"), known)
    return known[name]


def main() -> None:
    utils = importlib.import_module(f"{PACKAGE}.multi_turn_utils")
    verdict = _published_verdict(utils)
    posting = importlib.import_module(f"{PACKAGE}.func_source_code.posting_api")
    padding = importlib.import_module(f"{PACKAGE}.func_source_code.long_context")
    shared = {key: value for key, value in vars(padding).items() if isinstance(value, dict) and key.isupper()}
    as_new = copy.deepcopy(shared)
    answers = []
    for job in json.load(sys.stdin):
        for key, value in shared.items():
            value.clear()
            value.update(copy.deepcopy(as_new[key]))
        posting.TwitterAPI.post_tweet.__defaults__ = ([], [])
        for key in [key for key in vars(utils) if key.endswith("_instance")]:
            del vars(utils)[key]
        entry, category = job["entry"], job["entry"]["id"].rsplit("_", 1)[0]
        answer = verdict(_Handler(), entry["id"], job["made"], job["due"], dict(entry), MODEL, category)
        results = []
        for turn in job["made"]:
            for step in turn:
                results += utils.execute_multi_turn_func_call(
                    step,
                    entry["initial_config"],
                    entry["involved_classes"],
                    "again",
                    entry["id"],
                    long_context="long_context" in category,
                )[0]
        answers.append({"valid": answer["valid"], "results": results})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
