"""
Statistics compared with the values of every row.

The expected bounds are computed from the Python values of a batch, or from their bytes.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder import StreamCache

CUT = 32

TEXTS = st.one_of(
    st.text(max_size=6),
    st.text(alphabet="a\x7f\u00e9\ud7ff\uffff\U0010ffff", min_size=5, max_size=40),
    st.sampled_from(["a" * 31, "a" * 32, "a" * 33, "a" * 31 + "\u20ac", "\x7f" * 33]),
)
BYTES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\xff" * 32, b"\xff" * 33, b"a" * 33, b"a" * 31 + b"\xff" * 2]),
)


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low = -(1 << bits - 1) if signed else 0
    high = (1 << bits - 1) - 1 if signed else (1 << bits) - 1
    return st.one_of(st.integers(low, high), st.sampled_from([low, 0, high]))


def floats(width: Any) -> st.SearchStrategy[float]:
    return st.one_of(
        st.floats(width=width), st.sampled_from([0.0, -0.0, math.nan, math.inf])
    )


# A type, and its values as pyarrow takes them.
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "bool": (pa.bool_(), st.booleans()),
    **{
        str(kind): (kind, integers(kind.bit_width, pa.types.is_signed_integer(kind)))
        for kind in (
            *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
            *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        )
    },
    "float16": (pa.float16(), floats(16)),
    "float32": (pa.float32(), floats(32)),
    "float64": (pa.float64(), floats(64)),
    "decimal32": (pa.decimal32(5, 2), st.decimals(-999, 999, places=2)),
    "decimal64": (pa.decimal64(15, 2), st.decimals(-(10**13) + 1, 10**13 - 1, places=2)),
    "decimal128": (
        pa.decimal128(30, 3),
        st.decimals(-(10**24), 10**24, places=3).filter(lambda d: len(str(d)) < 28),
    ),
    "decimal256": (
        pa.decimal256(60, 0),
        st.integers(-(10**27), 10**27).map(lambda n: n),
    ),
    "date": (pa.date32(), st.dates()),
    "time": (pa.time64("us"), st.times()),
    "duration": (pa.duration("us"), integers(40, True)),
    "timestamp": (pa.timestamp("us", "Europe/Paris"), integers(50, True)),
    "string": (pa.string(), TEXTS),
    "large_string": (pa.large_string(), TEXTS),
    "string_view": (pa.string_view(), TEXTS),
    "binary": (pa.binary(), BYTES),
    "large_binary": (pa.large_binary(), BYTES),
    "binary_view": (pa.binary_view(), BYTES),
    "fixed0": (pa.binary(0), st.just(b"")),
    "fixed3": (pa.binary(3), st.binary(min_size=3, max_size=3)),
    "fixed40": (
        pa.binary(40),
        st.one_of(st.binary(min_size=40, max_size=40), st.just(b"\xff" * 40)),
    ),
}


def comparable(value: Any) -> Any:
    """Return a value that Python orders as the bounds are: text by its bytes."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def check(found: dict[str, Any], values: list[Any]) -> None:
    """Compare the statistics of a leaf in one batch with the values of its rows."""
    valid = [value for value in values if value is not None]
    real = [value for value in valid if not is_nan(value)]
    assert found["null_count"] == len(values) - len(valid)
    if "nan_count" in found:
        assert found["nan_count"] == len(valid) - len(real)
    if not real:
        assert (found["min"], found["max"], found["exact"]) == (None, None, True)
        return
    low, high = min(map(comparable, real)), max(map(comparable, real))
    is_text = isinstance(low, bytes)
    is_short = not is_text or (len(low) <= CUT and len(high) <= CUT)
    assert found["exact"] is is_short
    if is_short:
        assert comparable(found["min"]) == low
        assert comparable(found["max"]) == high
    else:
        assert comparable(found["min"]) <= low
        assert low.startswith(comparable(found["min"])) or len(low) <= CUT
        assert found["max"] is None or comparable(found["max"]) >= high
        assert found["max"] is None or len(comparable(found["max"])) <= CUT
        assert found["max"] is not None or high[:4] in (b"\xff" * 4, b"\xf4\x8f\xbf\xbf")
    if isinstance(low, float) and low == 0:
        assert math.copysign(1, found["min"]) == -1
    if isinstance(high, float) and high == 0:
        assert math.copysign(1, found["max"]) == 1


