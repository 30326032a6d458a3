"""The errors on docs/troubleshooting.md are what is really said.

A `console` block is a command and what it says: here the command is given, up to where Ray would start. A `text` block
is a message of this package that only a long run brings up: here it is looked up in the code. A block below a remark
`<!-- not run: REASON -->` is neither.
"""

import ast
import importlib.util
import re
import shlex

import pytest
from hydra import compose, initialize_config_module
from page_blocks import ROOT, blocks_of
from typer.testing import CliRunner

from rest_verl.cli import app

BLOCKS = blocks_of(ROOT / "docs" / "troubleshooting.md")
CONSOLE = [block for block in BLOCKS if block.language == "console" and not block.remark]
MESSAGES = [block for block in BLOCKS if block.language == "text" and not block.remark]

# What `...` in a command stands for: what verl's own validation asks of every run.
THE_REST = [
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
]


def what_verl_says(overrides):
    """The error of verl's command before Ray starts: Hydra's, ours or that of verl's own validation."""
    import verl  # noqa: F401  loads the plugin
    from verl.utils.config import validate_config

    # whatever is raised, of any kind, is printed to the user
    with initialize_config_module("verl.trainer.config", version_base=None), pytest.raises(Exception) as error:
        validate_config(compose("ppo_trainer", overrides), use_reference_policy=False, use_critic=False)
    causes = [error.value]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return "\n".join(map(str, causes))


def what_rest_verl_says(arguments):
    """What the command rest-verl prints as it ends with status 1."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    return done.output


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_the_command_says_what_the_page_says(block, tmp_path, monkeypatch):
    command, _, expected = block.text.partition("\n")
    program, *arguments = shlex.split(command.removeprefix("$ "))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut_short.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "ask.jinja").write_text("Tools:\n{{ tools")
    if program == "rest-verl":
        if "bfcl" in arguments and importlib.util.find_spec("bfcl_eval") is None and "not installed" not in expected:
            pytest.skip("needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23")
        said = what_rest_verl_says(arguments)
    else:
        assert (program, arguments[:2]) == ("python", ["-m", "verl.trainer.main_ppo"])
        overrides = [part for argument in arguments[2:] for part in (THE_REST if argument == "..." else [argument])]
        said = what_verl_says(overrides)
    said = " ".join(said.split())
    assert expected.strip()
    assert [line for line in expected.splitlines() if " ".join(line.split()) not in said] == [], said


def messages_in_code():
    """Patterns of all texts in the package that hold enough fixed words to know a message by."""
    patterns = []
    for path in (ROOT / "rest_verl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = re.split(r"(%s)", node.value)  # of logging
                parts = [None if part == "%s" else part for part in parts]
            else:
                continue
            if sum(len(part) for part in parts if part) >= 25:
                patterns.append("".join(".+" if part is None else re.escape(part) for part in parts))
    return patterns


@pytest.mark.parametrize("block", MESSAGES, ids=str)
def test_the_message_stands_in_the_code(block):
    message = " ".join(block.text.split())
    assert any(re.search(pattern, message) for pattern in messages_in_code())


def test_the_page_holds_both_kinds():
    assert len(CONSOLE) >= 15 and len(MESSAGES) >= 5
