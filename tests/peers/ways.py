"""The ways through the package that a stream can take between two libraries."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import batchcorder
from batchcorder import StreamCache

FOLDER = Path(tempfile.mkdtemp(prefix="peers-", dir=os.environ.get("PEERS_TMP")))
_numbers = itertools.count()
_state = threading.local()
_owner = os.getpid()


def remove_folder() -> None:
    """Remove the recordings. A forked child keeps its parent's recordings."""
    if os.getpid() == _owner:
        shutil.rmtree(FOLDER, ignore_errors=True)


@contextmanager
def inside() -> Iterator[bool]:
    """Yield whether this thread is outside the package, and mark it as inside."""
    first = not getattr(_state, "busy", False)
    _state.busy = True
    try:
        yield first
    finally:
        if first:
            _state.busy = False


class Held:
    """An object that exports an existing capsule."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the capsule, for any requested schema."""
        return self._capsule


def memory(stream: Any) -> Any:
    return StreamCache(stream)


def disk(stream: Any) -> Any:
    return StreamCache.on_disk(stream, memory_capacity=0)


def recording(stream: Any) -> Any:
    path = FOLDER / f"{next(_numbers)}.arrows"
    with batchcorder.record(stream, path):
        pass
    try:
        return batchcorder.open(path, verify=True)
    finally:
        path.unlink()


def dataset(stream: Any) -> Any:
    """
    Return a scan of a recorded stream by pyarrow.

    nanoarrow holds the GIL while it waits for pyarrow's threads. Before Python 3.12 these
    need the GIL if they ask a source, so the source is asked before.
    """
    cache = StreamCache(stream)
    cache.ingest_all()
    return cache.dataset().scanner().to_reader()


def cast(stream: Any) -> Any:
    cache = StreamCache(stream)
    return cache.cast(cache.schema)


def replay(stream: Any) -> Any:
    """Return a second replay, after the first one is read to its end."""
    cache = StreamCache.on_disk(stream, write_policy="on_eviction", memory_capacity=4096)
    for _ in cache:
        pass
    return cache


WAYS: dict[str, Callable[[Any], Any]] = {
    "memory": memory,
    "disk": disk,
    "recording": recording,
    "dataset": dataset,
    "cast": cast,
    "replay": replay,
}


def exhausted(stream: Any) -> Any:
    """Return a cache that has read its source. A scan raises the source's error."""
    if not hasattr(stream, "__arrow_c_stream__"):
        stream = stream.scanner().to_reader()
    cache = StreamCache(stream)
    with contextlib.suppress(Exception):
        cache.ingest_all()
    return cache


def take(table: pa.Table) -> pa.Table:
    """Return all rows of a table through `take`, by their indices."""
    return StreamCache(table).take(list(range(table.num_rows)))


def polars(table: pa.Table) -> pa.Table:
    """Return the rows that Polars reads from `scan_polars`."""
    return StreamCache(table).scan_polars().collect()
