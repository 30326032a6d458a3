"""Wire formats, one short module each, and their registry, by the name in `rest.format`.

Names are those of verl's `multi_turn.format` for the formats that verl has.
"""

from rest_verl.common.names import Registry
from rest_verl.core.tool_calls import WireFormat
from rest_verl.formats.deepseek_v4 import DEEPSEEK_V4
from rest_verl.formats.gemma4 import GEMMA4
from rest_verl.formats.glm import GLM
from rest_verl.formats.gpt_oss import GPT_OSS
from rest_verl.formats.hermes import HERMES
from rest_verl.formats.kimi import KIMI
from rest_verl.formats.llama3_json import LLAMA3_JSON
from rest_verl.formats.minimax import MINIMAX
from rest_verl.formats.mistral import MISTRAL
from rest_verl.formats.pythonic import PYTHONIC
from rest_verl.formats.qwen3_coder import QWEN3_CODER
from rest_verl.formats.rlla import RLLA
from rest_verl.formats.seed import SEED

_FORMATS: Registry[WireFormat] = Registry(
    "wire format",
    {
        "deepseek_v4": DEEPSEEK_V4,
        "gemma4": GEMMA4,
        "glm": GLM,
        "gpt-oss": GPT_OSS,
        "hermes": HERMES,
        "kimi": KIMI,
        "llama3_json": LLAMA3_JSON,
        "minimax": MINIMAX,
        "mistral": MISTRAL,
        "pythonic": PYTHONIC,
        "qwen3_coder": QWEN3_CODER,
        "rlla": RLLA,
        "seed": SEED,
    },
)


def register_format(name: str, wire_format: WireFormat) -> None:
    """Register your own wire format; ValueError if the name is taken."""
    _FORMATS.add(name, wire_format)


def get_format(name: str) -> WireFormat:
    """Return a wire format; the ValueError for an unknown name lists the closest and all known names."""
    return _FORMATS.get(name)


def format_names() -> list[str]:
    """Names of all registered wire formats."""
    return _FORMATS.names()
