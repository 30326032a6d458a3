"""Each message says what was given, what is allowed and what to write instead, in one line and at once."""

from functools import cache

import pytest
from command_line import problems, runs_of
from omegaconf import OmegaConf
from own_names import module_writer

from rest_verl.commands.check.compose import compose_run
from rest_verl.commands.check.overrides import group_problem, key_problem, parse
from rest_verl.commands.check.run import dry_run
from rest_verl.common.names import closest
from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import ConfigError, load
from rest_verl.plugin.run_checks import check_run
from rest_verl.plugin.trial import try_scheme
from rest_verl.weighting.schemes import scheme_names


@pytest.fixture(scope="module")
def recipe():
    (run,) = runs_of("run_qwen3_4b_rest.sh")
    return run


def message(node):
    with pytest.raises(ConfigError) as error:
        load({"rest": node})
    return str(error.value)


def override_problems(*overrides):
    """What the check of single overrides says, with verl's defaults and a rest node: a dry run takes a second."""
    parsed = [parse(text) for text in overrides]
    _, base = verls_config()
    for item in parsed:
        if problem := group_problem(item, base, lambda name: False) or key_problem(item, parsed, base):
            yield problem


@cache
def verls_config():
    return compose_run(["+rest=paper"])


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("+rests=paper", "+rest=paper"),
        ("+restt=entropy", "+rest=entropy"),
        ("+rset=paper", "+rest=paper"),
        ("+Rest=paper", "+rest=paper"),
        ("++rests=paper", "+rest=paper"),
        ("+preset=paper", "+rest=paper"),
        ("+platfrom=cpu", "+platform=cpu"),
        ("+platforms=cpu", "+platform=cpu"),
        ("+rest/rolout=multi_turn", "+rest/rollout=multi_turn"),
        ("+rest/rewards=strict", "+rest/reward=strict"),
        ("+rest.rollout=multi_turn", "+rest/rollout=multi_turn"),
        ("+rest.reward=strict", "+rest/reward=strict"),
    ],
)
def test_a_misspelt_group_is_an_error(override, meant):
    """Hydra adds it as a key that nobody reads, and the run trains plain GRPO (D3)."""
    (problem,) = override_problems(override)
    assert problem.startswith(f"{override}: ") and meant in problem


@pytest.mark.parametrize(
    ("override", "meant"),
    [("+rest=papr", "paper"), ("+platform=cpus", "cpu"), ("+rest/rollout=multi_trun", "multi_turn")],
)
def test_a_misspelt_preset_names_the_closest_one(override, meant):
    (problem,) = override_problems(override)
    assert f"did you mean {meant!r}? allowed: " in problem


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("+data.trian_files=x", "data.train_files"),
        ("+trainr.nnodes=2", "trainer.nnodes"),
        ("+rests.scheme=paper", "rest.scheme"),
        ("+actor_rolout_ref.model.path=x", "actor_rollout_ref.model.path"),
        ("+algorithm.adv_estimater=grpo", "algorithm.adv_estimator"),
    ],
)
def test_a_plus_before_a_misspelt_key_is_an_error(override, meant):
    """The key would be added, and nobody would read it (D3)."""
    (problem,) = override_problems(override)
    assert f"Write {meant}=..., or +{override.partition('=')[0]}=... if your own code reads it" in problem


@pytest.mark.parametrize(
    "override", ["++data.trian_files=x", "+mine.key=1", "++mine=text", "+data.my_key=1", "+trainer.mine=1"]
)
def test_a_key_of_ones_own_is_no_error(override):
    assert list(override_problems(override)) == []


def test_a_word_for_a_key_that_nobody_has_looks_like_a_group():
    (problem,) = override_problems("+resilience=strong")
    assert "no group and no key of verl's config" in problem and "write ++resilience=strong" in problem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("actor_rollout_ref.actor.optim.learning_rate=1", "did you mean lr?"),
        ("optim.lr=1", "did you mean actor_rollout_ref.actor.optim.lr or critic.optim.lr?"),
        ("trainer.train_batch_size=8", "did you mean data.train_batch_size?"),
        ("data.batch_size=8", "or train_batch_size?"),
        ("trainer.epochs=2", "did you mean total_epochs?"),
        ("rest.schem=paper", "did you mean scheme? With a plus it is refused as well"),
        ("rest.weights.thinking=1", "did you mean think?"),
        ("rest.weights.think={strat:0.5}", "in rest.weights.think: unknown key 'strat': did you mean start?"),
        ("actor_rollout_ref.actor.optim={lrr:1}", "unknown key 'lrr': did you mean lr?"),
        ("+data.train_files=x", "the key exists, so it takes no plus: write data.train_files=x"),
    ],
)
def test_an_unknown_key_names_the_one_that_is_meant(override, expected):
    (problem,) = override_problems(override)
    assert problem.startswith(f"{override}: ") and expected in problem


