"""The source of the package, as docs/security.md describes it: what could run text, start a program, open a connection
or print past `rest_verl.common.console` is used in the places below and nowhere else. Whoever needs one more adds it
here, with the reason.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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


RUNS = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__|breakpoint)|\.(eval|exec|compile|literal_eval)|ast\.literal_eval"
    r"|(_?pickle|marshal|shelve|dill|cloudpickle|joblib|runpy|code|codeop|ctypes|pty)(\..+)?"
    r"|\.(load_module|exec_module|read_pickle|to_pickle)|pandas\.(read|to)_pickle|importlib\.import_module"
    r"|torch\.(load|save|hub\..+|jit\.load)|yaml\.(\w*load\w*|\w*Loader)|numpy\.(load|save|memmap)"
    r"|subprocess\.\w+|os\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*|fork\w*)|asyncio\.create_subprocess_\w+|mcp\.client\.stdio\.\w+"
    r"|typer\.launch|webbrowser(\..+)?"
    r"|(shell|trust_remote_code|allow_pickle)=True|weights_only=False"
)
LIST = "a program of this environment with a list of arguments, no shell"
OWN = "names that stand in the source"
MAY_RUN = {
    "rest_verl/__init__.py: importlib.import_module": OWN,
    "rest_verl/common/names.py: importlib.import_module": OWN,
    "rest_verl/config/rest.py: importlib.import_module": "rest.modules: the config names code to import, and says so",
    "rest_verl/commands/check/code.py: importlib.import_module": "the dry run loads what the config names, as the run",
    "rest_verl/bfcl/data/answers.py: ast.literal_eval": "BFCL's own ground truths: literals of an installed package",
    "rest_verl/data/template.py: .compile": "Jinja's sandbox compiles the template of --template",
    "rest_verl/commands/doctor/plugin.py: importlib.import_module": OWN,
    "rest_verl/commands/doctor/probe.py: subprocess.PIPE": LIST,
    "rest_verl/commands/doctor/probe.py: subprocess.Popen": LIST,
    "rest_verl/commands/doctor/registrations.py: importlib.import_module": OWN,
    "rest_verl/commands/export/checkpoint.py: subprocess.DEVNULL": LIST,
    "rest_verl/commands/export/checkpoint.py: subprocess.run": LIST,
    "rest_verl/plugin/hooks.py: importlib.import_module": OWN,
    "rest_verl/bfcl/data/memory.py: importlib.import_module": OWN,
    "rest_verl/bfcl/memory/store.py: importlib.import_module": OWN,
    "rest_verl/bfcl/multi_turn/apis.py: importlib.import_module": OWN,
    "rest_verl/plugin/registries.py: importlib.import_module": OWN,
    "rest_verl/rollout/mcp/session.py: mcp.client.stdio.stdio_client": "the row's own server, a list without a shell",
    "rest_verl/commands/inspect/command.py: typer.launch": "inspect --open: the page that the command just wrote",
}

CONNECTS = re.compile(
    r"(socket|socketserver|http|urllib|urllib3|requests|httpx2?|aiohttp|openai|zmq|grpc|ftplib|smtplib|xmlrpc)(\..+)?"
    r"|openenv\..+|mcp\.(Client|client\.streamable_http\..+)|asyncio\.(open_connection|start_server)|torch\.distributed\.(\w*Store|ProcessGroup\w*|init_process_group)"
)
MAY_CONNECT = {
    "rest_verl/eval/endpoint.py": "rest-verl eval asks the server of --base-url",
    "rest_verl/cpu/gloo_weights.py": "weights between processes of a run on CPUs",
    "rest_verl/rollout/mcp/session.py": "environment mcp talks to the servers that the row names",
    "rest_verl/rollout/openenv.py": "environment openenv talks to the server that the row names",
    "rest_verl/rollout/simulated_user.py": "user llm talks to the endpoint that the row names",
}

PRINTS = re.compile(
    r"print|pprint\..+|typer\.(echo|secho|style)|click\.(echo|secho)|rich\.(print|text\.Text)|sys\.std\w+\..+"
)
MAY_PRINT = {
    "rest_verl/common/console.py: rich.text.Text": "behind plain()",
    "rest_verl/common/console.py: typer.echo": "behind plain()",
    "rest_verl/data/check_command.py: rich.text.Text": "the type of a result",
    "rest_verl/commands/doctor/command.py: typer.echo": "--json: JSON has its own escapes",
    "rest_verl/commands/check/command.py: typer.echo": "--json: JSON has its own escapes",
}

CHOSEN_ATTRIBUTES = {
    "rest_verl/__init__.py": OWN,
    "rest_verl/config/rest.py": "keys of our dataclasses",
    "rest_verl/config/weights.py": "keys of our dataclasses",
    "rest_verl/commands/check/code.py": "a function or class of the user's module, by the name in the config",
    "rest_verl/cpu/cpu.py": "what verl asks a platform for",
    "rest_verl/cpu/gloo_weights.py": "a dtype that the run's own trainer announces",
    "rest_verl/commands/preview/timeline.py": "keys of our dataclasses",
    "rest_verl/config/reward.py": "keys of our dataclasses",
    "rest_verl/bfcl/memory/store.py": "classes of BFCL and what they keep, by our own list",
    "rest_verl/bfcl/multi_turn/apis.py": "classes of BFCL by our own list",
    "rest_verl/bfcl/multi_turn/executor.py": "a name from the model, among the public methods of the task's classes",
    "rest_verl/plugin/batch_fields.py": "what verl's trainer asks of the queue's client, passed on to it",
    "rest_verl/resilience/watchdog.py": "what verl's replay buffer has, by our own list",
    "rest_verl/rollout/verl_loop.py": "image and video",
    "rest_verl/plugin/run_checks.py": "keys of our dataclasses",
    "rest_verl/plugin/registries.py": OWN,
}


def found(pattern, names):
    return {name for name in names if pattern.fullmatch(name)}


def used(pattern):
    return {f"{one.path}: {name}" for one in sources() for name in found(pattern, one.names)}


def test_nothing_that_runs_text_or_unpickles_a_file_is_used_but_where_it_is_allowed():
    assert used(RUNS) == set(MAY_RUN)


def test_no_module_but_these_can_open_a_connection():
    assert {one.path for one in sources() if found(CONNECTS, one.names)} == set(MAY_CONNECT)


def test_everything_is_printed_through_the_one_place_that_makes_text_plain():
    assert used(PRINTS) == set(MAY_PRINT)


def test_an_attribute_is_looked_up_by_a_name_from_elsewhere_in_known_places_alone():
    assert {one.path for one in sources() if one.chooses_attributes} == set(CHOSEN_ATTRIBUTES)


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "map(exec, texts)",
        "import builtins as b; b.eval(text)",
        "__import__(name)",
        "import os; os.system(text)",
        "import os as o; o.popen(text)",
        "from os import execvp as run; run(text, [])",
        "import pickle",
        "from pickle import loads",
        "import torch; torch.load(path)",
        "from torch import load; load(path, weights_only=False)",
        "import yaml; yaml.load(text, yaml.Loader)",
        "import numpy as np; np.load(path)",
        "def f():\n    from subprocess import run\n    run(text, shell=True)",
        "import pandas as pd; pd.read_pickle(path)",
        "frame.eval(text)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "import importlib; importlib.import_module(name)",
    ],
)
def test_the_search_finds_each_way_to_run_text(source):
    assert found(RUNS, used_names(ast.parse(source)))


@pytest.mark.parametrize("source", ["re.compile(x)", "json.loads(x)", "model.eval_step()", "torch.no_grad()"])
def test_the_search_leaves_alone_what_runs_nothing(source):
    assert not found(RUNS, used_names(ast.parse(f"import json, re, torch\n{source}")))
