"""Every command in the documentation is run here, or names the test that runs it, or the reason why none does.

A block of commands is fenced as `bash`. In the line above it may stand

    <!-- tested by tests/... -->    another test runs these commands
    <!-- not run: REASON -->        nothing does

and without such a remark it is run here: the blocks of a page one after the other, in one empty folder that has the
checkout's recipes/ and examples/ in it. Without `--all` that is the page of SHORT alone; of the others it is seen that
the commands parse, and tests of each command run it.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from page_blocks import ROOT, blocks_of, prose_of
from tiers import HANG_GUARD
from typer.core import TyperGroup

from rest_verl.cli import app

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("*.md"))]
COMMANDS = [block for page in PAGES for block in blocks_of(page) if block.language == "bash"]
SHORT = ROOT / "docs" / "preview.md"
RUN_HERE = [page for page in PAGES if any(block.page == page and not block.remark for block in COMMANDS)]

# How a line begins that a reader would paste into a shell.
LIKE_A_COMMAND = re.compile(
    r"^\s*(\$ )?([A-Z_]+=\S+ )*(python3?|bash|pip|rest-verl|vllm|ray|torchrun|git|mkdocs) +[\w./$\"'-]", re.MULTILINE
)
needs_bfcl = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None,
    reason="the page's commands need BFCL's data: pip install --no-deps bfcl-eval==2026.3.23",
)


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_blocks_of_bash(page):
    """The errors on docs/troubleshooting.md stand below the commands that cause them: another test runs those."""
    elsewhere = [str(block) for block in blocks_of(page) if block.language in ("sh", "shell", "zsh")]
    for block in blocks_of(page):
        if block.language in ("", "text") and LIKE_A_COMMAND.search(block.text):
            elsewhere.append(str(block))
        if block.language == "console" and page.name != "troubleshooting.md":
            elsewhere.append(str(block))
    indented = re.findall(r"^ {4}\S.*", prose_of(page), re.MULTILINE)
    assert elsewhere + [line for line in indented if LIKE_A_COMMAND.search(line)] == []


@pytest.mark.parametrize("block", [block for block in COMMANDS if block.remark], ids=str)
def test_a_block_that_is_not_run_says_why(block):
    if tests := re.fullmatch(r"tested by (\S+(?:, \S+)*)", block.remark):
        assert [test for test in tests[1].split(", ") if not (ROOT / test).is_file()] == []
    else:
        assert re.fullmatch(r"not run: \S+ \S+ .+", block.remark), "a remark without a reason of a few words"


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_the_scripts_that_are_named_exist(block):
    named = re.findall(r"(?:recipes|examples|tests)/[\w/.-]+\.(?:sh|py)", block.text)
    assert [script for script in named if not (ROOT / script).is_file()] == []


def parse(command, arguments):
    """Parse a command line as the command would, subcommands included; of values only that they are there.

    Raises:
        Exception: of click's, for an option that there is not, or an argument that is missing.
    """
    try:
        context = command.make_context(command.name, list(arguments))
    except typer.BadParameter as error:
        if "missing" in str(error).lower():
            raise
        return  # a file that the reader has and this test has not
    if isinstance(command, TyperGroup):
        chosen = command.get_command(context, arguments[0])
        assert chosen is not None, f"no command {arguments[0]}"
        parse(chosen, arguments[1:])


@pytest.mark.parametrize("block", [block for block in COMMANDS if "rest-verl " in block.text], ids=str)
def test_options_of_our_commands_exist(block):
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["rest-verl"]:
            parse(typer.main.get_command(app), words[1:])


def test_an_option_that_is_not_there_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        parse(typer.main.get_command(app), ["data", "bfcl", "--oot", "x"])
    with pytest.raises(typer.BadParameter, match=r"(?i)missing"):
        parse(typer.main.get_command(app), ["data", "rlla", "rows.json"])


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page == SHORT else (needs_bfcl, pytest.mark.release)) for page in RUN_HERE],
    ids=name_of,
)
def test_the_commands_of_a_page_run_in_their_order(page, tmp_path):
    for folder in ("recipes", "examples"):
        if (ROOT / folder).exists():
            (tmp_path / folder).symlink_to(ROOT / folder)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),  # the checkout's own modules, also those that are newer than its installation
    }
    for block in COMMANDS:
        if block.page == page and not block.remark:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=HANG_GUARD,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
