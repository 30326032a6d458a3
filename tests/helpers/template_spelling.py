"""Calls as the chat templates of models write them.

Templates write a text as it is. Other values are JSON, or Python where the template says `| string`: only the tool's
schema tells the text `94107` from the number.
"""

import json

from parts import text_of
from render_json import render_kimi, render_pythonic

from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES


def as_json(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_python(value):
    """Jinja's `| string`."""
    return str(value)


def qwen3_coder(call, spell):
    values = [f"<parameter={key}>\n{spell(value)}\n</parameter>\n" for key, value in call.arguments.items()]
    return f"<tool_call>\n<function={call.name}>\n{''.join(values)}</function>\n</tool_call>"


def seed(call, spell):
    values = [f"<parameter={key}>{spell(value)}</parameter>\n" for key, value in call.arguments.items()]
    return f"<seed:tool_call>\n<function={call.name}>\n{''.join(values)}</function>\n</seed:tool_call>"


def minimax(call, spell):
    values = [f'<parameter name="{key}">{spell(value)}</parameter>\n' for key, value in call.arguments.items()]
    return f'<minimax:tool_call>\n<invoke name="{call.name}">\n{"".join(values)}</invoke>\n</minimax:tool_call>'


def glm(call, spell):
    values = [
        f"<arg_key>{key}</arg_key>\n<arg_value>{spell(value)}</arg_value>\n" for key, value in call.arguments.items()
    ]
    return f"<tool_call>{call.name}\n{''.join(values)}</tool_call>"


def hermes(call, spell):
    return f"<tool_call>\n{json.dumps({'name': call.name, 'arguments': call.arguments})}\n</tool_call>"


def pythonic(call, spell):
    return text_of(render_pythonic("", [(call.name, call.arguments)], "")).decode()


def kimi(call, spell):
    return text_of(render_kimi("", [(call.name, call.arguments)], "")).decode()


SPELLINGS = {
    "qwen3_coder": ("qwen3_coder", qwen3_coder, as_python),
    "qwen3_coder in JSON": ("qwen3_coder", qwen3_coder, as_json),
    "glm": ("glm", glm, as_json),
    "minimax": ("minimax", minimax, as_json),
    "seed": ("seed", seed, as_python),
    "pythonic": ("pythonic", pythonic, as_python),
    "kimi": ("kimi", kimi, as_json),
    "hermes": ("hermes", hermes, as_json),
}

# BFCL's answer contradicts BFCL's own document: true, 2 or null for a declared string, text for a declared list or
# integer. A format without types can only write what the document says.
CONTRADICTIONS = {
    "parallel_multiple_21",
    "live_multiple_552-153-1",
    "live_multiple_595-158-1",
    "live_multiple_596-158-2",
    "live_multiple_731-167-2",
    "live_multiple_733-167-4",
    "live_multiple_735-167-6",
    "live_multiple_1038-265-0",
    *(f"{category}_173" for category in MULTI_TURN_CATEGORIES),
}
