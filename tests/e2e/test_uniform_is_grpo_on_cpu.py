"""ResT with weight 1 for every token is stock verl's GRPO, in every bit of the trained model.

`python benchmarks/equivalences.py` compares many more pairs, over more steps. Without `--all` the weights are held to
be 1 by tests/weighting, and a whole update of verl to be ours by test_one_update_on_cpu.py.
"""

import pytest
from trust.runs import CHECKPOINTS, parameters, seeded_rollouts, trained_model

pytestmark = pytest.mark.release
STEPS = 2
PAIR = {"grpo": ["+rest=grpo"], "uniform": ["+rest=paper", "rest.scheme=uniform"]}


@pytest.fixture(scope="module", params=[True, False], ids=["v1 trainer", "first trainer"])
def runs(request, start, train, tmp_path_factory):
    """Both runs by name, each its steps and its folder; their rollouts are the same token for token."""
    found = {}
    for name, preset in PAIR.items():
        folder = tmp_path_factory.mktemp(name)
        overrides = [
            *preset,
            f"trainer.use_v1={request.param}",
            *start.overrides,
            *seeded_rollouts(folder),
            "actor_rollout_ref.actor.optim.lr=1e-3",
            "actor_rollout_ref.actor.checkpoint.save_contents=[hf_model]",
            "trainer.val_before_train=False",
            "trainer.test_freq=-1",
            f"trainer.save_freq={STEPS}",
            f"trainer.default_local_dir={folder / CHECKPOINTS}",
        ]
        found[name] = train(overrides, folder, STEPS), folder
    return found


def test_rollouts_and_rewards_are_the_same(runs):
    names = ("response_length/mean", "critic/score/mean", "actor/grad_norm")
    grpo, uniform = ([[step.metrics[name] for name in names] for step in steps] for steps, _ in runs.values())
    assert grpo == uniform and all(row[-1] > 0 for row in grpo)


def test_the_models_are_the_same_in_every_bit(runs, start):
    grpo, uniform = (parameters(trained_model(folder, STEPS)) for _, folder in runs.values())
    assert (grpo - parameters(start.folder / "model")).norm() > 0.01
    assert grpo.equal(uniform)
