"""A run that cannot go on from its newest checkpoint says which override does, and never starts anew by itself."""

import json
from types import SimpleNamespace

import pytest
from step import trainer_of
from verls_config import composed

from rest_verl.resilience.resume import POINTER, CheckpointError, check_found, complete_steps, unreadable_message
from rest_verl.weighting.saved_state import STATE_FILE


def save(folder, *steps, whole=True):
    for step in steps:
        path = folder / f"global_step_{step}"
        path.mkdir(parents=True)
        (path / "actor").mkdir()
        (path / "actor" / "model_world_size_1_rank_0.pt").write_bytes(b"weights")
        (path / STATE_FILE).write_text("{}")
        if whole:
            (path / "data.pt").write_bytes(b"state")


def trainer_node(folder, mode="auto", path=None):
    return SimpleNamespace(default_local_dir=str(folder), resume_mode=mode, resume_from_path=path)


def test_checkpoints_that_were_written_to_their_end_are_found_in_order(tmp_path):
    save(tmp_path, 9, 10, 2)
    save(tmp_path, 11, whole=False)
    (tmp_path / "global_step_x").mkdir()
    (tmp_path / "global_step_x" / "data.pt").write_bytes(b"")
    assert complete_steps(tmp_path) == [2, 9, 10]


def test_the_message_names_the_override_that_goes_on_from_the_newest_older_checkpoint(tmp_path):
    save(tmp_path, 1, 2, 3)
    message = unreadable_message(trainer_node(tmp_path), 3, RuntimeError("failed finding\ncentral directory"))
    assert message == (
        f"the latest checkpoint of {tmp_path}, global_step_3, cannot be read; nothing was changed. "
        f"Set trainer.resume_mode=resume_path trainer.resume_from_path={tmp_path}/global_step_2 to resume from an "
        "older one (complete steps: 1, 2). RuntimeError: failed finding central directory"
    )


def test_of_many_older_checkpoints_the_newest_are_named_and_the_others_counted(tmp_path):
    save(tmp_path, *range(1, 41))
    assert "(complete steps: 35, 36, 37, 38, 39, and 34 older ones)" in unreadable_message(
        trainer_node(tmp_path), 40, EOFError("no data")
    )


def test_with_no_older_checkpoint_the_message_says_how_to_start_anew(tmp_path):
    save(tmp_path, 3)
    message = unreadable_message(trainer_node(tmp_path), 3, EOFError("no data"))
    assert "No older one exists: set trainer.resume_mode=disable to start from scratch. EOFError: no data" in message


def test_a_checkpoint_given_by_its_path_is_named_by_it(tmp_path):
    node = trainer_node(tmp_path, "resume_path", "elsewhere/global_step_7")
    assert unreadable_message(node, 7, OSError("gone")).startswith(
        "the checkpoint elsewhere/global_step_7 cannot be read"
    )


def test_a_folder_without_checkpoints_is_a_fresh_start(tmp_path):
    check_found(tmp_path)


@pytest.fixture
def trainer(tmp_path, tokenizer):
    """A trainer with its checkpoints in `tmp_path`, before any worker is there."""
    config = composed("+rest=paper", "+platform=cpu", f"trainer.default_local_dir={tmp_path}")
    found = trainer_of(config, tokenizer)
    yield found
    found._shutdown_dump_executor()


def test_a_pointer_that_a_crash_left_empty_ends_the_run_with_the_newest_whole_checkpoint(trainer, tmp_path):
    save(tmp_path, 4, 5)
    (tmp_path / POINTER).write_text("")
    with pytest.raises(
        CheckpointError, match=rf"resume_from_path={tmp_path}/global_step_5 to resume from an older one"
    ):
        trainer._load_checkpoint()


def test_a_newest_checkpoint_that_is_gone_does_not_start_training_anew(trainer, tmp_path):
    save(tmp_path, 4)
    (tmp_path / POINTER).write_text("5")
    with pytest.raises(CheckpointError, match=r"names .*global_step_5, which is missing"):
        trainer._load_checkpoint()


def test_averages_of_measured_entropy_that_cannot_be_read_end_the_run(trainer, tmp_path, monkeypatch):
    save(tmp_path, 4, 5)
    (tmp_path / POINTER).write_text("5")
    (tmp_path / "global_step_5" / STATE_FILE).write_text(json.dumps({"entropy": {}})[:5])

    class Engine:  # loads whatever there is
        def load_checkpoint(self, **_):
            return None

    trainer.actor_rollout_wg, trainer.use_critic, trainer.trainer_mode = Engine(), False, "sync"
    trainer.train_dataloader = SimpleNamespace(load_state_dict=lambda state: None)
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: {})
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/global_step_4 to resume .*JSONDecodeError"):
        trainer._load_checkpoint()
