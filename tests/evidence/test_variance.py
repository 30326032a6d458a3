import pytest
import typer
from variance import RUN, seeds_of, steps_of


def test_points_are_read_in_the_order_of_training_and_once_each():
    assert steps_of(f"{RUN.steps},0, 3,3") == (0, 3, RUN.steps)


@pytest.mark.parametrize("text", ["-1", f"0,{RUN.steps + 1}"])
def test_a_point_outside_the_run_is_refused(text):
    with pytest.raises(typer.BadParameter, match=f"a step lies in 0 to {RUN.steps}"):
        steps_of(text)


def test_what_is_no_list_of_steps_is_refused():
    with pytest.raises(typer.BadParameter, match="'0;9': give steps with commas"):
        steps_of("0;9")


def test_every_batch_of_every_point_has_a_seed_of_its_own():
    drawn = [seed for study in (0, 1) for step in (0, 15, 40) for seed in seeds_of(study, step, 48)]
    assert len(set(drawn)) == len(drawn)
    assert seeds_of(0, 15, 4) == seeds_of(0, 15, 48)[:4]