def test_a_dry_run_tells_of_overrides_and_of_what_is_left(recipe):
    """A wrong group hides only what may follow from it. Keys of one's own are notes."""
    group, key = problems([*recipe, "+platfrom=cpu", "rest.schem=x"])
    assert [group] == list(override_problems("+platfrom=cpu"))
    assert key.startswith("rest.schem=x: in rest: unknown key 'schem'")
    assert problems([*recipe, "rest.schem=x"]) == list(override_problems("rest.schem=x"))
    notes = dry_run([*recipe, "++data.trian_files=x", "+mine.key=1"]).notes
    assert sum("is not a key of verl's own config" in note for note in notes) == 2


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        ("learning_rate", ["lr", "total_training_steps", "lr_scheduler_type"], ["lr"]),
        ("gpt_oss", ["glm", "gpt-oss"], ["gpt-oss"]),
        ("Paper", ["paper", "grpo"], ["paper"]),
        ("qwen", ["hermes", "qwen3_coder"], ["qwen3_coder"]),
        ("warmup_steps", ["lr", "lr_warmup_steps", "total_training_steps"], ["lr_warmup_steps"]),
        ("zzz", ["hermes", "rlla"], []),
        ("any", [], []),
    ],
)
def test_the_closest_name_is_found(given, names, expected):
    assert closest(given, names) == expected


def test_a_number_is_a_ramp_that_stays():
    """`rest.weights.think=0.5` is what anybody would write."""
    rest = load({"rest": {"weights": {"think": 0.5, "name": 2}}})
    assert (rest.weights.think, rest.weights.name) == (Ramp(0.5), Ramp(2.0))


@pytest.mark.parametrize("given", ["high", True, [1], None])
def test_a_ramp_says_what_it_takes(given):
    assert message({"weights": {"think": given}}) == (
        "rest.weights.think: takes a number, or {start, slope, limit, begin}"
    )


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"modules": "my_rest"}, "rest.modules='my_rest': expected a list: set rest.modules=[my_rest]"),
        ({"rollout": "multi_turn"}, "whose presets are a group: write +rest/rollout=multi_turn"),
        ({"rollout": "multi_trun"}, "write +rest/rollout=multi_turn"),
        ({"dump": 3}, "rest.dump=3: expected a node with keys, such as rest.dump.trajectories=..."),
        ({"weights": "high"}, "expected a node with keys, such as rest.weights.format=..."),
        ({"alpha": "much"}, "rest.alpha='much': expected a number"),
        ({"dump": {"every": 1.5}, "dump_dir": "x"}, "rest.dump.every=1.5: expected a whole number"),
        ({"rollout": {"per_turn": "maybe"}}, "rest.rollout.per_turn='maybe': expected true or false"),
        ({"scheme": 3}, "rest.scheme=3: expected text"),
        ({"alpha": float("nan")}, "rest.alpha=nan: expected a finite number"),
        ("paper", "rest='paper': a node with keys, whose presets are a group: write +rest=paper"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_is_expected(node, expected):
    """From the run itself: `load` reads the settings in every process."""
    assert expected in message(node)


@pytest.fixture
def module(tmp_path, monkeypatch):
    return module_writer(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nraise RuntimeError('no licence')\n", "raised RuntimeError: no licence ("),
        ("import json\n\njson.loads('{')\n", "raised JSONDecodeError"),
        ("x = (1\n", "raised SyntaxError"),
        ("from json import nothing\n", "raised ImportError: cannot import name 'nothing'"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
    ],
)
def test_a_module_that_raises_is_named_with_its_line(module, tmp_path, text, expected):
    said = message({"modules": [module(text)]})
    line = 1 + max(number for number, row in enumerate(text.splitlines()) if row.strip())
    assert said.startswith("rest.modules: 'my_rest' ") and expected in said
    assert f"({tmp_path / 'my_rest.py'}:{line})" in said


@pytest.fixture
def run_settings():
    """A run with ResT in verl's own layout, as the plugin gets it before Ray starts."""
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "rest"},
            "trainer": {"use_v1": True, "v1": {"trainer_mode": "rest_sync"}},
            "rest": {},
        }
    )


