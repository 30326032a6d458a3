import math
import re
from pathlib import Path

import pytest
import torch

from rest_verl.commands.plot.panels import PANELS, Panel, collect, select_panels
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
