"""A slice takes the bytes that it references, on disk too."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from helpers import on_disk


def texts(count: int) -> pa.Array:
    return pa.array([f"a longer string number {i}" for i in range(count)])


# Name: table, rows in a chunk, upper bound of the file size.
CASES = {
    "int64": (pa.table({"x": range(1000)}), 1, 384_000),
    "string_view": (pa.table({"x": texts(1000).cast(pa.string_view())}), 1, 450_000),
    "string_view_chunks": (
        pa.table({"x": pa.array([f"{i:033}" for i in range(20_000)], pa.string_view())}),
        100,
        1_600_000,
    ),
    "list": (
        pa.table({"x": pa.array([[i, i] for i in range(1000)], pa.list_(pa.int64()))}),
        1,
        600_000,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_slices_on_disk(name: str, tmp_path: Path) -> None:
    table, rows, most = CASES[name]
    cache = on_disk(table.to_reader(max_chunksize=rows), tmp_path)
    cache.ingest_all()
    assert cache.stats()["disk_bytes"] <= most
    assert pa.table(cache).equals(table)