def cache_of(*batches: pa.RecordBatch) -> StreamCache:
    """Return a cache of the batches. Batches without rows stay."""
    cache = StreamCache(pa.RecordBatchReader.from_batches(batches[0].schema, batches))
    cache.ingest_all()
    return cache


def wide(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_float16(kind):
        import numpy as np

        with np.errstate(over="ignore"):
            halves = [None if v is None else np.float16(v) for v in values]
        return pa.array(halves, kind)
    return pa.array(values, kind)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_type(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    rows = data.draw(st.lists(st.one_of(st.none(), values), max_size=80))
    whole = wide(kind, rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    parts = [whole[:start], whole[start:stop], whole[stop:]]
    cache = cache_of(*[pa.record_batch({"x": part}) for part in parts])
    table = cache.statistics()
    table.validate(full=True)
    assert table["batch"].to_pylist() == [0, 1, 2]
    assert table["row_count"].to_pylist() == list(map(len, parts))
    for found, part in zip(table["x"].to_pylist(), parts, strict=True):
        check(found, part.to_pylist())


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(["int64", "float64", "string", "binary"]))
def test_dictionaries(data: st.DataObject, name: str) -> None:
    kind, values = KINDS[name]
    words = data.draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=9))
    numbers = st.one_of(st.none(), st.integers(0, len(words) - 1))
    rows = data.draw(st.lists(numbers, max_size=40))
    index = data.draw(st.sampled_from([pa.int8(), pa.uint16(), pa.int64(), pa.uint32()]))
    column = pa.DictionaryArray.from_arrays(pa.array(rows, index), pa.array(words, kind))
    cut = data.draw(st.integers(0, len(rows)))
    cache = cache_of(pa.record_batch({"d": column[cut:]}))
    (found,) = cache.statistics()["d"].to_pylist()
    check(found, [None if row is None else words[row] for row in rows[cut:]])


INNER = st.one_of(st.none(), st.integers(-9, 9))
NESTED = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "a": INNER,
            "b": st.one_of(st.none(), st.fixed_dictionaries({"c": TEXTS, "d": INNER})),
        }
    ),
)
NESTED_TYPE = pa.struct(
    {"a": pa.int32(), "b": pa.struct({"c": pa.string(), "d": pa.int64()})}
)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(NESTED, max_size=40), cut=st.integers(0, 12))
def test_fields_of_structs(rows: list[Any], cut: int) -> None:
    column = pa.array(rows, NESTED_TYPE)[cut:]
    cache = cache_of(pa.record_batch({"s": column}))
    table = cache.statistics()
    assert table.column_names[2:] == ["s.a", "s.b.c", "s.b.d"]
    rows = rows[cut:]
    inner = [row and row["b"] for row in rows]
    check(table["s.a"][0].as_py(), [row and row["a"] for row in rows])
    check(table["s.b.c"][0].as_py(), [row and row["c"] for row in inner])
    check(table["s.b.d"][0].as_py(), [row and row["d"] for row in inner])


def test_types_without_order() -> None:
    table = pa.table(
        {
            "l": pa.array([[1]]),
            "n": pa.nulls(1),
            "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "i": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
            "r": pa.RunEndEncodedArray.from_arrays([1], pa.array([1])),
            "s": pa.array([{"l": [1]}]),
        }
    )
    cache = StreamCache(table)
    cache.ingest_all()
    assert cache.statistics().column_names == ["batch", "row_count"]


