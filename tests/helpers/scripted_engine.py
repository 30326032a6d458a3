"""An engine that says what it is told to, and verl's loop classes around it: rollouts without a language model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hydra
from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap, _agent_loop_registry
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput
from verls_config import composed

# By its name verl 0.9.0 knows what a model's turns look like; later versions are told its type.
MODEL, MODEL_TYPE = "Qwen2.5-3B", "qwen2"

Turn = Sequence[int] | Callable[[list[int]], Sequence[int]]


class ScriptedEngine:
    """In place of verl's engine client. No dataclass: Hydra, which verl makes loops with, would turn it into a config.

    Attributes:
        asked: the prompt's ids of each generation.
        said: the ids of each generation.
        parameters: the sampling parameters of each generation.
    """

    def __init__(
        self,
        turns: Sequence[Turn],
        end: int | None = None,
        log_probs: bool = True,
        wait: Callable[[], Awaitable[None]] | None = None,
    ):
        """
        Args:
            turns: ids of each generation, or a function from the prompt's ids to them.
            end: the id that every generation ends with; None to add none.
            log_probs: whether it returns some, all different.
            wait: awaited before each generation.
        """
        self._turns, self._end, self._log_probs, self._wait = turns, end, log_probs, wait
        self.asked: list[list[int]] = []
        self.said: list[list[int]] = []
        self.parameters: list[dict[str, Any]] = []

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **media: Any
    ) -> TokenOutput:
        if self._wait is not None:
            await self._wait()
        turn = self._turns[len(self.said)]
        ids = [*(turn(prompt_ids) if callable(turn) else turn), *([] if self._end is None else [self._end])]
        number = len(self.said) + 1
        self.asked.append(list(prompt_ids))
        self.said.append(ids)
        self.parameters.append(sampling_params)
        probabilities = [-number - at / 1024 for at in range(len(ids))] if self._log_probs else None
        return TokenOutput(token_ids=ids, log_probs=probabilities, extra_fields={"max_global_steps": number})


def compose_config(*overrides: str) -> DictConfig:
    """The config of a run, as verl's main composes it."""
    return composed("+rest=paper", "+platform=cpu", f"actor_rollout_ref.model.path={MODEL}", *overrides)


def make_loop(
    config: DictConfig,
    tokenizer: Any,
    engine: Any,
    name: str = "rest_tool_agent",
    tools: Sequence[Any] = (),
    model_type: str = MODEL_TYPE,
) -> Any:
    """A loop object for one trajectory, made as verl's worker makes it."""
    return hydra.utils.instantiate(
        config=_agent_loop_registry[name],
        trainer_config=DictConfigWrap(config=config),
        server_manager=engine,
        tokenizer=tokenizer,
        processor=None,
        hf_model_type=model_type,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        tools=ToolListWrap(list(tools)),
    )


async def run_all(trajectories: Sequence[Any]) -> list[Any]:
    """Run trajectories at the same time."""
    return await asyncio.gather(*trajectories)
