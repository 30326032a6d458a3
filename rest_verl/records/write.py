"""Writes record files during training: in a separate thread, atomically, within a given total size.

Any failure here costs records and one warning, never the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from rest_verl.common.logs import logger_of
from rest_verl.records.schema import meta_of, step_files, step_name, with_meta
from rest_verl.records.worker import Worker

# Number of steps that may wait for the disk; further ones are dropped.
_MAX_PENDING = 2

logger = logger_of(__name__)


class RecordWriter:
    """Writes one file per step into a folder.

    When the folder exceeds its size, every second file is deleted, and from then on only every second step is written:
    the files stay evenly spread over the run.
    """

    def __init__(self, folder: Path, every: int, max_bytes: int, then: Callable[[int, pa.Table], None] | None = None):
        """
        Args:
            folder: folder of the files; created if it does not exist.
            every: number of steps from one file to the next.
            max_bytes: maximum total size of the record files in the folder.
            then: called in the writer's thread with each batch's step and table once they are written.

        Raises:
            OSError: the folder cannot be created or written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".rest_verl_probe"
        probe.write_bytes(b"")
        probe.unlink()
        self._folder, self._every, self._max_bytes = folder, every, max_bytes
        self._then = then
        self._last: tuple[int, pa.Table] | None = None
        self._warned = False
        self._worker: Worker[tuple[int, Callable[[], pa.Table]]] = Worker(
            "rest_verl records", self._record, _MAX_PENDING
        )

    def wants(self, step: int) -> bool:
        """Whether this step is recorded."""
        return step % self._every == 0

    def write(self, step: int, build: Callable[[], pa.Table]) -> None:
        """Queue the records of a step for writing; returns at once.

        Args:
            step: global step. Records of the step written last are appended to its file: a step of the trainer may
                have several batches.
            build: function that makes the table; called in the writer's thread.
        """
        if not self._worker.offer((step, build)):
            self._warn(step, "the disk is too slow")

    def close(self) -> None:
        """Wait until pending records are written, for a limited time."""
        self._worker.close()

    def _record(self, job: tuple[int, Callable[[], pa.Table]]) -> None:
        step, build = job
        try:
            table = build()
            self._write(step, table)
            if self._then is not None:
                self._then(step, table)
        except Exception as error:  # training continues after any error
            self._warn(step, f"{type(error).__name__}: {error}")

    def _write(self, step: int, table: pa.Table) -> None:
        if self._last is not None and self._last[0] == step:
            table = join_batches(self._last[1], table)
        self._last = step, table
        path = self._folder / step_name(step)
        part = path.with_name(f".{path.name}.part")
        try:
            parquet.write_table(table, part, compression="zstd")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._thin()

    def _thin(self) -> None:
        files = step_files(self._folder)
        while len(files) > 1 and sum(path.stat().st_size for path in files.values()) > self._max_bytes:
            self._every *= 2
            for step in [step for step in files if step % self._every]:
                files.pop(step).unlink()

    def _warn(self, step: int, why: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "rest.dump_dir=%s: the records of step %d are lost (%s). Training continues and later steps are "
                "tried; this warning appears once",
                self._folder,
                step,
                why,
            )


def join_batches(first: pa.Table, second: pa.Table) -> pa.Table:
    """Join the records of two batches of one step."""
    metas = [meta_of(table.schema) for table in (first, second)]
    meta = replace(metas[0], trajectories=sum(one.trajectories for one in metas))
    return pa.concat_tables([first, second]).replace_schema_metadata(with_meta(meta).metadata)
