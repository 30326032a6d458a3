"""Names that are registered: those that verl's registries hold in a process of its own, for a script, and those of a
user's module, which are gone with it after the test."""

import importlib
import sys

from rest_verl.core import curriculum
from rest_verl.weighting import schemes

IMPORTS = "import verl\nfrom rest_verl.plugin.registries import REGISTRIES\n"
NAMES = "{kind: [name for name in held.names if name in held.entries()] for kind, held in REGISTRIES.items()}"


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
        for name in registry.names():
            registry.get(name)  # imports the module of a name that comes with the package
        monkeypatch.setattr(registry, "_values", dict(registry._values))
