"""The renderer of each wire format: (thought, calls, answer) to the labelled parts of one legal turn."""

from collections.abc import Callable

from parts import Call, Part
from render_tags import render_hermes, render_rlla

RENDERERS: dict[str, Callable[[str, list[Call], str], list[Part]]] = {
    "hermes": render_hermes,
    "rlla": render_rlla,
}
