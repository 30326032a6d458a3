import pytest
from evidence.learning_section import not_held, section, tables, verdicts

QUESTIONS = {"grpo": "", "paper": "", "token_low": "", "static": "without its curriculum"}
MADE_BY = {
    "command": "python benchmarks/learning.py",
    "machine": "a machine",
    "device": "2 cores",
    "date": "today",
}
PLAN = {"steps": 20, "prompts": 8, "n": 8, "learning_rate": 5e-4, "validation_rows": 128}


def run(variant, seed, final):
    return {"variant": variant, "seed": seed, "validations": [[0, 0.2, 0.1], [10, 0.3, 0.1], [20, final, final / 2]]}


@pytest.fixture
def result():
    """paper 0.2 above GRPO but for a little noise, token_low now above and now below, static collapsed once."""
    runs = [run("grpo", seed, 0.5 + 0.01 * seed) for seed in range(8)]
    runs += [run("paper", seed, 0.7 + 0.012 * seed) for seed in range(8)]
    runs += [run("token_low", seed, 0.5 + 0.01 * seed + 0.1 * (-1) ** seed) for seed in range(8)]
    runs += [run("static", seed, 0.05 if seed == 3 else 0.6) for seed in range(8)]
    return {"made_by": MADE_BY, "through": "process", "plan": PLAN, "variants": QUESTIONS, "runs": runs}


def test_each_variant_has_its_line_with_final_accuracy_steps_and_collapses(result):
    (head, lines), *_ = tables(result)
    assert [line[0] for line in lines] == list(QUESTIONS)
    grpo, paper, _, static = lines
    assert grpo[1:3] == ["8", "0.535 (sd 0.024)"]
    # Halfway from 0.2 to 0.535 is 0.37: reached between 10 and 20, sooner where the end is higher.
    assert head[5] == "steps to 0.37"
    assert float(paper[5].split()[0]) < float(grpo[5].split()[0]) and grpo[5].endswith("(8 of 8)")
    assert [line[6] for line in lines] == ["0", "0", "0", "1"] and static[5].endswith("(7 of 8)")


def test_presets_are_compared_with_grpo_and_ablations_with_paper(result):
    _, (against_grpo, differences), (against_paper, ablations) = tables(result)
    assert against_grpo[0] == "minus GRPO" and [line[0] for line in differences] == ["paper", "token_low", "static"]
    assert differences[0][1].startswith("+0.207 [+0.2")
    assert against_paper[0] == "minus paper" and [line[0] for line in ablations] == ["static: without its curriculum"]


def test_a_verdict_follows_from_its_interval(result):
    by_name = {line.split("`")[1]: line for line in verdicts(result) if line.startswith("-")}
    assert "final accuracy is **higher**, +0.207" in by_name["paper"]
    assert "final accuracy is **undecided**" in by_name["token_low"]
    assert "final accuracy is **lower**" in by_name["static"]
    assert by_name["static"].startswith("- `static` (paper without its curriculum) against `paper`")


def test_what_did_not_hold_are_the_presets_that_were_not_shown_to_be_faster(result):
    (line,) = not_held(result)
    assert line.startswith("- `token_low` against GRPO, in process: mean accuracy over training is **undecided**")


def test_the_section_names_its_command_and_draws_its_figure(result, tmp_path):
    text = "\n".join(section(result, tmp_path))
    assert "`python benchmarks/learning.py`: a machine, 2 cores, today. 8 paired seeds, 20 steps" in text
    assert "images/evidence_learning_process.png" in text
    assert (tmp_path / "evidence_learning_process.png").stat().st_size > 10_000


def test_a_study_of_one_seed_says_nothing_about_spread(result, tmp_path):
    result["runs"] = [one for one in result["runs"] if one["seed"] == 0]
    text = "\n".join(section(result, tmp_path))
    assert "1 paired seeds" not in text and "1 paired seed," in text
    assert all("**undecided**" in line for line in verdicts(result) if line.startswith("-"))
