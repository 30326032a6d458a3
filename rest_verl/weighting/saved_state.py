"""The state of a run's weighting in a checkpoint, and what has changed since.

The weights of the steps to come depend on what was measured so far, on the scheme with what gives a token its region
and with the normalisation, and through the curriculum on the number of steps of the whole run. A resumed run that
differs in one of them would continue with other weights: that is refused until `rest.resume_changed=true` accepts it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rest_verl.common.logs import logger_of
from rest_verl.config.rest import ConfigError
from rest_verl.weighting.token_weighting import TokenWeighting

STATE_FILE = "rest.json"  # in the folder of a checkpoint
VERSION = 1  # of what the file holds; those written before it had a version are of this one
ACCEPT = "rest.resume_changed=true"

logger = logger_of(__name__)


class UnknownVersionError(ConfigError):
    """A state was written in a way that this version of the package does not read."""


class ChangedRunError(ConfigError):
    """A resumed run would continue with other weights; the message names the override that accepts it."""


def save_state(folder: Path, weighting: TokenWeighting, step: int) -> None:
    """Write the state of a weighting after a step into the folder of a checkpoint."""
    facts = (
        {"version": VERSION} | weighting.settings | {"total_steps": weighting.total_steps, "lam": weighting.lam(step)}
    )
    (folder / STATE_FILE).write_text(json.dumps(facts | weighting.state()))


def restore_state(folder: Path, weighting: TokenWeighting, step: int, accept_changes: bool) -> None:
    """Continue from the folder of a checkpoint.

    Args:
        folder: folder of the checkpoint.
        weighting: weighting of the resumed run, as it begins.
        step: global step of the checkpoint.
        accept_changes: whether changes, or a missing file, give a warning in the log instead of an error.

    Raises:
        ChangedRunError: the resumed run would weigh otherwise, or the file is missing.
        UnknownVersionError: another version of this package wrote it.
        KeyError, ValueError: the file is damaged.
    """
    file = folder / STATE_FILE
    if not file.exists():
        _refuse(
            f"{file} is missing: the checkpoint was written without ResT, or in part. The averages of measured "
            "entropy would start again, and an adaptive lam with them",
            "an older checkpoint with trainer.resume_mode=resume_path trainer.resume_from_path=FOLDER",
            accept_changes,
        )
        return
    saved = json.loads(file.read_text())
    if not isinstance(saved, dict):
        raise ValueError(f"{file} holds {type(saved).__name__} instead of an object")
    version = saved.get("version", VERSION)
    if version != VERSION:
        raise UnknownVersionError(
            f"{file} has version {version!r}, and this rest_verl reads version {VERSION}: another version of it wrote "
            "the checkpoint. Install that version to continue the run, or resume from an older checkpoint with "
            "trainer.resume_mode=resume_path trainer.resume_from_path=FOLDER"
        )
    weighting.restore(saved)
    changes = list(_changes(saved, weighting, step))
    if changes:
        _refuse(
            f"the run that wrote {file} had other weights: {'; '.join(changes)}",
            f"trainer.total_training_steps={saved['total_steps']} "
            f"{' '.join(f'rest.{name}={saved[name]}' for name in weighting.settings)} and the rest.curriculum of that "
            "run to continue it",
            accept_changes,
        )


def _changes(saved: Mapping[str, Any], weighting: TokenWeighting, step: int) -> Iterator[str]:
    """What differs between the run that wrote a state and the one that restored it."""
    total_steps, lam = saved["total_steps"], saved["lam"]
    if isinstance(total_steps, bool) or not isinstance(total_steps, int):
        raise ValueError(f"total_steps is {total_steps!r}: expected a whole number")
    if isinstance(lam, bool) or not isinstance(lam, int | float) or not 0 <= lam <= 1:
        raise ValueError(f"lam is {lam!r}: expected a number from 0 to 1")
    for name, chosen in weighting.settings.items():
        if (before := str(saved[name])) != chosen:
            yield f"rest.{name} was {before} and is {chosen}"
    if not weighting.reads_curriculum:
        return
    if total_steps != weighting.total_steps and _moves_with_length(weighting, step, total_steps):
        yield f"the run had {total_steps} steps in total and has {weighting.total_steps}"
    if not math.isclose(lam, now := weighting.lam(step), abs_tol=1e-6):
        yield f"lam at step {step} was {lam:.2f} and is {now:.2f}"


def _moves_with_length(weighting: TokenWeighting, step: int, total_steps: int) -> bool:
    """Whether lam at any step from now on would differ if the run had this many steps."""
    other = weighting.with_total_steps(total_steps)
    return any(other.lam(at) != weighting.lam(at) for at in range(step, max(total_steps, weighting.total_steps) + 1))


def _refuse(what: str, remedy: str, accept_changes: bool) -> None:
    if not accept_changes:
        raise ChangedRunError(f"{what}. Set {ACCEPT} to accept this, or {remedy}")
    logger.warning("%s. Accepted by %s", what, ACCEPT)
