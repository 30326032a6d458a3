"""Where this package's warnings go in verl's processes."""

import logging


def logger_of(module: str) -> logging.Logger:
    """The logger of a module of this package: one below verl's own.

    In a run of vLLM the root logger lets nothing below an error through. verl keeps a handler of its own for that
    reason, at the level VERL_LOGGING_LEVEL, and what is logged below `verl` reaches it.
    """
    return logging.getLogger(f"verl.{module}")
