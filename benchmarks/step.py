"""What ResT adds to a step of verl's trainer with thousands of rollouts, by the trainer's own code: what training
waits for (`timing_s/rest`), what runs in the background, and, for scaling.py, each part of the work. The default
sample of `rest.dump_dir` is written.

Ray, the transfer queue that verl keeps a batch in, and the trainer's methods are the real ones. Rollouts are simulated
and a batch repeats 64 of them; nothing is generated and no model is there: where the trainer waits for its workers, it
sleeps. The baseline is verl's own computation of the advantages in the same step. The first steps only pay for memory
and connections and are left out.

    pip install --no-deps dashscope     # whose package holds a real vocabulary
    python benchmarks/step.py --publish
    python benchmarks/step.py --quick
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
import torch
import transfer_queue as tq
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, table
from omegaconf import DictConfig, open_dict
from qwen import qwen_tokenizer
from scaling import (
    ADVANTAGES,
    MEMORY,
    MEMORY_VERL,
    METRICS,
    PAD,
    READ,
    RECORDS,
    TAG,
    UNITS,
    VERL_METRICS,
    WEIGH,
    WRITE,
    Size,
)
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import PPOTrainer
from weighting import composed, make_batch, peak_beside

from rest_verl.config.rest import load
from rest_verl.core.runs import Runs
from rest_verl.core.states import TAGGERS, StateTagger
from rest_verl.formats import get_format
from rest_verl.plugin import rest_trainer
from rest_verl.plugin import trainer as seam
from rest_verl.plugin.batch_fields import QueueFields
from rest_verl.records.recorder import Recorder
from rest_verl.reward.tool_reward import skipped_components
from rest_verl.rollout.calls import Call
from rest_verl.rollout.record import GeneratedTurn, Record
from rest_verl.weighting.components import Components
from rest_verl.weighting.rows import OUTPUTS, RUNS
from rest_verl.weighting.token_weighting import TokenWeighting

PRESET, SIZE, QUICK_SIZE = "entropy_adaptive", (2048, 2048), (128, 256)
WAITING, QUICK_WAITING = 10.0, 1.0  # seconds of each of the two waits for the workers
STEP_SECONDS = 60.0  # of a short step on real hardware
REPEATED = 3_000_000  # tokens up to which a step is timed three times, and the median taken
PARTITION = "train"
CLOCKS = ("seconds", "cpu")  # wall-clock time, and CPU time of this process
WHOLE, BACKGROUND = "whole", ("reading and tagging", "metrics and records")
WAITED = "rest"  # verl's `timing_s/rest`, by the trainer itself
Clocks = np.ndarray  # (2,) by CLOCKS
Watch = defaultdict[str, list[Clocks]]  # times of each call, by name


def fields_of(tokenizer: Any, size: Size) -> TensorDict:
    """What the queue holds of a batch when advantages are due, four rollouts a prompt, with all that agent loop and
    reward manager leave with a response of one turn and two calls; each tensor is (rows, tokens)."""
    rows, tokens = size
    responses = make_batch(tokenizer, "hermes", tokens)
    few, generator = len(responses), torch.Generator().manual_seed(0)
    log_probs, scores = -torch.rand(responses.shape, generator=generator), torch.zeros(responses.shape)
    scores[:, -1] = torch.randn(few, generator=generator)
    fields = {
        "prompts": responses[:, : min(tokens, 512)],
        "responses": responses,
        "response_mask": torch.ones_like(responses),
        "entropy": torch.rand(responses.shape, generator=generator),
        "old_log_probs": log_probs,
        "rollout_log_probs": log_probs,
        "rm_scores": scores,
    }
    call = Call("functions.get_weather:0", "get_weather", {"city": "Paris", "days": 3}, result="Sunny.", seconds=0.1)
    left = Record(turns=[GeneratedTurn(0, 0, 1.0, [call, call])], ended_by="done").fields(
        [1] * tokens, with_table=True
    )
    counted = {f"rollout/{name}": number for name, number in left["rest_rollout"].items()}
    components = skipped_components() | counted
    tagger, mask = StateTagger(tokenizer, get_format("hermes")), torch.ones(few * tokens, dtype=torch.bool)
    lengths = torch.full((few,), tokens)
    runs = Runs.of(tagger.tag(responses.flatten(), mask, lengths), mask, lengths).written()
    each = [left | {"reward_extra_info": components | {RUNS: OUTPUTS.join([text])}} for text in runs]
    others = {"uid": [f"prompt{row // 4}" for row in range(rows)], "extra_fields": each * (rows // few)}
    others["num_turns"] = [2] * rows
    return TensorDict(
        {
            **{
                name: torch.nested.as_nested_tensor([*value] * (rows // few), layout=torch.jagged)
                for name, value in fields.items()
            },
            **{name: NonTensorStack.from_list(values) for name, values in others.items()},
        },
        batch_size=rows,
    )


def trainer_of(config: DictConfig, tokenizer: Any) -> Any:
    """verl's trainer with ResT as far as advantages and metrics need it: no workers, no model, no data loader."""
    trainer: Any = seam.RestTrainerSync.__new__(seam.RestTrainerSync)
    rest = load(config)
    trainer._components = Components.of_run(config) if rest.base_estimator == "gdpo" else None
    with open_dict(config):
        config.algorithm.adv_estimator = "grpo" if trainer._components else rest.base_estimator
    trainer.config, trainer.tokenizer, trainer.global_steps = config, tokenizer, 0
    trainer._rest, trainer._weighting = rest, TokenWeighting(rest, total_steps=100)
    trainer._recorder = Recorder(rest, tokenizer, 100) if rest.dump_dir else None
    trainer._init_dump_executor()
    trainer._tagger = TAGGERS[rest.weights_from](tokenizer, get_format(rest.format))
    trainer.use_critic, trainer._rollout_moe_lb_metrics_accumulator = False, None
    trainer.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 8)
    return trainer