def test_columns_by_name_and_index() -> None:
    names = ["a", "b", "b", "a.b"]
    columns = [pa.array([number]) for number in range(4)]
    cache = StreamCache(pa.record_batch(columns, names=names))
    cache.ingest_all()
    table = cache.statistics([3, "a", 2])
    assert table.column_names[2:] == ["a.b", "a", "b"]
    assert [column[0].as_py()["min"] for column in table.columns[2:]] == [3, 0, 2]
    paths = [field.metadata[b"batchcorder.path"] for field in list(table.schema)[2:]]
    assert paths == [b"3", b"0", b"2"]
    with pytest.raises(KeyError, match="stands 2 times"):
        cache.statistics(["b"])
    with pytest.raises(IndexError):
        cache.statistics([4])
    assert cache.statistics([]).column_names == ["batch", "row_count"]


# ---- files ----

TABLE = pa.table(
    {
        "x": pa.array(range(40), pa.int32()),
        "s": [f"row {i}" if i % 3 else None for i in range(40)],
        "d": pa.array([f"{i % 4}" for i in range(40)]).dictionary_encode(),
    }
)


def stream() -> pa.RecordBatchReader:
    return TABLE.to_reader(max_chunksize=10)


def expected() -> pa.Table:
    cache = StreamCache(stream())
    cache.ingest_all()
    return cache.statistics()


def damaged_batches(path: Path) -> Path:
    """Return a copy of a recording in which no batch can be read."""
    data = bytearray(path.read_bytes())
    (end,) = struct.unpack_from("<q", data, len(data) - 128 + 16)
    (schema,) = struct.unpack_from("<q", data, len(data) - 128 + 24)
    data[schema:end] = bytes(end - schema)
    copy = path.with_name("damaged.arrows")
    copy.write_bytes(data)
    return copy


def test_a_recording_has_them_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    with batchcorder.record(stream(), path) as cache:
        assert cache.statistics().equals(expected())
    assert batchcorder.open(path).statistics().equals(expected())
    with batchcorder.open(damaged_batches(path)) as opened:
        assert opened.statistics().equals(expected())
        with pytest.raises(OSError, match="batch 0"):
            pa.table(opened)
    assert pa.ipc.open_stream(path).read_all().equals(TABLE)


def test_a_recording_without_them(tmp_path: Path) -> None:
    with_them, without = tmp_path / "x.arrows", tmp_path / "y.arrows"
    batchcorder.record(stream(), with_them).close()
    cache = batchcorder.record(stream(), without, statistics=False)
    with pytest.raises(ValueError, match="statistics=False"):
        cache.statistics()
    # Version 1 of the footer, as older versions wrote it.
    version = struct.unpack_from("<i", without.read_bytes(), without.stat().st_size - 120)
    assert version == (1,)
    assert batchcorder.open(without).statistics().equals(expected())
    with pytest.raises(OSError, match="batch 0"):
        batchcorder.open(damaged_batches(without)).statistics()
    one, other = with_them.read_bytes(), without.read_bytes()
    (end,) = struct.unpack_from("<q", other, len(other) - 128 + 16)
    assert one[:end] == other[:end]


def test_an_incomplete_recording_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    cache = batchcorder.cached(path, stream)
    cache[:2]
    assert cache.statistics().equals(expected()[:2])
    with batchcorder.open(path, follow=True) as follower:
        follower[:2]
        assert follower.statistics()["batch"].to_pylist() == [0, 1]
    cache.close()
    assert batchcorder.open(path, partial=True).statistics().equals(expected()[:2])
    with batchcorder.cached(path, stream, resume=True) as resumed:
        resumed.ingest_all()
        assert resumed.statistics().equals(expected())
    assert batchcorder.open(damaged_batches(path)).statistics().equals(expected())


