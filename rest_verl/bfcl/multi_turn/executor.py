"""Run calls on BFCL's API classes for one trajectory: BFCL's own results, without its executor's `eval` and globals.

BFCL's executor evaluates the model's output as Python and stores its instances under a name that all trajectories of a
task share. Here names are looked up among the public methods of the involved classes, arguments are JSON values passed
by keyword, and instances belong to one executor.
"""

from __future__ import annotations

import contextlib
import copy
import decimal
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rest_verl.bfcl.multi_turn.apis import fresh_defaults, fresh_instance, methods

DIGITS = 4300  # most digits of an integer: Python prints no longer ones, so BFCL fails too, but after computing it
PRECISION = 1000  # most digits of a logarithm or square root
LISTING = 1_000_000  # most characters in a listing of all files, including `_SHARE` per file; BFCL has up to 25,000

MEMORY = 1_000_000  # most characters of a memory; BFCL means to allow 10,000

_SHARE = 64  # characters added to the path of each file in a listing

# A number as text with a moderate exponent: mpmath writes out an exponent of a billion digit by digit.
_MODERATE = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?\s*", re.ASCII)


def refuse_costly(name: str, instance: Any, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if a call would take too long; the message is for the model.

    Args:
        name: name of a public method of one of BFCL's API classes.
        instance: the instance it is called on.
        arguments: JSON values, possibly invalid.
    """
    if check := _CHECKS.get(name):
        check(instance, arguments)


def _check_power(instance: Any, arguments: Mapping[str, Any]) -> None:
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if not isinstance(base, int) or not isinstance(exponent, int) or abs(base) < 2 or exponent < 1:
        return  # computed with floats, or too small to grow
    # compare before multiplying: the exponent may be larger than any float
    if exponent > DIGITS / math.log10(2) or exponent * math.log10(abs(base)) > DIGITS:
        raise ValueError(f"the result would have more than {DIGITS} digits")


def _check_round(instance: Any, arguments: Mapping[str, Any]) -> None:
    number, places = arguments.get("number"), arguments.get("decimal_places")
    if isinstance(number, int) and isinstance(places, int) and places < -DIGITS:
        raise ValueError(f"decimal_places must not be below -{DIGITS}")


def _check_logarithm(instance: Any, arguments: Mapping[str, Any]) -> None:
    _check_precision(instance, arguments)
    for key in ("value", "base"):
        text = arguments.get(key)
        if isinstance(text, str) and any(map(str.isdigit, text)) and not _MODERATE.fullmatch(text):
            raise ValueError(f"{key} must be a number")


def _check_precision(instance: Any, arguments: Mapping[str, Any]) -> None:
    try:
        digits = int(arguments.get("precision", 0))
    except (TypeError, ValueError, OverflowError):
        return  # not a number: the method itself reports it
    if digits > PRECISION:
        raise ValueError(f"precision must be at most {PRECISION} digits")


def _check_listing(instance: Any, arguments: Mapping[str, Any]) -> None:
    """A directory can be copied into itself, and copies share their contents: paths may be infinitely long or many."""
    left = LISTING
    waiting = [(instance.root, 0), (instance._current_dir, 0)]
    while waiting:
        directory, depth = waiting.pop()
        for name, item in directory.contents.items():
            length = depth + 1 + len(name)
            left -= length + _SHARE
            if left < 0:
                raise ValueError("there are too many files and directories to go through")
            if hasattr(item, "contents"):
                waiting.append((item, length))


def _check_replacement(instance: Any, arguments: Mapping[str, Any]) -> None:
    """BFCL limits the new text only; the empty text stands between any two characters of the memory."""
    old, new = (str(arguments.get(key, "")) for key in ("old_text", "new_text"))
    if len(instance.memory) + instance.memory.count(old) * (len(new) - len(old)) > MEMORY:
        raise ValueError(f"the memory would have more than {MEMORY:,} characters")


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "power": _check_power,
    "round_number": _check_round,
    "logarithm": _check_logarithm,
    "square_root": _check_precision,
    "find": _check_listing,
    "du": _check_listing,
    "memory_replace": _check_replacement,
}


# Classes whose methods change global state: mpmath's precision, the weather of the long-context tasks.
_GLOBAL_STATE_CLASSES = ("MathAPI", "VehicleControlAPI")
_GLOBAL_STATE_LOCK = threading.RLock()


class Executor:
    """Instances of some API classes, on which calls are run."""

    def __init__(self, classes: Iterable[str], initial_config: Mapping[str, Any], long_context: bool):
        """
        Args:
            classes: names from `apis.API_CLASSES`; if two have a method of the same name, the last one counts.
            initial_config: initial scenario of each class.
            long_context: whether to pad states and results.

        Raises:
            ValueError: there is no such class.
            ModuleNotFoundError: bfcl_eval or mpmath is not installed.
        """
        self._instances = {name: fresh_instance(name, initial_config.get(name, {}), long_context) for name in classes}
        self._defaults = {name: fresh_defaults(name) for name in self._instances}
        self._class_of = {method: name for name in self._instances for method in methods(name)}

    def names(self) -> frozenset[str]:
        """The names of all callable methods."""
        return frozenset(self._class_of)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run a call and return its result as text.

        A failed call returns text too: "Error during execution: " and the reason.

        Args:
            arguments: JSON values by keyword; they are not changed.

        Raises:
            KeyError: none of the classes has such a method.
        """
        class_name = self._class_of[name]
        with _global_state(class_name):
            # copied, since instances keep and change their arguments
            given = self._defaults[class_name].get(name, {}) | copy.deepcopy(dict(arguments))
            return run_method(self._instances[class_name], name, given)

    def states(self) -> dict[str, dict[str, Any]]:
        """The state of each class: its instance's public attributes."""
        return {
            name: {key: value for key, value in vars(instance).items() if not key.startswith("_")}
            for name, instance in self._instances.items()
        }


def run_method(instance: Any, name: str, arguments: Mapping[str, Any]) -> str:
    """Run a public method of an instance and return its result as text.

    A failed call returns text too: "Error during execution: " and the reason.

    Args:
        arguments: JSON values by keyword, which the instance may keep and change.
    """
    try:
        refuse_costly(name, instance, arguments)
        return _text(getattr(instance, name)(**arguments))
    except Exception as error:
        return f"Error during execution: {error}"


@contextlib.contextmanager
def _global_state(class_name: str) -> Iterator[None]:
    """Limit a class's changes of global state to one call and one thread."""
    if class_name not in _GLOBAL_STATE_CLASSES:
        yield
        return
    import mpmath  # here, since it is slow to import and only these classes need it

    with _GLOBAL_STATE_LOCK, mpmath.workprec(mpmath.mp.prec), decimal.localcontext(decimal.Context()):
        yield


def _text(result: Any) -> str:
    if type(result) is str:
        return result
    if type(result) is dict:
        # values that JSON cannot hold (a Decimal, an integer with too many digits) become Python's own text
        with contextlib.suppress(Exception):
            return json.dumps(result)
    return str(result)
