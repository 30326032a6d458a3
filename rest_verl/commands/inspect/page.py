"""One HTML file with everything in it: markup, style, script and the packed steps."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from rest_verl.commands.inspect.token_text import in_one_line

# in the order in which the script reads best; each is a set of functions
SCRIPTS = (
    "data.js",
    "numbers.js",
    "colours.js",
    "strips.js",
    "list.js",
    "overview.js",
    "trajectory.js",
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
        trajectories, tokens: that the page shows.
        data: of `step_data`.
    """

    step: int
    trajectories: int
    tokens: int
    data: bytes


def page_of(title: str, steps: Sequence[PageStep]) -> str:
    """The page as HTML. It loads nothing: a policy in it forbids every request, and every script but its own.

    Args:
        title: what the records are of; any text.
        steps: at least one, in order.
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
        manifest=[{"step": step.step, "trajectories": step.trajectories} for step in steps],
        blobs=[base64.b64encode(step.data).decode("ascii") for step in steps],
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
