"""What weights do to choices, by exact expected gradients: a policy with one probability for each choice of a turn,
and all of its turns, tagged by a real tagger and weighted by the real weighting.

A choice that never affects the reward has no gradient under GRPO, in expectation. It must have none under weights.
"""

from itertools import product

import pytest
import torch
from parts import text_of
from render import RENDERERS

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.formats import get_format
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

UPDATES, RATE = 200, 2.0
KNOWN = {"weights_from": "state", "normalisation": "batch"}
SCHEMES = [
    {"scheme": "uniform"},
    {"scheme": "paper"},
    {"scheme": "entropy"},
    {"scheme": "token"},
    {"scheme": "token", "alpha": -1.0},
]
THOUGHTS, NAMES = ("I see", "I think so."), ("get_time", "get_weather")
CITIES, ANSWERS = (
    ("Oslo", "the capital of Norway, which is Oslo"),
    ("", "It rains in Oslo, and it will go on raining there."),
)
KEYS = [("thought",), ("name",), ("city", 0), ("city", 1), ("answer", 0), ("answer", 1)]


def turns(format):
    """Each turn with its choices, as (choice, alternative, first token that depends on it): a thought, a name, and
    after each name a city and whether an answer follows."""

    def fork(one, other):
        return next(place for place in range(len(one) + 1) if one[: place + 1] != other[: place + 1])

    def text(thought, name, city, answer):
        call = (NAMES[name], {"city": CITIES[city]})
        return text_of(RENDERERS[format](THOUGHTS[thought], [call], ANSWERS[answer]))

    found = []
    for chosen in product((0, 1), repeat=4):
        this, name = text(*chosen), chosen[1]
        keys = [("thought",), ("name",), ("city", name), ("answer", name)]
        others = [text(*(one ^ (place == changed) for place, one in enumerate(chosen))) for changed in range(4)]
        forks = [fork(this, other) for other in others]
        found.append((this, list(zip(keys, chosen, forks, strict=True))))
    return found


def train(tokenizer_of, format, reward=lambda chosen: float(chosen["name",]), **settings):
    """Probabilities of alternative 1 by choice, after exact gradient ascent; `reward` takes a turn's alternatives by
    choice."""
    rest, rows = RestConfig(format=format, **settings), turns(format)
    tagged = tag(tokenizer_of, rest, [text for text, _ in rows])
    taken = torch.full((len(rows), len(KEYS)), 0.5, dtype=torch.float64)  # 0.5: a choice that the turn has not
    token = torch.zeros(len(rows), len(KEYS), dtype=torch.long)
    for place, (_, choices) in enumerate(rows):
        for key, one, first in choices:
            taken[place, KEYS.index(key)], token[place, KEYS.index(key)] = one, first
    there = taken != 0.5
    earned = torch.tensor([reward({key: one for key, one, _ in choices}) for _, choices in rows], dtype=torch.float64)
    weighting, logits = TokenWeighting(rest, UPDATES), torch.zeros(len(KEYS), dtype=torch.float64)
    for step in range(1, UPDATES + 1):
        p = logits.sigmoid()
        chance = torch.where(there, (taken * p + (1 - taken) * (1 - p)), 1.0).prod(dim=1)
        spread = torch.special.entr(p) + torch.special.entr(1 - p)
        entropy = torch.zeros(tagged.regions.shape).scatter_add_(1, token, torch.where(there, spread, 0.0).float())
        weights = weighting(StepBatch(step, tagged, entropy)).gather(1, token)
        advantage = earned - (chance * earned).sum()
        logits += RATE * ((chance * advantage)[:, None] * weights * (taken - p) * there).sum(dim=0)
    return dict(zip(KEYS, logits.sigmoid().tolist(), strict=True))


def tag(tokenizer_of, rest, texts):
    """Texts with their ends of sequence, a token for each byte, as the settings have them tagged."""
    width = max(map(len, texts)) + 1
    ids, mask = torch.full((len(texts), width), 256), torch.zeros(len(texts), width, dtype=torch.long)
    for place, text in enumerate(texts):
        ids[place, : len(text)] = torch.tensor(list(text))
        mask[place, : len(text) + 1] = 1
    tokenizer = tokenizer_of([bytes([byte]) for byte in range(256)])
    return TaggedBatch(TAGGERS[rest.weights_from](tokenizer, get_format(rest.format))(ids, mask), mask)


def stops(chosen):
    """The reward of a turn that ends after its call."""
    return float(not (chosen.get(("answer", 0)) or chosen.get(("answer", 1))))


NEVER_MATTER = [key for key in KEYS if key != ("name",)]
by_scheme = pytest.mark.parametrize("settings", SCHEMES, ids=lambda one: "_".join(map(str, one.values())))


@by_scheme
@pytest.mark.parametrize("format", ["hermes", "rlla"])
def test_a_choice_that_never_matters_does_not_drift(tokenizer_of, format, settings):
    """With weights that are known before a token is drawn; the choice that does matter is learnt."""
    found = train(tokenizer_of, format, **KNOWN, **settings)
    assert [found[key] for key in NEVER_MATTER] == pytest.approx([0.5] * 5, abs=0.005)
    assert found["name",] > 0.9


@pytest.mark.parametrize("format", ["hermes", "rlla"])
def test_it_drifts_where_a_weight_knows_what_follows(tokenizer_of, format):
    """Under `row`, which divides by what the row goes on to write: the same weights but for that."""
    found = train(tokenizer_of, format, scheme="entropy", weights_from="state", normalisation="row")
    assert max(abs(found[key] - 0.5) for key in NEVER_MATTER) > 0.02, found


@pytest.mark.parametrize("scheme", ["paper", "entropy", "token"])
def test_a_policy_learns_to_stop(tokenizer_of, scheme):
    """Where ending the turn after the call is what is rewarded, and without any floor."""
    found = train(tokenizer_of, "hermes", stops, **KNOWN, scheme=scheme)
    assert found["answer", 0] < 0.1 and found["answer", 1] < 0.1


def test_by_the_papers_weights_it_never_learns_to_stop(tokenizer_of):
    """Both the end of sequence and the answer in its place have weight 0."""
    found = train(tokenizer_of, "hermes", stops, weights_from="token", normalisation="row")
    assert found["answer", 0] == found["answer", 1] == 0.5
