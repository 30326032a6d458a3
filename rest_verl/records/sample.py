"""Choice of the trajectories to record: the best, the worst and some others of randomly drawn groups."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

PER_GROUP = 4  # trajectories per prompt: enough to compare its best with the rest


@dataclass(frozen=True)
class Output:
    """One row of a batch: a trajectory, or one turn of it.

    Attributes:
        uid: id of its prompt.
        session: number of the rollout within its prompt.
        output: number of the output within the rollout.
        score: score of the trajectory.
    """

    uid: str
    session: int
    output: int
    score: float


def sample_size(trajectories: int, at_least: int, share: float) -> int:
    """Number of trajectories to record out of `trajectories`."""
    return min(trajectories, max(at_least, math.ceil(share * trajectories)))


def group_scores(outputs: Sequence[Output]) -> dict[str, list[float]]:
    """Scores of all trajectories of each prompt, in order of `session`."""
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for one in outputs:
        scores[one.uid][one.session] = one.score
    return {uid: [score for _, score in sorted(by_session.items())] for uid, by_session in scores.items()}


def pick(outputs: Sequence[Output], at_least: int, share: float, seed: int) -> dict[int, str]:
    """Choose trajectories, with all their outputs.

    Groups come in random order, each with its best and its worst trajectory and up to `PER_GROUP` in total. If all
    trajectories of a group have the same score, none is the best.

    Args:
        outputs: all outputs of the batch.
        at_least: minimum number of trajectories to choose.
        share: share of the batch's trajectories to choose, in [0, 1], if that is more.
        seed: random seed; the same batch and seed give the same choice.

    Returns:
        Reason for each chosen row by its index, in ascending order: `best`, `worst` or `sample`.
    """
    groups: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, one in enumerate(outputs):
        groups[one.uid][one.session].append(index)
    left = sample_size(sum(map(len, groups.values())), at_least, share)
    draw = random.Random(seed)
    picked: dict[int, str] = {}
    # Later rounds take the rest of large groups: a large share needs more than PER_GROUP of each.
    waiting = [_order_group(sessions, outputs, draw) for _, sessions in sorted(groups.items())]
    draw.shuffle(waiting)
    while left > 0:
        for group in waiting:
            for why, rows in group[:PER_GROUP]:
                if left <= 0 and why != "worst":  # never the best without the worst
                    break
                picked.update(dict.fromkeys(rows, why))
                left -= 1
            del group[:PER_GROUP]
    return dict(sorted(picked.items()))


def _order_group(
    sessions: dict[int, list[int]], outputs: Sequence[Output], draw: random.Random
) -> list[tuple[str, list[int]]]:
    """Trajectories of a group as (reason, rows): the best, the worst, then the others in random order."""

    def score(session: int) -> float:
        return outputs[sessions[session][-1]].score

    others = sorted(sessions)
    draw.shuffle(others)
    best, worst = max(others, key=score), min(others, key=score)
    named = {best: "best", worst: "worst"} if score(best) > score(worst) else {}
    order = [*named, *(session for session in others if session not in named)]
    return [(named.get(session, "sample"), sessions[session]) for session in order]
