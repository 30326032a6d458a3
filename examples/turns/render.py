"""The renderer of each wire format: (thought, calls, answer) to the labelled parts of one legal turn."""

from collections.abc import Callable

from parts import Call, Part
from render_json import (
    render_gemma4,
    render_gpt_oss,
    render_hermes,
    render_kimi,
    render_llama3_json,
    render_mistral,
    render_pythonic,
    render_rlla,
)
from render_xml import render_deepseek_v4, render_glm, render_minimax, render_qwen3_coder, render_seed

RENDERERS: dict[str, Callable[[str, list[Call], str], list[Part]]] = {
    "deepseek_v4": render_deepseek_v4,
    "gemma4": render_gemma4,
    "glm": render_glm,
    "gpt-oss": render_gpt_oss,
    "hermes": render_hermes,
    "kimi": render_kimi,
    "llama3_json": render_llama3_json,
    "minimax": render_minimax,
    "mistral": render_mistral,
    "pythonic": render_pythonic,
    "qwen3_coder": render_qwen3_coder,
    "rlla": render_rlla,
    "seed": render_seed,
}

# formats in which a turn is either calls or an answer
CALLS_OR_ANSWER = ("pythonic", "llama3_json")
