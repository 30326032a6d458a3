"""The arithmetic behind docs/scaling.md: a line through measured costs, and clusters that follow from it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.scaling_clusters import draw
from trust.scaling_fit import Line, Load, fit, gpus_at, share
from trust.scaling_page import section
from trust.scaling_parts import (
    AHEAD,
    AHEAD_METRICS,
    MEMORY,
    MEMORY_VERL,
    NOW,
    OWN,
    OWN_MEMORY,
    READING,
    RECORDS,
    REST,
    SCORING,
    TAGGING,
    VERL,
    VERLS,
    VERLS_MEMORY,
    WORKERS,
)

# 2 s a batch, 1 ms a response, 1 us a token
LINE = Line(2.0, 1e-3, 1e-6)
# 1 GPU makes 100 * 50 = 5,000 tokens a step: 10 responses of 500
LOAD = Load("a model", tokens_per_gpu_second=100, step_seconds=50, response_tokens=500)


def test_a_batch_costs_its_responses_and_its_tokens():
    assert LINE.at(10, 5000) == pytest.approx(2.0 + 0.010 + 0.005)


def test_parts_add_up_and_the_worst_error_stays():
    assert Line(1, 2, 3, 0.1) + Line(10, 20, 30, 0.05) == Line(11, 22, 33, 0.1)


def test_the_batch_grows_with_the_cluster():
    assert LOAD.batch(1) == (10, 5000)
    assert LOAD.batch(8) == (80, 40_000)


def test_a_share_is_of_the_step_without_it():
    # 100 GPUs: 1,000 responses, 500,000 tokens: 2 + 1 + 0.5 s in 50 s
    assert share(LINE, LOAD, 100) == pytest.approx(3.5 / 50)


def test_a_limit_is_reached_where_the_share_is_the_limit():
    # 10 % of 50 s are 5 s, of which 2 are there from the start; a GPU adds 10 * 1 ms + 5,000 * 1 us = 15 ms
    assert gpus_at(LINE, LOAD, 0.10) == pytest.approx(200)
    assert share(LINE, LOAD, 200) == pytest.approx(0.10)


def test_a_limit_is_reached_at_once_or_never_where_nothing_grows():
    assert gpus_at(LINE, LOAD, 0.04) == 0
    assert gpus_at(LINE, LOAD, 0.01) == 0
    assert gpus_at(Line(1.0, 0, 0), LOAD, 0.04) == math.inf


SIZES = [(64, 128), (64, 4096), (2048, 128), (2048, 4096)]


@given(*[st.floats(1e-3, 1e3) for _ in range(3)])
def test_costs_of_a_line_give_that_line_back(batch, response, token):
    line = Line(batch * 1e-3, response * 1e-6, token * 1e-9)
    found = fit(SIZES, [line.at(rows, rows * tokens) for rows, tokens in SIZES])
    assert found.error < 1e-6
    for rows, tokens in [*SIZES, (100_000, 8192)]:
        assert found.at(rows, rows * tokens) == pytest.approx(line.at(rows, rows * tokens), rel=1e-4)


def test_no_cost_is_below_zero_and_the_error_is_the_largest_one():
    # falls with the batch: the best line without a cost below 0 is the same for every size, c with the least
    # (c/1 - 1)^2 + (c/0.5 - 1)^2 + 2 (c/0.5 - 1)^2 : c (1 + 3 * 4) = 1 + 3 * 2, so c = 7/13
    found = fit(SIZES, [1.0, 0.5, 0.5, 0.5])
    assert (found.response, found.token) == (0, 0)
    assert found.batch == pytest.approx(7 / 13)
    assert found.error == pytest.approx(1 - 7 / 13)


def a_result():
    """What scaling.py would find if every part of ResT cost 1 us a response and 100 ns a token, and each of verl's two
    parts four times that."""
    ours, verls = Line(0, 1e-6, 100e-9), Line(0, 4e-6, 400e-9)

    def step(size, units=8):
        rows, tokens = size
        seconds = {part: (verls if part in VERL else ours).at(rows, rows * tokens) for part in (*REST, RECORDS, *VERL)}
        return {
            "size": list(size),
            "units": units,
            "seconds": seconds,
            "cpu": seconds,
            "bytes": {MEMORY: 2**21, MEMORY_VERL: 2**20},
        }

    def alone(size):
        costs = {OWN: ours.at(size[0], size[0] * size[1]), VERLS: verls.at(size[0], size[0] * size[1])}
        return {"size": list(size), **costs, OWN_MEMORY: 2**20, VERLS_MEMORY: 2**20}

    variants = {NOW: 2.0, WORKERS: 1.5, AHEAD: 1.0, AHEAD_METRICS: 0.5}
    return {
        "steps": [step(size) for size in SIZES],
        "nodes": [step(SIZES[0], units) for units in (2, 8)],
        "alone": {"sizes": [alone(size) for size in [*SIZES, (8192, 8192)]], "peak": 2**30},
        "workers": [{"tokens": tokens, SCORING: 1e-3, READING: 1e-3, TAGGING: 1e-3} for tokens in (256, 4096)],
        "remedies": [{"size": [2048, 2048], "seconds": variants, "cpu": variants}],
    }


def cells(section, start):
    """The cells behind the first of each line of a table that begins like this."""
    lines = [line for line in section if line.startswith(f"| {start} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


def test_the_page_says_what_follows_from_the_lines():
    # six parts of ResT: 6 us a response and 600 ns a token; LOAD makes 10 responses and 5,000 tokens a GPU and step:
    # 60 us + 3 ms in 50 s, 0.00612 % a GPU; verl's two parts take 8 us and 800 ns, 4/3 of that
    found = section(a_result(), [LOAD])
    assert cells(found, "ResT / verl") == [["0.75"] * 4]
    assumed, shares, limits = cells(found, "a model")
    assert assumed == ["100", "50", "500"]
    assert shares == ["0.049 %", "0.39 %", "1.6 %", "6.3 %", "25 %"]
    assert limits == ["163", "817", "123", "613"]
    assert cells(found, AHEAD) == [["1.00 (-50%)"]]
    text = "\n".join(found)
    assert (
        "At 1,000 GPUs ResT's part is within 2 % of a step for none of them, and beyond it for a model (6.1 %)" in text
    )
    assert "take 1.3 times as long as ResT's part" in text
    assert f"with {AHEAD} to 2.0 times as many GPUs" in text
    # three quarters of ResT's part, which is 3/7 of both
    assert "the two parts together would take 32% less" in text
    # without the largest size the line is the same
    assert f"{OWN}: 6.7 s foretold, 6.7 s measured (+0%)" in text


def test_the_figure_is_drawn(tmp_path):
    assert draw(a_result(), [LOAD], tmp_path / "scaling.png").stat().st_size > 10_000
