import pytest
from harness import read_result
from overhead import against_grpo, findings, stages, verdict


def run(preset, pair, seconds, trainer=1000, together=5000):
    peaks = {"trainer": trainer, "all": together}
    return {"preset": preset, "pair": pair, "seconds": seconds, "peak_mib": peaks}


def timed(step, adv, **more):
    one = {"gen": 6.0, "adv": adv, "update_actor": 2.0, "update_weights": 1.0, "step": step, **more}
    return {stage: [seconds, seconds] for stage, seconds in one.items()}


def grpo(pair=0, **more):
    """Two steps of 10 s: 6 s generation, 2 s update, 1 s advantages, 1 s weights to the engine."""
    return run("grpo", pair, timed(step=10.0, adv=1.0), **more)


def paper(cost, pair=0, **more):
    """GRPO's steps with so many seconds more in the advantages."""
    return run("paper", pair, timed(step=10.0 + cost, adv=1.0 + cost, rest=cost), **more)


def said(ours, theirs):
    """By its own clock, by the stages that ResT has a part in, by the whole step."""
    found = against_grpo(ours, theirs)
    return [found[way]["verdict"] for way in ("clock", "touched", "step")]


def test_differences_are_shares_of_grpos_whole_step():
    rows = {row[0]: row[1:] for row in stages([paper(0.1)], [grpo()])}
    assert rows["`adv`"] == ["1.000", "1.100", "1.00% [1.00%, 1.00%]", "1.00% to 1.00%"]
    assert rows["`gen`"][2] == "0.00% [0.00%, 0.00%]"
    # 10 - 6 - 1 s are left without generation and the weights' way to the engine
    assert rows["all but `gen` and `update_weights`"][:2] == ["3.000", "3.100"]


@pytest.mark.parametrize(("cost", "expected"), [(0.1, "holds"), (0.5, "does not hold")])
def test_verdicts_follow_the_numbers_in_three_ways(cost, expected):
    assert said([paper(cost, 0), paper(cost, 1)], [grpo(0), grpo(1)]) == [expected] * 3
    clock = against_grpo([paper(2.5)], [grpo()])["clock"]
    assert clock["estimate"] == pytest.approx(0.2)  # 2.5 of its own 12.5 s


def test_longer_generation_is_not_put_down_to_rest():
    slower = timed(step=12.1, adv=1.1, rest=0.1, gen=8.0)
    found = against_grpo([run("paper", 0, slower), run("paper", 1, slower)], [grpo(0), grpo(1)])
    assert found["touched"]["verdict"] == "holds"
    assert (found["step"]["verdict"], found["step"]["why"]) == ("undecided", "stages without ResT differ by 20.00%")


def test_one_pair_decides_by_its_own_clock_only():
    assert said([paper(0.1)], [grpo()]) == ["holds", "undecided", "undecided"]


@pytest.mark.parametrize(
    ("low", "high", "by_pair", "expected"),
    [
        (0.005, 0.015, [0.009, 0.011], "holds"),
        (0.005, 0.025, [0.009, 0.011], "undecided"),
        (0.005, 0.015, [0.009, 0.021], "undecided"),
        (0.025, 0.035, [0.029, 0.031], "does not hold"),
        (0.025, 0.035, [0.019, 0.041], "undecided"),
        (None, None, [0.01], "undecided"),
    ],
)
def test_a_claim_needs_the_interval_and_every_pair(low, high, by_pair, expected):
    found = {"estimate": 0.01, "low": low, "high": high, "by_pair": by_pair}
    assert verdict(found, alone=True)["verdict"] == expected


def test_memory_is_compared_pair_by_pair():
    ours = [paper(0.1, 0, trainer=1010, together=4900), paper(0.1, 1, trainer=1130, together=5240)]
    found = against_grpo(ours, [grpo(0), grpo(1, trainer=1100, together=5200)])
    assert (found["more_mib"]["trainer"]["estimate"], found["more_mib"]["trainer"]["verdict"]) == (20, "above")
    assert (found["more_mib"]["all"]["by_pair"], found["more_mib"]["all"]["verdict"]) == ([-100, 40], "undecided")


def test_committed_verdicts_follow_from_the_committed_runs():
    result = read_result("overhead_verl")
    found = findings(list(result["pieces"].values()))
    assert (found["verdicts"], found["tables"]) == (result["verdicts"], result["tables"])
