"""Check that verl finds and loads this plugin: verl logs a plugin's error at DEBUG and continues."""

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


class _PluginErrors(logging.Handler):
    """Collects the errors that verl logs when it loads plugins: the record's arguments are name and error."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, Exception] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 2 and isinstance(record.args[1], Exception):
            self.errors[str(record.args[0])] = record.args[1]


def check_plugin() -> Iterator[Finding]:
    """Import verl, which loads its plugins, and report on ours and the others.

    verl must not have been imported in this process before: it loads plugins once, in the order of `sys.path`.
    """
    points = list(entry_points(group="verl.plugins"))
    ours = [point for point in points if point.name == _NAME]
    if not ours:
        remedy = "pip install rest-verl into the environment that runs verl; PYTHONPATH alone is not enough"
        yield Finding(GROUP, "entry point", "none named rest_verl in the group verl.plugins", Level.FAILURE, remedy)
        return
    yield Finding(GROUP, "entry point", _describe(ours[0]))
    try:
        errors = import_verl()
    except Exception as error:
        traceback.print_exception(error)
        yield Finding(
            GROUP, "import verl", error_line(error), Level.FAILURE, "reinstall the package named here; see the log"
        )
        return
    others = [point for point in points if point.name != _NAME]
    yield _load_finding(errors.get(_NAME), bool(others))
    for point in others:
        found, level, remedy = f"{point.name} ({_describe(point)})", Level.OK, ""
        if (failure := errors.get(point.name)) is not None:
            found, level = f"{found}: {error_line(failure)}", Level.WARNING
            remedy = "verl hides this error and continues without that plugin; ask its authors"
        yield Finding(GROUP, "other plugin", found, level, remedy)


def import_verl() -> dict[str, Exception]:
    """Import verl; return the errors of the plugins that it could not load, by entry point name."""
    logger, collector = logging.getLogger("verl"), _PluginErrors()
    before = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    try:
        import_module("verl")
    finally:
        logger.setLevel(before)
        logger.removeHandler(collector)
    return collector.errors


def _load_finding(error: Exception | None, has_others: bool) -> Finding:
    if error is not None:
        traceback.print_exception(error)
        remedy = "verl hides this error and continues without ResT. Reinstall the package it names; see the log"
        if has_others:
            remedy += f"; if another plugin is the cause, {ONLY_OURS} leaves the others out"
        return Finding(GROUP, "loaded by verl", error_line(error), Level.FAILURE, remedy)
    if _MODULE not in sys.modules:
        try:
            check_verl()
        except UnsupportedVerl as unsupported:  # verl before 0.9 has no plugins
            return Finding(GROUP, "loaded by verl", "no", Level.FAILURE, str(unsupported))
        found = f"no: {_POLICY}={os.environ.get(_POLICY, '')}"
        return Finding(GROUP, "loaded by verl", found, Level.FAILURE, f"unset {_POLICY}, or add rest_verl to it")
    return Finding(GROUP, "loaded by verl", "yes")


def _describe(point: EntryPoint) -> str:
    distribution = point.dist
    return point.value if distribution is None else f"{point.value}, from {distribution.name} {distribution.version}"
