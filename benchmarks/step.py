"""What ResT adds to a step of verl's trainer: `timing_s/rest` with thousands of rollouts, in the trainer's own code,
and what runs in the background of the step, with the default sample of `rest.dump_dir`.

The rollouts are simulated; Ray, the transfer queue that verl keeps a batch in, and the trainer's methods are the real
ones. Nothing is generated and no model is there: where the trainer waits for its workers, it sleeps. The baseline is
verl's own computation of the advantages in the same step. Times are those of the second step: the first one pays for
memory and connections once.

    pip install --no-deps dashscope     # whose package holds a real vocabulary
    python benchmarks/step.py --preset entropy_adaptive
    python benchmarks/step.py --quick
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import ray
import torch
import transfer_queue as tq
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, table
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, open_dict
from qwen import qwen_tokenizer
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import PPOTrainer
from weighting import make_batch

from rest_verl.config.rest import load
from rest_verl.core.regions import RegionTagger
from rest_verl.formats import get_format
from rest_verl.records.recorder import Recorder
from rest_verl.records.schema import step_files
from rest_verl.weighting.token_weighting import TokenWeighting

STEP_SECONDS = 60.0  # of a short step on real hardware
PARTITION = "train"


def composed(preset: str, records: Path) -> DictConfig:
    """verl's config with a preset, a folder for records, and this machine's limits for Ray."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(
            "ppo_trainer", [f"+rest={preset}", "+platform=cpu", "rest.format=hermes", f"rest.dump_dir={records}"]
        )
    config.transfer_queue.enable = True
    return config


def simulated(tokenizer: Any, rows: int, tokens: int) -> TensorDict:
    """What the queue holds of a batch when advantages are due, four rollouts a prompt; each field (rows, tokens)."""
    responses = make_batch(tokenizer, "hermes", rows, tokens, random.Random(0))
    generator = torch.Generator().manual_seed(0)
    log_probs = -torch.rand(responses.shape, generator=generator)
    scores = torch.zeros(responses.shape)
    scores[:, -1] = torch.randn(rows, generator=generator)
    fields = {
        "prompts": responses[:, : min(tokens, 512)],
        "responses": responses,
        "response_mask": torch.ones_like(responses),
        "entropy": torch.rand(responses.shape, generator=generator),
        "old_log_probs": log_probs,
        "rollout_log_probs": log_probs,
        "rm_scores": scores,
    }
    nested = {name: torch.nested.as_nested_tensor(list(value), layout=torch.jagged) for name, value in fields.items()}
    others = {"uid": [f"prompt{row // 4}" for row in range(rows)], "extra_fields": [{}] * rows}
    batch = TensorDict(nested, batch_size=rows)
    for name, values in others.items():
        batch[name] = NonTensorStack.from_list(values)
    return batch


def trainer_of(config: DictConfig, tokenizer: Any) -> Any:
    """verl's trainer with ResT as far as advantages need it: no workers, no model, no data loader."""
    from rest_verl.plugin.trainer import RestTrainerSync  # here, where verl's warnings about absent engines are off

    trainer = RestTrainerSync.__new__(RestTrainerSync)
    rest = load(config)
    with open_dict(config):
        config.algorithm.adv_estimator = rest.base_estimator
    trainer.config, trainer.tokenizer, trainer.global_steps = config, tokenizer, 0
    trainer._rest, trainer._weighting = rest, TokenWeighting(rest, total_steps=100)
    trainer._recorder = Recorder(rest, tokenizer, 100) if rest.dump_dir else None
    trainer._init_dump_executor()
    trainer._tagger = RegionTagger(tokenizer, get_format(rest.format))
    return trainer


