"""Wire formats: one short module each, and the registry by the name that `rest.format` takes."""

from rest_verl.core.formats.hermes import HERMES
from rest_verl.core.formats.rlla import RLLA
from rest_verl.core.suggest import unknown_name
from rest_verl.core.tool_calls import WireFormat

_FORMATS: dict[str, WireFormat] = {
    "hermes": HERMES,
    "rlla": RLLA,
}


def register_format(name: str, wire_format: WireFormat) -> None:
    """Register a wire format of your own."""
    if name in _FORMATS:
        raise ValueError(f"wire format {name!r} is already registered")
    _FORMATS[name] = wire_format


def get_format(name: str) -> WireFormat:
    """Return a wire format; ValueError names the nearest and all known ones."""
    if name not in _FORMATS:
        raise ValueError(unknown_name("wire format", name, _FORMATS))
    return _FORMATS[name]
