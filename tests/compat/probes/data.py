"""The data that the probes record, and ways to read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema([("id", pa.int64())])
TABLE = pa.table({"id": [1, 2, 3]})
# A schema of each kind that a cast meets: see casts.py.
WIDE = pa.schema([("a", pa.int64()), ("s", pa.string())])


def batches(count: int, rows: int = 4) -> list[pa.RecordBatch]:
    """Return batches of one int64 column that count on from each other."""
    starts = range(0, count * rows, rows)
    return [
        pa.record_batch({"id": pa.array(range(i, i + rows), pa.int64())}) for i in starts
    ]


def stream(count: int = 3, rows: int = 4) -> pa.RecordBatchReader:
    """Return a stream in C++ of `count` batches."""
    return pa.Table.from_batches(batches(count, rows), SCHEMA).to_reader()


def generated(count: int = 3, error: BaseException | None = None) -> pa.RecordBatchReader:
    """Return a stream that a Python generator feeds, and that `error` ends."""

    def generate() -> Iterator[pa.RecordBatch]:
        yield from batches(count)
        if error is not None:
            raise error

    return pa.RecordBatchReader.from_batches(SCHEMA, generate())


def wide(*values: int) -> pa.RecordBatchReader:
    """Return a stream of one batch a value, with a number and its text."""
    columns = [([value], [str(value)]) for value in values or (1, 2, 3)]
    return pa.RecordBatchReader.from_batches(
        WIDE,
        [pa.record_batch([pa.array(a), pa.array(s)], schema=WIDE) for a, s in columns],
    )


def ids(source: Any) -> list[int]:
    """Return the column `id` of anything that gives batches or is an Arrow stream."""
    if hasattr(source, "__arrow_c_stream__"):
        source = pa.RecordBatchReader.from_stream(source)
    return [i for one in source for i in one.column("id").to_pylist()]


def imported(capsule: Any) -> pa.RecordBatchReader:
    """Return the stream in a capsule."""
    return pa.RecordBatchReader._import_from_c_capsule(capsule)


def tree(path: Path) -> list[str]:
    """Return the files and directories below `path`: "*" for names of the cache's own."""
    found = []
    for at, folders, files in os.walk(path):
        where = Path(at).relative_to(path)
        for name in files:
            size = "empty" if (Path(at) / name).lstat().st_size == 0 else "written"
            found.append(f"{_own(where)}/{name} {size}")
        found += [f"{_own(where / name)}/" for name in folders]
    return sorted(found)


def _own(path: Path) -> str:
    return "/".join(
        "*" if part.startswith(("_", "batchcorder-")) else part for part in path.parts
    )


def memory(bc: Any, source: Any, tmp: Path, **options: Any) -> Any:
    """Return a cache in memory."""
    return bc.StreamCache(source, **options)


def disk(bc: Any, source: Any, tmp: Path, **options: Any) -> Any:
    """Return a cache that keeps next to nothing in memory."""
    settings = {"memory_capacity": 1, "disk_path": str(tmp), "disk_capacity": 1 << 30}
    return bc.StreamCache(source, **(settings | options))


def both(bc: Any, source: Any, tmp: Path, **options: Any) -> Any:
    """Return a cache with room for all in both tiers."""
    return disk(bc, source, tmp, memory_capacity=1 << 20, **options)


def evict(bc: Any, source: Any, tmp: Path, **options: Any) -> Any:
    """Return a cache that writes batches when they leave memory."""
    settings = {"memory_capacity": 64, "write_policy": "on_eviction"}
    return disk(bc, source, tmp, **(settings | options))


TIERS: dict[str, Callable[..., Any]] = {
    "memory": memory,
    "disk": disk,
    "both": both,
    "evict": evict,
}
