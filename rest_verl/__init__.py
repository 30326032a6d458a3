"""ResT (arXiv 2509.21826) for stock verl: add `+rest=paper` to a verl command, and GRPO becomes ResT.

Your own modules import their `register_*` functions from here (docs/extending.md). Each name is loaded on first use:
importing this package, or anything in `rest_verl.core`, imports neither verl nor Ray nor vLLM.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "RestTrainerMixin",
    "register_curriculum",
    "register_environment",
    "register_format",
    "register_scheme",
    "register_scorer",
]

if TYPE_CHECKING:
    from rest_verl.core.curriculum import register_curriculum
    from rest_verl.formats import register_format
    from rest_verl.plugin.trainer import RestTrainerMixin
    from rest_verl.reward.scorers import register_scorer
    from rest_verl.rollout.environment import register_environment
    from rest_verl.weighting.schemes import register_scheme
else:  # hidden from type checkers, which must reject names that are not imported above
    _HOMES = {
        "RestTrainerMixin": "rest_verl.plugin.trainer",
        "register_curriculum": "rest_verl.core.curriculum",
        "register_environment": "rest_verl.rollout.environment",
        "register_format": "rest_verl.formats",
        "register_scheme": "rest_verl.weighting.schemes",
        "register_scorer": "rest_verl.reward.scorers",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
