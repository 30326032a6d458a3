"""A module of a user's own for one test: what it registers, and the module itself, are gone afterwards."""

import importlib
import sys

from rest_verl.core import curriculum
from rest_verl.weighting import schemes

REGISTRIES = (schemes._SCHEMES, curriculum._CURRICULA)


def module_writer(folder, monkeypatch):
    """Function from a source text, and a name, to the name of an importable module with that text."""
    monkeypatch.syspath_prepend(str(folder))
    keep_registries(monkeypatch)

    def write(text, name="my_rest"):
        monkeypatch.setitem(sys.modules, name, None)  # so that it is removed again, or put back
        del sys.modules[name]
        (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    return write


def keep_registries(monkeypatch):
    """Let what the test registers be gone after it."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_values", dict(registry._values))
