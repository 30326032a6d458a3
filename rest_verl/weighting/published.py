"""Rules published elsewhere, as schemes: one function each, whose docstring has the equation and its source.

docs/paper_index.md lists them with their presets and tests. A weight that depends on the sampled token (on its
log-probability, its advantage) or on what is sampled later bends the objective: choices that never matter drift
(docs/algorithm.md). Each rule of which that is true says so. w is the weight of a token before normalisation, which
the presets leave out as the papers do; A its advantage, and c the credit that is added: A' = w A + c.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import numbered, sum_by
from rest_verl.weighting.schemes import Weighed, register_scheme
from rest_verl.weighting.step_batch import StepBatch


@register_scheme("top_fifth", needs={"entropy"}, reads=frozenset({"top_fifth"}))
def top_fifth(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = 1[H_t >= tau] with tau such that the share rho = 0.2 of the batch's tokens reaches it (the 80/20 rule,
    arXiv 2506.01939).

    Among equal entropies the first in the batch go first. The threshold is the batch's own, to which one token adds
    next to nothing: the weight is all but known before the token is drawn.
    """
    assert batch.entropy is not None
    return _largest(batch.entropy, batch.response_mask.bool(), settings.top_fifth.share).float()


@register_scheme("stare", needs={"entropy", "old_log_prob", "advantages"}, reads=frozenset({"stare"}))
def stare(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = W for the tenth of the tokens with A > 0 whose surprisal -log pi(a_t) is greatest, M for the tenth of those
    with A < 0, else 1; all 1 unless the batch's mean entropy is below the target (STARE, arXiv 2606.19236, section 4).

    W = 1.1; M = 1 is the variant O1, M = 0.9 C2. Theirs takes the surprisal of the policy that is being updated, ours
    that of the old policy, which is the same in the first update of a step. Depends on the sampled token: bends the
    objective, which is its aim.
    """
    assert batch.entropy is not None and batch.old_log_prob is not None and batch.advantages is not None
    generated, own = batch.response_mask.bool(), settings.stare
    weights = torch.ones(batch.regions.shape)
    if generated.any() and batch.entropy[generated].mean() < own.target_entropy:
        for chosen, weight in ((batch.advantages > 0, own.amplify), (batch.advantages < 0, own.attenuate)):
            weights[_largest(-batch.old_log_prob, generated & chosen, own.share)] = weight
    return weights


@register_scheme("gepo", needs={"old_log_prob", "rollout_log_prob"}, reads=frozenset())
def gepo(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w_i = p_i / E_q[q] with E_q[q] = sum_j q_j^2 / sum_j q_j over the group: the importance weight of a response is
    taken to the group's expected probability and not to its own (GEPO, arXiv 2508.17850).

    p_i and q_i are the geometric means of the probabilities of the response's tokens, by the old policy and by the
    rollout. Under policy loss gspo, whose ratio is pi_i / p_i, the weighted surrogate is theirs, A_i pi_i / E_q[q];
    but clipping acts on the ratio, where theirs acts on the quotient. Depends on the sampled tokens: bends the
    objective.
    """
    assert batch.old_log_prob is not None and batch.rollout_log_prob is not None
    generated = batch.response_mask.bool()
    trajectories = batch.trajectories
    p, q = (_mean_by(values, generated, trajectories) for values in (batch.old_log_prob, batch.rollout_log_prob))
    groups: dict[str, dict[Hashable, float]] = defaultdict(dict)
    for trajectory, log_q in zip(trajectories, q.tolist(), strict=True):
        groups[trajectory[0]][trajectory] = math.exp(log_q)
    # a group without any trained token has no weights: whatever it is divided by
    expected = {uid: sum(q * q for q in qs.values()) / (sum(qs.values()) or 1.0) or 1.0 for uid, qs in groups.items()}
    by_row = torch.tensor([expected[uid] for uid, _ in trajectories], dtype=torch.float64)
    return (p.exp() / by_row).float()[:, None].expand(batch.regions.shape)


@register_scheme("turn_discounted", reads=frozenset({"turn_discounted"}))
def turn_discounted(batch: StepBatch, settings: RestConfig) -> Float[Tensor, "batch token"]:
    """w = gamma^(K - 1 - k) in turn k of K: the score, which the last turn earns, discounted once for each turn up to
    it, as in the return of a discounted MDP (with gamma = 0.95 in GiGPO, arXiv 2505.10978).

    Depends on how many turns follow, which is sampled later: a turn that makes the dialogue longer counts for less, so
    that the objective bends to short dialogues.
    """
    return settings.turn_discounted.gamma ** batch.turns_to_come.float()


@register_scheme("malformed_penalty", needs={"malformed"}, reads=frozenset({"malformed_penalty"}), gives_credit=True)
def malformed_penalty(batch: StepBatch, settings: RestConfig) -> Weighed:
    """w = 1, and c = -penalty for the tokens of a call that cannot be read (`core.malformed`).

    Agents are often trained with a penalty for invalid actions in the score of the trajectory or the turn; here it
    falls on the broken tokens alone, and the rest of the response keeps its advantage. A penalty for what was sampled
    is part of the objective: it is not undone by the baseline.
    """
    assert batch.malformed is not None
    weights = torch.ones(batch.regions.shape)
    return Weighed(weights, -settings.malformed_penalty.penalty * batch.malformed.float())


@register_scheme("gtpo", needs={"entropy", "advantages", "rows"}, reads=frozenset({"gtpo"}), gives_credit=True)
def gtpo(batch: StepBatch, settings: RestConfig) -> Weighed:
    """A' = (r - mean) / std of token rewards r, over all tokens of the group's right responses, and over those of its
    wrong ones (GTPO, arXiv 2508.04349, equations 3, 5 and 6):

        right   r = alpha_1 + alpha_2 d_t H_t / (sum of H_t)             over the d_t right responses with a token t
        wrong   r = -(alpha_1 + alpha_2 h_t (1 / H_t) / (sum of 1 / H_t))   over the h_t wrong ones

    alpha_1 = 1, alpha_2 = 0.1. t counts the generated tokens of a row; a response is right if its component `acc`, or
    its score where the reward has none, is 1. It replaces A: w = 1, and c = A' - A. Deviations are those of the
    population; where all rewards are equal, as in the only right response of a group, A' is 0. Depends on what is
    sampled later: bends the objective.
    """
    assert batch.entropy is not None and batch.advantages is not None
    generated, own = batch.response_mask.bool(), settings.gtpo
    right = torch.tensor([row.components.get("acc", row.score) == 1.0 for row in batch.rows])[:, None]
    entropy = batch.entropy.double().clamp_min(1e-8)
    share = torch.where(right, entropy, 1 / entropy).masked_fill(~generated, 0.0)
    place = generated.cumsum(dim=-1) - 1
    sides = [(row.key.uid, bool(is_right)) for row, is_right in zip(batch.rows, right[:, 0], strict=True)]
    outputs = [(*side, row.key.output) for side, row in zip(sides, batch.rows, strict=True)]
    at = numbered(outputs)[:, None] * generated.shape[1] + place
    bins = len(sides) * generated.shape[1]
    sums, counts = (sum_by(at[generated], values, bins) for values in (share[generated], None))
    index = at.clamp_min(0)
    reward = own.alpha_1 + own.alpha_2 * share * counts[index] / sums[index].clamp_min(1e-300)
    shaped = torch.where(right, reward, -reward)
    of_side = numbered(sides)[:, None].expand(generated.shape)
    advantages = _standardised(shaped, of_side, generated)
    return Weighed(torch.ones(batch.regions.shape), (advantages - batch.advantages).float())


@register_scheme("gigpo", needs={"states"}, reads=frozenset({"gigpo"}), gives_credit=True)
def gigpo(batch: StepBatch, settings: RestConfig) -> Weighed:
    """w = 1, and c = omega (R_k - mean) / F for turn k: its return R_k = gamma^(K - 1 - k) score against those of all
    turns of the group that were generated in the same state (GiGPO, arXiv 2505.10978, section 4).

    F is 1, or the standard deviation with by_std. The score is earned in the last turn. A state that was visited once
    gives no credit. omega = 1, gamma = 0.95. The discount bends the objective to short dialogues, as in
    `turn_discounted`; among turns of one state it credits those that end it sooner.
    """
    if not any(row.states for row in batch.rows):
        raise ValueError(
            "rest.scheme=gigpo: no environment of this batch names its states: give yours a method state_name() "
            "(docs/rollout.md)"
        )
    own, turns, states = settings.gigpo, batch.turns, dict[tuple[str, str], int]()
    visits = torch.zeros_like(turns)
    for number, row in enumerate(batch.rows):
        for turn, state in enumerate(row.states):
            at = turns[number] == turn
            visits[number, at] = states.setdefault((row.key.uid, state), len(states) + 1)
    scores = torch.tensor([row.score for row in batch.rows], dtype=torch.float64)[:, None]
    returns = own.gamma ** batch.turns_to_come.double() * scores
    # one return for each visit: that of the first token of its turn
    first = (visits > 0) & (torch.nn.functional.pad(turns, (1, 0), value=-1)[:, :-1] != turns)
    counts = sum_by(visits[first], None, len(states) + 1).clamp_min(1)
    means = sum_by(visits[first], returns[first], len(states) + 1) / counts
    credit = returns - means[visits]
    if own.by_std:
        squares = sum_by(visits[first], (returns - means[visits])[first].square(), len(states) + 1)
        credit = credit / ((squares / (counts - 1).clamp_min(1)).sqrt() + 1e-6)[visits]
    credit = (own.omega * credit).masked_fill(visits == 0, 0.0)
    return Weighed(torch.ones(batch.regions.shape), credit.float())


def _largest(
    values: Float[Tensor, "batch token"], among: Bool[Tensor, "batch token"], share: float
) -> Bool[Tensor, "batch token"]:
    """The tokens with the largest values: this share of some tokens, rounded up; of equal values the first."""
    count = math.ceil(share * int(among.sum()))
    chosen = torch.zeros(among.numel(), dtype=torch.bool)
    chosen[values.masked_fill(~among, -math.inf).flatten().sort(descending=True, stable=True).indices[:count]] = True
    return chosen.reshape(among.shape)


def _mean_by(
    values: Float[Tensor, "batch token"], generated: Bool[Tensor, "batch token"], names: Sequence[Hashable]
) -> Float[Tensor, " batch"]:
    """For each row the mean over the tokens of all rows of its name; minus infinity without any."""
    index = numbered(names)
    sums = torch.zeros(len(names), dtype=torch.float64).index_add_(0, index, (values.double() * generated).sum(dim=-1))
    counts = torch.zeros(len(names), dtype=torch.float64).index_add_(0, index, generated.double().sum(dim=-1))
    return (sums / counts).where(counts > 0, -math.inf)[index]


def _standardised(
    values: Float[Tensor, "batch token"], index: Int64[Tensor, "batch token"], among: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """Values less their mean, over their standard deviation, among the tokens of each number; 0 where all are equal
    but for rounding."""
    bins = int(index.max()) + 1 if index.numel() else 0
    counts = sum_by(index[among], None, bins).clamp_min(1)
    centred = values - (sum_by(index[among], values[among], bins) / counts)[index]
    deviation = (sum_by(index[among], centred[among].square(), bins) / counts).sqrt()[index]
    return torch.where(deviation > 1e-6, centred / deviation.clamp_min(1e-6), 0.0)
