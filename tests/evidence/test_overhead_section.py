import math

import pytest
from evidence.intervals import Interval
from evidence.overhead_section import Share, growth, section, share, verdict, verdict_against

MADE_BY = {"command": "python benchmarks/overhead.py", "machine": "x86_64", "device": "cpu", "date": "2026-01-02"}


def run(preset, pair, seconds, trainer=1000, together=5000, tokens=(100, 100)):
    return {
        "preset": preset,
        "pair": pair,
        "tokens": list(tokens),
        "seconds": seconds,
        "peak_mib": {"trainer": trainer, "all": together},
    }


def grpo(pair=0, **more):
    """Two steps of 10 s: 6 s generation, 2 s update, 1 s advantages, 1 s weights to the engine."""
    return run("grpo", pair, stages(step=10.0, adv=1.0), **more)


def stages(step, adv, **more):
    one = {"gen": 6.0, "adv": adv, "update_actor": 2.0, "update_weights": 1.0, "step": step, **more}
    return {stage: [seconds, seconds] for stage, seconds in one.items()}


def paper(cost, pair=0, **more):
    """GRPO's steps with so many seconds more in the advantages."""
    return run("paper", pair, stages(step=10.0 + cost, adv=1.0 + cost, rest=cost), **more)


def of_runs(*runs):
    return section({"made_by": MADE_BY, "verl": {"learning_rate": 0, "warm_up": 2, "runs": list(runs)}})


def claims_of(*runs):
    """By its own clock, by the stages that ResT has a part in, by the whole step."""
    return [line for line in of_runs(*runs) if line.startswith("- by")]


