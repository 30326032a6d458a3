"""The `rest:` node: defaults, and one line for everything that is wrong."""

import pytest
from omegaconf import OmegaConf

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import ConfigError, RestConfig, defaults, load


def message(node):
    with pytest.raises(ConfigError) as error:
        load({"rest": node})
    return str(error.value)


@pytest.mark.parametrize("config", [{}, {"rest": None}, {"rest": {}}, OmegaConf.create({"trainer": {}})])
def test_without_settings_all_defaults_hold(config):
    assert load(config) == RestConfig()


def test_default_weights_are_those_of_the_released_run():
    rest = RestConfig()
    assert (rest.scheme, rest.format, rest.apply_in, rest.base_estimator) == ("paper", "rlla", "advantage", "grpo")
    assert (rest.weights_from, rest.normalisation) == ("state", "batch")
    assert (rest.clamp_min, rest.clamp_max) == (1e-3, 8.0)
    assert rest.weights.args == Ramp(0.6, 0.002, 1.2)
    assert rest.weights.think == Ramp(0.6, 0.002, 1.0)
    assert [getattr(rest.weights, region).start for region in ("format", "name", "response", "other")] == [
        1,
        1.2,
        0,
        0,
    ]
    assert rest.reward.format_max == Ramp(2.0, -1 / 150, 1.0)


def test_defaults_as_containers_load_as_themselves():
    assert load({"rest": defaults()}) == RestConfig()
    assert load(OmegaConf.create({"rest": defaults()})) == RestConfig()


def test_a_partial_node_keeps_the_other_defaults():
    rest = load({"rest": {"clamp_max": 4, "weights": {"name": {"start": 2}}, "reward": {"format_min": {"start": -3}}}})
    assert (rest.clamp_max, rest.weights.name, rest.reward.format_min) == (4.0, Ramp(2.0), Ramp(-3.0))
    assert (rest.weights.args, rest.scheme) == (RestConfig().weights.args, "paper")


def test_a_node_of_omegaconf_is_read_with_its_interpolations():
    config = OmegaConf.create(
        {"wanted": "hermes", "rest": {"format": "${wanted}", "clamp_max": "${.clamp_min}", "clamp_min": 2.0}}
    )
    rest = load(config)
    assert (rest.format, rest.clamp_min, rest.clamp_max) == ("hermes", 2.0, 2.0)


@pytest.mark.parametrize(
    ("ramp", "values"),
    [
        ({"start": 1.0, "slope": -0.5, "limit": 0.0, "begin": 999}, [1.0, 0.5]),
        ({"start": 0.5}, [0.5, 0.5]),
        ({"start": 0.5, "slope": 0.0, "limit": None}, [0.5, 0.5]),
        ({"start": 0.5, "slope": 0.01, "limit": 1.0}, [0.5, 1.0]),
        ({"start": 0.5, "slope": -0.01, "limit": 0.1}, [0.5, 0.1]),
    ],
)
def test_a_ramp_gives_its_schedule(ramp, values):
    schedule = load({"rest": {"weights": {"think": ramp}}}).weights.think.schedule()
    assert [schedule(step) for step in (0, 1000)] == values


BOUNDS = [(part, end) for part in ("format", "correctness") for end in ("min", "max")]


