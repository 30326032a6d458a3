"""Compare two models on the same questions: the difference in every score, and whether it is larger than chance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rest_verl.data.files import write_whole
from rest_verl.eval.chart import draw_bars
from rest_verl.eval.formulas import asked_groups
from rest_verl.eval.repeats import Measure
from rest_verl.eval.report import percent, read_verdicts, scores_of, sections
from rest_verl.eval.score import outcomes_of
from rest_verl.eval.statistics import LEVEL, Difference, Estimate, Run, paired_bootstrap

_NOT_A_DIFFERENCE = ("model", "rest_verl")


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Attributes:
        name: shown in the report.
        runs: the model's runs; several if it was trained with several seeds.
        settings: the settings of each run.
    """

    name: str
    runs: Sequence[Run]
    settings: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        differences: by score, in the order of reports.
        settings: the settings in which the runs differ, one line each.
        measure: what is compared: acc, or pass@k or pass^k.
    """

    base: Side
    other: Side
    differences: Mapping[str, Difference]
    settings: Sequence[str]
    resamples: int
    seed: int
    measure: str = "acc"


def read_side(folders: Sequence[Path]) -> Side:
    """Read the scored runs of one model; raises as `report.read_verdicts`."""
    read = [read_verdicts(folder) for folder in folders]
    names = dict.fromkeys(str(report["model"]) for _, report in read)
    return Side(
        name=", ".join(names),
        runs=[outcomes_of(verdicts) for verdicts, _ in read],
        settings=[report["settings"] for _, report in read],
    )


def compare(base: Side, other: Side, resamples: int, seed: int, measure: Measure | None = None) -> Comparison:
    """Compare two models, by the share of right answers or by a measure of several answers.

    Raises:
        ValueError: as `statistics.paired_bootstrap`; or questions have too few answers for the measure.
    """
    if measure is not None:
        base, other = (replace(side, runs=[measure.of(run) for run in side.runs]) for side in (base, other))
    first = base.runs[0]
    questions = {source: len(one.ids) for source, one in first.items()}
    groups = {
        group.name: group.weights(questions) for group in asked_groups(questions) if not group.missing(questions)
    }
    weights = groups | {source: {source: 1.0} for source in first}
    differences = paired_bootstrap(base.runs, other.runs, weights, resamples, seed)
    settings = _different_settings([*base.settings, *other.settings])
    return Comparison(base, other, differences, settings, resamples, seed, "acc" if measure is None else str(measure))


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write comparison.json, comparison.md, comparison.png and comparison.svg into a folder.

    Raises:
        ModuleNotFoundError: matplotlib is missing; everything but the chart is written.
    """
    sides = {"base": comparison.base, "other": comparison.other}
    report = {
        **{key: {"model": side.name, "runs": len(side.runs)} for key, side in sides.items()},
        "measure": comparison.measure,
        "level": LEVEL,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "different_settings": list(comparison.settings),
        "scores": {name: asdict(one) for name, one in comparison.differences.items()},
    }
    write_whole(out / "comparison.json", json.dumps(report, indent=2) + "\n")
    write_whole(out / "comparison.md", _as_markdown(comparison))
    names = _distinct(comparison.base.name, comparison.other.name)
    shown = {
        name: _mean_estimates(side.runs) for name, side in zip(names, (comparison.base, comparison.other), strict=True)
    }
    draw_bars(shown, sections(comparison.differences), f"{names[1]} against {names[0]}", out / "comparison")


def verdict(one: Difference) -> str:
    """Whether a difference is larger than chance: better, worse or unclear."""
    return ("better" if one.mean > 0 else "worse") if one.is_significant else "unclear"


def _different_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one if key not in _NOT_A_DIFFERENCE)
    values = {key: list(dict.fromkeys(json.dumps(one.get(key)) for one in settings)) for key in keys}
    return [f"{key}: {' / '.join(found)}" for key, found in values.items() if len(found) > 1]


def _mean_estimates(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Every score, averaged over the runs; the error is that of one run, since all runs have the same questions."""
    scores = [scores_of(run).all() for run in runs]

    def averaged(name: str, first: Estimate) -> Estimate:
        bounds = np.array([(one[name].mean, one[name].low, one[name].high) for one in scores])
        mean, low, high = bounds.mean(axis=0).tolist()
        return replace(first, mean=mean, low=low, high=high)

    return {name: averaged(name, first) for name, first in scores[0].items()}


def _distinct(base: str, other: str) -> tuple[str, str]:
    return (base, other) if base != other else (f"{base} (first)", f"{other} (second)")


def _as_markdown(comparison: Comparison) -> str:
    base, other = comparison.base, comparison.other
    lines = [
        f"# {other.name} against {base.name}",
        "",
        f"{'Correct answers' if comparison.measure == 'acc' else comparison.measure} in %, and the difference with "
        f"bounds that contain {LEVEL:.0%} of {comparison.resamples} resamples of the same questions. If they include "
        "0, it is unclear which model is better.",
        "",
        "| score | first | second | difference | low | high | second ahead | p | |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
        *_rows(comparison.differences),
        "",
        f"- Runs: {len(base.runs)} of {base.name}, {len(other.runs)} of {other.name}. {_about_runs(comparison)}",
        *(f"- Settings that differ: {line}." for line in comparison.settings),
    ]
    return "\n".join(lines) + "\n"


def _rows(differences: Mapping[str, Difference]) -> Iterable[str]:
    for name, one in differences.items():
        numbers = (one.base, one.other, one.mean, one.low, one.high, one.ahead)
        yield f"| {name} | {' | '.join(map(percent, numbers))} | {one.p_value:.4f} | {verdict(one)} |"


def _about_runs(comparison: Comparison) -> str:
    if len(comparison.base.runs) == len(comparison.other.runs) == 1:
        return "With one run each, the bounds do not include the randomness of training."
    return "Runs are resampled too."
