"""Check that batches, GPUs and lengths divide as verl requires.

verl asserts most of this in the middle of the first step, and its messages name numbers but not their keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

from omegaconf import DictConfig, OmegaConf

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
_BATCH, _MINI, _N = "data.train_batch_size", f"{_ACTOR}.ppo_mini_batch_size", f"{_ROLLOUT}.n"
_PROMPT, _RESPONSE = "data.max_prompt_length", "data.max_response_length"
_POSITIVE = (_BATCH, _MINI, _N, _PROMPT, _RESPONSE, "trainer.nnodes", "trainer.n_gpus_per_node")
_MICRO = f"{_ACTOR}.ppo_micro_batch_size_per_gpu"
_LOG_PROB_MICRO = f"{_ROLLOUT}.log_prob_micro_batch_size_per_gpu"
_SYNC_STEP = "trainer.v1.separate_async.parameter_sync_step"


@dataclass(frozen=True)
class Layout:
    """How the actor's GPUs share the work.

    Attributes:
        gpus: number of the actor's GPUs.
        model_parallel: number of GPUs that hold one copy of the model, or share one sequence.
        sequence_parallel: number of GPUs that share one sequence; each gets its part of the tokens.
        keys: settings whose product is `model_parallel`.
    """

    gpus: int
    model_parallel: int
    sequence_parallel: int
    keys: list[str]

    @property
    def data_parallel(self) -> int:
        """Number of parts that a batch is split into."""
        return self.gpus // self.model_parallel


def layout(config: DictConfig) -> Layout:
    """How a run's actor uses its GPUs."""
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    actor = config.actor_rollout_ref.actor
    if actor.strategy == "megatron":
        keys = [f"{_ACTOR}.megatron.{kind}_parallel_size" for kind in ("tensor_model", "pipeline_model", "context")]
        tensor, pipeline, context = (OmegaConf.select(config, key) for key in keys)
        return Layout(gpus, tensor * pipeline * context, context, keys)
    sequence = actor.get("ulysses_sequence_parallel_size", 1)
    return Layout(gpus, sequence, sequence, [f"{_ACTOR}.ulysses_sequence_parallel_size"])


def batch_problems(config: DictConfig) -> list[str]:
    """One line for each rule that the run breaks."""
    problems = [
        f"{key}={value}: expected at least 1" for key in _POSITIVE if (value := OmegaConf.select(config, key)) < 1
    ]
    return problems or [*_gpus(config), *_splits(config), *_lengths(config), *_separate(config)]


def batch_notes(config: DictConfig) -> Iterator[str]:
    """What verl accepts, but a reader of the run's numbers should know."""
    batch, mini = config.data.train_batch_size, config.actor_rollout_ref.actor.ppo_mini_batch_size
    if batch % mini:
        yield (
            f"{_BATCH}={batch} is not a multiple of {_MINI}={mini}: verl pads the last mini-batch with "
            f"{mini - batch % mini} empty prompts"
        )


def _gpus(config: DictConfig) -> Iterator[str]:
    actor, rollout = layout(config), config.actor_rollout_ref.rollout
    if actor.gpus % actor.model_parallel:
        yield (
            f"{' * '.join(actor.keys)} = {actor.model_parallel}: expected a divisor of the actor's {actor.gpus} GPUs "
            "(trainer.nnodes * trainer.n_gpus_per_node)"
        )
    keys = [f"{_ROLLOUT}.{kind}_parallel_size" for kind in ("tensor_model", "data", "pipeline_model")]
    sizes = [OmegaConf.select(config, key) for key in keys]
    engine = sizes[0] * sizes[1] * sizes[2]
    named = " * ".join(f"{key}={size}" for key, size in zip(keys, sizes, strict=True) if size > 1)
    pools = {"trainer.nnodes * trainer.n_gpus_per_node": actor.gpus}
    if _is_separate(config):
        pools[f"{_ROLLOUT}.nnodes * {_ROLLOUT}.n_gpus_per_node"] = rollout.nnodes * rollout.n_gpus_per_node
    for pool, gpus in pools.items():
        if gpus % engine:
            yield f"{named}: expected a divisor of {gpus} GPUs ({pool}): set {keys[0]}={gcd(engine, gpus)}"


