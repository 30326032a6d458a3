"""The arithmetic behind docs/scaling.md: a line through measured costs, and clusters that follow from it."""

import math

import pytest
from clusters import Line, Load, fit, gpus_at, share
from hypothesis import given
from hypothesis import strategies as st
from scaling import IN_WORKERS, MEMORIES, OWN, RECORDS, REST, SIDES_MEMORY, VERL, VERLS, findings, growth

LINE = Line(2.0, 1e-3, 1e-6)  # 2 s a batch, 1 ms a response, 1 us a token
# 1 GPU makes 100 * 50 = 5,000 tokens a step: 10 responses of 500
LOAD = Load("a model", tokens_per_gpu_second=100, step_seconds=50, response_tokens=500)
SIZES = [(64, 128), (64, 4096), (2048, 128), (2048, 4096)]


def test_costs_add_up():
    assert LINE.at(10, 5000) == pytest.approx(2.0 + 0.010 + 0.005)
    assert Line(1, 2, 3) + Line(10, 20, 30) == Line(11, 22, 33)


def test_shares_grow_with_the_cluster_up_to_a_limit():
    assert LOAD.batch(8) == (80, 40_000)
    # 100 GPUs: 1,000 responses, 500,000 tokens: 2 + 1 + 0.5 s in 50 s
    assert share(LINE, LOAD, 100) == pytest.approx(3.5 / 50)
    # 10 % of 50 s are 5 s, of which 2 are there from the start; a GPU adds 10 * 1 ms + 5,000 * 1 us = 15 ms
    assert gpus_at(LINE, LOAD, 0.10) == pytest.approx(200)
    assert gpus_at(LINE, LOAD, 0.04) == 0
    assert gpus_at(Line(1.0, 0, 0), LOAD, 0.04) == math.inf


@given(*[st.floats(1e-3, 1e3) for _ in range(3)])
def test_costs_of_a_line_give_that_line_back(batch, response, token):
    line = Line(batch * 1e-3, response * 1e-6, token * 1e-9)
    found = fit(SIZES, [line.at(rows, rows * tokens) for rows, tokens in SIZES])
    for rows, tokens in [*SIZES, (100_000, 8192)]:
        assert found.at(rows, rows * tokens) == pytest.approx(line.at(rows, rows * tokens), rel=1e-4)


def test_no_cost_is_below_zero():
    # falls with the batch: the best line without a cost below 0 is the same for every size, c with the least
    # (c/1 - 1)^2 + (c/0.5 - 1)^2 + 2 (c/0.5 - 1)^2 : c (1 + 3 * 4) = 1 + 3 * 2, so c = 7/13
    found = fit(SIZES, [1.0, 0.5, 0.5, 0.5])
    assert (found.response, found.token) == (0, 0)
    assert found.batch == pytest.approx(7 / 13)


def measured():
    """Pieces in which each part of ResT costs 1 us a response and 100 ns a token, each of verl's four times that."""
    ours, verls = Line(0, 1e-6, 100e-9), Line(0, 4e-6, 400e-9)

    def step(rows, tokens, units=8):
        seconds = {part: (verls if part in VERL else ours).at(rows, rows * tokens) for part in (*REST, RECORDS, *VERL)}
        memory = dict.fromkeys(MEMORIES, 2**20)
        return {"size": [rows, tokens], "units": units, "seconds": seconds, "cpu": seconds, "bytes": memory}

    def alone(rows, tokens):
        costs = {OWN: ours.at(rows, rows * tokens), VERLS: verls.at(rows, rows * tokens)}
        return {"size": [rows, tokens], **costs, **dict.fromkeys(SIDES_MEMORY, 2**20)}

    return {
        "steps": [step(*size) for size in SIZES],
        "nodes": [step(*SIZES[0], units) for units in (2, 8)],
        "alone": [alone(*size) for size in [*SIZES, (8192, 8192)]],
        "workers": [{"tokens": tokens, **dict.fromkeys(IN_WORKERS, 1e-3)} for tokens in (256, 4096)],
    }


def test_findings_follow_from_the_lines():
    # six parts of ResT: 6 us a response and 600 ns a token; LOAD makes 10 responses and 5,000 tokens a GPU and step:
    # 60 us + 3 ms in 50 s, 0.00612 % a GPU; verl's two parts take 8 us and 800 ns, 4/3 of that
    found = findings(measured(), [LOAD])
    tables = {name: table["rows"] for name, table in found["tables"].items()}
    assert ["ResT / verl", *["0.75"] * 4] in tables["measured"]
    assert tables["clusters"] == [["a model", "100", "50", "500", "0.049 %", "0.39 %", "1.6 %", "6.3 %", "25 %"]]
    assert tables["limits"] == [["a model", "163", "817", "123", "613"]]
    assert found["verl_per_rest"] == pytest.approx(4 / 3)
    # without the largest size the line is the same
    assert found["prediction"]["rest"] == pytest.approx(0, abs=1e-6)
    # 1,000 GPUs make 200 responses of 500 tokens a second, of 1 + 1 ms each
    assert found["busy_workers"]["processes"] == pytest.approx(0.4)
    # 8,192 x 8,192 at 1 us a response and 100 ns a token are 6.719 s, 2 % of 335.9 s
    assert found["growth"]["step_seconds"] == pytest.approx(335.95, rel=1e-4)


def test_growth_tells_linear_from_quadratic():
    def exponent(*seconds):
        sizes = zip((1000, 2000, 4000), seconds, strict=True)
        return growth([{"size": [1000, tokens], OWN: took} for tokens, took in sizes])["exponent"]

    assert exponent(0.05, 0.1, 0.2) == pytest.approx(1.0)
    assert exponent(0.05, 0.2, 0.8) == pytest.approx(2.0)