def refused(config):
    with pytest.raises(ConfigError) as error:
        check_run(config, ["gae", "grpo", "rest"])
    return str(error.value).split("\n")


SCHEMES = {
    "a float": ("    return 1.0", "returns float: return a float tensor of the shape of batch.regions"),
    "one number a row": ("    return torch.ones(len(batch.regions), 1)", "returns a tensor of torch.float32 of shape"),
    "whole numbers": ("    return torch.ones_like(batch.regions)", "returns a tensor of torch.int8"),
    "an error": ("    return batch.regionz", "fails on a small batch: AttributeError: 'StepBatch' object has no"),
    "negative": ("    return -torch.ones(batch.regions.shape)", "negative or not finite"),
    "entropy unasked": ("    return batch.variance * 2", "fails on a small batch: TypeError"),
}


@pytest.mark.parametrize("fault", SCHEMES)
def test_a_scheme_is_tried_before_the_run(module, run_settings, fault):
    """Its first batch came after minutes of model loading, as an AttributeError of the trainer's."""
    body, expected = SCHEMES[fault]
    name = f"tried_{fault.replace(' ', '_')}"
    text = "import torch\nfrom rest_verl import register_scheme\n"
    text += f"@register_scheme({name!r})\ndef weigh(batch, settings):\n{body}\n"
    run_settings.rest = {"modules": [module(text, name)], "scheme": name}
    (problem,) = refused(run_settings)
    assert problem.startswith(f"rest.scheme={name} ") and expected in problem


def test_a_curriculum_is_tried_before_the_run(module, run_settings):
    text = "from rest_verl import register_curriculum\n"
    text += "@register_curriculum('double')\ndef double(progress):\n    return 2.0\n"
    run_settings.rest = {
        "modules": [module(text, "double_speed")],
        "scheme": "entropy",
        "curriculum": {"kind": "double"},
    }
    (problem,) = refused(run_settings)
    assert "rest.curriculum.kind=double gave 2.0 at step 1: not in [0, 1]" in problem


@pytest.mark.parametrize("scheme", scheme_names())
def test_every_scheme_passes_its_trial(scheme):
    try_scheme(load({"rest": {"scheme": scheme}}))


@pytest.mark.parametrize("key", ["rests", "restt", "preset"])
def test_a_run_refuses_a_misspelt_group_itself(run_settings, key):
    """`python -m verl.trainer.main_ppo +rests=paper` without a dry run: the plugin is loaded there too (D3)."""
    run_settings[key] = "paper"
    (problem,) = refused(run_settings)
    assert problem == f"{key}=paper: no group {key!r}, so it would have no effect: did you mean +rest=paper?"


def test_a_run_takes_keys_of_ones_own(run_settings):
    run_settings.mine = {"rest": "paper"}
    run_settings.notes = "restful"
    check_run(run_settings, ["grpo", "rest"])


@pytest.mark.parametrize("given", ["rset", "Rest", "rests"])
def test_a_misspelt_estimator_of_ours_says_so(run_settings, given):
    run_settings.algorithm.adv_estimator = given
    (problem,) = refused(run_settings)
    assert problem.startswith(f"algorithm.adv_estimator: unknown estimator {given!r}: did you mean 'rest'? allowed: ")


def test_every_wrong_setting_is_told_at_once(run_settings, recipe):
    """Of a run itself and of a dry run: names, kinds of values, batches and keys."""
    run_settings.rest = {"format": "hermez", "scheme": "papr", "base_estimator": "grop", "alpha": "x"}
    lines = refused(run_settings)
    assert [line.partition(":")[0] for line in lines] == [
        "rest.format",
        "rest.alpha='x'",
        "rest.base_estimator",
        "rest.scheme",
    ]
    wrong = ["data.trian_files=x", "data.train_batch_size=many", "rest.format=hermez", "rest.scheme=papr"]
    wrong += ["actor_rollout_ref.rollout.tensor_model_parallel_size=3", "reward.reward_manager.name=naiv"]
    found = "\n".join(problems([*recipe, *wrong]))
    for part in ("'trian_files'", "train_batch_size=many", "'hermez'", "'papr'", "parallel_size=3", "'naiv'"):
        assert part in found
    assert len(found.splitlines()) == 6
