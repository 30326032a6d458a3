"""Decisions so small that their policy gradient can be computed: what an estimator of credit is held against.

A policy chooses one of two actions at each turn t in state s, with probability p[t, s] for action 1 and one logit for
each. A turn may pay at once, which is an event, and the last one also pays the outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Branch:
    """One way in which a turn can end: its probability, the next state (None ends the trajectory), what it pays."""

    chance: float
    then: int | None
    paid: float = 0.0
    outcome: float = 0.0


Rule = Callable[[int, int, int], list[Branch]]  # turn, state, action


@dataclass(frozen=True)
class TinyMdp:
    """A decision process of at most `turns` turns and `states` states, which begins in state 0."""

    turns: int
    states: int
    rule: Rule

    def gradient(self, policy: np.ndarray) -> np.ndarray:
        """Exact gradient of the expected reward by the logits: (turns, states)."""
        value = np.zeros((self.turns + 1, self.states))
        gain = np.zeros_like(policy)
        for turn in reversed(range(self.turns)):
            for state in range(self.states):
                bad, good = (self._expected(turn, state, action, value[turn + 1]) for action in (0, 1))
                chance = policy[turn, state]
                value[turn, state] = (1 - chance) * bad + chance * good
                gain[turn, state] = chance * (1 - chance) * (good - bad)
        return self._visits(policy) * gain

    def sample(self, policy: np.ndarray, groups: int, size: int, rng: np.random.Generator) -> Sampled:
        """Trajectories of groups: arrays of (groups, size, turns), and outcomes (groups, size)."""
        shape = (groups, size)
        scores, paid = np.zeros((2, *shape, self.turns))
        where = np.zeros((*shape, self.turns), dtype=int)
        alive = np.zeros((*shape, self.turns), dtype=bool)
        outcomes, state = np.zeros(shape), np.zeros(shape, dtype=int)
        for turn in range(self.turns):
            going = state >= 0
            alive[..., turn], where[..., turn] = going, np.maximum(state, 0)
            chance = policy[turn, where[..., turn]]
            action = (rng.random(shape) < chance).astype(int)
            scores[..., turn] = np.where(going, action - chance, 0.0)
            luck, after = rng.random(shape), np.full(shape, -1)
            for here in range(self.states):
                for chosen in (0, 1):
                    at = going & (state == here) & (action == chosen)
                    branches = self.rule(turn, here, chosen)
                    index = np.searchsorted(np.cumsum([branch.chance for branch in branches])[:-1], luck[at], "right")
                    after[at] = np.array([-1 if branch.then is None else branch.then for branch in branches])[index]
                    paid[at, turn] = np.array([branch.paid for branch in branches])[index]
                    outcomes[at] += np.array([branch.outcome for branch in branches])[index]
            state = after
        return Sampled(scores, where, paid, alive.sum(-1), outcomes)

    def _expected(self, turn: int, state: int, action: int, later: np.ndarray) -> float:
        return sum(
            branch.chance * (branch.paid + branch.outcome + (0.0 if branch.then is None else later[branch.then]))
            for branch in self.rule(turn, state, action)
        )

    def _visits(self, policy: np.ndarray) -> np.ndarray:
        visits = np.zeros_like(policy)
        visits[0, 0] = 1.0
        for turn in range(self.turns - 1):
            for state in range(self.states):
                for action, chance in ((0, 1 - policy[turn, state]), (1, policy[turn, state])):
                    for branch in self.rule(turn, state, action):
                        if branch.then is not None:
                            visits[turn + 1, branch.then] += visits[turn, state] * chance * branch.chance
        return visits


@dataclass(frozen=True)
class Sampled:
    """Groups of trajectories: the score function of each choice, its state, what each turn paid, and the outcome."""

    scores: np.ndarray
    states: np.ndarray
    paid: np.ndarray
    counts: np.ndarray
    outcomes: np.ndarray

    def gradients(self, advantages: np.ndarray, states: int) -> np.ndarray:
        """Estimate of the gradient from each group: (groups, turns, states)."""
        each = self.scores * advantages
        return np.stack([(each * (self.states == state)).mean(1) for state in range(states)], axis=-1)


def error(mdp: TinyMdp, policy: np.ndarray, sampled: Sampled, advantages: np.ndarray) -> tuple[float, float]:
    """Relative bias |E g - g*| / |g*|, and mean squared error E|g - g*|^2 / |g*|^2, of the gradient of a group."""
    exact = mdp.gradient(policy)
    found = sampled.gradients(advantages, mdp.states)
    size = np.linalg.norm(exact)
    return (
        float(np.linalg.norm(found.mean(0) - exact) / size),
        float(((found - exact) ** 2).sum((1, 2)).mean() / size**2),
    )


def _won(chance: float) -> list[Branch]:
    return [Branch(chance, None, outcome=1.0), Branch(1 - chance, None)]


def delayed(turns: int = 6) -> TinyMdp:
    """Only the first choice matters, and it is paid at the very end."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        kept = action if turn == 0 else state
        return [Branch(1.0, kept)] if turn < turns - 1 else _won(0.8 if kept else 0.2)

    return TinyMdp(turns, 2, rule)


def recovery() -> TinyMdp:
    """A wrong first choice can be made good by the second."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        if turn == 0:
            return [Branch(1.0, action)]
        return _won(0.9) if state == 1 else _won(0.8) if action == 1 else [Branch(1.0, None)]

    return TinyMdp(2, 2, rule)


def stopping(turns: int = 6) -> TinyMdp:
    """When to stop (action 0) is all that matters, and it is paid where it stops."""
    chances = (0.2, 0.5, 0.9, 0.6, 0.3, 0.1)

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        return _won(chances[turn]) if action == 0 or turn == turns - 1 else [Branch(1.0, 0)]

    return TinyMdp(turns, 1, rule)


def paid(turns: int = 4) -> TinyMdp:
    """Turns that do not depend on each other, each paid by itself."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        chance, then = (0.8 if action else 0.2), (0 if turn < turns - 1 else None)
        return [Branch(chance, then, paid=1.0), Branch(1 - chance, then)]

    return TinyMdp(turns, 1, rule)


def fragile(turns: int = 4) -> TinyMdp:
    """Paid turns, of which a wrong one may end the trajectory."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        then = 0 if turn < turns - 1 else None
        if action == 1:
            return [Branch(1.0, then, paid=1.0)]
        return [Branch(0.5, then), Branch(0.5, None)]

    return TinyMdp(turns, 1, rule)


def spoiling(turns: int = 4) -> TinyMdp:
    """Paid turns, of which a wrong one halves what all later ones pay."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        kept = 1 if state == 1 or action == 0 else 0
        amount = 0.5 if state == 1 else 1.0
        return [Branch(1.0, kept if turn < turns - 1 else None, paid=amount * action)]

    return TinyMdp(turns, 2, rule)


def lured(turns: int = 4) -> TinyMdp:
    """Stopping (action 0) pays a little at once; going on pays nothing until the end, and then more."""

    def rule(turn: int, state: int, action: int) -> list[Branch]:
        if action == 0:
            return [Branch(1.0, None, paid=0.4)]
        return [Branch(1.0, 0)] if turn < turns - 1 else [Branch(1.0, None, outcome=1.0)]

    return TinyMdp(turns, 1, rule)


MDPS: dict[str, Callable[[], TinyMdp]] = {
    one.__name__: one for one in (delayed, recovery, stopping, paid, fragile, spoiling, lured)
}
