"""What bfcl-eval's own memory classes, executor and prompts say, in a process of its own with this file as program.

Its executor evaluates source text, and its memories are files: a chain of conversations hands its memory on through
them, as on the leaderboard.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bfcl_official import _imported_packages, _StandIns

SCENARIO = "customer"


@dataclass
class Chain:
    """Conversations of one scenario, each with its calls as Python source, in which each name stands once."""

    backend: str
    conversations: list[list[str]]


def ask_reference(chains: list[Chain], work: Path) -> list[dict[str, Any]]:
    """Return, for each chain, {"results": of all calls of each conversation, "memories": after each, "shown": the
    system message of a question that follows}.

    Args:
        work: an empty folder for what it writes.
    """
    done = subprocess.run(
        [sys.executable, __file__, str(work)],
        input=json.dumps([asdict(chain) for chain in chains]),
        capture_output=True,
        text=True,
        env=os.environ | {"BFCL_PROJECT_ROOT": str(work)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("\n")[2])


def main(work: Path) -> None:
    missing = {name for name in _imported_packages() if importlib.util.find_spec(name) is None}
    sys.meta_path.append(_StandIns(missing | {"google"}))
    executor = importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils")
    prompts = importlib.import_module("bfcl_eval.model_handler.utils")
    process = importlib.import_module("bfcl_eval.utils").process_agentic_test_case
    answers = []
    for number, chain in enumerate(json.load(sys.stdin)):
        name, category = f"MemoryAPI_{chain['backend']}", f"memory_{chain['backend']}"

        def run(id: str, calls: list[str], name: str = name, number: int = number) -> tuple[list[str], Any]:
            config = {"model_result_dir": work / str(number), "scenario": SCENARIO, "test_id": id}
            results, instances = executor.execute_multi_turn_func_call(calls, {name: config}, [name], f"m{number}", id)
            return results, instances[name]

        answer: dict[str, Any] = {"results": [], "memories": []}
        for index, calls in enumerate(chain["conversations"]):
            results, instance = run(f"{category}_prereq_{index}-{SCENARIO}-{index}", calls)
            instance._flush_memory_to_local_file()
            answer["results"].append(results)
            answer["memories"].append(json.loads(instance.latest_snapshot_file.read_text()))
        id = f"{category}_0-{SCENARIO}-0"
        question = process([{"id": id, "question": [[{"role": "user", "content": "?"}]]}])[0]["question"]
        shown = prompts.add_memory_instruction_system_prompt(question, category, SCENARIO, run(id, [])[1])
        answers.append(answer | {"shown": shown[0][0]["content"]})
    print("\n" + json.dumps(answers), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
