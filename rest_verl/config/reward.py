"""The `rest.reward` node: the rules that score a response, and the bounds of each part of the reward.

`rest.reward` takes a preset by name (`rest.reward=strict`) or its keys one by one; `+rest/reward=strict` composes a
preset whose keys can then be set. The presets are the files of hydra_configs/rest/reward/.
"""

from __future__ import annotations

from dataclasses import field
from importlib.resources import files
from typing import Any, Literal

from omegaconf import OmegaConf
from pydantic.dataclasses import dataclass

from rest_verl.common.names import unknown_name
from rest_verl.config.ramp import STRICT, Ramp, ramp


@dataclass(frozen=True, config=STRICT)
class LengthConfig:
    """ToolRL's reward for long reasoning; off when min and max are both 0.

    Attributes:
        min, max: range of the reward.
        words: number of words of reasoning that earns `max`.
    """

    min: float = 0.0
    max: float = 0.0
    words: Ramp = ramp(512.0)

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(f"min={self.min} is greater than max={self.max}")
        if min(self.words.start, self.words.start if self.words.limit is None else self.words.limit) <= 0:
            raise ValueError("words must be above 0 at every step")


@dataclass(frozen=True, config=STRICT)
class RewardConfig:
    """How `rest_tool` scores a response. Default: the rules `strict` within the paper's dynamic bounds, which start
    equal for format and correctness and shift from format to correctness within 150 steps.

    Attributes:
        rules: `toolrl` scores as ToolRL and ResT do (`reward.toolrl`); `strict` closes the loopholes of those rules
            (`reward.strict`).
        granularity: partial credit under the rules `toolrl`: `fine` as published, `refined` without partial credit for
            lists of names and keys, `intermediate` for whole calls only, `coarse` for all calls or none.
        reading: how the rules `toolrl` see a response: `first_block` as the code of ToolRL and ResT does, in the
            format rlla only (`reward.first_block`), `parser` with the wire format's parser; null: `first_block` in
            rlla, `parser` in any other format.
        format_min, format_max: bounds of the format reward.
        correctness_min, correctness_max: bounds of the correctness reward.
        length: reward for long reasoning.
    """

    rules: Literal["strict", "toolrl"] = "strict"
    granularity: Literal["fine", "refined", "intermediate", "coarse"] = "fine"
    reading: Literal["parser", "first_block"] | None = None
    format_min: Ramp = ramp(-2.0, 1 / 75, -1.0)
    format_max: Ramp = ramp(2.0, -1 / 150, 1.0)
    correctness_min: Ramp = ramp(-2.0, -1 / 150, -3.0)
    correctness_max: Ramp = ramp(2.0, 1 / 150, 3.0)
    length: LengthConfig = field(default_factory=LengthConfig)

    def __post_init__(self) -> None:
        for name, fitting in (("granularity", ("fine",)), ("reading", ("parser", None))):
            if self.rules == "strict" and (given := getattr(self, name)) not in fitting:
                raise ValueError(f"{name}={given} is a variant of rules=toolrl, but rules=strict")


def reward_preset(node: Any) -> Any:
    """Replace the name of a preset by its keys; return any other node unchanged.

    Raises:
        ValueError: no preset has this name.
    """
    if not isinstance(node, str):
        return node
    folder = files("rest_verl.hydra_configs") / "rest" / "reward"
    presets = {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}
    if node not in presets:
        raise ValueError(unknown_name("preset", node, presets))
    return OmegaConf.to_container(OmegaConf.create(presets[node].read_text(encoding="utf-8")))