def _splits(config: DictConfig) -> Iterator[str]:
    actor = layout(config)
    batch, mini = config.data.train_batch_size, config.actor_rollout_ref.actor.ppo_mini_batch_size
    n, workers = config.actor_rollout_ref.rollout.n, actor.data_parallel
    if batch < mini:
        yield f"{_MINI}={mini}: expected at most {_BATCH}={batch}: set {_MINI}={batch}, or a larger {_BATCH}"
    if workers == 0:
        return
    step = workers // gcd(workers, n)
    if mini % step:
        yield (
            f"{_MINI}={mini}: {mini} prompts * {_N}={n} cannot be split evenly over {workers} data-parallel workers: "
            f"set {_MINI} to a multiple of {step}, such as {max(step, mini - mini % step)}"
        )
        return
    if config.actor_rollout_ref.actor.use_dynamic_bsz:
        return
    if (batch * n) % actor.gpus:
        step = actor.gpus // gcd(actor.gpus, n)
        yield (
            f"{_BATCH}={batch}: {batch} prompts * {_N}={n} cannot be split evenly over {actor.gpus} GPUs: set "
            f"{_BATCH} to a multiple of {step}, such as {max(step, batch - batch % step)}"
        )
    for key, prompts in ((_MICRO, mini), (_LOG_PROB_MICRO, batch)):
        micro, share = OmegaConf.select(config, key), prompts * n // workers
        if micro is not None and (micro < 1 or share % micro):
            yield (
                f"{key}={micro}: expected a divisor of the {share} sequences per worker: set {key}="
                f"{gcd(max(micro, 1), share)}, or {_ACTOR}.use_dynamic_bsz=True"
            )


def _lengths(config: DictConfig) -> Iterator[str]:
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    prompt, response = config.data.max_prompt_length, config.data.max_response_length
    longest, parts = prompt + response, layout(config).sequence_parallel
    if actor.use_dynamic_bsz:
        for key in (f"{_ACTOR}.ppo_max_token_len_per_gpu", f"{_ROLLOUT}.log_prob_max_token_len_per_gpu"):
            tokens: Any = OmegaConf.select(config, key)
            if tokens is None or tokens * parts < longest:
                yield (
                    f"{key}={tokens}: a sequence of {_PROMPT}={prompt} and {_RESPONSE}={response} would not fit: set "
                    f"it to at least {-(-longest // parts)}"
                )
    if actor.use_dynamic_bsz != rollout.log_prob_use_dynamic_bsz:
        yield (
            f"{_ROLLOUT}.log_prob_use_dynamic_bsz={rollout.log_prob_use_dynamic_bsz}: must equal "
            f"{_ACTOR}.use_dynamic_bsz={actor.use_dynamic_bsz}: drop it"
        )
    if rollout.max_model_len is not None and rollout.max_model_len <= prompt:
        yield (
            f"{_ROLLOUT}.max_model_len={rollout.max_model_len}: leaves no room for a response after {_PROMPT}="
            f"{prompt}: set it to {longest}"
        )


def _separate(config: DictConfig) -> Iterator[str]:
    if not _is_separate(config):
        return
    batch, mini = config.data.train_batch_size, config.actor_rollout_ref.actor.ppo_mini_batch_size
    steps, rollout = config.trainer.v1.separate_async.parameter_sync_step, config.actor_rollout_ref.rollout
    if batch != steps * mini:
        yield (
            f"{_BATCH}={batch}: separate_async requires {_SYNC_STEP}={steps} * {_MINI}={mini} = {steps * mini}: "
            "change one of the three"
        )
    for key in ("nnodes", "n_gpus_per_node"):
        if rollout[key] < 1:
            yield f"{_ROLLOUT}.{key}={rollout[key]}: separate_async needs its own rollout GPUs: set at least 1"
    if rollout.checkpoint_engine.backend == "naive":
        yield (
            f"{_ROLLOUT}.checkpoint_engine.backend=naive: separate_async sends weights to other GPUs: set nccl, nixl "
            "or mooncake"
        )


def _is_separate(config: DictConfig) -> bool:
    return config.trainer.v1.trainer_mode.removeprefix("rest_") == "separate_async"
