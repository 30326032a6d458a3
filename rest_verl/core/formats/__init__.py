"""Wire formats, one short module each. Importing this package registers them all."""

from rest_verl.core.formats import hermes, rlla

__all__ = ["hermes", "rlla"]
