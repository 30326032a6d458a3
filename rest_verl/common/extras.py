"""Packages that only some commands need: asked for by the name of their extra, before any work is done."""

from importlib.util import find_spec


def require(module: str, extra: str, purpose: str) -> None:
    """Check that a package is installed.

    Args:
        module: its top-level module.
        extra: the extra of rest-verl that brings it.
        purpose: what needs it, in the plural.

    Raises:
        ModuleNotFoundError: it is not; the message says what to install.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(
            f"{purpose} need {module}, which is not installed. Run: pip install 'rest-verl[{extra}]'", name=module
        )
