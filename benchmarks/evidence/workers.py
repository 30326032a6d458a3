"""Processes that the studies spread their work over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch
from transformers.utils.logging import disable_progress_bar


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; where the work fails, what waits for them is not begun."""
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=in_a_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_a_worker() -> None:
    """What a process sets before it works beside others."""
    torch.set_num_threads(1)
    disable_progress_bar()  # transformers' own bars would tear the study's
