"""Intervals: pyarrow makes only month-day-nano ones. The other kinds use C streams.

Year-month intervals have the layout of an int32, and day-time intervals (days, then
milliseconds) that of an int64. So the tests record integers with a changed schema.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from cstream import ArrowSchema, RawStream, arrays, stream_in
from helpers import cache_file, on_disk
from tiers import TIERS, maker

ROWS = 23
MONTHS = [None if i % 5 == 3 else 7 - 3 * i for i in range(ROWS)]
DAY_TIMES = [None if i % 4 == 1 else (i - 9, 1000 * i - 1) for i in range(ROWS)]
INTEGERS: dict[str, tuple[pa.Array, bytes]] = {
    "tiM": (pa.array(MONTHS, pa.int32()), b"i"),
    "tiD": (
        pa.array([d and (d[1] << 32 | d[0] & 0xFFFFFFFF) for d in DAY_TIMES], pa.int64()),
        b"l",
    ),
}


def offsets() -> pa.Array:
    return pa.array(range(ROWS + 1), pa.int32())


# The column around the integers, and the path to their field in its schema.
HOLDERS: dict[
    str,
    tuple[Callable[[pa.Array], pa.Array], Callable[[ArrowSchema], ArrowSchema]],
] = {
    "column": (lambda a: a, lambda s: s),
    "struct": (
        lambda a: pa.StructArray.from_arrays([a], ["f"]),
        lambda s: s.children[0].contents,
    ),
    "list": (
        lambda a: pa.ListArray.from_arrays(offsets(), a),
        lambda s: s.children[0].contents,
    ),
    "dictionary": (
        lambda a: pa.DictionaryArray.from_arrays(pa.array([5, 3, 0] * 9, pa.int8()), a),
        lambda s: s.dictionary.contents,
    ),
    "runs": (
        lambda a: pa.RunEndEncodedArray.from_arrays(pa.array([3, 9, 30]), a[5:8]),
        lambda s: s.children[1].contents,
    ),
}


def recorded(
    kind: str, holder: str, make: Callable[[Any], StreamCache]
) -> tuple[StreamCache, list[pa.RecordBatch]]:
    """Return a cache of intervals, and the batches of integers that it records."""
    put_in, field_in = HOLDERS[holder]
    column = put_in(INTEGERS[kind][0])
    whole = pa.record_batch({"x": column, "n": pa.array(range(len(column)))})
    batches = [whole, whole.slice(3, 11), whole.slice(8, 8), whole.slice(7, 0)]
    kept = kind.encode()

    def change(schema: ArrowSchema) -> None:
        field_in(schema.children[0].contents).format = kept

    return make(RawStream(whole.schema, [*batches], change_schema=change)), batches


def as_integers(cache: StreamCache, kind: str, holder: str) -> Iterator[pa.RecordBatch]:
    """Check that the schema has intervals, then read the batches as integers."""
    capsule = cache.__arrow_c_stream__()
    stream = stream_in(capsule)
    raw = ArrowSchema()
    assert stream.get_schema(stream, raw) == 0
    field = HOLDERS[holder][1](raw.children[0].contents)
    assert field.format == kind.encode()
    # Overwrite the text, because the release of the schema frees it.
    address = ctypes.c_void_p.from_buffer(field).value
    ctypes.memmove(address, INTEGERS[kind][1] + b"\0", 2)
    schema = pa.Schema._import_from_c(ctypes.addressof(raw))
    for array in arrays(cache):
        yield pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("kind", ["tiM", "tiD"])
@pytest.mark.parametrize("tier", [*TIERS, "lz4", "zstd"])
def test_intervals(tier: str, kind: str, holder: str, tmp_path: Path) -> None:
    def make(source: Any) -> StreamCache:
        if tier in TIERS:
            return maker(tier, tmp_path)(source)
        return on_disk(source, tmp_path, compression=tier)

    cache, batches = recorded(kind, holder, make)
    for _ in range(2):
        for one, wanted in zip(as_integers(cache, kind, holder), batches, strict=True):
            one.validate(full=True)
            assert one.equals(wanted)


@pytest.mark.parametrize("kind", ["tiM", "tiD"])
def test_nanoarrow_reads_them(kind: str, tmp_path: Path) -> None:
    """nanoarrow reads the cache and its file, as months or as days and milliseconds."""
    nanoarrow = pytest.importorskip("nanoarrow")
    cache, batches = recorded(kind, "column", lambda s: on_disk(s, tmp_path))
    values: list[Any] = MONTHS if kind == "tiM" else DAY_TIMES
    wanted = [values, values[3:14], values[8:16], []]
    flat = [value for part in wanted for value in part]
    assert [row["x"] for row in nanoarrow.Array(cache).to_pylist()] == flat
    with nanoarrow.ArrayStream.from_path(cache_file(tmp_path)) as stream:
        assert [row["x"] for row in stream.read_all().to_pylist()] == flat
    assert len(batches) == len(wanted)


@pytest.mark.parametrize("kind", ["tiM", "tiD"])
def test_the_file_names_them(kind: str, tmp_path: Path) -> None:
    cache, _ = recorded(kind, "column", lambda s: on_disk(s, tmp_path))
    cache.ingest_all()
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        assert stream.schema.equals(cache.schema)
        assert str(stream.schema.field("x").type) == str(cache.schema.field("x").type)
        assert "interval" in str(stream.schema.field("x").type)
        assert stream.read_all().num_rows == ROWS + 11 + 8