def test_a_cached_query_without_them(tmp_path: Path) -> None:
    """`cached` takes the argument of `record`, also if it resumes a recording."""
    path = tmp_path / "x.arrows"
    batchcorder.record(stream(), tmp_path / "y.arrows", statistics=False).close()
    for resume in (False, True):
        cache = batchcorder.cached(path, stream, resume=resume, statistics=False)
        cache[:2]
        with pytest.raises(ValueError, match="statistics=False"):
            cache.statistics()
        if resume:
            assert cache.stats()["resumed"] == 2
            cache.ingest_all()
        cache.close()
    # The trailer has none. An opened recording gathers them.
    assert path.read_bytes()[-120:-116] == struct.pack("<i", 1)
    with batchcorder.cached(path, stream, statistics=False) as cache:
        assert cache.statistics().equals(expected())
    for options in ({}, {"statistics": True}):
        path = tmp_path / f"z{len(options)}.arrows"
        with batchcorder.cached(path, stream, **options) as cache:
            cache.ingest_all()
        assert batchcorder.open(damaged_batches(path)).statistics().equals(expected())


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_a_cached_query_checks_the_argument(
    tmp_path: Path, value: Any, is_there: bool
) -> None:
    def never() -> Any:
        raise AssertionError("the argument is wrong")

    path = tmp_path / "x.arrows"
    if is_there:
        batchcorder.record(stream(), path).close()
    with pytest.raises(TypeError, match="argument 'statistics': "):
        batchcorder.cached(path, never, statistics=value)
    assert path.exists() == is_there


@pytest.mark.parametrize("tier", ["memory", "disk", "lz4"])
def test_a_saved_cache(tmp_path: Path, tier: str) -> None:
    options: dict[str, Any] = {}
    if tier != "memory":
        options = {"memory_capacity": 1, "disk_path": tmp_path, "disk_capacity": "1GB"}
        options["compression"] = "lz4" if tier == "lz4" else None
    for policy in (None, True):
        path = tmp_path / f"{policy}.arrows"
        with StreamCache(stream(), **options, statistics=policy) as cache:
            cache.save(path)
            assert cache.statistics().equals(expected())
        assert batchcorder.open(path).statistics().equals(expected())
        if policy or tier == "memory":
            damaged = damaged_batches(path)
            assert batchcorder.open(damaged).statistics().equals(expected())


def test_columns_of_an_opened_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(stream(), path).close()
    for source in (path, damaged_batches(path)):
        table = batchcorder.open(source, columns=["d", "x"]).statistics(["x"])
        assert table.column_names == ["batch", "row_count", "x"]
        assert table.schema.field("x").metadata == {b"batchcorder.path": b"1"}
        assert table["x"].equals(expected()["x"])


def test_files_of_other_libraries(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with pa.ipc.new_file(path, TABLE.schema) as out:
        for batch in stream():
            out.write_batch(batch)
    assert batchcorder.open(path).statistics().equals(expected())


def test_evicted_batches_have_none() -> None:
    cache = StreamCache(stream(), max_readers=1)
    reader = cache.reader()
    for _ in range(3):
        next(reader)
    evicted = cache.stats()["evicted"]
    found = cache.statistics()["batch"].to_pylist()
    assert found == list(range(evicted, cache.ingested_count))


def test_damage_is_found_and_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(stream(), path).close()
    whole = path.read_bytes()
    (size,) = struct.unpack_from("<q", whole, len(whole) - 128 + 72)
    start = len(whole) - 128 - size
    assert size > 0
    for at in range(start, len(whole) - 128, 61):
        data = bytearray(whole)
        data[at] ^= 0x40
        path.write_bytes(data)
        with pytest.raises(OSError, match="statistics"):
            batchcorder.verify(path)
        with batchcorder.open(path) as cache:
            assert cache.statistics().equals(expected())
            found = cache.dataset().to_table(filter=pc.field("x") >= 35)
            assert found["x"].to_pylist() == [35, 36, 37, 38, 39]
    path.write_bytes(whole[:start] + bytes(size) + whole[-128:])
    assert batchcorder.open(path).statistics().equals(expected())
    path.write_bytes(whole)
    assert batchcorder.verify(path) == 4


def test_arguments() -> None:
    with pytest.raises(TypeError, match="statistics"):
        StreamCache(TABLE, statistics=1)  # type: ignore[arg-type]
    cache = StreamCache(TABLE, statistics=False)
    with pytest.raises(ValueError, match="statistics=False"):
        cache.statistics()
    cache = StreamCache(TABLE)
    assert cache.statistics().num_rows == 0
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        cache.statistics()
