"""The weighting of a run, with the numbers of the released run."""

import pytest
import torch

from rest_verl.config import Ramp, RegionWeights, RestConfig
from rest_verl.core.regions import Region
from rest_verl.weighting import TokenWeighting

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region

REGIONS = torch.tensor([[FORMAT, THINK, FORMAT, NAME, ARGS, OTHER], [RESPONSE, OTHER, OTHER, OTHER, OTHER, OTHER]])
MASK = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("step", "args", "think"),
    [(0, 0.6, 0.6), (50, 0.7, 0.7), (105, 0.81, 0.81), (200, 1.0, 1.0), (300, 1.2, 1.0), (5000, 1.2, 1.0)],
)
def test_scheme_paper_has_the_authors_weights(step, args, think):
    expected = {FORMAT: 1.0, THINK: think, NAME: 1.2, ARGS: args, RESPONSE: 0.0, OTHER: 0.0}
    assert TokenWeighting(RestConfig()).at(step) == pytest.approx(expected, abs=1e-12)


def test_scheme_paper_normalised_by_rows():
    # 1.0 + 0.6 + 1.2 + 0.6 = 3.4 over 5 tokens; the second row has no positive weight.
    weights = TokenWeighting(RestConfig())(REGIONS.to(torch.int8), MASK, 0)
    expected = torch.tensor([[1.0, 0.6, 0.0, 1.2, 0.6, 0.0], [0.0] * 6]) * (5 / 3.4)
    expected[1, :2] = 1.0
    torch.testing.assert_close(weights, expected)
    assert weights.dtype == torch.float32


def test_without_normalisation_the_weights_are_those_of_the_regions():
    weights = TokenWeighting(RestConfig(normalisation="none"))(REGIONS.to(torch.int8), MASK, 50)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.7, 0.0, 1.2, 0.7, 0.0], [0.0] * 6]))


@pytest.mark.parametrize("normalisation", ["row", "none"])
def test_scheme_uniform_gives_every_generated_token_weight_one(normalisation):
    weighting = TokenWeighting(RestConfig(scheme="uniform", normalisation=normalisation))
    assert torch.equal(weighting(REGIONS.to(torch.int8), MASK, 123), MASK.float())


def test_settings_move_weights_and_bounds():
    settings = RestConfig(weights=RegionWeights(name=Ramp(20.0), other=Ramp(1e-6)), clamp_min=0.5, clamp_max=4.0)
    at = TokenWeighting(settings).at(0)
    assert (at[NAME], at[OTHER], at[RESPONSE], at[THINK]) == (4.0, 0.5, 0.0, 0.6)


def test_the_schedule_is_logged_by_region():
    assert TokenWeighting(RestConfig()).metrics(50) == pytest.approx(
        {
            "rest/schedule/other": 0.0,
            "rest/schedule/think": 0.7,
            "rest/schedule/response": 0.0,
            "rest/schedule/format": 1.0,
            "rest/schedule/args": 0.7,
            "rest/schedule/name": 1.2,
        }
    )
