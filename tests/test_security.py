"""What docs/security.md says that text, files and servers cannot do, and no other test looks after."""

import importlib.util
import io
import json
import logging
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked_rows import SCHEMA, row
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from scripted_endpoint import Refusal, ScriptedEndpoint
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.common.console import plain_text, progress_bar
from rest_verl.common.logs import logger_of
from rest_verl.common.plain_text import plain
from rest_verl.data.template import BUILT_IN, PromptTemplate, Tool

# --- the terminal

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\r\u202e[/red][bold]\u2066\ud800"
# Without the lone surrogate, which neither Parquet nor HTTP can carry.
HOSTILE = ESCAPES[:-1]


def controls(output):
    return {character for character in output if not character.isprintable() and character not in "\n\t"}


def run(*arguments):
    """A command as on a terminal: click takes escape sequences out of what goes elsewhere."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], color=True)


@given(st.text())
@example(ESCAPES)
def test_plain_text_holds_nothing_that_a_terminal_obeys_and_every_stream_takes_it(text):
    shown = plain(text)
    assert not controls(shown)
    shown.encode()
    if not controls(text):
        assert shown == text


def test_escapes_are_shown_as_python_writes_them():
    assert plain("a\x1b[2Jb\u202e\n\tc é 東京") == "a\\x1b[2Jb\\u202e\n\tc é 東京"


def test_a_bars_description_is_no_markup_and_plain_text(monkeypatch):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200)
    monkeypatch.setattr("rest_verl.common.console.Console", lambda **options: console)
    with progress_bar(HOSTILE):
        pass
    assert plain(HOSTILE) in stream.getvalue()


def test_a_cell_of_a_table_is_no_markup():
    assert plain_text(HOSTILE).plain == plain(HOSTILE) and not plain_text(HOSTILE).spans


def test_data_check_shows_hostile_rows_and_columns_as_plain_text(tmp_path):
    rows = [
        row(0, HOSTILE, truth=HOSTILE, data_source=HOSTILE),
        row(1, "q", extra_info={"index": 1, "environment": HOSTILE, "environment_kwargs": HOSTILE}),
    ]
    schema = SCHEMA.set(
        4,
        pa.field(
            "extra_info",
            pa.struct({"index": pa.int64(), **dict.fromkeys(("environment", "environment_kwargs"), pa.string())}),
        ),
    )
    path = tmp_path / f"rows{HOSTILE.replace('/', '')}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    columns = tmp_path / "columns.parquet"
    pq.write_table(pa.table({HOSTILE: [1]}), columns)
    done = run("data", "check", path, columns)
    assert done.exit_code == 1 and "rows that cannot be scored" in done.output and "is missing" in done.output
    assert not controls(done.output) and "owned" in done.output


def test_inspect_names_a_hostile_version_as_plain_text(tmp_path):
    path = tmp_path / "step_000001.parquet"
    table = pa.table({"step": [1]}).replace_schema_metadata({"rest_verl": json.dumps({"version": HOSTILE})})
    pq.write_table(table, path)
    done = run("inspect", path, "--out", tmp_path / "page.html")
    assert done.exit_code == 1 and "owned" in done.stderr and not controls(done.stderr)


@pytest.fixture
def level1(tmp_path):
    rows = [{"system": "Tools.", "user": "Find 1.", "answer": {"name": "Find", "parameters": {"what": 1}}}]
    (tmp_path / "level1.json").write_text(json.dumps(rows))
    return tmp_path / "level1.json"


@pytest.mark.filterwarnings("ignore:Glyph")  # of the chart, whose font has none for control characters
def test_a_servers_model_name_and_answers_reach_the_terminal_as_plain_text(level1, tmp_path):
    with ScriptedEndpoint(lambda body: HOSTILE, models=(HOSTILE,)) as server:
        done = run("eval", "apibank", level1, "--out", tmp_path / "out", "--base-url", server.url)
    assert done.exit_code == 0, done.output
    assert "owned" in done.output and not controls(re.sub(r"\x1b\[[\d;]*m", "", done.output))


def test_a_servers_refusal_reaches_the_terminal_as_plain_text(level1, tmp_path):
    with ScriptedEndpoint(lambda body: Refusal(404, HOSTILE)) as server:
        done = run("eval", "apibank", level1, "--out", tmp_path / "out", "--base-url", server.url)
    assert done.exit_code == 1 and "owned" in done.stderr and not controls(done.stderr)


def test_a_log_holds_messages_and_tracebacks_as_plain_text(caplog):
    logger = logger_of("rest_verl.somewhere")
    try:
        raise ValueError(ESCAPES)
    except ValueError as error:
        with caplog.at_level(logging.WARNING, logger.name):
            logger.exception("could not do: %s", error)
    assert caplog.text.count("owned") >= 2 and not controls(caplog.text)


# --- files and servers


def test_text_in_data_is_no_template():
    formula = "{{ 7 * 7 }}{% for x in y %}"
    made = PromptTemplate(BUILT_IN).render([Tool("f", formula, {"properties": {formula: {}}})], formula, "rlla")
    assert made.count(formula) == 3 and "49" not in made


class Redirecting(BaseHTTPRequestHandler):
    def __init__(self, to, *arguments):
        self.to = to
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(307)
        self.send_header("Location", self.to + self.path.removeprefix("/v1"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *arguments):
        pass


def test_a_key_from_the_environment_is_not_sent(level1, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with ScriptedEndpoint(lambda body: "no call") as server:
        done = run("eval", "apibank", level1, "--out", tmp_path / "out", "--base-url", server.url)
    assert done.exit_code == 0 and server.keys == {"Bearer none"}


def test_an_api_key_does_not_follow_a_redirect_to_another_server(level1, tmp_path):
    (tmp_path / "key").write_text("secret")
    with ScriptedEndpoint(lambda body: "no call") as other:
        server = HTTPServer(("localhost", 0), partial(Redirecting, other.url))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://localhost:{server.server_port}/v1"
            options = ["--base-url", url, "--api-key-file", tmp_path / "key", "--out", tmp_path / "out"]
            done = run("eval", "apibank", level1, *options)
        finally:
            server.shutdown()
            server.server_close()
    assert done.exit_code == 0, done.output
    assert len(other.answered) == 1 and other.keys == {None}


@pytest.mark.parametrize(
    ("file", "call"),
    [
        ("model_merger/fsdp_model_merger.py", "weights_only=False"),
        ("utils/checkpoint/fsdp_checkpoint_manager.py", "weights_only=False"),
        ("trainer/ppo/v1/trainer_base.py", "torch.load(dataloader_local_path, weights_only=False)"),
        ("utils/reward_score/prime_math/grader.py", "eval("),
        ("utils/reward_score/prime_code/testing_util.py", "exec(compile("),
    ],
)
def test_what_the_page_says_of_verls_own_code_is_so(file, call):
    spec = importlib.util.find_spec("verl")
    assert call in (Path(spec.submodule_search_locations[0]) / file).read_text()
