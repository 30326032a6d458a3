"""A preview as tables and remarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from rich.table import Table

from rest_verl.commands.preview.timeline import Timeline, moving_ramps, reward_bounds
from rest_verl.commands.preview.weights import Moment, follows_entropy
from rest_verl.config.rest import RestConfig
from rest_verl.config.weights import RegionWeights
from rest_verl.core.regions import Region
from rest_verl.core.states import OUTSIDE
from rest_verl.weighting.schemes import get_scheme


def regions_of(rest: RestConfig) -> list[Region]:
    """The regions that a run's tokens can have, in the order of the settings: those of calls first."""
    regions = [Region[key.name.upper()] for key in fields(RegionWeights)]
    return [region for region in regions if rest.weights_from == "token" or region != Region.OTHER]


def row_title(row: Mapping[Region, int]) -> str:
    """A row's numbers of tokens, largest first, as in `80 think, 30 args`."""
    parts = sorted(((count, region.label) for region, count in row.items() if count), reverse=True)
    return ", ".join(f"{count} {name}" for count, name in parts)


def tables(found: Timeline) -> Iterator[tuple[str, Table]]:
    """The tables of a preview, each with its title: weights before and after normalisation, and reward bounds.

    A row is a step, so that any number of steps fits 80 columns.
    """
    rest = found.run.rest
    if found.shown:
        regions = regions_of(rest)
        first = "entropy left" if follows_entropy(rest) else "step"
        lam = ["lam"] if found.shown[0].lam is not None else []
        before = _table(first, *(region.label for region in regions), *lam)
        for one in found.shown:
            last = [] if one.lam is None else [f"{one.lam:.3f}"]
            before.add_row(_moment(found, one.moment), *(f"{one.before[region]:.3f}" for region in regions), *last)
        yield "weight before normalisation", before
        for number, row in enumerate(found.assumed.rows if rest.normalisation != "none" else ()):
            there = [region for region in regions if row.get(region)]
            after = _table(first, *(region.label for region in there))
            for one in found.shown:
                weights = one.after[number]
                after.add_row(_moment(found, one.moment), *(f"{weights[region]:.3f}" for region in there))
            yield f"weight after normalisation {rest.normalisation}, in a row of {row_title(row)} tokens", after
    if found.has_reward:
        parts = ["format", "correctness", *(["length"] if rest.reward.length.min != rest.reward.length.max else [])]
        reward = _table("step", *parts, "score")
        for step in found.steps:
            bounds = reward_bounds(rest.reward, step)
            ranges = (f"{bounds[f'{part}_min']:.2f} to {bounds[f'{part}_max']:.2f}" for part in (*parts, "score"))
            reward.add_row(str(step), *ranges)
        yield f"bounds of the reward, rules {rest.reward.rules}", reward


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _moment(found: Timeline, moment: Moment) -> str:
    return f"{moment.entropy_left:.0%}" if follows_entropy(found.run.rest) else str(moment.step)


def remarks(found: Timeline) -> Iterator[str]:
    """Notes on the tables, one line each."""
    run, rest = found.run, found.run.rest
    weighted = run.estimator == "rest"
    if not weighted:
        yield f"algorithm.adv_estimator={run.estimator}: this run weights no tokens; add +rest=paper for ResT"
    elif get_scheme(rest.scheme).measures_entropy:
        values = ", ".join(f"{region.label} {found.assumed.entropy[region]:.3g}" for region in regions_of(rest))
        yield (
            f"assumed: every token has the entropy of its region, in nats, throughout training: {values}; training "
            "measures it (rest/entropy/<region>); --entropy changes it"
        )
    if weighted and (others := get_scheme(rest.scheme).needs - {"entropy"}):
        needs = ", ".join(sorted(need.replace("_", " ") for need in others))
        yield (
            f"assumed: rest.scheme={rest.scheme} follows what training measures ({needs}): shown are its weights for "
            "right answers of one turn, with an advantage of 1 and no malformed call, before anything was measured"
        )
    if weighted and (rest.normalisation != "none" or get_scheme(rest.scheme).measures_entropy):
        rows = "; ".join(row_title(row) for row in found.assumed.rows)
        yield f"assumed: a batch of rows of these tokens: {rows}; --tokens changes it"
    if weighted and follows_entropy(rest):
        yield (
            "rest.curriculum.kind=adaptive: lam follows the entropy of format and name tokens and not the step; the "
            "rows show the share of the first step's entropy that is left, at the assumed entropies"
        )
    last: Region = Region.OTHER if rest.weights_from == "token" else OUTSIDE
    if found.shown and rest.floor == 0 and all(one.before[last] == 0 for one in found.shown):
        yield (
            f"region {last.label} has weight 0: the end of sequence and text between blocks are not trained on, so "
            "the policy does not learn to stop; rest.floor=0.1 gives every token at least that weight"
        )
    if run.total_steps is None:
        yield f"the length of the run depends on its data; shown up to step {found.last}; --total-steps N sets it"
    for key, ramp, end in moving_ramps(rest, weighted, found.has_reward):
        if run.total_steps is not None and end > run.total_steps:
            reached = ramp.schedule()(run.total_steps)
            yield f"{key} ends at {reached:g}: its limit {ramp.limit:g} would be reached at step {end}"
