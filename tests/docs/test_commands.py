"""Every command in the documentation is run here, or names the test that runs it, or the reason why none does.

A block of commands is fenced as `bash`. In the line above it may stand

    <!-- tested by tests/... -->    another test runs these commands
    <!-- not run: REASON -->        nothing does

and without such a remark it is run here: the blocks of a page one after the other, in one empty folder that has the
checkout's recipes/ and examples/ in it. Without `--all` that is the page of SHORT alone; of the others it is seen that
the commands parse, and tests of each command run it.

Whatever the remark, each command that trains dry-runs as it is printed: verl's main, a recipe, and the check itself.
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
import typer.core
from command_line import runs_of
from own_names import module_writer
from page_blocks import ROOT, blocks_of, prose_of
from tiers import HANG_GUARD

from rest_verl.cli import app
from rest_verl.commands.check.run import dry_run

# The errors of the click that typer uses: the package of that name, or typer's own copy of it.
errors = sys.modules[typer.BadParameter.__module__]

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "recipes").glob("*.md")),
]
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


def parse(command, arguments, parent=None):
    """Parse a command line as the command would, subcommands included; of values only that they are there.

    Raises:
        UsageError: an option does not exist, or an argument is missing.
    """
    try:
        context = command.make_context(command.name, list(arguments), parent=parent)
    except errors.MissingParameter:
        raise
    except typer.BadParameter:
        return  # a file that the reader has and this test has not
    if isinstance(command, typer.core.TyperGroup):
        _, chosen, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(chosen, rest, context)


@pytest.mark.parametrize("block", [block for block in COMMANDS if "rest-verl " in block.text], ids=str)
def test_options_of_our_commands_exist(block):
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["rest-verl"]:
            parse(typer.main.get_command(app), words[1:])


# What `...` stands for in a command: what verl asks of every run.
THE_REST = ["actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.actor.use_dynamic_bsz=True"]
HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
# Blocks in which a variable of the shell holds the overrides: they are run, see below.
IN_A_VARIABLE = re.compile(r"\$\{?\w+\[@\]")


def trainings(block):
    """The overrides of each command of a block that trains, or that checks a training."""
    for line in HERE_DOCUMENT.sub("", block.text).replace("\\\n", " ").splitlines():
        words = [] if IN_A_VARIABLE.search(line) else shlex.split(line, comments=True)
        given = [word for word in words if re.match(r"[A-Z_]+=", word)]
        words = words[len(given) :]
        if words[:3] == ["python", "-m", "verl.trainer.main_ppo"]:
            yield [part for word in words[3:] for part in (THE_REST if word == "..." else [word])]
        elif words[:2] == ["rest-verl", "check"]:
            yield [word for word in words[2:] if word != "--"]
        elif words[:1] == ["bash"] and words[1].startswith("recipes/"):
            variables = dict(word.split("=", 1) for word in given if not word.startswith("DRY_RUN="))
            yield from runs_of(Path(words[1]).name, *words[2:], **variables)


TRAININGS = [(f"{block}", run) for block in COMMANDS for run in trainings(block)]


@pytest.mark.parametrize(("place", "run"), TRAININGS)
def test_a_training_dry_runs_as_it_is_printed(place, run, tmp_path, monkeypatch):
    """`=...` stands for a path of the reader's, and my_rest for the module that the page shows."""
    monkeypatch.chdir(tmp_path)
    shown = [block.text for block in blocks_of(ROOT / place.partition(":")[0]) if block.language == "python"]
    module_writer(tmp_path, monkeypatch)("\n".join(text for text in shown if "@register_scheme" in text))
    given = {word.partition("=")[0] for word in run}
    missing = [word for word in THE_REST if word.partition("=")[0] not in given]
    dry_run([*missing, *(word.replace("=...", "=mine.parquet") for word in run)])


def test_every_page_with_a_training_is_covered():
    """As many commands as a search for their words finds."""
    told = {place.partition(":")[0] for place, _ in TRAININGS}
    named = {name_of(block.page) for block in COMMANDS if re.search(r"main_ppo|recipes/run_|verl check ", block.text)}
    in_variables = {name_of(block.page) for block in COMMANDS if IN_A_VARIABLE.search(block.text)}
    assert named - in_variables <= told
    assert len(TRAININGS) > 12


def test_an_option_that_is_not_there_would_be_found():
    with pytest.raises(errors.NoSuchOption):
        parse(typer.main.get_command(app), ["data", "bfcl", "--oot", "x"])
    with pytest.raises(errors.MissingParameter):
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
