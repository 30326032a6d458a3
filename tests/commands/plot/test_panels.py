"""The panels of a picture: what is on them, how curves are averaged, and how they are arranged."""

import math
import re
import statistics
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.commands.plot.draw import arrange
from rest_verl.commands.plot.panels import PANELS, Curve, Panel, PanelCurves, collect, curve, select_panels
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.metrics import by_region, weight_metrics
from rest_verl.weighting.step_batch import StepBatch

PAGE = Path(__file__).resolve().parents[3] / "docs" / "plot.md"
REGIONS = {region.name.lower() for region in Region}


def panel(title):
    [found] = [panel for panel in PANELS if panel.title == title]
    return found


def test_what_the_trainer_logs_of_every_region_is_in_its_panel():
    batch = TaggedBatch(torch.tensor([list(Region)], dtype=torch.int8), torch.ones(1, len(Region)))
    ones = torch.ones(1, len(Region))
    logged = weight_metrics(StepBatch(1, batch, ones, weights=ones)) | by_region(
        "rest/schedule", dict.fromkeys(Region, 1.0)
    )
    scalars = {metric: {1: value} for metric, value in logged.items()}
    for title in ("Region entropy", "Region weight", "Scheduled weight"):
        assert panel(title).members(scalars) == {region: {1: 1.0} for region in REGIONS}


def test_accuracy_is_by_data_source_whatever_the_source_is_called_and_however_many_answers_it_has():
    scalars = {
        "val-core/openai/gsm8k/acc/mean@1": {0: 0.1},
        "val-core/bfcl_simple (x)/acc/mean@4": {0: 0.2},
        "val-core/bfcl_simple (x)/acc/best@4/mean": {0: 0.9},
        "val-aux/toy/acc/mean@1": {0: 0.3},
        "val-core/other/reward/mean@1": {0: 0.4},
    }
    assert panel("Validation accuracy").members(scalars) == {"openai/gsm8k": {0: 0.1}, "bfcl_simple (x)": {0: 0.2}}
    assert panel("Validation reward").members(scalars) == {"other": {0: 0.4}}


def test_a_source_whose_number_of_answers_changed_stays_one_line():
    scalars = {"val-core/a/acc/mean@1": {0: 0.1, 5: 0.2}, "val-core/a/acc/mean@4": {10: 0.3}}
    assert panel("Validation accuracy").members(scalars) == {"a": {0: 0.1, 5: 0.2, 10: 0.3}}


ONE, FAMILY = Panel("One", "m", "one"), Panel("Family", "nats", "x/*")


def test_seeds_become_curves_and_what_no_run_or_one_run_lacks_is_said():
    runs = {
        "a": [{"one": {1: 2.0}, "x/q": {1: 0.0}, "x/p": {1: 1.0}}, {"one": {1: 4.0}, "x/q": {1: 2.0}}],
        "b": [{"one": {1: 5.0}}],
    }
    drawn, notes = collect(runs, [ONE, FAMILY, Panel("Gone", "", "gone")], smooth=1)
    assert [(one.panel, list(one.members)) for one in drawn] == [(ONE, [""]), (FAMILY, ["p", "q"])]
    assert {name: curve.mean for name, curve in drawn[0].members[""].items()} == {"a": [3.0], "b": [5.0]}
    assert {name: curve.mean for name, curve in drawn[1].members["q"].items()} == {"a": [1.0]}
    assert notes == [
        "a: x/p is logged by 1 of 2 seeds",
        "panel 'Gone' left out: gone is not logged",
        "b is not in all panels: it does not log x/*",
    ]


def test_a_metric_without_a_finite_value_or_a_common_step_is_left_out_with_the_reason():
    drawn, notes = collect(
        {"a": [{"one": {1: math.nan}, "x/p": {1: 0.0}}, {"one": {1: 1.0}, "x/p": {2: 0.0}}]}, [ONE, FAMILY], 1
    )
    assert drawn == []
    assert notes == [
        "a: one left out: no step has a finite value of all 2 seeds",
        "a: x/p left out: no step has a finite value of all 2 seeds",
    ]


def test_validations_are_never_smoothed():
    scalars = {"one": {1: 0.0, 2: 2.0}, "v": {1: 0.0, 2: 2.0}}
    drawn, _ = collect({"a": [scalars]}, [ONE, Panel("V", "", "v", smoothed=False)], smooth=2)
    assert [one.members[""]["a"].mean for one in drawn] == [[0.0, 1.0], [0.0, 2.0]]
    assert [panel.title for panel in PANELS if not panel.smoothed] == ["Validation accuracy", "Validation reward"]


def test_metrics_are_chosen_by_name_or_pattern_each_once():
    runs = {"a": [{"timing_s/step": {}, "timing_s/gen": {}}], "b": [{"perf/mfu": {}}]}
    chosen = select_panels(["perf/mfu", "timing_s/*", "timing_s/gen"], runs)
    assert [panel.metric for panel in chosen] == ["perf/mfu", "timing_s/gen", "timing_s/step"]