def test_slope_zero_switches_every_default_ramp_off():
    node = defaults()
    for ramp in [*node["weights"].values(), *(node["reward"][f"{part}_{end}"] for part, end in BOUNDS)]:
        ramp["slope"] = 0.0
    rest = load({"rest": node})
    ramps = [ramp for group in (rest.weights, rest.reward) for ramp in vars(group).values() if isinstance(ramp, Ramp)]
    assert len(ramps) == 10
    assert [ramp.schedule()(1000) for ramp in ramps] == [ramp.start for ramp in ramps]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            {"shceme": "paper"},
            "rest: unknown key 'shceme': did you mean 'scheme'? allowed: alpha, apply_in, base_estimator, "
            "cap, clamp_max, clamp_min, credit, credit_lambda, credit_matrix, curriculum, decay, dump, dump_dir, eps, "
            "floor, format, gigpo, gtpo, malformed_penalty, modules, normalisation, own_losses, resume_changed, "
            "reward, rollout, scheme, stall_seconds, stare, targets, top_fifth, turn_discounted, weights, "
            "weights_from, wiener",
        ),
        ({"zzz": 1}, "rest: unknown key 'zzz': allowed: alpha, apply_in, "),
        (
            {"weights": {"arg": {"start": 1}}},
            "rest.weights: unknown key 'arg': did you mean 'args'? allowed: args, format, name, other, response, "
            "think",
        ),
        (
            {"weights": {"args": {"start": 1, "slop": 1}}},
            "rest.weights.args: unknown key 'slop': did you mean 'slope'? allowed: begin, limit, slope, start",
        ),
        (
            {"reward": {"format_mx": {"start": 1}}},
            "rest.reward: unknown key 'format_mx': did you mean 'format_max'? allowed: correctness_max, "
            "correctness_min, format_max, format_min",
        ),
        ({"apply_in": "los"}, "rest.apply_in: unknown value 'los': did you mean 'loss'? allowed: advantage, loss"),
        (
            {"normalisation": "rows"},
            "rest.normalisation: unknown value 'rows': did you mean 'row'? allowed: batch, none, positive, row",
        ),
        ({"format": "rla"}, "rest.format: unknown wire format 'rla': did you mean 'rlla'? allowed: "),
        (
            {"curriculum": {"kind": "lineer"}},
            "rest.curriculum.kind: unknown curriculum 'lineer': did you mean 'linear'? allowed: adaptive, ",
        ),
        ({"curriculum": {"begin": 0.5, "end": 0.5}}, "rest.curriculum: begin=0.5 must be less than end=0.5"),
        (
            {"curriculum": {"end": 150}},
            "rest.curriculum: end=150.0 is not a fraction of training: set it to at most 1, or set unit=step",
        ),
        ({"curriculum": {"low": -0.1}}, "rest.curriculum.low=-0.1: Input should be greater than or equal to 0"),
        ({"targets": {"think": -1}}, "rest.targets.think=-1: Input should be greater than or equal to 0"),
        ({"eps": 0}, "rest.eps=0: Input should be greater than 0"),
        ({"decay": 1.0}, "rest.decay=1.0: Input should be less than 1"),
        ({"modules": "mine"}, "rest.modules='mine': expected a list: set rest.modules=[mine]"),
        ({"modules": ["no_such_module_anywhere"]}, "rest.modules: cannot import 'no_such_module_anywhere' ("),
        (
            {"base_estimator": "rest"},
            "rest.base_estimator=rest: set it to the estimator that ResT reshapes, such as grpo",
        ),
        ({"clamp_min": 0}, "rest.clamp_min=0: Input should be greater than 0"),
        ({"clamp_max": -1.5}, "rest.clamp_max=-1.5: Input should be greater than 0"),
        ({"clamp_min": 9}, "rest.clamp_min=9.0 is greater than rest.clamp_max=8.0"),
        ({"clamp_min": "small"}, "rest.clamp_min='small': expected a number"),
        ({"clamp_max": float("inf")}, "rest.clamp_max=inf: expected a finite number"),
        (
            {"weights": {"name": {"start": float("nan")}}},
            "rest.weights.name.start=nan: expected a finite number",
        ),
        (
            {"reward": {"format_max": {"start": 1, "slope": float("-inf"), "limit": 0}}},
            "rest.reward.format_max.slope=-inf: expected a finite number",
        ),
        ({"weights": {"name": {"start": "x"}}}, "rest.weights.name.start='x': expected a number"),
        ({"weights": {"name": [1.0]}}, "rest.weights.name: takes a number, or {start, slope, limit, begin}"),
        ({"weights": [1]}, "rest.weights=[1]: expected a node with keys, such as rest.weights.format=..."),
        ({"format": 5}, "rest.format=5: expected text"),
        ("paper", "rest='paper': a node with keys, whose presets are a group: write +rest=paper"),
        (
            {"weights": {"args": {"start": 1, "slope": 0.1}}},
            "rest.weights.args: slope needs a limit: set limit, or slope=0",
        ),
        (
            {"weights": {"args": {"start": 1, "slope": 0.1, "limit": 0.5}}},
            "rest.weights.args: slope leads away from limit",
        ),
        (
            {"reward": {"format_min": {"start": -2, "slope": -0.1, "limit": -1}}},
            "rest.reward.format_min: slope leads away from limit",
        ),
        ({"weights": {"args": {"slope": 0.1, "limit": 1}}}, "rest.weights.args.start"),
        ({"dump_dir": ""}, "rest.dump_dir='': String should have at least 1 character"),
        (
            {"dump_dir": "x", "dump": {"fraction": 1.5}},
            "rest.dump.fraction=1.5: Input should be less than or equal to 1",
        ),
        ({"dump_dir": "x", "dump": {"every": 0}}, "rest.dump.every=0: Input should be greater than 0"),
        (
            {"dump": {"trajectories": 5}},
            "rest.dump is set, but no records are written without a folder: set rest.dump_dir=",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(node, expected):
    found = message(node)
    assert expected in found
    assert "\n" not in found


def test_every_wrong_setting_has_its_line():
    found = message({"schem": "paper", "apply_in": "x", "weights": {"nme": {"start": 1}, "think": {"start": "a"}}})
    lines = found.split("\n")
    assert len(lines) == 4
    assert sorted(line.split(":")[0].split("=")[0] for line in lines) == [
        "rest",
        "rest.apply_in",
        "rest.weights",
        "rest.weights.think.start",
    ]


def test_a_config_error_is_a_value_error():
    assert issubclass(ConfigError, ValueError)
