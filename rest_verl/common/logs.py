"""Logging in verl's processes: where this package's warnings go, and how a command imports verl fast and silently."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rest_verl.common.plain_text import plain


def logger_of(module: str) -> logging.Logger:
    """The logger of a module of this package, a child of verl's logger.

    In a vLLM run the root logger only passes errors. verl therefore has its own handler, at the level
    VERL_LOGGING_LEVEL, which receives everything logged below `verl`.

    Messages become plain text: the error of a scorer or an environment may quote data or a model's output, and logs
    are read in a terminal.
    """
    logger = logging.getLogger(f"verl.{module}")
    logger.addFilter(_make_plain)  # added only once, however often the logger is requested
    return logger


def _make_plain(record: logging.LogRecord) -> bool:
    record.msg, record.args = plain(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = plain(logging.Formatter().formatException(record.exc_info))
    return True


@contextmanager
def quiet_verl() -> Iterator[None]:
    """Silence verl's import-time warnings about each missing accelerator."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def importing() -> Iterator[None]:
    """Pause the garbage collector: what an import makes is kept, and looking through it again and again takes a fifth
    of the time of verl's imports."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


class Survived:
    """Logs what a guard survives: an error in the watching of a run must not end the run.

    As a context manager, `with survived("the look")`, it lets an exception of the block end there. Each different text
    is logged once: a guard looks every few seconds.
    """

    def __init__(self, logger: logging.Logger):
        self._logger, self._logged = logger, set[str]()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            text = f"{what} failed and is skipped: {type(error).__name__}: {' '.join(str(error).split())}"
            if text not in self._logged:
                self._logged.add(text)
                self._logger.warning("%s. The run goes on; this warning appears once", text, exc_info=error)
