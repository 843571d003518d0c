"""Sources that break the C data interface: every struct is checked."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from cstream import ArrowArray, ArrowSchema, RawStream
from helpers import SCHEMA, batch, check_python, ids
from tiers import MakeCache

TEXT = pa.record_batch({"id": ["a", None, "ccc"]})
STRUCT = pa.record_batch({"id": pa.array([{"x": 1}, None, {"x": 3}])})


def child(array: ArrowArray) -> ArrowArray:
    return array.children[0].contents


def set_field(field: str, value: Any, deep: bool = True) -> Callable[[ArrowArray], None]:
    def change(array: ArrowArray) -> None:
        setattr(child(array) if deep else array, field, value)

    return change


def null_buffer(index: int) -> Callable[[ArrowArray], None]:
    def change(array: ArrowArray) -> None:
        child(array).buffers[index] = None

    return change


# Changes to a batch of three int64 rows that contradict its schema.
LIES: dict[str, Callable[[ArrowArray], None]] = {
    "fewer buffers": set_field("n_buffers", 1),
    "more buffers": set_field("n_buffers", 3),
    "children": set_field("n_children", 1),
    "negative length": set_field("length", -1),
    "length short of its parent": set_field("length", 2),
    "negative offset": set_field("offset", -1),
    "fewer columns": set_field("n_children", 0, deep=False),
    "more columns": set_field("n_children", 2, deep=False),
    "negative rows": set_field("length", -1, deep=False),
    "more rows than values": set_field("length", 100, deep=False),
    "offset past the values": set_field("offset", 2, deep=False),
    "huge length": set_field("length", (1 << 63) - 1, deep=False),
    "huge offset": set_field("offset", (1 << 63) - 1, deep=False),
    "no data": null_buffer(1),
}


@pytest.mark.parametrize("name", LIES)
def test_a_batch_that_its_schema_does_not_allow(name: str, make_cache: MakeCache) -> None:
    calls = 0

    def change(array: ArrowArray) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            LIES[name](array)

    source = RawStream(SCHEMA, [batch(0, 3), batch(3, 3), batch(6, 3)], change=change)
    cache = make_cache(source)
    for _ in range(2):
        reader = cache.reader()
        assert ids([next(reader)]) == [0, 1, 2]
        with pytest.raises(ValueError, match=r"(?i)batch 1"):
            next(reader)
    assert source.calls == 2
    assert source.released == 1


def set_offsets(values: list[int]) -> Callable[[ArrowArray], None]:
    kept = (ctypes.c_int32 * len(values))(*values)

    def change(array: ArrowArray) -> None:
        child(array).buffers[1] = ctypes.addressof(kept)

    return change


@pytest.mark.parametrize("offsets", [[-1, 0, 1, 4], [5, 3, 2, 1], [0, 1, 2, -1]], ids=str)
def test_offsets_that_decrease(offsets: list[int], make_cache: MakeCache) -> None:
    source = RawStream(TEXT.schema, [TEXT], change=set_offsets(offsets))
    cache = make_cache(source)
    with pytest.raises(ValueError, match=r"(?i)batch 0|'id'"):
        list(cache)
    with pytest.raises(ValueError, match=r"(?i)batch 0|'id'"):
        cache.ingest_all()


def test_a_released_array_is_the_end() -> None:
    def change(array: ArrowArray) -> None:
        array.release(array)

    source = RawStream(SCHEMA, [batch(0)], change=change)
    assert StreamCache(source).ingest_all() == 0


def test_offsets_on_the_top_level_struct() -> None:
    """The top-level struct selects rows 1 and 2 of four."""

    def change(array: ArrowArray) -> None:
        array.offset = 1
        array.length = 2

    for make in (
        lambda s: StreamCache(s),
        lambda s: StreamCache.on_disk(s, memory_capacity=1),
    ):
        cache = make(RawStream(SCHEMA, [batch(0, 4)], change=change))
        assert ids(cache) == [1, 2]
        assert ids(list(cache)) == [1, 2]


def with_nulls(array: ArrowArray) -> None:
    array.buffers[0] = ctypes.addressof(ONE_NULL)
    array.null_count = 1


ONE_NULL = (ctypes.c_uint8 * 64)(0b0101)


@pytest.mark.parametrize("count", [1, -1])
def test_nulls_of_the_top_level_struct_are_refused(
    count: int, make_cache: MakeCache
) -> None:
    def change(array: ArrowArray) -> None:
        with_nulls(array)
        array.null_count = count

    cache = make_cache(RawStream(SCHEMA, [batch(0, 3)], change=change))
    with pytest.raises(ValueError, match=r"(?i)null"):
        list(cache)


def test_a_chunked_array_with_nulls_is_refused() -> None:
    structs = pa.array([{"id": 1}, None, {"id": 3}], pa.struct([("id", pa.int64())]))
    with pytest.raises(ValueError, match=r"(?i)null"):
        StreamCache(pa.chunked_array([structs])).ingest_all()


def test_a_top_level_bitmap_without_nulls_is_accepted(make_cache: MakeCache) -> None:
    full = (ctypes.c_uint8 * 64)(*[0xFF] * 64)

    def change(array: ArrowArray) -> None:
        array.buffers[0] = ctypes.addressof(full)
        array.null_count = -1

    cache = make_cache(RawStream(SCHEMA, [batch(0, 3)], change=change))
    assert ids(cache) == [0, 1, 2]


def test_null_counts_that_are_unknown(make_cache: MakeCache) -> None:
    def change(array: ArrowArray) -> None:
        child(array).null_count = -1

    for one in (TEXT, STRUCT):
        cache = make_cache(RawStream(one.schema, [one, one], change=change))
        assert [b.to_pylist() for b in cache] == [one.to_pylist()] * 2
        assert pa.table(cache).to_pylist() == one.to_pylist() * 2


@pytest.mark.parametrize("shift", [1, 4, 8])
@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3], pa.int64()),
        pa.array([1, None, 3]).cast(pa.decimal128(30, 2)),
        pa.array([1.5, None, 3.5]),
        pa.array(["a", None, "ccc"]),
        pa.array(["a", None, "ccc"], pa.large_string()),
        pa.array([pa.MonthDayNano([1, 2, 3]), None, None]),
    ],
    ids=lambda c: str(c.type),
)
def test_buffers_aligned_to_less_than_their_type(
    column: pa.Array, shift: int, make_cache: MakeCache
) -> None:
    """0.1.3 crashes here. Misaligned data is copied."""
    moved = []

    def change(array: ArrowArray) -> None:
        raw = column.buffers()[1]
        room = ctypes.create_string_buffer(raw.size + 128)
        at = -ctypes.addressof(room) % 64 + shift
        ctypes.memmove(ctypes.addressof(room) + at, raw.address, raw.size)
        moved.append(room)
        child(array).buffers[1] = ctypes.addressof(room) + at

    one = pa.record_batch({"id": column})
    cache = make_cache(RawStream(one.schema, [one, one], change=change))
    got = list(cache)
    assert [b.to_pylist() for b in got] == [one.to_pylist()] * 2
    if shift < 8:
        for b in got:
            assert b.column(0).buffers()[1].address % 4 == 0
    table = pa.table(cache)
    table.validate(full=True)
    assert table.to_pylist() == one.to_pylist() * 2


def break_format(text: bytes) -> Callable[[ArrowSchema], None]:
    kept = ctypes.c_char_p(text)

    def change(schema: ArrowSchema) -> None:
        address = ctypes.cast(kept, ctypes.c_void_p).value
        ctypes.c_void_p.from_address(
            ctypes.addressof(schema.children[0].contents)
        ).value = address

    return change


@pytest.mark.parametrize(
    "text",
    ["", "?", "+", "+w:", "+w:-1", "w:x", "d:", "ts?:", "+ud:1,2", "+l", "+m", "+r"],
)
def test_an_unknown_format(text: str) -> None:
    broken = break_format(text.encode())
    source = RawStream(SCHEMA, [batch(0)], change_schema=broken)
    with pytest.raises((ValueError, NotImplementedError), match="id"):
        StreamCache(source)
    assert (source.calls, source.released) == (0, 0)


@pytest.mark.parametrize("released", [True, False])
def test_an_invalid_schema(released: bool) -> None:
    def change(schema: ArrowSchema) -> None:
        if released:
            schema.release(schema)
        else:
            schema.n_children = 0

    source = RawStream(SCHEMA, [batch(0)], change_schema=change)
    if released:
        with pytest.raises(ValueError, match="schema"):
            StreamCache(source)
    else:
        with pytest.raises(ValueError, match=r"(?i)batch 0"):
            StreamCache(source).ingest_all()


def test_very_deep_types_neither_crash_nor_hang() -> None:
    check_python(
        """
        from helpers import *
        for depth in (10, 60, 100, 500):
            kind = pa.int8()
            for _ in range(depth):
                kind = pa.list_(kind)
            schema = pa.schema([("id", kind)])
            column = pa.array([None, None], kind)
            one = pa.RecordBatch.from_arrays([column], schema=schema)
            try:
                cache = StreamCache(pa.RecordBatchReader.from_batches(schema, [one]))
                assert list(cache)[0].equals(one)
            except ValueError:
                # pyarrow imports schemas of 64 levels at most.
                assert depth > 60
        """
    )


def test_a_failure_frees_the_batch() -> None:
    """Memory does not grow over many invalid batches."""
    before = pa.total_allocated_bytes()
    for _ in range(50):
        source = RawStream(SCHEMA, [batch(0, 1000)], change=set_field("offset", -1))
        with pytest.raises(ValueError, match=r"(?i)batch 0"):
            StreamCache(source).ingest_all()
        failing = RawStream(SCHEMA, [batch(0, 1000), errno.EIO])
        with pytest.raises(OSError, match="boom"):
            StreamCache(failing).ingest_all()
    assert pa.total_allocated_bytes() - before < 100_000
