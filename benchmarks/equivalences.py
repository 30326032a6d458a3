"""Does ResT with uniform weights train exactly as stock verl does, and is an update the same however a batch is split?

Every run is stock verl, Ray and vLLM on a CPU, from one small model, with rollouts that are the same token for token
(benchmarks/trust/in_verl.py says how). Every parameter of the trained models is compared. Two runs of stock verl are
compared too: if those two differed, the rest would say nothing. Finished runs are kept in `--out`, so a study that was
stopped resumes; runs that failed are tried again.

    python benchmarks/equivalences.py                    # an hour and a half on two cores
    python benchmarks/equivalences.py --only rloo,gae
    python benchmarks/equivalences.py --quick            # one pair of one step: five minutes
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer
from harness import Fresh, Out, Publish, Quick, Study, table
from quickstart import prepare_start
from rich.progress import Progress
from trust.runs import (
    CHECKPOINTS,
    IN_VERL,
    RECIPE,
    REPORT,
    newest_step,
    of_start,
    parameters,
    seeded_rollouts,
    train,
    trained_model,
    with_texts,
)
from verl_run import RunFailed, read_metrics

TIMEOUT_SECONDS = 900.0
HEAD = ["run", "compared with", "steps", "largest difference", "as a share of training", "allowed", "metrics"]
VANILLA = "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"
ADVANTAGE = ("rest.apply_in=advantage", VANILLA)
UNIFORM = ("+rest=paper", "rest.scheme=uniform")
ACTOR, ROLLOUT, ALGORITHM = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "algorithm"
# Weights in 32 bits: sums in another order differ by rounding, and Adam's first steps carry the sign of gradients that
# are nearly zero into the weights at full size.
TOLERANCE = 2e-3


@dataclass(frozen=True)
class Run:
    """A training: overrides on top of the recipe, steps, the step at which it is stopped and started again from its
    checkpoint, and whether verl loads its plugins, this one among them."""

    overrides: tuple[str, ...]
    steps: int = 2
    resumed_at: int | None = None
    plugin: bool = True


@dataclass(frozen=True)
class Pair:
    """Two runs, by name, whose models must agree; `bound` is the largest allowed difference of the parameters, as a
    share of how far training moved them, and 0 means none in any bit."""

    left: str
    right: str
    bound: float = 0.0


REFERENCE = "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8"

# In the first update from a rollout all ratios are 1, where the losses have one gradient.
TWICE = f"{ACTOR}.ppo_epochs=2"
LOSS, CORRECTION = f"{ACTOR}.policy_loss.loss_mode", f"{ALGORITHM}.rollout_correction"
# Settings of verl that ResT works next to: both runs of a pair get them.
NEXT_TO: dict[str, tuple[str, ...]] = {
    "gspo": (f"{LOSS}=gspo", TWICE),
    # A seed, since the tokens that it clips are drawn.
    "clip_cov": (f"{LOSS}=clip_cov", TWICE, f"{ACTOR}.fsdp_config.full_determinism=True"),
    "cispo": (f"{LOSS}=cispo", TWICE),
    "rollout correction": (f"{CORRECTION}.rollout_is=token", f"{CORRECTION}.bypass_mode=False"),
    "KL loss": (f"{ACTOR}.use_kl_loss=True", f"{ACTOR}.kl_loss_coef=0.1", REFERENCE),
    "KL in the reward": (f"{ALGORITHM}.use_kl_in_reward=True", REFERENCE),
    "entropy bonus": (f"{ACTOR}.entropy_coeff=0.01",),
}
CRITIC = (
    "critic.model.path=${actor_rollout_ref.model.path}",
    "critic.ppo_micro_batch_size_per_gpu=8",
    "critic.optim.lr=1e-3",
    "critic.fsdp.full_determinism=True",  # a seed: its head starts from random numbers
)
# By name, with what else they need. gdpo, remax and the optimal baselines are refused at start-up: verl's V1 trainer
# does not give them their inputs.
ESTIMATORS: dict[str, tuple[str, ...]] = {"rloo": (), "reinforce_plus_plus_baseline": (), "gae": CRITIC}
# Nothing of ResT: verl's own GRPO with a function as its reward.
BARE = (f"{ALGORITHM}.adv_estimator=grpo", f"reward.custom_reward_function.path={IN_VERL}")
# How a batch may be split: the recipe has micro-batches of 8.
SPLITS = {
    **{
        f"micro-batches of {size}": (
            f"{ACTOR}.ppo_micro_batch_size_per_gpu={size}",
            f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu={size}",
        )
        for size in (1, 2, 4)
    },
    "dynamic batch size": (
        *(f"{ACTOR}.use_dynamic_bsz=True", f"{ACTOR}.ppo_max_token_len_per_gpu=512"),
        *(f"{ROLLOUT}.log_prob_use_dynamic_bsz=True", f"{ROLLOUT}.log_prob_max_token_len_per_gpu=512"),
    ),
    "two ranks": ("trainer.n_gpus_per_node=2",),
    "padding removed": ("actor_rollout_ref.model.use_remove_padding=True",),
}
PAPER, ADAPTIVE = ("+rest=paper",), ("+rest=entropy_adaptive",)
RUNS = {
    "verl with the plugin": Run(BARE, 5),
    "verl without the plugin": Run(BARE, 5, plugin=False),
    "grpo": Run(("+rest=grpo",), 5),
    "grpo again": Run(("+rest=grpo",), 5),
    "uniform in the advantage": Run((*UNIFORM, *ADVANTAGE), 5),
    "uniform in the loss": Run(UNIFORM, 5),
    "paper": Run(PAPER),
    "paper in the advantage": Run((*PAPER, *ADVANTAGE)),
    "paper, twice on a rollout": Run((*PAPER, TWICE)),
    "paper in the advantage, twice on a rollout": Run((*PAPER, *ADVANTAGE, TWICE)),
    **{f"paper, {split}": Run((*PAPER, *given)) for split, given in SPLITS.items()},
    "adaptive": Run(ADAPTIVE, 12),
    "adaptive, resumed at step 6": Run(ADAPTIVE, 12, resumed_at=6),
}
for _name, _given in NEXT_TO.items():
    RUNS[f"{_name}, stock"] = Run(("+rest=grpo", *_given))
    RUNS[f"{_name}, uniform"] = Run((*UNIFORM, *ADVANTAGE, *_given))
for _name, _given in ESTIMATORS.items():
    RUNS[f"{_name}, stock"] = Run(("+rest=grpo", f"{ALGORITHM}.adv_estimator={_name}", *_given))
    RUNS[f"{_name}, uniform"] = Run((*UNIFORM, *ADVANTAGE, f"rest.base_estimator={_name}", *_given))
PAIRS = [
    Pair("verl without the plugin", "verl with the plugin"),
    Pair("grpo", "grpo again"),
    Pair("grpo", "uniform in the advantage"),
    Pair("grpo", "uniform in the loss"),
    Pair("adaptive", "adaptive, resumed at step 6"),
    Pair("paper", "paper in the advantage", TOLERANCE),
    Pair("paper, twice on a rollout", "paper in the advantage, twice on a rollout", TOLERANCE),
    *(Pair("paper", f"paper, {split}", TOLERANCE) for split in SPLITS),
    *(Pair(f"{name}, stock", f"{name}, uniform") for name in (*ESTIMATORS, *NEXT_TO)),
]
QUICK_PAIR = Pair("grpo", "uniform in the loss")


def folder_of(out: Path, name: str) -> Path:
    """Where a run of RUNS is kept."""
    return out / name.replace(" ", "-").replace(",", "")


def overrides_of(run: Run, start: Path, folder: Path) -> list[str]:
    """Everything that a run asks of verl; its own settings come last, since the last of a key holds."""
    return [
        *RECIPE,
        *of_start(start),
        *seeded_rollouts(folder),
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        f"trainer.save_freq={run.resumed_at or run.steps}",
        f"trainer.default_local_dir={folder.resolve() / CHECKPOINTS}",
        *run.overrides,
    ]


def do_run(run: Run, start: Path, folder: Path, progress: Progress) -> str:
    """Train one run from the start: why it failed, or nothing."""
    report = folder / "plugin.txt"
    given = {REPORT: str(report.resolve())}
    if not run.plugin:
        # Only the CPU platform, without which stock verl runs on no CPU.
        given |= {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_USE_EXTERNAL_MODULES": "rest_verl.cpu.cpu"}
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # of a run that was stopped
    report.unlink(missing_ok=True)
    overrides = overrides_of(run, start, folder)
    try:
        with patch.dict(os.environ, given):
            for steps in filter(None, (run.resumed_at, run.steps)):
                train(overrides, folder, steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        return str(failure).splitlines()[0]
    found = report.read_text() if report.exists() else ""  # by the reward of runs without ResT
    return f"it ran {found} the plugin" if found and (found == "with") != run.plugin else ""


def verdict_on(pair: Pair, failed: dict[str, str], start: Path, out: Path) -> dict[str, Any]:
    """How far apart the trained models of a pair are: the `largest` difference of a parameter, and the norm of the
    difference as a `share` of the norm of what training changed; or `failed` with why runs failed. RunFailed if the
    first run did not change its model."""
    if reasons := [f"{name} did not run: {failed[name]}" for name in (pair.left, pair.right) if failed[name]]:
        return {"held": False, "failed": "; ".join(reasons)}
    before = parameters(start / "model")
    folders = [folder_of(out, name) for name in (pair.left, pair.right)]
    left, right = (parameters(trained_model(folder, newest_step(folder))) for folder in folders)
    moved = (left - before).norm()
    if not moved > 0:
        raise RunFailed(f"{pair.left} did not train: its model is the one it started from")
    share, apart = float((left - right).norm() / moved), metrics_apart(*folders)
    return {
        "steps": newest_step(folders[0]),
        "largest": float((left - right).abs().max()),
        "share": share,
        "allowed": pair.bound,
        "metrics_apart": apart,
        "held": share <= pair.bound and (pair.bound > 0 or not apart),
    }


def metrics_apart(*folders: Path) -> float | None:
    """Largest difference of a `rest/*` metric that both runs logged for a step; None if they have none in common."""
    left, right = (
        {
            (step.step, name): value
            for step in read_metrics(folder / "metrics.jsonl")
            for name, value in step.metrics.items()
            if name.startswith("rest/")
        }
        for folder in folders
    )
    return max((abs(left[key] - right[key]) for key in left.keys() & right.keys()), default=None)


def line_of(pair: Pair, verdict: dict[str, Any]) -> list[str]:
    """The line of a pair in the table."""
    if "failed" in verdict:
        return [pair.left, pair.right, "", "", "", "", "", verdict["failed"]]
    apart = "" if verdict["metrics_apart"] is None else f"{verdict['metrics_apart']:.2g}"
    said = ("identical" if verdict["largest"] == 0 else "held") if verdict["held"] else "**differs**"
    numbers = [f"{verdict['largest']:.2g}", f"{verdict['share']:.2g}", f"{pair.bound:g}" if pair.bound else "nothing"]
    return [pair.left, pair.right, str(verdict["steps"]), *numbers, apart, said]


def findings(pairs: Iterable[Pair], verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts and their table, as the result file has them."""
    lines = [line_of(pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]
    named = {f"{line[0]} / {line[1]}": verdict for line, verdict in zip(lines, verdicts, strict=True)}
    held = sum(verdict["held"] for verdict in verdicts)
    return {
        "held": held,
        "pairs": len(verdicts),
        "verdicts": named,
        "tables": {"pairs": table([*HEAD, "verdict"], lines)},
    }


def chosen(only: str) -> list[Pair]:
    """The pairs with one of the texts in a run's name, `runs.with_texts`."""
    return with_texts(only, PAIRS, lambda pair: f"{pair.left}|{pair.right}")


def names_of(pairs: Iterable[Pair]) -> list[str]:
    """The runs of some pairs, each once."""
    return list(dict.fromkeys(name for pair in pairs for name in (pair.left, pair.right)))


def main(
    only: Annotated[str, typer.Option(help="Only pairs with one of these texts, separated by commas.")] = "",
    quick: Quick = False,
    out: Out = Path("runs/trust/equivalences"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Compare trainings that must come to the same model."""
    pairs = [QUICK_PAIR] if quick else chosen(only)
    home, out = out.parent, out / "quick" if quick else out
    runs = {name: replace(RUNS[name], steps=1) if quick else RUNS[name] for name in names_of(pairs)}
    study = Study("trust_equivalences", {"quick": quick}, out, fresh=fresh)
    study.pieces = {name: failed for name, failed in study.pieces.items() if not failed}
    with study.progress:
        start = prepare_start(home, 0, study.progress)
    failed = study.run(
        {name: partial(do_run, run, start, folder_of(out, name), study.progress) for name, run in runs.items()}
    )
    found = findings(pairs, [verdict_on(pair, failed, start, out) for pair in pairs])
    study.finish(found, publish and pairs == PAIRS)
    raise typer.Exit(int(found["held"] < found["pairs"]))


if __name__ == "__main__":
    typer.run(main)
