"""What ResT adds to a step of verl's trainer: `timing_s/rest` with thousands of rollouts, in the trainer's own code,
and `timing_s/rest_dump`, what `rest.dump_dir` adds to that with its default sample.

The rollouts are simulated; Ray, the transfer queue that verl keeps a batch in, and the trainer's method that computes
advantages and token weights are the real ones. Nothing is generated and no model is there. The baseline is the same
method's time without ResT's part, which is verl's own. Times are those of the second step: the first one pays for
memory and connections once.

    pip install --no-deps dashscope     # whose package holds a real vocabulary
    python benchmarks/step.py --preset entropy_adaptive
    python benchmarks/step.py --quick
"""

from __future__ import annotations

import logging
import random
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import ray
import torch
import transfer_queue as tq
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, table
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, open_dict
from qwen import qwen_tokenizer
from tensordict import NonTensorStack, TensorDict
from weighting import make_batch, seconds_of

from rest_verl.config import load
from rest_verl.core.regions import RegionTagger
from rest_verl.records.read import step_files
from rest_verl.records.recorder import Recorder
from rest_verl.weighting import TokenWeighting

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
    from rest_verl.trainer import RestTrainerSync  # here, where verl's warnings about absent engines are off

    trainer = RestTrainerSync.__new__(RestTrainerSync)
    rest = load(config)
    with open_dict(config):
        config.algorithm.adv_estimator = rest.base_estimator
    trainer.config, trainer.tokenizer, trainer.global_steps = config, tokenizer, 0
    trainer._rest, trainer._weighting = rest, TokenWeighting(rest, total_steps=100)
    trainer._recorder = Recorder(rest, tokenizer, 100) if rest.dump_dir else None
    trainer._init_dump_executor()
    trainer._tagger = RegionTagger(tokenizer, rest.format)
    return trainer


def timed_step(trainer: Any, fields: TensorDict) -> dict[str, float]:
    """Seconds of computing advantages with ResT for a batch put into the queue anew, of ResT's part in it (`rest`), of
    the queue's part in that, of verl's own part, and of the records as long as training waits for them."""
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
    rest, records = trainer.timing_raw["rest"], trainer.timing_raw["rest_dump"]
    return {"verl": whole - rest - records, "rest": rest, "queue": read + write, "records": records}


def measure(preset: str, rows: int, tokens: int) -> dict[str, float]:
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
        timings = [timed_step(trainer, fields) for _ in range(2)]
        trainer._shutdown_dump_executor()
        return {**timings[-1], "record_mib": step_files(Path(records))[2].stat().st_size / 2**20}


def shares(preset: str, rows: int, tokens: int, found: dict[str, float]) -> dict[str, Any]:
    """The ratio to verl's own part, and the table."""
    parts = {
        "advantages: verl's own part, the baseline": found["verl"],
        "ResT (timing_s/rest)": found["rest"],
        "of it, the queue's part": found["queue"],
        "of it, ResT's own work": found["rest"] - found["queue"],
        "records (timing_s/rest_dump)": found["records"],
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
    quick: Quick = False,
    out: Out = Path("runs/step"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure what ResT adds to a step."""
    in_a_worker()
    rows, tokens, out = (128, 256, out / "quick") if quick else (rows, tokens, out)
    study = Study("step", {"rows": rows, "tokens": tokens}, out, fresh=fresh)
    found = study.run({preset: partial(measure, preset, rows, tokens)})
    study.finish(shares(preset, rows, tokens, found[preset]), publish)


if __name__ == "__main__":
    typer.run(main)
