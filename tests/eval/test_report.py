"""The report of scores, and its chart."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from rest_verl.eval.answers import Answer, save_answers
from rest_verl.eval.chart import draw_bars
from rest_verl.eval.comparison import compare, read_side, write_comparison
from rest_verl.eval.predictions import Predictions
from rest_verl.eval.report import read_verdicts, scores_of, sections, write_report
from rest_verl.eval.score import Scored, outcomes_of
from rest_verl.eval.statistics import Estimate

LEVELS = ("apibank_level1", "apibank_level2", "apibank_level3")


def scored_run(folder, right, model="m", sources=LEVELS, settings=None):
    """Write the report of a made-up run, with 40 questions a source, of which so many are answered right."""
    scored, answers = [], []
    for source in sources:
        for number in range(40):
            id = f"{source}_{number}"
            scored.append(Scored(source, id, 0, {"acc": float(number < right), "calls": 2.0}))
            answers.append(Answer(source, id, 0, 0, "a", finish_reason="length" if number == 0 else "stop"))
    folder.mkdir(parents=True, exist_ok=True)
    answers.append(Answer(sources[0], "refused", 0, 0, "", error="too long"))
    save_answers(folder / "answers.jsonl", answers)
    predictions = Predictions(model, "rlla", [], answers, settings or {"limit": 40}, folder / "answers.jsonl")
    return write_report(predictions, scored, folder)


def test_a_report_has_every_score_with_its_error_and_its_questions(tmp_path):
    scores = scored_run(tmp_path, right=10)
    bounds = pytest.approx(0.14187, abs=1e-5), pytest.approx(0.40194, abs=1e-5)
    assert scores.categories["apibank_level2"] == Estimate(0.25, pytest.approx(0.0693375), 40, *bounds)
    overall = scores.groups["API-Bank Overall"]
    assert (overall.mean, overall.standard_error, overall.questions) == (
        pytest.approx(0.25),
        pytest.approx(0.0400320),
        120,
    )
    assert scores.partial == {}

    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["model"] == "m" and report["seeds"] == [0] and report["settings"] == {"limit": 40}
    assert report["groups"]["API-Bank Overall"]["questions"] == 120
    assert report["categories"]["apibank_level1"]["numbers"] == {"acc": 0.25, "calls": 2.0}
    assert {key: report["answers"][key] for key in ("requests", "refused", "cut")} == {
        "requests": 121,
        "refused": 1,
        "cut": 3,
    }

    lines = (tmp_path / "scores.md").read_text().splitlines()
    assert "| API-Bank Overall | 25.00 | 18.76 to 33.77 | 4.00 | 120 |" in lines
    assert "| apibank_level3 | 25.00 | 14.19 to 40.19 | 6.93 | 40 |" in lines
    assert any("121 requests; the endpoint refused 1" in line and "3 answers were cut" in line for line in lines)


def test_several_answers_to_a_question_are_reported_as_pass_measures(tmp_path):
    """With seeds 0 and 1, 20 of 40 questions are right once and 10 twice."""
    scored = [
        Scored("apibank_level1", f"q{number}", seed, {"acc": float(number < (30, 10)[seed])})
        for number in range(40)
        for seed in range(2)
    ]
    answers = [Answer("apibank_level1", one.id, one.seed, 0, "a") for one in scored]
    save_answers(tmp_path / "answers.jsonl", answers)
    write_report(Predictions("m", "rlla", [], answers, {}, tmp_path / "answers.jsonl"), scored, tmp_path)
    report = json.loads((tmp_path / "scores.json").read_text())
    shares = {name: found["apibank_level1"]["mean"] for name, found in report["repeated"].items()}
    assert shares == {"pass@2": 0.75, "pass^2": 0.25}
    assert report["categories"]["apibank_level1"]["mean"] == 0.5
    lines = (tmp_path / "scores.md").read_text().splitlines()
    assert "| score | pass@2 | pass^2 |" in lines
    assert "| apibank_level1 | 75.00 (59.81 to 85.81) | 25.00 (14.19 to 40.19) |" in lines


def test_the_same_answers_give_the_same_files(tmp_path):
    for name in ("one", "other"):
        scored_run(tmp_path / name, right=7)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {"answers.jsonl", "verdicts.jsonl", "scores.json", "scores.md", "scores.png", "scores.svg"}


def test_a_group_is_not_averaged_over_fewer_categories_but_says_what_it_lacks(tmp_path):
    scores = scored_run(tmp_path, right=10, sources=LEVELS[:2])
    assert "API-Bank Overall" not in scores.all()
    assert scores.partial == {"API-Bank Overall": ("apibank_level3",)}
    text = (tmp_path / "scores.md").read_text()
    assert "- API-Bank Overall: not computed, since apibank_level3 was not asked." in text
    assert json.loads((tmp_path / "scores.json").read_text())["partial"] == {
        "API-Bank Overall": {"missing": ["apibank_level3"]}
    }


def test_verdicts_are_read_as_they_were_written(tmp_path):
    scores = scored_run(tmp_path, right=10)
    verdicts, report = read_verdicts(tmp_path)
    assert scores_of(outcomes_of(verdicts)) == scores
    assert report["model"] == "m"


def test_scores_of_answers_that_have_changed_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="score the run first: rest-verl eval score"):
        read_verdicts(tmp_path)
    scored_run(tmp_path, right=10)
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write(json.dumps({"source": "s", "id": "i", "seed": 0, "step": 0, "text": ""}) + "\n")
    with pytest.raises(ValueError, match="has changed since it was scored; run rest-verl eval score"):
        read_verdicts(tmp_path)
    (tmp_path / "verdicts.jsonl").write_text('{"source": "s"}\n')
    with pytest.raises(ValueError, match=r"damaged.*run rest-verl eval score"):
        read_verdicts(tmp_path)


def test_a_chart_shows_groups_before_categories_and_bfcl_before_api_bank():
    names = ["apibank_level1", "bfcl_multiple", "Non-Live", "BFCL V3 Overall", "bfcl_parallel"]
    assert sections(names) == [
        ["Non-Live", "BFCL V3 Overall"],
        ["bfcl_multiple", "bfcl_parallel"],
        ["apibank_level1"],
    ]


def compared(tmp_path, base, other):
    sides = []
    for name, runs in (("base", base), ("other", other)):
        folders = [tmp_path / f"{name}{number}" for number in range(len(runs))]
        for folder, right in zip(folders, runs, strict=True):
            scored_run(folder, right, model=name, settings={"limit": 40, "model": name, "temperature": len(name)})
        sides.append(read_side(folders))
    comparison = compare(*sides, resamples=10_000, seed=0)
    write_comparison(comparison, tmp_path / "out")
    return comparison, (tmp_path / "out" / "comparison.md").read_text()


def test_a_comparison_says_what_is_better_by_more_than_chance(tmp_path):
    comparison, text = compared(tmp_path, [10], [20])
    one = comparison.differences["API-Bank Overall"]
    assert (one.base, one.other) == pytest.approx((0.25, 0.5))
    assert 0.1 < one.low < 0.25 < one.high < 0.4
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert report["scores"]["API-Bank Overall"]["low"] == one.low
    assert report["base"] == {"model": "base", "runs": 1}
    assert "| API-Bank Overall | 25.00 | 50.00 | 25.00 |" in text and "| 0.0002 | better |" in text
    assert "Settings that differ: temperature: 4 / 5." in text  # the model's name is no setting
    assert "the bounds do not include the randomness of training" in text
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".md", ".png", ".svg"}


def test_identical_runs_are_not_told_apart(tmp_path):
    comparison, text = compared(tmp_path, [10], [10])
    assert all((one.low, one.high) == (0, 0) for one in comparison.differences.values())
    assert text.count("| unclear |") == 4


def test_several_runs_of_a_model_are_averaged_and_resampled(tmp_path):
    comparison, text = compared(tmp_path, [10, 12, 14], [11, 20])
    one = comparison.differences["apibank_level1"]
    assert (one.base, one.other) == pytest.approx((0.3, 0.3875))
    assert "Runs: 3 of base, 2 of other. Runs are resampled too." in text


def texts_of(path):
    """What an SVG says: each text stands in it as a comment beside its outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    return [node.text.strip() for node in ElementTree.parse(path, parser).iter() if node.tag is ElementTree.Comment]


def test_every_score_of_both_models_is_drawn_whatever_the_models_are_called(tmp_path):
    models = {
        "a $\\frac$ name": {"x": Estimate(0.125, 0.01, 9, 0.1, 0.2), "y": Estimate(1.0, 0.0, 9, 0.7, 1.0)},
        "b_1": {"x": Estimate(0.0, 0.0, 9, 0.0, 0.3), "y": Estimate(0.975, None, 1, 0.2, 1.0)},
    }
    png, svg = draw_bars(models, [["x"], ["y"]], "a $ against b", tmp_path / "chart")
    assert png.read_bytes().startswith(b"\x89PNG")
    said = texts_of(svg)
    assert said.index("x") < said.index("y")
    assert {"12.5", "100.0", "0.0", "97.5", "a $ against b", *models} <= set(said)


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_a_chart_of_one_model_has_no_legend(tmp_path, mean):
    _, svg = draw_bars({"only": {"x": Estimate(mean, 0.4, 2, 0.0, 1.0)}}, [["x"]], "title", tmp_path / "chart")
    assert "only" not in texts_of(svg)
