"""Whether verl finds and loads this plugin, seen as it happens: verl logs a plugin's error at DEBUG and goes on."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from rest_verl.commands.doctor.findings import Finding, Level, error_line
from rest_verl.plugin.version import UnsupportedVerl, check_verl

GROUP = "plugin"
ONLY_OURS = "VERL_USE_EXTERNAL_PLUGINS=rest_verl"
_NAME, _MODULE = "rest_verl", "rest_verl.plugin.hooks"
_POLICY = "VERL_USE_EXTERNAL_PLUGINS"


class _Hidden(logging.Handler):
    """Keeps the errors that verl logs when it loads plugins: the arguments of the record are name and error."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, Exception] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 2 and isinstance(record.args[1], Exception):
            self.errors[str(record.args[0])] = record.args[1]


def check_plugin() -> Iterator[Finding]:
    """Import verl, which loads its plugins, and say what became of ours and of the others.

    verl must not have been imported in this process before: plugins are loaded once, in the order of `sys.path`.
    """
    points = list(entry_points(group="verl.plugins"))
    ours = [point for point in points if point.name == _NAME]
    if not ours:
        remedy = "pip install rest-verl into the environment that runs verl; PYTHONPATH alone does not do"
        yield Finding(GROUP, "entry point", "none named rest_verl in the group verl.plugins", Level.FAILURE, remedy)
        return
    yield Finding(GROUP, "entry point", _described(ours[0]))
    try:
        hidden = import_verl()
    except Exception as error:
        traceback.print_exception(error)
        yield Finding(
            GROUP, "import verl", error_line(error), Level.FAILURE, "install again what this names; see the log"
        )
        return
    others = [point for point in points if point.name != _NAME]
    yield _loaded(hidden.get(_NAME), bool(others))
    for point in others:
        found, level, remedy = f"{point.name} ({_described(point)})", Level.OK, ""
        if (failure := hidden.get(point.name)) is not None:
            found, level = f"{found}: {error_line(failure)}", Level.WARNING
            remedy = "verl hides this error and goes on without that plugin; ask its authors"
        yield Finding(GROUP, "other plugin", found, level, remedy)


def import_verl() -> dict[str, Exception]:
    """Import verl; return the error of each plugin that it could not load, by the name of its entry point."""
    logger, hidden = logging.getLogger("verl"), _Hidden()
    before = logger.level
    logger.addHandler(hidden)
    logger.setLevel(logging.DEBUG)
    try:
        import_module("verl")
    finally:
        logger.setLevel(before)
        logger.removeHandler(hidden)
    return hidden.errors


def _loaded(error: Exception | None, has_others: bool) -> Finding:
    if error is not None:
        traceback.print_exception(error)
        remedy = "verl hides this error and goes on without ResT; the log has all of it. Install again what it names"
        if has_others:
            remedy += f"; if another plugin is the cause, {ONLY_OURS} leaves the others out"
        return Finding(GROUP, "loaded by verl", error_line(error), Level.FAILURE, remedy)
    if _MODULE not in sys.modules:
        try:
            check_verl()
        except UnsupportedVerl as unsupported:  # before 0.9 verl looked for no plugins at all
            return Finding(GROUP, "loaded by verl", "no", Level.FAILURE, str(unsupported))
        found = f"no: {_POLICY}={os.environ.get(_POLICY, '')}"
        return Finding(GROUP, "loaded by verl", found, Level.FAILURE, f"unset {_POLICY}, or add rest_verl to it")
    return Finding(GROUP, "loaded by verl", "yes")


def _described(point: EntryPoint) -> str:
    distribution = point.dist
    return point.value if distribution is None else f"{point.value}, from {distribution.name} {distribution.version}"
