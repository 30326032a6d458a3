"""Small files of every maker: what `rest-verl data` makes of ToolRL's and API-Bank's rows and BFCL's questions."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from right_answers import right_answer
from typer.testing import CliRunner

from rest_verl.bfcl.data.files import bfcl_folder
from rest_verl.cli import app
from rest_verl.data.data_set import write_parquet

PROMPT_TOKENS, RESPONSE_TOKENS = 512, 128  # for a tiny tokenizer that was trained on these rows
ROWS = 8  # of each data source

SYSTEM = """You may call tools.

**Available Tools**
1. Name: {name}
Description: Looks something up.
Parameters: {{"{key}": {{"type": "str"}}}}"""


@dataclass(frozen=True)
class MakerRows:
    """Files and what is in them.

    Attributes:
        training: a file of each of two makers, 16 rows each; without BFCL's data one.
        validation: a file of each data source.
        texts: every text of these files, answers included, for a tokenizer.
        missing: why there is nothing of BFCL's; empty where there is.
    """

    training: list[Path]
    validation: list[Path]
    texts: list[str]
    missing: str


def make_rows(folder: Path) -> MakerRows:
    """Make them; a tiny model gets the shortest questions of each source."""
    asked = [(f"Look{i}", f"key{i}", f"value {i}") for i in range(5 * ROWS)]
    toolrl, apibank = [], []
    for name, key, value in asked:
        system, call = SYSTEM.format(name=name, key=key), {"name": name, "parameters": {key: value}}
        answer = f"<think> t </think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
        toolrl.append({"system": system, "user": f"Find {value}.", "output": answer})
        apibank.append({"system": system, "user": f"Please find {value}.", "answer": call, "other": {"id": value}})
    (folder / "toolrl.json").write_text(json.dumps(toolrl))
    (folder / "level2.json").write_text(json.dumps(apibank))
    made = {
        "rlla": ["rlla", str(folder / "toolrl.json"), "--validation-share", "0.5"],
        "apibank": ["apibank", str(folder / "level2.json")],
    }
    missing = ""
    try:
        bfcl_folder()
        categories = ["--categories", "simple_python,irrelevance"]
        made["bfcl"] = ["bfcl", *categories, "--validation-share", "1.0"]
    except ModuleNotFoundError as error:
        missing = str(error)
    for name, command in made.items():
        run("data", *command, "--out", str(folder / name))
    run("data", "check", *map(str, folder.glob("*/*.parquet")))
    sources: dict[str, list[dict]] = {}
    rows = [row for name in made for row in pq.read_table(folder / name / "validation.parquet").to_pylist()]
    for row in sorted(rows, key=lambda row: sum(len(message["content"]) for message in row["prompt"])):
        sources.setdefault(row["data_source"], []).append(row)
    validation = []
    for source, found in sources.items():
        validation.append(folder / f"{source}.parquet")
        write_parquet(found[:ROWS], validation[-1])
    rlla = pq.read_table(folder / "rlla" / "train.parquet").to_pylist()
    training = {"rlla_train": rlla[: 2 * ROWS], "bfcl_train": sources.get("bfcl_simple_python", [])[: 2 * ROWS]}
    for name, found in training.items():
        if found:
            write_parquet(found, folder / f"{name}.parquet")
    shown = [row for found in (*training.values(), *sources.values()) for row in found[: 2 * ROWS]]
    return MakerRows(
        [folder / f"{name}.parquet" for name, found in training.items() if found],
        validation,
        [message["content"] for row in shown for message in row["prompt"]] + [right_answer(row) for row in rlla],
        missing,
    )


def run(*command: str) -> None:
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 0, done.output
