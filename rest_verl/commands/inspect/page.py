"""The page: one self-contained HTML file with markup, style, script and the packed steps."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from rest_verl.commands.inspect.token_text import in_one_line

# in reading order; each is a set of functions
SCRIPTS = (
    "data.js",
    "numbers.js",
    "colours.js",
    "strips.js",
    "list.js",
    "filter.js",
    "overview.js",
    "trajectory.js",
    "events.js",
    "side_by_side.js",
    "copy.js",
    "tokens.js",
    "panel.js",
    "legend.js",
    "keys.js",
    "main.js",
)
_FOLDER = files("rest_verl.commands.inspect") / "page"


@dataclass(frozen=True)
class PageStep:
    """A step of the page.

    Attributes:
        step: global step.
        trajectories, tokens: numbers shown on the page.
        data: from `step_data`.
    """

    step: int
    trajectories: int
    tokens: int
    data: bytes


def render_page(title: str, steps: Sequence[PageStep], runs: Sequence[str] = ()) -> str:
    """Render the page as HTML. It loads nothing: its content security policy forbids all requests and foreign scripts.

    Args:
        title: any text that names the records.
        steps: at least one, in order.
        runs: names of the two runs whose steps stand side by side; none for one run.
    """
    script = "(() => {\n" + "\n".join(_read(name) for name in SCRIPTS) + "})();\n"
    style = _read("viewer.css")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_read("page.html.jinja")).render(
        title=in_one_line(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        runs=[in_one_line(run) for run in runs],
        manifest=[{"step": step.step, "trajectories": step.trajectories} for step in steps],
        blobs=[base64.b64encode(step.data).decode("ascii") for step in steps],
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which a content security policy allows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
