"""Credit: from what a reward consists of to the advantage of each token.

A reward is a sum of events: amounts, each decided at one token. The score of a user turn is decided at the turn's last
token. What no event explains, the outcome, is decided at the trajectory's last token, so that the events always sum to
the score. A token is credited with what is decided at or after it: what was decided before cannot be its doing, and to
leave that out changes no expectation as long as an amount depends on the text up to its token alone.

The critic is the rest of the group. For event k of trajectory i, with G_k the amounts from event k on:

    m_k     = mean over the others j of G_jk, or of j's last event where j has no event k
    delta_k = r_k + m_{k+1} - m_k                         m_{k+1} = 0 after the last event
    A_k     = sum_{l >= k} lambda^(l - k) delta_l + (o_i - mean over the others of o_j)

with the amounts r and the outcome o. lambda = 1 gives G_k - m_k, which is unbiased; a smaller lambda trades bias for
variance. The outcome always has lambda = 1: it is where delayed effects arrive. So has an event that ends reasoning,
which was written for all that comes after it. With one event, A is the advantage of RLOO (arXiv 2402.14740). The form
is GAE (arXiv 1506.02438) over events; no discount is needed, for episodes end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer


class Decided(NamedTuple):
    """Something that was decided before the end of a trajectory.

    Attributes:
        token: the generated token that decided it, counted from 0 over the whole trajectory.
        amount: in units of the reward.
        ends_reasoning: whether the token closes reasoning.
    """

    token: int
    amount: float
    ends_reasoning: bool = False


@dataclass(frozen=True)
class Events:
    """What the reward of one trajectory consists of.

    Attributes:
        tokens: ascending; the generated token, counted from 0 over the whole trajectory, at which each event is
            decided. The last one is the trajectory's last generated token; -1 if nothing was generated.
        amounts: what is decided at each.
        outcome: the rest of the reward, which is decided at the last token.
        reasoned: whether the tokens that lead to the event are reasoning.
    """

    tokens: Int64[np.ndarray, " event"]
    amounts: Float64[np.ndarray, " event"]
    outcome: float
    reasoned: Bool[np.ndarray, " event"]


def events_of(
    score: float, tokens: int, decided: Sequence[Decided | tuple[int, float] | tuple[int, float, bool]] = ()
) -> Events:
    """Split a score into events.

    Args:
        score: reward of the trajectory.
        tokens: number of tokens that the policy generated in it.
        decided: the events (`Decided`), with tokens ascending and below `tokens`; amounts of one token are added up.

    Raises:
        ValueError: the tokens are out of order or range, or an amount is not finite.
    """
    last = tokens - 1
    parts = [Decided(*part) for part in decided]
    places, amounts = [part.token for part in parts], [part.amount for part in parts]
    if places != sorted(places) or (places and not 0 <= places[0] <= places[-1] <= last):
        raise ValueError(f"events at tokens {places}: they must be in order and from 0 to {last}")
    if not np.isfinite([score, *amounts]).all():
        raise ValueError(f"a score or amount is not finite: {score}, {amounts}")
    unique, index = np.unique(np.array([*places, last], dtype=np.int64), return_inverse=True)
    added = np.bincount(index, weights=[*amounts, 0.0], minlength=len(unique))
    reasoned = np.bincount(index, weights=[*(part.ends_reasoning for part in parts), False], minlength=len(unique)) > 0
    return Events(unique, added, score - float(added.sum()), reasoned)


def group_advantages(group: Sequence[Events], lam: float, by_std: bool) -> list[Float64[np.ndarray, " event"]]:
    """Advantage of the tokens that lead to each event, for the trajectories of one prompt.

    Args:
        group: trajectories.
        lam: lambda, in [0, 1].
        by_std: divide the whole group by its `scale_of`, as GRPO divides by the standard deviation of the scores.
    """
    counts = np.array([len(one.tokens) for one in group])
    amounts = np.zeros((len(group), counts.max()))
    for row, one in zip(amounts, group, strict=True):
        row[: len(one.amounts)] = one.amounts
    outcomes = np.array([one.outcome for one in group])
    advantages = advantages_of(amounts, counts, outcomes, lam)
    if lam < 1 and any(one.reasoned.any() for one in group):
        reasoned = np.zeros(amounts.shape, dtype=bool)
        for row, one in zip(reasoned, group, strict=True):
            row[: len(one.reasoned)] = one.reasoned
        advantages = np.where(reasoned, advantages_of(amounts, counts, outcomes, 1.0), advantages)
    if by_std:
        advantages = advantages / scale_of(amounts, counts, outcomes)
    return [row[:count] for row, count in zip(advantages, counts, strict=True)]


def token_advantages(events: Events, advantages: Float64[np.ndarray, " event"]) -> Float64[np.ndarray, " token"]:
    """Advantage of every generated token: that of the first event which is decided at it or after it."""
    return np.repeat(advantages, np.diff(events.tokens, prepend=-1))


def advantages_of(
    amounts: Float64[np.ndarray, "*groups trajectory event"],
    counts: Integer[np.ndarray, "*groups trajectory"],
    outcomes: Float64[np.ndarray, "*groups trajectory"],
    lam: float,
) -> Float64[np.ndarray, "*groups trajectory event"]:
    """A_k of the module's docstring.

    Args:
        amounts: r, 0 after a trajectory's last event.
        counts: number of events of each trajectory, at least 1.
        outcomes: o.
        lam: lambda, in [0, 1].

    Returns:
        A; 0 after a trajectory's last event.
    """
    alive = np.arange(amounts.shape[-1]) < counts[..., None]
    critic = mean_of_others(_returns_carried(amounts, counts), axis=-2)
    following = np.zeros_like(critic)
    following[..., :-1] = critic[..., 1:] * alive[..., 1:]
    delta = np.where(alive, amounts + following - critic, 0.0)
    outcome = outcomes - mean_of_others(outcomes, axis=-1)
    return np.where(alive, _sums_from(delta, lam) + outcome[..., None], 0.0)


def scale_of(
    amounts: Float64[np.ndarray, "*groups trajectory event"],
    counts: Integer[np.ndarray, "*groups trajectory"],
    outcomes: Float64[np.ndarray, "*groups trajectory"],
    eps: float = 1e-6,
) -> Float64[np.ndarray, "*groups 1 1"]:
    """What a group's advantages are divided by: the largest standard deviation, over events k, of what its
    trajectories earn from event k on.

    At k = 0 that is the standard deviation of the scores, GRPO's divisor. Alone it would not do: trajectories with
    equal scores that they earned in different turns have advantages, but no deviation of scores.

    Args:
        eps: added to the deviation, as in verl's GRPO. A group of one trajectory is divided by 1.
    """
    if amounts.shape[-2] == 1:
        return np.ones((*amounts.shape[:-2], 1, 1))
    to_come = _returns_carried(amounts, counts) + outcomes[..., None]
    return to_come.std(axis=-2, ddof=1, keepdims=True).max(axis=-1, keepdims=True) + eps


def mean_of_others(values: Float[np.ndarray, "*any"], axis: int) -> Float[np.ndarray, "*any"]:
    """Mean over all others along an axis; 0 where there are none."""
    total = values.sum(axis=axis, keepdims=True)
    return (total - values) / max(values.shape[axis] - 1, 1)


def _returns_carried(
    amounts: Float64[np.ndarray, "*trajectory event"], counts: Integer[np.ndarray, "*trajectory"]
) -> Float64[np.ndarray, "*trajectory event"]:
    """G_k of each trajectory; after its last event the return from that event."""
    returns = _sums_from(amounts, 1.0)
    index = np.minimum(np.arange(amounts.shape[-1]), counts[..., None] - 1)
    return np.take_along_axis(returns, index, axis=-1)


def _sums_from(
    values: Float64[np.ndarray, "*trajectory event"], lam: float
) -> Float64[np.ndarray, "*trajectory event"]:
    """sum_{l >= k} lam^(l - k) values_l for every k."""
    sums = values.copy()
    for event in range(values.shape[-1] - 2, -1, -1):
        sums[..., event] += lam * sums[..., event + 1]
    return sums
