"""What benchmarks/overhead.py found, as a section of docs/evidence.md: tables, and verdicts that numbers decide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from page import markdown_table

from evidence.intervals import Interval, mean_interval, ratio_interval
from evidence.results import said_by

PARTS = ("verl", "alone")
LIMIT = 0.02  # of a step: what ResT may cost
BASE = "grpo"
# Stages that ResT has no part in: it acts between the responses and the update of the model.
UNTOUCHED = ("gen", "update_weights")
WITHOUT_THEM = "all but " + " and ".join(f"`{stage}`" for stage in UNTOUCHED)

Seconds = list[list[float]]  # by pair and step
Runs = Sequence[dict[str, Any]]  # of one preset, by pair


@dataclass(frozen=True)
class Share:
    """What is a part of the seconds of all steps, by ratio of totals.

    Attributes:
        interval: over the steps of all pairs.
        by_pair: of each pair by itself. What differs from run to run shows here, and not in the interval.
    """

    interval: Interval
    by_pair: list[float]

    @property
    def cells(self) -> list[str]:
        """The estimate, its interval, and the range over the pairs."""
        pairs = f"{percent(min(self.by_pair))} to {percent(max(self.by_pair))}"
        return [percent(self.interval.mean), ends(self.interval), pairs]


def section(result: dict[str, Any]) -> list[str]:
    """The section as lines of Markdown.

    Args:
        result: what overhead.py found: of `verl` and `alone` what was measured, and `made_by` where it was written; a
            part that was measured another time has a `made_by` of its own.
    """
    lines = ["## What it costs", ""]
    for part, lines_of in zip(PARTS, (_through_verl, _alone), strict=True):
        if part in result:
            lines += lines_of(result[part])
            if made_by := result[part].get("made_by", result.get("made_by")):
                lines += [said_by(made_by), ""]
    return lines


def not_held(result: dict[str, Any]) -> list[str]:
    """The presets for which a way of measuring does not show that they cost as little as is claimed."""
    found, about = [], ""
    for line in section(result):
        if line.startswith("That `"):
            about = line.removesuffix(":")
        elif line.startswith("- by ") and "**holds**" not in line:
            found.append(f"- {about}: {line.removeprefix('- ')}")
    return found


def share(parts: Seconds, wholes: Seconds) -> Share:
    """What the parts are of the wholes; both of the same shape."""
    by_pair = [math.fsum(part) / math.fsum(whole) for part, whole in zip(parts, wholes, strict=True)]
    return Share(ratio_interval(_flat(parts), _flat(wholes)), by_pair)


def verdict(found: Share) -> str:
    """Whether a share is at most `LIMIT`: decided where the interval and every single pair agree."""
    if max(found.interval.high, *found.by_pair) <= LIMIT:
        return "**holds**"
    if min(found.interval.low, *found.by_pair) > LIMIT:
        return "**does not hold**"
    return "is **undecided**, for the noise is too large"


def verdict_against(found: Share, untouched: Share | None = None) -> str:
    """As `verdict`, for a difference between runs: one pair says nothing of what differs from run to run.

    Args:
        found: the difference.
        untouched: what stages that ResT has no part in make of it, if any: it must not be laid to ResT.
    """
    if len(found.by_pair) < 2:
        return "is **undecided**, for there is one pair only"
    if untouched is not None and abs(untouched.interval.mean) > LIMIT:
        return f"is **undecided**, for stages without ResT differ by {percent(untouched.interval.mean)}"
    return verdict(found)


def growth(tokens: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float]:
    """How seconds grow with tokens: the exponent (1 is linear), the nanoseconds a token of a straight line, and the
    share of the variance that the line explains (R^2)."""
    exponent = np.polyfit(np.log(tokens), np.log(seconds), 1)[0]
    slope = np.polyfit(tokens, seconds, 1)[0]
    return float(exponent), float(slope * 1e9), float(np.corrcoef(tokens, seconds)[0, 1] ** 2)


def percent(value: float, digits: int = 2) -> str:
    """A share in percent."""
    return f"{100 * value:.{digits}f} %"


def ends(interval: Interval) -> str:
    """The ends of an interval of shares."""
    return "none" if math.isinf(interval.low) else f"{percent(interval.low)} to {percent(interval.high)}"


def _through_verl(verl: dict[str, Any]) -> list[str]:
    by_preset: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(verl["runs"], key=lambda run: run["pair"]):
        by_preset.setdefault(run["preset"], []).append(run)
    theirs = by_preset.pop(BASE)
    lines = [
        "### In a step of stock verl",
        "",
        f"The quickstart's recipe on a CPU, with {BASE} and with ResT in turn. Runs of a pair have the same seeds and "
        f"the same reward, and the learning rate is {verl['learning_rate']}, so that every run keeps the starting "
        f"model and generates alike: what differs is cost. Pairs: {len(theirs)}; steps of a run that count: "
        f"{len(theirs[0]['tokens'])}; left out before them: {verl['warm_up']}.",
        "",
        "Seconds are means. A difference is a share of the whole step of GRPO. Intervals are at 95 %, from drawing "
        "the paired steps anew; beside them stand the lowest and the highest pair. In "
        f"{' and '.join(f'`{stage}`' for stage in UNTOUCHED)} ResT has no part: what differs there is noise. "
        "verl looks every two seconds whether a batch is generated, so its `gen` moves in steps of that size.",
        "",
    ]
    for preset, ours in by_preset.items():
        lines += [*_stages(preset, ours, theirs), "", *_verdicts(preset, ours, theirs), ""]
    return lines + _memory(by_preset, theirs)


def _stages(preset: str, ours: Runs, theirs: Runs) -> list[str]:
    """The table of one preset: seconds of each stage that verl logs, and the difference."""
    whole = _seconds(theirs, ["step"])
    stages = [stage for stage in theirs[0]["seconds"] if stage != "step"]
    rows = [(f"`{stage}`", _seconds(ours, [stage]), _seconds(theirs, [stage])) for stage in stages]
    rows += [(WITHOUT_THEM, _touched(ours), _touched(theirs)), ("`step`", _seconds(ours, ["step"]), whole)]
    body = [
        [name, f"{np.mean(_flat(them)):.3f}", f"{np.mean(_flat(us)):.3f}", *share(_minus(us, them), whole).cells]
        for name, us, them in rows
    ]
    return markdown_table(["stage", "GRPO, s", f"`{preset}`, s", "difference", "interval", "pair by pair"], body)


def _verdicts(preset: str, ours: Runs, theirs: Runs) -> list[str]:
    """On the claim, and on how far the runs can be compared."""
    own, whole = _seconds(ours, ["step"]), _seconds(theirs, ["step"])
    clock = share(_seconds(ours, ["rest"]), own)
    touched = share(_minus(_touched(ours), _touched(theirs)), whole)
    step = share(_minus(own, whole), whole)
    untouched = share(_minus(_seconds(ours, UNTOUCHED), _seconds(theirs, UNTOUCHED)), whole)
    lines = [f"That `+rest={preset}` costs at most {percent(LIMIT, 0)} of a step:", ""]
    for way, found, said in [
        ("by its own clock, `timing_s/rest`", clock, verdict(clock)),
        (f"by {WITHOUT_THEM}, against GRPO", touched, verdict_against(touched)),
        ("by the whole step, against GRPO", step, verdict_against(step, untouched)),
    ]:
        estimate, interval, pairs = found.cells
        lines.append(f"- {way}, this {said}: {estimate} (interval: {interval}; pair by pair: {pairs}).")
    tokens = sum(_flat(run["tokens"] for run in ours)) / sum(_flat(run["tokens"] for run in theirs))
    return [*lines, "", f"Its runs processed {tokens:.4f} times as many tokens as those of GRPO."]


def _memory(by_preset: dict[str, list[dict[str, Any]]], theirs: Runs) -> list[str]:
    """Peaks of memory: a table, and a sentence for each preset."""
    head = ["preset", "peak of the trainer's process, MiB", "peaks of all processes, added up, MiB"]
    body = [
        [f"`{preset}`", *(f"{max(_peaks(runs, which)):,}" for which in ("trainer", "all"))]
        for preset, runs in {BASE: theirs, **by_preset}.items()
    ]
    lines = [*markdown_table(head, body), ""]
    for preset, ours in by_preset.items():
        more = {
            which: [us - them for us, them in zip(_peaks(ours, which), _peaks(theirs, which), strict=True)]
            for which in ("trainer", "all")
        }
        lines += [
            f"Against GRPO, the peak of `+rest={preset}` in the trainer's process is {_more(more['trainer'])}, and "
            f"the sum of the peaks of all processes is {_more(more['all'])}.",
            "",
        ]
    return lines


def _more(mib: Sequence[float]) -> str:
    """A difference of memory in words; whether it can be told from noise."""
    found = mean_interval(mib)
    amount = f"{abs(found.mean):,.0f} MiB {'higher' if found.mean >= 0 else 'lower'}"
    pairs = f"pair by pair: {min(mib):+,.0f} to {max(mib):+,.0f}"
    return f"{amount} ({pairs}{'; its sign is **undecided**' if found.undecided else ''})"


def _alone(alone: dict[str, Any]) -> list[str]:
    head = ["preset", "prompts x rollouts x tokens", "million tokens", "seconds", "ns a token", "memory, MiB"]
    body = [
        [
            f"`{size['preset']}`",
            _shape(size),
            f"{_tokens(size) / 1e6:.1f}",
            f"{size['seconds']:.3f}",
            f"{size['seconds'] / _tokens(size) * 1e9:.0f}",
            f"{size['more_mib']:,}",
        ]
        for size in alone["sizes"]
    ]
    lines = [
        "### The token weights by themselves",
        "",
        "Tagging, weights and metrics, as the trainer computes them once a step, with one thread. The batch repeats "
        f"{alone['different_rows']} simulated responses, each as long as the size allows; memory is what is taken for "
        "a while beside it. The queue's part is not in it: [speed.md](speed.md) has that.",
        "",
        *markdown_table(head, body),
        "",
    ]
    for preset in dict.fromkeys(size["preset"] for size in alone["sizes"]):
        sizes = [size for size in alone["sizes"] if size["preset"] == preset]
        exponent, slope, explained = growth(list(map(_tokens, sizes)), [size["seconds"] for size in sizes])
        largest = max(sizes, key=_tokens)
        lines += [
            f"`{preset}`: seconds grow as the tokens to the power of {exponent:.2f}; a straight line of {slope:.0f} "
            f"ns a token has R^2 = {explained:.4f}. {_shape(largest)} cost at most {percent(LIMIT, 0)} of a step of "
            f"{largest['seconds'] / LIMIT:,.0f} s or more.",
            "",
        ]
    return lines


def _shape(size: dict[str, Any]) -> str:
    return f"{size['prompts']:,} x {size['rollouts']} x {size['tokens']:,}"


def _tokens(size: dict[str, Any]) -> int:
    return size["prompts"] * size["rollouts"] * size["tokens"]


def _seconds(runs: Runs, stages: Sequence[str]) -> Seconds:
    """Seconds of some stages together."""
    return [[math.fsum(step) for step in zip(*(run["seconds"][name] for name in stages), strict=True)] for run in runs]


def _touched(runs: Runs) -> Seconds:
    """Seconds of a step without the stages that ResT has no part in."""
    return _minus(_seconds(runs, ["step"]), _seconds(runs, UNTOUCHED))


def _minus(ours: Seconds, theirs: Seconds) -> Seconds:
    return [[a - b for a, b in zip(us, them, strict=True)] for us, them in zip(ours, theirs, strict=True)]


def _peaks(runs: Runs, which: str) -> list[int]:
    return [run["peak_mib"][which] for run in runs]


def _flat(by_pair: Iterable[Sequence[float]]) -> list[float]:
    return list(chain.from_iterable(by_pair))
