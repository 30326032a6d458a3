"""The names of what scaling.py measures, and a process for each part of it. Imports nothing of verl."""

from __future__ import annotations

import logging
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any

# In a step of the driver, with a queue: ResT's parts, the records, verl's own.
READ, PAD, TAG, WEIGH, METRICS, WRITE = (
    "reading ids, mask, entropy",
    "padding, and what is left",
    "tagging",
    "weights",
    "metrics",
    "writing weights",
)
REST, QUEUE = (READ, PAD, TAG, WEIGH, METRICS, WRITE), (READ, WRITE)
RECORDS = "records (32 trajectories)"
ADVANTAGES, VERL_METRICS = "verl: advantages", "verl: metrics"
VERL = (ADVANTAGES, VERL_METRICS)
MEMORY_VERL, MEMORY = "memory of verl's advantages", "the same with ResT"
# Without a queue.
OWN, VERLS = "ResT: tagging, weights, metrics", "verl: advantages, metrics"
OWN_MEMORY, VERLS_MEMORY = "memory of ResT's", "memory of verl's"
# In workers.
SCORING, READING, TAGGING = "reward manager", "reading the calls of a turn", "tagging one response"
# Other ways to do the driver's part.
NOW, WORKERS, AHEAD, AHEAD_METRICS = (
    "as it is",
    "tagging in the agent-loop workers",
    "reading and tagging ahead of time",
    "the same, and metrics during the update",
)


def apart(module: str, function: str, *arguments: Any) -> Any:
    """What a function of a module gives in a process of its own, which finds no memory or connection of another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_quietly, module, function, arguments).result()


def _quietly(module: str, function: str, arguments: tuple[Any, ...]) -> Any:
    # verl, on import, names each accelerator that is not there
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    return getattr(import_module(module), function)(*arguments)
