import copy

import pytest
from evidence.variance_section import findings, section, side

MADE_BY = {"command": "python benchmarks/variance.py", "machine": "x86_64", "device": "cpu", "date": "2026-01-02"}


def scheme(trace_ratio, snr_ratio, predicted=1.0):
    return {
        "trace": [2.0, 1.8, 2.2],
        "snr": [0.1, 0.05, 0.15],
        "cosine": [0.3, 0.2, 0.4],
        "cosine_uniform": [0.25, 0.2, 0.3],
        "trace_ratio": trace_ratio,
        "snr_ratio": snr_ratio,
        "predicted": {
            "region_advantage": predicted,
            "region": predicted + 1,
            "token_advantage": predicted + 2,
            "token": predicted + 3,
        },
    }


def point(step, schemes, order=((0.1, 0.05, 0.15),) * 3):
    uniform = {key: [0.5, 0.4, 0.6] for key in ("trace", "snr", "cosine", "cosine_uniform")}
    region = {"tokens": 0.5, "entropy": 0.2, "variance": 0.1, "trace_share": [0.4, 0.3, 0.5], "predicted_share": 0.35}
    return {
        "step": step,
        "accuracy": 0.42,
        "tokens": 100.0,
        "schemes": {"uniform": uniform, **schemes},
        "regions": {"format": region, "think": region},
        "order": [None if one is None else list(one) for one in order],
    }


def result(points, together):
    return {
        "made_by": MADE_BY,
        "plan": {"prompts": 8, "n": 8, "max_tokens": 96, "steps": 40},
        "seed": 0,
        "batches": 48,
        "parameters": 317_472,
        "points": points,
        "together": together,
    }


LOW, HIGH, OPEN = [0.8, 0.7, 0.9], [1.5, 1.2, 1.9], [1.1, 0.9, 1.3]


def text_of(found):
    return "\n".join(findings(found))


@pytest.mark.parametrize(("found", "expected"), [(LOW, "below"), (HIGH, "above"), (OPEN, "undecided")])
def test_a_side_is_decided_by_the_interval(found, expected):
    assert side(found) == expected
    assert side(None) == side([1.2, 1.0, 1.4]) == "undecided"


def test_verdicts_name_variance_and_signal_of_each_scheme_and_point():
    points = [
        point(0, {"paper": scheme(HIGH, LOW), "token_low": scheme(LOW, OPEN)}),
        point(15, {"paper": scheme(OPEN, LOW), "token_low": scheme(LOW, HIGH)}),
    ]
    text = text_of(result(points, {"paper": {"trace": HIGH, "snr": LOW}, "token_low": {"trace": LOW, "snr": OPEN}}))
    assert (
        "- `paper`: Variance is **above uniform's** (1.50 [1.20, 1.90]) over all points together; above at 0 and "
        "undecided at 15. Signal to noise is **below uniform's** (0.80 [0.70, 0.90]) over all points together; below "
        "at 0 and below at 15." in text
    )
    assert "Signal to noise is **undecided** (1.10 [0.90, 1.30])" in text
    assert (
        "Variance, at equal total weight and over all points together: below that of uniform weights for `token_low`; "
        "above that of uniform weights for `paper`; undecided for none." in text
    )
    assert (
        "Signal to noise, at equal total weight and over all points together: above that of uniform weights for none; "
        "below that of uniform weights for `paper`; undecided for `token_low`." in text
    )


def test_a_signal_that_is_noise_is_said_to_be_and_decides_nothing():
    points = [point(0, {"paper": scheme(LOW, None)})]
    text = text_of(result(points, {"paper": {"trace": LOW, "snr": None}}))
    assert "Signal to noise is **undecided** (a signal that cannot be told from noise)" in text
    assert "| not known |" in text


