"""What ResT adds to a step of verl's trainer: `timing_s/rest` with thousands of rollouts, in the trainer's own code,
and `timing_s/rest_dump`, what `rest.dump_dir` adds to that with its default sample.

The rollouts are simulated; Ray, the transfer queue that verl keeps a batch in, and the trainer's method that computes
advantages and token weights are the real ones. Nothing is generated and no model is there. The time is that of the
second step: the first one pays for memory and connections once.

    pip install --no-deps dashscope     # whose package holds a real vocabulary
    python benchmarks/step.py --preset entropy_adaptive
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import ray
import torch
import transfer_queue as tq
import typer
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, open_dict
from page import machine, write_between_marks
from qwen import qwen_tokenizer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import PPOTrainer
from weighting import make_batch, seconds_of

from rest_verl.config.rest import load
from rest_verl.core.regions import RegionTagger
from rest_verl.formats import get_format
from rest_verl.records.recorder import Recorder
from rest_verl.records.schema import step_files
from rest_verl.weighting.token_weighting import TokenWeighting

STEP_SECONDS = 60.0  # of a short step on real hardware
PARTITION = "train"
WHOLE, REST, QUEUE, OWN = "advantages, with ResT", "ResT (timing_s/rest)", "the queue's part", "ResT's own work"
DUMP = "records (timing_s/rest_dump)"
PARTS = (REST, QUEUE, OWN, DUMP)


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


def run_phases(trainer: Any, batch: Any, metrics: dict[str, Any], waiting: float = 0.0) -> None:
    """One step of the trainer as far as ResT has a part in it, in the trainer's own methods: verl's advantages are
    the real ones, and where verl waits for its workers there is a wait of so many seconds."""

    def log_probs(self: Any, batch: Any, metrics: dict[str, Any]) -> Any:
        time.sleep(waiting)
        return batch

    def step_once(self: Any, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
        weighted = self._compute_advantage(self._compute_old_log_prob(batch, metrics), metrics)
        time.sleep(waiting)  # the update of the actor
        return weighted

    with (
        patch.object(PPOTrainer, "_compute_old_log_prob", log_probs),
        patch.object(PPOTrainer, "_step_once", step_once),
    ):
        trainer._step_once(metrics, trainer.timing_raw, len(batch))


def timed_step(trainer: Any, fields: TensorDict) -> dict[str, float]:
    """Seconds of computing advantages with ResT for a batch put into the queue anew, of ResT's part in it, of the
    queue's part in that, and of the records, as long as training waits for them."""
    trainer.global_steps += 1
    trainer.timing_raw = {}
    keys = [f"prompt{row // 4}-{trainer.global_steps}_{row % 4}_0" for row in range(len(fields))]
    batch = tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields, tags=[{} for _ in keys])
    metrics: dict[str, Any] = {}
    whole = seconds_of(lambda: trainer._compute_advantage(batch, metrics), 1)
    assert metrics["rest/tokens/name"] > 0
    names = ["responses", "response_mask", "entropy", "extra_fields"]
    read = seconds_of(lambda: tq.kv_batch_get(keys=keys, partition_id=PARTITION, select_fields=names), 1)
    weights = fields.select("entropy")
    write = seconds_of(lambda: tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=weights), 1)
    tq.kv_clear(keys=keys, partition_id=PARTITION)
    rest = trainer.timing_raw["rest"]
    dump = trainer.timing_raw["rest_dump"]
    return {WHOLE: whole, REST: rest, QUEUE: read + write, OWN: rest - read - write, DUMP: dump}


def main(
    preset: Annotated[str, typer.Option(help="What to weigh with.")] = "entropy_adaptive",
    rows: Annotated[int, typer.Option(help="Rollouts of a step.")] = 2048,
    tokens: Annotated[int, typer.Option(help="Tokens of a rollout.")] = 2048,
    write: Annotated[bool, typer.Option(help="Write the result into docs/speed.md.")] = True,
) -> None:
    """Measure what ResT adds to a step."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    console = Console()
    with Progress(console=console, transient=True) as progress, tempfile.TemporaryDirectory() as records:
        bar = progress.add_task("vocabulary and rollouts", total=4)
        tokenizer = qwen_tokenizer()
        fields = simulated(tokenizer, rows, tokens)
        progress.update(bar, advance=1, description="Ray and the transfer queue")
        config = composed(preset, Path(records))
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
        tq.init(config.transfer_queue)
        trainer = trainer_of(config, tokenizer)
        timings = []
        for number in ("first", "second"):
            progress.update(bar, advance=1, description=f"{number} step")
            timings.append(timed_step(trainer, fields))
        trainer._shutdown_dump_executor()
        size = step_files(Path(records))[2].stat().st_size / 2**20
    table = Table("part of a step", "seconds", title=f"{preset}: {rows} rollouts of {tokens} tokens")
    for name, seconds in timings[-1].items():
        table.add_row(name, f"{seconds:.3f}")
    console.print(table)
    console.print(f"records: {size:.2f} MiB a step")
    shares = [f"{name}: {timings[-1][name] / STEP_SECONDS:.2%} of a step of {STEP_SECONDS:.0f} s" for name in PARTS]
    for share in shares:
        console.print(share)
    if write:
        lines = [f"| `+rest={preset}`, {rows} x {tokens} | seconds |", "|---|---|"]
        lines += [f"| {name} | {seconds:.2f} |" for name, seconds in timings[-1].items()]
        write_between_marks(
            "benchmarks/step.py", [*lines, "", f"{'; '.join(shares)}. A file of records: {size:.2f} MiB. {machine()}."]
        )
        console.print("written into docs/speed.md")


if __name__ == "__main__":
    typer.run(main)
