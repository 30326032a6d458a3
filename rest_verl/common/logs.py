"""What is logged in verl's processes: where this package's warnings go, and what of verl's a command keeps quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rest_verl.common.plain_text import plain


def logger_of(module: str) -> logging.Logger:
    """The logger of a module of this package: one below verl's own.

    In a run of vLLM the root logger lets nothing below an error through. verl keeps a handler of its own for that
    reason, at the level VERL_LOGGING_LEVEL, and what is logged below `verl` reaches it.

    What it says is plain text: a scorer's or an environment's error may quote data or what a model wrote, and a log is
    read in a terminal.
    """
    logger = logging.getLogger(f"verl.{module}")
    logger.addFilter(_make_plain)  # adds it once, however often the logger is asked for
    return logger


def _make_plain(record: logging.LogRecord) -> bool:
    record.msg, record.args = plain(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = plain(logging.Formatter().formatException(record.exc_info))
    return True


@contextmanager
def quiet_verl() -> Iterator[None]:
    """Silence what verl says on import of each accelerator that is not there."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
