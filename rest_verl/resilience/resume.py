"""Errors and remedies for a run that cannot resume from its latest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "global_step_"
POINTER = "latest_checkpointed_iteration.txt"  # verl's file with the step of the latest checkpoint
LAST_WRITTEN = "data.pt"  # verl's trainer writes it after the models of a checkpoint
MOST_NAMED = 5  # checkpoints named in a message; there may be hundreds


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read; the message names the override that resumes from an older one."""


def complete_steps(folder: Path, parts: Sequence[str] = ("actor",)) -> list[int]:
    """Steps of the complete checkpoints in a folder, in order.

    verl deletes the models of old checkpoints (`trainer.max_actor_ckpt_to_keep`, `max_critic_ckpt_to_keep`) and keeps
    the rest of their folders.

    Args:
        folder: verl's `trainer.default_local_dir`.
        parts: folders of the models in a checkpoint.
    """
    found = [path.parent for path in folder.glob(f"{FOLDER}*/{LAST_WRITTEN}") if path.stat().st_size]
    whole = [path for path in found if all(_holds_files(path / part) for part in parts)]
    steps = [path.name.removeprefix(FOLDER) for path in whole]
    return sorted(int(step) for step in steps if step.isascii() and step.isdigit())


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def check_found(folder: Path) -> None:
    """Refuse to start from scratch, as verl would, if its file names a latest checkpoint that it did not find.

    Args:
        folder: verl's `trainer.default_local_dir`.

    Raises:
        FileNotFoundError: the checkpoint that the file names is missing.
    """
    if (folder / POINTER).exists():
        missing = folder / f"{FOLDER}{(folder / POINTER).read_text()}"
        raise FileNotFoundError(f"{POINTER} names {missing}, which is missing")


def unreadable_message(trainer: Any, step: int, error: Exception, parts: Sequence[str] = ("actor",)) -> str:
    """Message about a checkpoint that cannot be read.

    Args:
        trainer: `trainer` node of verl's config.
        step: step of the checkpoint; 0 if verl failed before it knew the step.
        error: the error of reading it.
        parts: folders of the models in a checkpoint.
    """
    folder = Path(trainer.default_local_dir)
    if trainer.resume_mode == "resume_path":
        what = f"the checkpoint {trainer.resume_from_path}"
    else:
        what = f"the latest checkpoint of {folder}" + (f", {FOLDER}{step}," if step else "")
    older = [earlier for earlier in complete_steps(folder, parts) if step == 0 or earlier < step]
    more = f", and {len(older) - MOST_NAMED} older ones" if len(older) > MOST_NAMED else ""
    reason = " ".join(str(error).split())
    remedy = (
        f"Set trainer.resume_mode=resume_path trainer.resume_from_path={folder / f'{FOLDER}{older[-1]}'} to resume "
        f"from an older one (complete steps: {', '.join(map(str, older[-MOST_NAMED:]))}{more})"
        if older
        else "No older one exists: set trainer.resume_mode=disable to start from scratch"
    )
    return f"{what} cannot be read; nothing was changed. {remedy}. {type(error).__name__}: {reason}"