def test_a_metric_that_no_run_logs_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"--metric: unknown metric 'timing/step': did you mean 'timing_s/step'\?"):
        select_panels(["timing/step"], {"a": [{"timing_s/step": {}}]})


def test_the_page_names_the_metric_of_every_panel():
    page = re.sub(r"<\w+>", "*", PAGE.read_text(encoding="utf-8"))
    assert [panel.metric for panel in PANELS if f"`{panel.metric}`" not in page] == []


CURVE = Curve([1], [1.0], [1.0], [1.0], 1)


def single(title, *runs):
    return PanelCurves(Panel(title, "u", title), {"": dict.fromkeys(runs, CURVE)})


def family(title, members, *runs):
    return PanelCurves(Panel(title, "u", f"{title}/*"), {member: dict.fromkeys(runs, CURVE) for member in members})


def titles(rows):
    return [[cell.title for cell in row] for row in rows]


def test_members_of_one_runs_family_share_a_panel_and_are_named_in_the_legend_once():
    layout = arrange([single("R", "a"), family("E", ["x", "y"], "a"), family("W", ["y", "z"], "a")], ["a"])
    assert titles(layout.panels) == [["R", "E", "W"]] and layout.families == []
    assert list(layout.panels[0][1].curves) == ["x", "y"]
    assert layout.names == ["x", "y", "z"]


def test_with_several_runs_each_member_has_axes_of_its_own_and_the_legend_names_runs():
    layout = arrange([single("R", "a", "b"), family("E", ["x", "y"], "b")], ["a", "b"])
    assert titles(layout.panels) == [["R"]] and titles(layout.families) == [["x", "y"]]
    assert list(layout.families[0][0].curves) == ["b"]
    assert layout.names == ["a", "b"]


def test_a_family_of_one_member_is_a_panel_that_names_it():
    assert titles(arrange([family("Accuracy", ["toy"], "a", "b")], ["a", "b"]).panels) == [["Accuracy: toy"]]


def test_rows_are_filled_evenly():
    panels = [single(str(number), "a") for number in range(5)]
    assert titles(arrange(panels, ["a"]).panels) == [["0", "1", "2"], ["3", "4"]]
    layout = arrange([family("E", "abcdefg", "1", "2")], ["1", "2"])
    assert titles(layout.families) == [["a", "b", "c", "d"], ["e", "f", "g"]] and layout.panels == []


values = st.dictionaries(st.integers(0, 20), st.one_of(st.floats(-100, 100), st.just(math.nan)), max_size=20)


def test_a_line_is_the_mean_of_the_seeds_and_its_band_reaches_from_the_lowest_to_the_highest():
    drawn = curve([{1: 1.0, 2: 5.0}, {2: 1.0, 1: 3.0}, {1: 8.0, 2: 0.0}])
    assert (drawn.steps, drawn.mean, drawn.low, drawn.high) == ([1, 2], [4.0, 2.0], [1.0, 0.0], [8.0, 5.0])
    assert drawn.seeds == 3


def test_a_step_that_one_seed_has_not_reached_is_left_out():
    drawn = curve([{1: 0.0, 2: 0.0, 3: 0.0}, {1: 10.0, 2: 10.0}])
    assert (drawn.steps, drawn.mean) == ([1, 2], [5.0, 5.0])


def test_a_value_that_is_not_finite_makes_a_gap():
    drawn = curve([{1: 1.0, 2: math.nan, 3: 3.0}, {1: 1.0, 2: 2.0, 3: 5.0}])
    assert drawn.steps == [1, 2, 3]
    assert [drawn.mean[0], drawn.mean[2]] == [1.0, 4.0]
    assert all(math.isnan(line[1]) for line in (drawn.mean, drawn.low, drawn.high))


def test_smoothing_takes_the_mean_of_a_value_and_those_before_it_and_keeps_gaps():
    drawn = curve([{1: 3.0, 2: 5.0, 4: math.nan, 5: 11.0, 7: 1.0}], smooth=3)
    assert drawn.steps == [1, 2, 4, 5, 7]
    assert drawn.mean[:2] == [3.0, 4.0] and math.isnan(drawn.mean[2])
    assert drawn.mean[3:] == [8.0, 6.0]


@given(st.lists(values, min_size=1, max_size=4), st.integers(1, 5))
def test_every_line_lies_within_its_band_and_has_a_gap_exactly_where_a_seed_has_one(seeds, smooth):
    drawn = curve(seeds, smooth)
    assert drawn.steps == [step for step in range(21) if all(step in seed for seed in seeds)]
    for step, mean, low, high in zip(drawn.steps, drawn.mean, drawn.low, drawn.high, strict=True):
        gap = any(math.isnan(seed[step]) for seed in seeds)
        assert math.isnan(mean) == math.isnan(low) == math.isnan(high) == gap
        assert gap or low - 1e-9 <= mean <= high + 1e-9
        if smooth == 1 and not gap:
            assert mean == pytest.approx(statistics.fmean(seed[step] for seed in seeds))
