"""Calls on BFCL's API classes for one trajectory: the answers of BFCL's own executor, without its `eval` and globals.

That executor evaluates what the model wrote as Python and keeps its instances under a name that two trajectories of
one task share. Here a name is looked up among the public methods of the classes involved, arguments are JSON values
given by keyword, and instances belong to one executor.
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

DIGITS = 4300  # of an integer: Python writes no longer one, so the reference fails as well, but after computing it
PRECISION = 1000  # digits of a logarithm or square root
LISTING = 1_000_000  # characters that a listing of all files may come to, with a share for each; BFCL has 25,000

_SHARE = 64  # characters that each file of a listing counts for, beside its path

# A number as text that is short or of a moderate size: mpmath writes out an exponent of a billion digit by digit.
_MODERATE = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?\s*", re.ASCII)


def refuse_costly(name: str, instance: Any, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if a call would take too long; the message is for the model.

    Args:
        name: of a public method of one of BFCL's API classes.
        instance: that it is called on.
        arguments: JSON values, fitting or not.
    """
    if refuse := _REFUSE.get(name):
        refuse(instance, arguments)


def _power(instance: Any, arguments: Mapping[str, Any]) -> None:
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if not isinstance(base, int) or not isinstance(exponent, int) or abs(base) < 2 or exponent < 1:
        return  # computed with floats, or too small to grow
    # compared before it is multiplied: the exponent may be larger than any float
    if exponent > DIGITS / math.log10(2) or exponent * math.log10(abs(base)) > DIGITS:
        raise ValueError(f"the result would have more than {DIGITS} digits")


def _round(instance: Any, arguments: Mapping[str, Any]) -> None:
    number, places = arguments.get("number"), arguments.get("decimal_places")
    if isinstance(number, int) and isinstance(places, int) and places < -DIGITS:
        raise ValueError(f"decimal_places must not be below -{DIGITS}")


def _logarithm(instance: Any, arguments: Mapping[str, Any]) -> None:
    _precision(instance, arguments)
    for key in ("value", "base"):
        text = arguments.get(key)
        if isinstance(text, str) and any(map(str.isdigit, text)) and not _MODERATE.fullmatch(text):
            raise ValueError(f"{key} must be a number")


def _precision(instance: Any, arguments: Mapping[str, Any]) -> None:
    try:
        digits = int(arguments.get("precision", 0))
    except (TypeError, ValueError, OverflowError):
        return  # no number: the method says so itself
    if digits > PRECISION:
        raise ValueError(f"precision must be at most {PRECISION} digits")


def _listing(instance: Any, arguments: Mapping[str, Any]) -> None:
    """A directory can be copied into itself, and copies share what is in them: paths may be endless or countless."""
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


_REFUSE: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "power": _power,
    "round_number": _round,
    "logarithm": _logarithm,
    "square_root": _precision,
    "find": _listing,
    "du": _listing,
}


# Classes whose methods change something that the process has once: the precision of mpmath, the weather of the
# long-context tasks.
_TOUCH_GLOBAL_STATE = ("MathAPI", "VehicleControlAPI")
_GLOBAL_STATE = threading.RLock()


class Executor:
    """Instances of some API classes, and the calls on them."""

    def __init__(self, classes: Iterable[str], initial_config: Mapping[str, Any], long_context: bool):
        """
        Args:
            classes: out of `apis.API_CLASSES`; of two that have a method of one name the last counts.
            initial_config: by class, what it begins with.
            long_context: whether states and results are padded.

        Raises:
            ValueError: there is no such class.
            ModuleNotFoundError: bfcl_eval or mpmath is not installed.
        """
        self._instances = {name: fresh_instance(name, initial_config.get(name, {}), long_context) for name in classes}
        self._defaults = {name: fresh_defaults(name) for name in self._instances}
        self._class_of = {method: name for name in self._instances for method in methods(name)}

    def names(self) -> frozenset[str]:
        """The names that can be called."""
        return frozenset(self._class_of)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Run a call and return its result as text.

        A call that fails gives text as well: "Error during execution: ", and what went wrong.

        Args:
            arguments: JSON values by keyword; they stay as they are.

        Raises:
            KeyError: none of the classes has such a method.
        """
        class_name = self._class_of[name]
        instance = self._instances[class_name]
        with _global_state(class_name):
            try:
                # copied, since instances keep what they are given, and change it
                given = self._defaults[class_name].get(name, {}) | copy.deepcopy(dict(arguments))
                refuse_costly(name, instance, given)
                return _text(getattr(instance, name)(**given))
            except Exception as error:
                return f"Error during execution: {error}"

    def states(self) -> dict[str, dict[str, Any]]:
        """The attributes of each class that count as its state: those that are not private."""
        return {
            name: {key: value for key, value in vars(instance).items() if not key.startswith("_")}
            for name, instance in self._instances.items()
        }


@contextlib.contextmanager
def _global_state(class_name: str) -> Iterator[None]:
    """What a class sets for the whole process counts for one call, and for no thread beside it."""
    if class_name not in _TOUCH_GLOBAL_STATE:
        yield
        return
    import mpmath  # here, since it takes a while and is needed where the class is

    with _GLOBAL_STATE, mpmath.workprec(mpmath.mp.prec), decimal.localcontext(decimal.Context()):
        yield


def _text(result: Any) -> str:
    if type(result) is str:
        return result
    if type(result) is dict:
        # what JSON cannot hold (a Decimal, an integer of too many digits) is left to Python's own text
        with contextlib.suppress(Exception):
            return json.dumps(result)
    return str(result)