def timed(watch: Watch, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the time of each call put into a watch."""

    def call(*args: Any, **kwargs: Any) -> Any:
        begin = np.array([time.perf_counter(), time.process_time()])
        try:
            return function(*args, **kwargs)
        finally:
            watch[name].append(np.array([time.perf_counter(), time.process_time()]) - begin)

    return call


@contextmanager
def watched(watch: Watch, trainer: Any) -> Iterator[None]:
    """Time each part of ResT's and verl's work while the context lasts."""
    whole_read = QueueFields.read

    def read(self: QueueFields, fields: list[str], rows: Any = None) -> TensorDict:
        # with rows it is the recorder that reads, which has a time of its own
        return (whole_read if rows is not None else timed(watch, READ, whole_read))(self, fields, rows)

    with ExitStack() as stack:
        stack.enter_context(patch.object(QueueFields, "read", read))
        for place, name, part in (
            (rest_trainer, "weight_metrics", METRICS),
            (rest_trainer, "reward_metrics", METRICS),
            (TokenWeighting, "__call__", WEIGH),
            (Runs, "entropy_sums", WEIGH),
            (Recorder, "take", RECORDS),
            (trainer._tagger, "tag", TAG),
            (tq, "kv_batch_put", WRITE),
            *((trainer, name, part) for name, part in zip(("_read", "_report"), BACKGROUND, strict=True)),
        ):
            stack.enter_context(patch.object(place, name, timed(watch, part, getattr(place, name))))
        yield


def run_phases(trainer: Any, batch: Any, metrics: dict[str, Any], waiting: float = 0.0) -> None:
    """One step of the trainer as far as ResT has a part in it, in the trainer's own methods.

    Args:
        waiting: seconds of computing the old log-probs, and again of updating the actor.
    """

    def log_probs(self: Any, batch: Any, metrics: dict[str, Any]) -> Any:
        time.sleep(waiting)
        return batch

    def step_once(self: Any, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
        weighted = self._compute_advantage(self._compute_old_log_prob(batch, metrics), metrics)
        time.sleep(waiting)
        return weighted

    with (
        patch.object(PPOTrainer, "_compute_old_log_prob", log_probs),
        patch.object(PPOTrainer, "_step_once", step_once),
    ):
        trainer._step_once(metrics, trainer.timing_raw, len(batch))


def one_step(trainer: Any, batch: Any, waiting: float) -> dict[str, Clocks]:
    """The time of each part of a step: with `waiting`, that of the calls in the background too, else one part after
    the other. verl writes what ResT adds with its own advantages, so its part is timed by itself before."""
    alone, watch, metrics = Watch(list), Watch(list), dict[str, Any]()
    with patch.object(tq, "kv_batch_put", timed(alone, WRITE, tq.kv_batch_put)):
        timed(alone, ADVANTAGES, PPOTrainer._compute_advantage)(trainer, batch, {})
    trainer.timing_raw = {}
    trainer.global_steps += 1
    calls = seam.BackgroundCall if waiting else at_once
    with watched(watch, trainer), patch.object(seam, "BackgroundCall", calls):
        timed(watch, WHOLE, run_phases)(trainer, batch, metrics, waiting)
    assert metrics["rest/tokens/name"] > 0
    found = {name: np.sum(times, axis=0) for name, times in watch.items()}
    found |= {ADVANTAGES: alone[ADVANTAGES][0], TAG: found.get(TAG, np.zeros(2))}
    found[WRITE] = np.maximum(found[WRITE] - alone[WRITE][0], 0.0)
    parts = [times for name, times in found.items() if name not in (WHOLE, *BACKGROUND)]
    return found | {PAD: found[WHOLE] - sum(parts), WAITED: np.array([trainer.timing_raw["rest"], np.nan])}


def at_once(function: Callable[[], Any]) -> SimpleNamespace:
    """A `BackgroundCall` in the foreground."""
    found = function()
    return SimpleNamespace(result=lambda: found)


def verls_metrics(trainer: Any, batch: Any) -> dict[str, Clocks]:
    """The metrics that verl logs each step."""
    watch, timing = Watch(list), {"step": 1.0, "gen": 1.0}
    timed(watch, VERL_METRICS, trainer._compute_metrics)(batch, {}, timing, global_steps=1, epoch=0)
    return {VERL_METRICS: watch[VERL_METRICS][0]}


def of_size(trainer: Any, size: Size, waiting: float) -> dict[str, dict[str, float]]:
    """Memory first, since what is taken once is kept and a cold step should not be timed, then the times."""
    fields = fields_of(trainer.tokenizer, size)
    keys = [f"prompt{row // 4}_{row % 4}_0" for row in range(len(fields))]
    tags = [{"min_global_steps": 1, "max_global_steps": 1} for _ in keys]
    batch = tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields, tags=tags)
    memory = {
        MEMORY_VERL: peak_beside(lambda: PPOTrainer._compute_advantage(trainer, batch, {})),
        MEMORY: peak_beside(lambda: one_step(trainer, batch, 0.0)),
    }
    times = 3 if size[0] * size[1] <= REPEATED else 1
    runs = [one_step(trainer, batch, waiting) | verls_metrics(trainer, batch) for _ in range(times)]
    parts = {part: np.median([run[part] for run in runs], axis=0) for part in runs[0]}
    tq.kv_clear(keys=keys, partition_id=PARTITION)
    clocks = {clock: {part: float(both[at]) for part, both in parts.items()} for at, clock in enumerate(CLOCKS)}
    return {**clocks, "bytes": memory}


def measure(preset: str, sizes: list[Size], units: int = UNITS, waiting: float = 0.0) -> list[dict[str, Any]]:
    """Measure a step of each size with a queue of some storage units: `seconds` of each part, how many of them are
    `cpu` time of the driver's process, and `bytes` that are taken for a while. For a process of its own."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as records:
        config = composed(preset, f"rest.dump_dir={records}")
        config.transfer_queue.enable = True
        config.transfer_queue.backend.SimpleStorage.num_data_storage_units = units
        ray.init(num_cpus=2 * units, include_dashboard=False, log_to_driver=False)
        tq.init(config.transfer_queue)
        trainer = trainer_of(config, qwen_tokenizer())
        try:
            # the first one only makes connections
            return [of_size(trainer, size, waiting) for size in [(64, 256), *sizes]][1:]
        finally:
            trainer._shutdown_dump_executor()
            tq.close()
            ray.shutdown()


def shares(size: Size, seconds: dict[str, float]) -> dict[str, Any]:
    """The table."""
    parts = {
        "advantages: verl's own part, the baseline": ADVANTAGES,
        "ResT, what training waits for (timing_s/rest)": WAITED,
        **{f"in the background: {part}": part for part in BACKGROUND},
    }
    own = seconds[ADVANTAGES]
    lines = [
        [name, f"{seconds[part]:.2f}", f"{seconds[part] / own:.2f}", f"{seconds[part] / STEP_SECONDS:.2%}"]
        for name, part in parts.items()
    ]
    head = [f"`+rest={PRESET}`, {size[0]} x {size[1]}", "seconds", "over verl's own"]
    return {"tables": {"step": table([*head, f"of a step of {STEP_SECONDS:.0f} s"], lines)}}


def main(quick: Quick = False, out: Out = Path("runs/step"), fresh: Fresh = False, publish: Publish = False) -> None:
    """Measure what ResT adds to a step."""
    in_a_worker()
    size, waiting, out = (QUICK_SIZE, QUICK_WAITING, out / "quick") if quick else (SIZE, WAITING, out)
    study = Study("step", {"size": size, "waiting": waiting}, out, fresh=fresh)
    [found] = study.run({PRESET: partial(measure, PRESET, [size], waiting=waiting)})[PRESET]
    study.finish(shares(size, found["seconds"]), publish and not quick)


if __name__ == "__main__":
    typer.run(main)
