"""A reward for runs of verl without ResT, as verl's `reward.custom_reward_function` takes it. It writes down whether
the plugin is in its process: what such a run shows rests on that."""

from __future__ import annotations

import os
import sys
from difflib import SequenceMatcher
from pathlib import Path

REPORT = "REST_VERL_TRUST_REPORT"  # a file's path, in the environment of the run


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None) -> float:
    """How alike a response is to the right one, in [0, 1]."""
    Path(os.environ[REPORT]).write_text("with" if "rest_verl.plugin.hooks" in sys.modules else "without")
    return SequenceMatcher(None, solution_str, ground_truth, autojunk=False).ratio()
