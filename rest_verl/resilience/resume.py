"""What to do when a run cannot go on from its newest checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = "global_step_"
POINTER = "latest_checkpointed_iteration.txt"  # verl's: the step of the newest checkpoint
LAST_WRITTEN = "data.pt"  # by verl's trainer, once the models of a checkpoint are there
NAMED = 5  # checkpoints in a message, of what may be hundreds


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read; the message names the override that goes on from an older one."""


def whole_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder that were written to their end, in order.

    Args:
        folder: verl's `trainer.default_local_dir`.
    """
    found = [path.parent.name.removeprefix(FOLDER) for path in folder.glob(f"{FOLDER}*/{LAST_WRITTEN}")]
    return sorted(int(step) for step in found if step.isdigit())


def check_found(folder: Path) -> None:
    """Refuse to start anew where verl would: it has no checkpoint, but its file that names the newest one is there.

    Args:
        folder: verl's `trainer.default_local_dir`.

    Raises:
        FileNotFoundError: the checkpoint that the file names is gone.
    """
    if (folder / POINTER).exists():
        gone = folder / f"{FOLDER}{(folder / POINTER).read_text()}"
        raise FileNotFoundError(f"{POINTER} names {gone}, which is not there")


def unreadable(trainer: Any, step: int, error: Exception) -> str:
    """What a person is told about a checkpoint that cannot be read.

    Args:
        trainer: the `trainer` node of verl's config.
        step: of the checkpoint; 0 where verl did not even find out which it is.
        error: what went wrong.
    """
    folder = Path(trainer.default_local_dir)
    if trainer.resume_mode == "resume_path":
        what = f"the checkpoint {trainer.resume_from_path}"
    else:
        what = f"the newest checkpoint of {folder}" + (f", {FOLDER}{step}," if step else "")
    older = [whole for whole in whole_steps(folder) if step == 0 or whole < step]
    more = f", and {len(older) - NAMED} before them" if len(older) > NAMED else ""
    reason = " ".join(str(error).split())
    remedy = (
        f"trainer.resume_mode=resume_path trainer.resume_from_path={folder / f'{FOLDER}{older[-1]}'} goes on from an "
        f"older one (whole are steps {', '.join(map(str, older[-NAMED:]))}{more})"
        if older
        else "no older one is there: trainer.resume_mode=disable starts anew"
    )
    return f"{what} cannot be read, and nothing was changed: {remedy}. {type(error).__name__}: {reason}"
