"""Writing record files beside training: in a thread of its own, whole or not at all, within a given size.

Whatever goes wrong here costs records and one warning, never the run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Full, Queue

import pyarrow as pa
from pyarrow import parquet

from rest_verl.common.logs import logger_of
from rest_verl.records.schema import meta_of, step_files, step_name, with_meta

# Steps that may wait for the disk. A step more is left out: memory must not fill up behind a disk that hangs.
_WAITING = 2
_SECONDS_AT_END = 60.0

logger = logger_of(__name__)


class RecordWriter:
    """Writes one file a step into a folder.

    Once the folder has reached its size, every second file is deleted, and from then on only every second step is
    written: what is left stays evenly spread over the run.
    """

    def __init__(self, folder: Path, every: int, max_bytes: int):
        """
        Args:
            folder: is made if it is not there.
            every: steps between two files.
            max_bytes: of all record files in the folder.

        Raises:
            OSError: the folder cannot be made or written into.
        """
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".rest_verl_probe"
        probe.write_bytes(b"")
        probe.unlink()
        self._folder, self._every, self._max_bytes = folder, every, max_bytes
        self._last: tuple[int, pa.Table] | None = None
        self._warned = False
        self._jobs: Queue[tuple[int, Callable[[], pa.Table]] | None] = Queue(maxsize=_WAITING)
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="rest_verl records", daemon=True)
        self._thread.start()

    def wants(self, step: int) -> bool:
        """Whether this step is one of those that are written."""
        return step % self._every == 0

    def write(self, step: int, build: Callable[[], pa.Table]) -> None:
        """Write the records of a step soon; returns at once.

        Args:
            step: global step. Records of a step that was written last are added to its file: a step of the trainer may
                have several batches.
            build: makes the table; called in the writer's thread.
        """
        try:
            self._jobs.put_nowait((step, build))
        except Full:
            self._warn(step, "the disk is too slow")

    def close(self) -> None:
        """Wait until what is under way is written, but not for ever."""
        if not self._thread.is_alive():
            return
        try:
            self._jobs.put(None, timeout=_SECONDS_AT_END)
        except Full:
            return
        self._thread.join(_SECONDS_AT_END)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            step, build = job
            try:
                self._write(step, build())
            except Exception as error:  # whatever it is, training goes on
                self._warn(step, f"{type(error).__name__}: {error}")

    def _write(self, step: int, table: pa.Table) -> None:
        if self._last is not None and self._last[0] == step:
            table = joined(self._last[1], table)
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
                "rest.dump_dir=%s: the records of step %d are lost (%s). Training goes on, and the next step is tried "
                "again; this is said once",
                self._folder,
                step,
                why,
            )


def joined(first: pa.Table, second: pa.Table) -> pa.Table:
    """The records of two batches of one step."""
    metas = [meta_of(table.schema) for table in (first, second)]
    meta = replace(metas[0], trajectories=sum(one.trajectories for one in metas))
    return pa.concat_tables([first, second]).replace_schema_metadata(with_meta(meta).metadata)