def test_predictions_are_judged_by_error_interval_and_side():
    points = [
        point(0, {"paper": scheme([2.0, 1.5, 2.5], LOW, predicted=1.6)}),  # 20 % below, inside, right side
        point(15, {"paper": scheme([0.5, 0.4, 0.6], LOW, predicted=1.5)}),  # three times it, outside, wrong side
        point(40, {"paper": scheme(OPEN, LOW, predicted=1.1)}),  # exact; its side is open
    ]
    text = text_of(result(points, {"paper": {"trace": OPEN, "snr": LOW}}))
    assert (
        "- `paper`: the prediction from V_r with A is off by -20 % to +200 %; it lies inside the interval of what was "
        "measured at 2 of 3 points, and names the right side of uniform at 1 of the 2 where the side is decided. From "
        "V_t with A it is off by +80 % to +600 %." in text
    )
    assert "| 0 | `paper` | 2.00 [1.50, 2.50] | 1.60 (-20 %) | 2.60 (+30 %) | 3.60 (+80 %) | 4.60 (+130 %) |" in text


def test_a_prediction_without_a_measured_ratio_has_no_error():
    text = text_of(result([point(0, {"paper": scheme(None, None)})], {"paper": {"trace": None, "snr": None}}))
    assert "is off by an unknown share; it lies inside the interval of what was measured at 0 of 1 points" in text
    assert "| 0 | `paper` | not known | 1.00 | 2.00 | 3.00 | 4.00 |" in text


@pytest.mark.parametrize(
    ("order", "verdict"),
    [
        ([(0.1, 0.05, 0.2)] * 3, "is as the paper says: format < name, name < args, args < think."),
        (
            [(0.1, 0.05, 0.2), (-0.1, -0.2, -0.05), (0.1, -0.1, 0.3)],
            "is **not** as the paper says: format < name, name > args, args ? think.",
        ),
        ([(0.1, 0.05, 0.2), None, (0.1, 0.05, 0.2)], "is **undecided**: format < name, name ? args, args < think."),
    ],
)
def test_the_order_of_entropies_is_judged_pair_by_pair(order, verdict):
    points = [point(15, {"paper": scheme(LOW, LOW)}, order)]
    text = text_of(result(points, {"paper": {"trace": LOW, "snr": LOW}}))
    assert f"After 15 updates the order of entropies (format < name < args < think) {verdict}" in text


def test_what_regions_leave_of_the_variance_is_the_covariance_between_them():
    points = [point(0, {"paper": scheme(LOW, LOW)}), point(40, {"paper": scheme(LOW, LOW)})]
    points[1]["regions"] = {"think": {**points[1]["regions"]["think"], "trace_share": [1.1, 1.0, 1.2]}}
    text = text_of(result(points, {"paper": {"trace": LOW, "snr": LOW}}))
    assert "takes for 0: +20 % at 0 and -10 % at 40." in text
    assert "| 40 | think | 50.0 % | 0.2000 | 0.1000 | 110.0 [100.0, 120.0] % | 35.0 % |" in text


def test_every_table_has_as_many_cells_in_each_line_as_in_its_head():
    points = [point(0, {"paper": scheme(LOW, None), "entropy": scheme(None, LOW)})]
    lines = findings(result(points, {name: {"trace": LOW, "snr": None} for name in ("paper", "entropy")}))
    widths = [line.count("|") for line in lines if line.startswith("|")]
    assert widths == [8] * 5 + [8] * 4 + [8] * 4


def test_the_section_says_what_made_it_and_draws_its_figure(tmp_path):
    pytest.importorskip("matplotlib")
    points = [point(step, {"paper": scheme(LOW, LOW), "entropy": scheme(None, LOW)}) for step in (0, 15)]
    found = result(points, {name: {"trace": LOW, "snr": LOW} for name in ("paper", "entropy")})
    before = copy.deepcopy(found)
    lines = section(found, tmp_path)
    assert lines[0] == "## Does it reduce variance?"
    assert "`python benchmarks/variance.py`: x86_64, cpu, 2026-01-02." in lines
    assert any(line.endswith("(images/evidence_variance.png)") for line in lines)
    first = (tmp_path / "evidence_variance.png").read_bytes()
    assert first.startswith(b"\x89PNG") and found == before
    section(found, tmp_path)
    assert (tmp_path / "evidence_variance.png").read_bytes() == first
