"""The report of a run: every verdict, scores.json, scores.md and a chart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rest_verl.data.files import sha256_of, write_whole
from rest_verl.eval.answers import Answer
from rest_verl.eval.chart import draw_bars
from rest_verl.eval.formulas import GROUPS, asked_groups
from rest_verl.eval.predictions import Predictions
from rest_verl.eval.repeats import measures
from rest_verl.eval.score import Scored, outcomes_of
from rest_verl.eval.statistics import LEVEL, Estimate, Run, combine, estimate

VERDICTS, SCORES = "verdicts.jsonl", "scores.json"


@dataclass(frozen=True)
class Scores:
    """All scores of a run, in the order of reports.

    Attributes:
        groups: the groups with all categories asked.
        partial: the missing data sources of groups that were only asked in part.
        categories: by data source.
    """

    groups: Mapping[str, Estimate]
    partial: Mapping[str, Sequence[str]]
    categories: Mapping[str, Estimate]

    def all(self) -> dict[str, Estimate]:
        """Groups and categories."""
        return {**self.groups, **self.categories}


def scores_of(outcomes: Run) -> Scores:
    """Compute all scores."""
    categories = {source: estimate(one) for source, one in outcomes.items()}
    questions = {source: one.questions for source, one in categories.items()}
    groups, partial = {}, {}
    for group in asked_groups(questions):
        if missing := group.missing(questions):
            partial[group.name] = missing
        else:
            groups[group.name] = combine(categories, group.weights(questions))
    return Scores(groups, partial, categories)


def repeated_scores(outcomes: Run) -> dict[str, Scores]:
    """All scores as pass@k and pass^k, by the name of the measure; empty if each question has one answer."""
    answers = min((one.accuracy.shape[1] for one in outcomes.values()), default=0)
    return {str(measure): scores_of(measure.of(outcomes)) for measure in measures(answers)}


def write_report(predictions: Predictions, scored: Sequence[Scored], out: Path) -> Scores:
    """Write verdicts.jsonl, scores.json, scores.md, scores.png and scores.svg into a folder.

    Raises:
        ModuleNotFoundError: matplotlib is missing; everything but the chart is written.
    """
    outcomes = outcomes_of(scored)
    scores, repeated = scores_of(outcomes), repeated_scores(outcomes)
    write_whole(out / VERDICTS, "".join(json.dumps(asdict(one)) + "\n" for one in scored))
    write_whole(out / SCORES, json.dumps(_as_json(predictions, scored, scores, repeated), indent=2) + "\n")
    write_whole(out / "scores.md", _as_markdown(predictions, scores, repeated))
    shown = scores.all()
    draw_bars({predictions.model: shown}, sections(shown), predictions.model, out / "scores")
    return scores


def read_verdicts(folder: Path) -> tuple[list[Scored], dict[str, Any]]:
    """Read the files of `write_report`.

    Returns:
        the verdicts, and scores.json.

    Raises:
        FileNotFoundError: the folder was not scored.
        ValueError: a file is damaged, or answers.jsonl next to it has changed since.
    """
    for name in (VERDICTS, SCORES):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name}: no such file; score the run first: rest-verl eval score {folder}"
            )
    try:
        report = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        lines = (folder / VERDICTS).read_text(encoding="ascii").splitlines()
        verdicts = [Scored(**json.loads(line)) for line in lines]
        answers = folder / report["answers"]["file"]
        changed = answers.is_file() and sha256_of(answers) != report["answers"]["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder}: its scores are damaged ({error}); run rest-verl eval score {folder}") from None
    if changed:
        raise ValueError(f"{answers} has changed since it was scored; run rest-verl eval score {folder}")
    return verdicts, report


def sections(shown: Iterable[str]) -> list[list[str]]:
    """Order scores for a chart: groups, then the categories of BFCL, then those of API-Bank."""
    names, known = list(shown), {group.name for group in GROUPS}
    parts = (
        [name for name in names if name in known],
        [name for name in names if name.startswith("bfcl_")],
        [name for name in names if name not in known and not name.startswith("bfcl_")],
    )
    return [part for part in parts if part]


def percent(value: float | None) -> str:
    """A share as a percentage with two decimals."""
    return "" if value is None else f"{100 * value:.2f}"


def interval(one: Estimate) -> str:
    """The bounds of a score as percentages."""
    return f"{percent(one.low)} to {percent(one.high)}"


def counts_of(answers: Iterable[Answer]) -> dict[str, int]:
    """Numbers of all requests, of those the endpoint refused, and of those whose answer was cut at max_tokens."""
    given = list(answers)
    return {
        "requests": len(given),
        "refused": sum(answer.error is not None for answer in given),
        "cut": sum(answer.finish_reason == "length" for answer in given),
    }


def _as_json(
    predictions: Predictions, scored: Sequence[Scored], scores: Scores, repeated: Mapping[str, Scores]
) -> dict[str, Any]:
    numbers = dict.fromkeys(number for one in scored for number in one.numbers)
    means: dict[str, dict[str, float]] = {source: {} for source in scores.categories}
    for number in numbers:
        for source, outcomes in outcomes_of(scored, number).items():
            means[source][number] = float(outcomes.accuracy.mean())
    return {
        "model": predictions.model,
        "settings": predictions.settings,
        "answers": {
            "file": predictions.path.name,
            "sha256": sha256_of(predictions.path),
            **counts_of(predictions.answers),
        },
        "seeds": sorted({one.seed for one in scored}),
        "groups": {name: asdict(one) for name, one in scores.groups.items()},
        "partial": {name: {"missing": list(missing)} for name, missing in scores.partial.items()},
        "categories": {name: {**asdict(one), "numbers": means[name]} for name, one in scores.categories.items()},
        "repeated": {
            measure: {name: asdict(one) for name, one in found.all().items()} for measure, found in repeated.items()
        },
    }


def _as_markdown(predictions: Predictions, scores: Scores, repeated: Mapping[str, Scores]) -> str:
    counts = counts_of(predictions.answers)
    settings = ", ".join(f"{key} {json.dumps(value)}" for key, value in predictions.settings.items())
    lines = [
        f"# {predictions.model}",
        "",
        f"Correct answers in %, with Wilson's interval at {LEVEL:.0%}. It and the standard error are over questions; "
        "answers with several seeds are averaged first.",
        "",
        "| score | % | 95 % | standard error | questions |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {percent(one.mean)} | {interval(one)} | {percent(one.standard_error)} | {one.questions} |"
            for name, one in scores.all().items()
        ),
        "",
        *_repeated_table(repeated),
        *(
            f"- {name}: not computed, since {', '.join(lacks)} was not asked."
            for name, lacks in scores.partial.items()
        ),
        *(
            f"- {group.name}: counts {', '.join(zero)} as 0, as bfcl-eval counts what was not asked."
            for group in GROUPS
            if group.name in scores.groups
            and (zero := group.counted_as_zero({source: one.questions for source, one in scores.categories.items()}))
        ),
        f"- {counts['requests']} requests; the endpoint refused {counts['refused']} (their conversations count as "
        f"wrong), and {counts['cut']} answers were cut at max_tokens.",
        f"- Settings: {settings}.",
    ]
    return "\n".join(lines) + "\n"


def _repeated_table(repeated: Mapping[str, Scores]) -> list[str]:
    """pass@k and pass^k of every score, if questions have several answers."""
    if not repeated:
        return []
    columns = {measure: found.all() for measure, found in repeated.items()}
    names = next(iter(columns.values()))
    return [
        "One of k answers right (pass@k), and all k of them (pass^k), in %:",
        "",
        f"| score | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(
            f"| {name} | "
            + " | ".join(f"{percent(found[name].mean)} ({interval(found[name])})" for found in columns.values())
            + " |"
            for name in names
        ),
        "",
    ]