def run_phases(trainer: Any, batch: Any, metrics: dict[str, Any], waiting: float = 0.0) -> dict[str, float]:
    """One step of the trainer as far as ResT has a part in it, in the trainer's own methods.

    Args:
        waiting: seconds of computing the old log-probs, and again of updating the actor.

    Returns:
        seconds of verl's own advantages (`verl`), and of the two background calls (`read`, `report`).
    """
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] = time.perf_counter() - begin

        return call

    def log_probs(self: Any, batch: Any, metrics: dict[str, Any]) -> Any:
        time.sleep(waiting)
        return batch

    def step_once(self: Any, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
        weighted = self._compute_advantage(self._compute_old_log_prob(batch, metrics), metrics)
        time.sleep(waiting)
        return weighted

    with (
        patch.object(PPOTrainer, "_compute_old_log_prob", log_probs),
        patch.object(PPOTrainer, "_compute_advantage", timed("verl", PPOTrainer._compute_advantage)),
        patch.object(PPOTrainer, "_step_once", step_once),
        patch.object(trainer, "_read", timed("read", trainer._read)),
        patch.object(trainer, "_report", timed("report", trainer._report)),
    ):
        trainer._step_once(metrics, trainer.timing_raw, len(batch))
    return spent


def timed_step(trainer: Any, fields: TensorDict, waiting: float) -> dict[str, float]:
    """Put a batch into the queue and run one step: the seconds that training waits for ResT (`rest`), and those of
    `run_phases`."""
    trainer.global_steps += 1
    trainer.timing_raw = {}
    keys = [f"prompt{row // 4}-{trainer.global_steps}_{row % 4}_0" for row in range(len(fields))]
    batch = tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields, tags=[{} for _ in keys])
    metrics: dict[str, Any] = {}
    spent = run_phases(trainer, batch, metrics, waiting)
    assert metrics["rest/tokens/name"] > 0
    tq.kv_clear(keys=keys, partition_id=PARTITION)
    return spent | {"rest": trainer.timing_raw["rest"]}


def measure(preset: str, rows: int, tokens: int, waiting: float) -> dict[str, float]:
    """Seconds of the second step by part, and the MiB of a file of records."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as records:
        tokenizer = qwen_tokenizer()
        fields = simulated(tokenizer, rows, tokens)
        config = composed(preset, Path(records))
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
        tq.init(config.transfer_queue)
        trainer = trainer_of(config, tokenizer)
        timings = [timed_step(trainer, fields, waiting) for _ in range(2)]
        trainer._shutdown_dump_executor()
        return {**timings[-1], "record_mib": step_files(Path(records))[2].stat().st_size / 2**20}


def shares(preset: str, rows: int, tokens: int, found: dict[str, float]) -> dict[str, Any]:
    """The ratio to verl's own part, and the table."""
    parts = {
        "advantages: verl's own part, the baseline": found["verl"],
        "ResT, what training waits for (timing_s/rest)": found["rest"],
        "in the background: reading and tagging": found["read"],
        "in the background: metrics and records": found["report"],
    }
    lines = [
        [name, f"{seconds:.2f}", f"{seconds / found['verl']:.2f}", f"{seconds / STEP_SECONDS:.2%}"]
        for name, seconds in parts.items()
    ]
    head = [f"`+rest={preset}`, {rows} x {tokens}", "seconds", "over verl's own", f"of a step of {STEP_SECONDS:.0f} s"]
    return {"verdicts": {"ratio": found["rest"] / found["verl"]}, "tables": {"step": table(head, lines)}}


def main(
    preset: Annotated[str, typer.Option(help="Preset to weigh with.")] = "entropy_adaptive",
    rows: Annotated[int, typer.Option(help="Rollouts of a step.")] = 2048,
    tokens: Annotated[int, typer.Option(help="Tokens of a rollout.")] = 2048,
    waiting: Annotated[float, typer.Option(help="Seconds of each of the two waits for the workers.")] = 10.0,
    quick: Quick = False,
    out: Out = Path("runs/step"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure what ResT adds to a step."""
    in_a_worker()
    rows, tokens, waiting, out = (128, 256, 1.0, out / "quick") if quick else (rows, tokens, waiting, out)
    study = Study("step", {"rows": rows, "tokens": tokens, "waiting": waiting}, out, fresh=fresh)
    found = study.run({preset: partial(measure, preset, rows, tokens, waiting)})
    study.finish(shares(preset, rows, tokens, found[preset]), publish)


if __name__ == "__main__":
    typer.run(main)
