"""What is logged in verl's processes: where this package's warnings go, and what of verl's a command keeps quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def logger_of(module: str) -> logging.Logger:
    """The logger of a module of this package: one below verl's own.

    In a run of vLLM the root logger lets nothing below an error through. verl keeps a handler of its own for that
    reason, at the level VERL_LOGGING_LEVEL, and what is logged below `verl` reaches it.
    """
    return logging.getLogger(f"verl.{module}")


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
