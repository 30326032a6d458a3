"""The API classes of the package `bfcl_eval` that BFCL's multi-turn tasks act on, and isolated instances of them.

Each class is imported from its own module, since the whole package has many more dependencies. Instances made here
share nothing. The original ones share the state of their modules: the long-context credit cards (a booking would
change the balance for all later trajectories) and default arguments that are lists.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from rest_verl.common.names import unknown_name

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23 && pip install mpmath"

_FOLDER = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
API_MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}
API_CLASSES = tuple(API_MODULES)

_STATELESS = ("MathAPI",)  # has no scenario to load


@cache
def api_class(name: str) -> type:
    """Import one of `API_CLASSES`.

    Raises:
        ValueError: there is no such class.
        ModuleNotFoundError: the package, or mpmath, is not installed; the message says how to install it.
    """
    if name not in API_MODULES:
        raise ValueError(unknown_name("API class of BFCL", name, API_CLASSES))
    try:
        module = importlib.import_module(f"{_FOLDER}.{API_MODULES[name]}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"BFCL's API class {name} cannot be imported ({error}). Run: {INSTALL}", name=error.name
        ) from error
    return getattr(module, name)


@cache
def methods(name: str) -> Mapping[str, Callable[..., Any]]:
    """Return the functions that a model may call on a class, by name: its own public methods."""
    public = {
        key: value
        for key, value in vars(api_class(name)).items()
        if inspect.isfunction(value) and not key.startswith("_")
    }
    return MappingProxyType(public)


def fresh_instance(name: str, config: Mapping[str, Any], long_context: bool) -> Any:
    """Create an instance of a class that shares nothing with other instances or with `config`.

    Args:
        config: BFCL's initial scenario for this class.
        long_context: whether to pad its state and results, as in the category of that name.
    """
    instance = api_class(name)()
    if name not in _STATELESS:
        instance._load_scenario(copy.deepcopy(dict(config)), long_context=long_context)
    return copy.deepcopy(instance)


def fresh_defaults(name: str) -> dict[str, dict[str, Any]]:
    """Return copies of a class's mutable default arguments, by method and parameter."""
    return copy.deepcopy(_changeable_defaults(name))


@cache
def _changeable_defaults(name: str) -> dict[str, dict[str, Any]]:
    found = {}
    for key, method in methods(name).items():
        parameters = inspect.signature(method).parameters.values()
        defaults = {one.name: one.default for one in parameters if isinstance(one.default, (list, dict, set))}
        if defaults:
            found[key] = defaults
    return found