def cells(lines, first):
    """The cells of the table line that begins with a cell."""
    (line,) = [line for line in lines if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_stage_has_its_seconds_and_its_difference_as_a_share_of_the_whole_step_of_grpo():
    lines = of_runs(grpo(), paper(0.1))
    # 0.1 s of 10 s in every step
    assert cells(lines, "`adv`") == ["`adv`", "1.000", "1.100", "1.00 %", "1.00 % to 1.00 %", "1.00 % to 1.00 %"]
    assert cells(lines, "`gen`")[3:] == ["0.00 %", "0.00 % to 0.00 %", "0.00 % to 0.00 %"]
    # 10 - 6 - 1 s are left without generation and the weights' way to the engine
    assert cells(lines, "all but `gen` and `update_weights`")[1:4] == ["3.000", "3.100", "1.00 %"]
    assert cells(lines, "`step`")[1:4] == ["10.000", "10.100", "1.00 %"]


def test_pairs_belong_together_by_their_number_in_whatever_order_they_ran():
    first, second = stages(step=20.0, adv=1.0), stages(step=20.2, adv=1.2, rest=0.2)
    lines = of_runs(run("paper", 1, second), run("grpo", 0, stages(10.0, 1.0)), run("grpo", 1, first), paper(0.1))
    # both pairs: 1 % more
    assert cells(lines, "`step`")[3:] == ["1.00 %", "1.00 % to 1.00 %", "1.00 % to 1.00 %"]


@pytest.mark.parametrize(("cost", "said"), [(0.1, "this **holds**"), (0.5, "this **does not hold**")])
def test_the_verdict_follows_the_numbers_in_each_of_three_ways(cost, said):
    claims = claims_of(grpo(0), grpo(1), paper(cost, 0), paper(cost, 1))
    assert len(claims) == 3 and all(said in claim for claim in claims)


def test_the_share_by_its_own_clock_is_of_its_own_step():
    clock, _, _ = claims_of(grpo(), paper(2.5))
    assert "this **does not hold**: 20.00 %" in clock  # 2.5 of 12.5 s


def test_noise_in_generation_leaves_the_whole_step_undecided_and_the_other_ways_not():
    noisy = stages(step=10.1, adv=1.1, rest=0.1)
    noisy["gen"], noisy["step"] = [4.0, 8.0], [8.1, 12.1]
    clock, touched, step = claims_of(grpo(0), grpo(1), run("paper", 0, noisy), run("paper", 1, noisy))
    assert "this **holds**: 0.99 %" in clock and "this **holds**: 1.00 %" in touched
    assert "this is **undecided**, for the noise is too large: 1.00 %" in step


def test_what_generation_takes_longer_is_not_laid_to_rest():
    slower = stages(step=12.1, adv=1.1, rest=0.1, gen=8.0)
    _, touched, step = claims_of(grpo(0), grpo(1), run("paper", 0, slower), run("paper", 1, slower))
    assert "this **holds**: 1.00 %" in touched
    assert "this is **undecided**, for stages without ResT differ by 20.00 %: 21.00 %" in step


def test_one_pair_decides_by_its_own_clock_only():
    clock, touched, step = claims_of(grpo(), paper(0.1))
    assert "**holds**" in clock
    assert "**undecided**, for there is one pair only" in touched and "**undecided**, for there is one pair" in step


@pytest.mark.parametrize(
    ("interval", "by_pair", "said"),
    [
        (Interval(0.01, 0.005, 0.015), [0.009, 0.011], "**holds**"),
        (Interval(0.01, 0.005, 0.025), [0.009, 0.011], "is **undecided**, for the noise is too large"),
        (Interval(0.01, 0.005, 0.015), [0.009, 0.021], "is **undecided**, for the noise is too large"),
        (Interval(0.03, 0.025, 0.035), [0.029, 0.031], "**does not hold**"),
        (Interval(0.03, 0.025, 0.035), [0.019, 0.041], "is **undecided**, for the noise is too large"),
        (Interval(0.01, -math.inf, math.inf), [0.01], "is **undecided**, for the noise is too large"),
    ],
)
def test_a_claim_is_decided_only_where_the_interval_and_every_pair_agree(interval, by_pair, said):
    assert verdict(Share(interval, by_pair)) == said


def test_a_generation_that_takes_less_cannot_hide_what_rest_costs():
    cheap, untouched = (
        Share(Interval(-0.05, -0.06, -0.04), [-0.06, -0.04]),
        Share(Interval(-0.1, -0.2, 0.0), [-0.1, -0.1]),
    )
    assert verdict_against(cheap) == "**holds**"
    assert verdict_against(cheap, untouched) == "is **undecided**, for stages without ResT differ by -10.00 %"


def test_a_share_is_one_of_totals_and_keeps_its_pairs():
    found = share([[1.0, 2.0], [3.0, 4.0]], [[10.0, 10.0], [10.0, 20.0]])
    assert found.interval.mean == pytest.approx(10 / 50)
    assert found.by_pair == [pytest.approx(3 / 20), pytest.approx(7 / 30)]


def test_the_tokens_of_the_runs_are_compared():
    lines = of_runs(grpo(tokens=(100, 100)), paper(0.1, tokens=(104, 98)))
    assert "Its runs processed 1.0100 times as many tokens as those of GRPO." in lines


def test_memory_shows_the_highest_peak_and_the_difference_pair_by_pair():
    lines = of_runs(
        grpo(0, trainer=1000, together=5000),
        grpo(1, trainer=1100, together=5200),
        paper(0.1, 0, trainer=1010, together=4900),
        paper(0.1, 1, trainer=1130, together=5240),
    )
    assert cells(lines, "`grpo`") == ["`grpo`", "1,100", "5,200"]
    assert cells(lines, "`paper`") == ["`paper`", "1,130", "5,240"]
    # 10 and 30 more in the trainer; 100 less and 40 more in all
    (sentence,) = [line for line in lines if line.startswith("Against GRPO, the peak")]
    assert "is 20 MiB higher (pair by pair: +10 to +30), and" in sentence
    assert "is 30 MiB lower (pair by pair: -100 to +40; its sign is **undecided**)." in sentence


def test_growth_tells_linear_from_quadratic():
    tokens = [1_000_000, 2_000_000, 4_000_000]
    assert growth(tokens, [0.05, 0.1, 0.2]) == (pytest.approx(1.0), pytest.approx(50.0), pytest.approx(1.0))
    exponent, _, explained = growth(tokens, [0.05, 0.2, 0.8])
    assert exponent == pytest.approx(2.0) and explained < 0.99


def test_the_weights_by_themselves_say_from_which_step_on_they_are_cheap():
    sizes = [
        {"preset": "paper", "prompts": 128, "rollouts": 4, "tokens": 2000, "seconds": 0.0512, "more_mib": 40},
        {"preset": "paper", "prompts": 1024, "rollouts": 4, "tokens": 2000, "seconds": 0.4096, "more_mib": 1320},
    ]
    lines = section({"made_by": MADE_BY, "alone": {"different_rows": 64, "sizes": sizes}})
    # 8,192,000 tokens at 50 ns; 0.4096 s are 2 % of 20.48 s
    assert cells(lines, "`paper` | 1,024 x 4 x 2,000") == [
        "`paper`", "1,024 x 4 x 2,000", "8.2", "0.410", "50", "1,320",
    ]  # fmt: skip
    (sentence,) = [line for line in lines if line.startswith("`paper`: ")]
    assert "to the power of 1.00; a straight line of 50 ns a token has R^2 = 1.0000." in sentence
    assert "1,024 x 4 x 2,000 cost at most 2 % of a step of 20 s or more." in sentence


def test_a_part_that_was_not_measured_is_left_out_and_one_of_another_time_says_when():
    earlier = MADE_BY | {"command": "python benchmarks/overhead.py --parts alone", "date": "2025-12-31"}
    size = {"preset": "paper", "prompts": 1, "rollouts": 1, "seconds": 0.1, "more_mib": 1}
    sizes = [size | {"tokens": 100}, size | {"tokens": 200, "seconds": 0.2}]
    alone = {"different_rows": 1, "sizes": sizes, "made_by": earlier}
    runs = [grpo(), paper(0.1)]
    lines = section({"made_by": MADE_BY, "alone": alone, "verl": {"learning_rate": 0, "warm_up": 2, "runs": runs}})
    assert [line for line in lines if "benchmarks/overhead.py" in line] == [
        "`python benchmarks/overhead.py`: x86_64, cpu, 2026-01-02.",
        "`python benchmarks/overhead.py --parts alone`: x86_64, cpu, 2025-12-31.",
    ]
    assert [line for line in section({"made_by": MADE_BY, "alone": alone}) if line.startswith("#")] == [
        "## What it costs",
        "### The token weights by themselves",
    ]
