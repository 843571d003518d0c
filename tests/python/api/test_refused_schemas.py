"""Schemas that pyarrow refuses: calls that need pyarrow raise, all other calls work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from cstream import arrays

KEY = "ARROW:extension:"
BAD = {f"{KEY}name": "arrow.fixed_shape_tensor", f"{KEY}metadata": "this is no JSON"}
ROWS = 12


def source(nested: bool = False) -> pa.RecordBatchReader:
    fixed = pa.list_(pa.int64(), 2)
    column = pa.array([[i, i] for i in range(ROWS)], fixed)
    field = pa.field("t", fixed, metadata=BAD)
    if nested:
        column = pa.StructArray.from_arrays([column], fields=[field])
        field = pa.field("t", column.type)
    schema = pa.schema([pa.field("i", pa.int64()), field])
    table = pa.Table.from_arrays([pa.array(range(ROWS)), column], schema=schema)
    return table.to_reader(max_chunksize=4)


def rows(stream: Any) -> int:
    """Return the row count of a stream, without pyarrow."""
    return sum(array.length for array in arrays(stream))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("tier", ["memory", "disk", "recording", "opened", "cached"])
def test_calls_that_need_no_pyarrow(tier: str, nested: bool, tmp_path: Path) -> None:
    stream, path = source(nested), tmp_path / "x.arrows"
    if tier == "memory":
        cache = StreamCache(stream)
    elif tier == "disk":
        cache = StreamCache.on_disk(stream, path=tmp_path, memory_capacity=0)
    elif tier == "cached":
        cache = batchcorder.cached(path, lambda: stream)
    else:
        cache = batchcorder.record(stream, path)
    if tier == "opened":
        cache = batchcorder.open(path)
        assert batchcorder.verify(path) == 3
        assert rows(batchcorder.open(path, columns=["t"])) == ROWS
    assert cache.ingest_all() == len(cache) == 3
    assert rows(cache) == rows(cache.reader()) == rows(cache) == ROWS
    assert rows(cache.reader(columns=["t"], start=1)) == 8
    assert rows(cache.reader(columns=[0, -1], start=1, step=2)) == 4
    assert cache.__arrow_c_schema__() is not None
    assert cache.reader().__arrow_c_schema__() is not None
    assert cache.stats()["rows"] == cache.num_rows == ROWS
    assert "pyarrow" in repr(cache)
    assert "pyarrow" in repr(cache.reader())
    assert "pyarrow" in cache._repr_html_()
    with pytest.raises(KeyError, match="does not exist"):
        cache.reader(columns=["no"])
    used = cache.reader()
    assert rows(used) == ROWS
    assert repr(used).startswith("StreamCacheReader(closed=True")
    again = StreamCache(cache)
    assert again.ingest_all() == 3
    cache.save(tmp_path / "saved.arrows")
    assert batchcorder.open(tmp_path / "saved.arrows").num_rows == ROWS
    # A source may ignore a request for another schema.
    request = pa.schema({"i": pa.int8()}).__arrow_c_schema__()
    assert cache.__arrow_c_stream__(request) is not None
    assert cache.reader(columns=["i"]).schema == pa.schema({"i": pa.int64()})
    assert sum(batch.num_rows for batch in cache.reader(columns=["i"])) == ROWS
    if not nested:
        assert pl.DataFrame(cache)["t"].to_list()[3] == [3, 3]


def test_calls_that_need_pyarrow_raise() -> None:
    cache = StreamCache(source())
    for call in (
        lambda: cache.schema,
        lambda: next(iter(cache)),
        lambda: cache[0],
        lambda: cache.reader().schema,
        lambda: cache.dataset(),
        lambda: cache.take([0]),
    ):
        with pytest.raises((pa.ArrowException, ValueError)):
            call()
    reader = cache.reader()
    for _ in range(2):
        with pytest.raises((pa.ArrowException, ValueError)):
            next(reader)
    assert rows(reader) == ROWS, "a failed call moved the reader"


def test_the_schema_is_one_object() -> None:
    cache = StreamCache(pa.table({"x": [1]}))
    assert cache.schema is cache.schema is cache.reader().schema
    assert repr(cache.reader()) == "StreamCacheReader(closed=False, schema=[x: int64])"
