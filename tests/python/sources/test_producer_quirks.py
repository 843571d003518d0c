"""Streams of real producers, with more buffers or flags than their types need."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from ctypes import POINTER, c_void_p
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from cstream import ArrowArray, ArrowSchema, RawStream
from foreign import same
from helpers import on_disk

UNIONS = {
    "sparse": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "y", "z"])]
    ),
    "dense": pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()),
        pa.array([0, 0, 1], pa.int32()),
        [pa.array([1, 3]), pa.array(["y"])],
    ),
    "runs": pa.RunEndEncodedArray.from_arrays([1, 3], ["a", None]),
    "null": pa.nulls(3),
}
COLUMNS = {
    **UNIONS,
    "struct": pa.StructArray.from_arrays(list(UNIONS.values()), list(UNIONS)),
    "list": pa.FixedSizeListArray.from_arrays(UNIONS["sparse"], 1),
}
BATCH = pa.record_batch({**COLUMNS, "i": pa.array([1, 2, 3])})
SLICED = BATCH.slice(1)
KEYS = pa.map_(pa.string(), pa.int64())
MAPS = pa.record_batch(
    {
        "m": pa.array([[("a", 1), ("b", None)], None, []], KEYS),
        "l": pa.array([[[("k", 1)]], [], None], pa.list_(KEYS)),
        "s": pa.array([{"m": [("k", 2)]}, None, {"m": None}], pa.struct({"m": KEYS})),
    }
)
HAS_NO_BITMAP = (pa.lib.Type_SPARSE_UNION, pa.lib.Type_DENSE_UNION, pa.lib.Type_NA)
kept: list[Any] = []


def has_bitmap(kind: pa.DataType) -> bool:
    return kind.id not in HAS_NO_BITMAP and not pa.types.is_run_end_encoded(kind)


def add_bitmaps(bits: bytes | None) -> Callable[[ArrowArray], None]:
    """Put a bitmap of these bits, or NULL, in front of arrays without a bitmap."""
    bitmap = None if bits is None else ctypes.create_string_buffer(bits)
    address = None if bitmap is None else ctypes.addressof(bitmap)
    kept.append(bitmap)

    def change(array: ArrowArray, kinds: list[pa.DataType]) -> None:
        for i, kind in enumerate(kinds):
            child = array.children[i].contents
            if not has_bitmap(kind):
                n = child.n_buffers
                old = [child.buffers[b] for b in range(n)]
                buffers = (c_void_p * (n + 1))(address, *old)
                kept.append(buffers)
                child.buffers = ctypes.cast(buffers, POINTER(c_void_p))
                child.n_buffers = n + 1
            below = [kind.field(f).type for f in range(kind.num_fields)]
            change(child, below)

    return lambda array: change(array, list(BATCH.schema.types))


def set_flags(flags: int) -> Callable[[ArrowSchema], None]:
    def change(schema: ArrowSchema) -> None:
        for i in range(schema.n_children):
            schema.children[i].contents.flags |= flags
            change(schema.children[i].contents)

    return change


def check(
    make: Callable[[], RawStream], wanted: list[pa.RecordBatch], path: Path
) -> None:
    """Check memory, disk, recordings and saved files. Read each cache twice."""
    path.mkdir(exist_ok=True)
    batchcorder.record(make(), path / "recorded.arrows")
    with StreamCache(make()) as cache:
        same(list(cache), wanted)
        same(list(cache), wanted)
        for one in cache:
            one.validate(full=True)
        cache.save(path / "saved.arrows")
    with on_disk(make(), path) as cache:
        same(list(cache), wanted)
        same(list(cache), wanted)
    for name in ("recorded", "saved"):
        with batchcorder.open(path / f"{name}.arrows", verify=True) as cache:
            same(list(cache), wanted)
        with pa.ipc.open_stream(path / f"{name}.arrows") as stream:
            same(list(stream), wanted)


@pytest.mark.parametrize("bits", [None, b"\xff\xff"], ids=["NULL", "all valid"])
def test_bitmaps_of_types_without_bitmaps(bits: bytes | None, tmp_path: Path) -> None:
    answers: list[Any] = [BATCH, SLICED, BATCH.slice(0, 0)]

    def make() -> RawStream:
        return RawStream(BATCH.schema, answers, change=add_bitmaps(bits))

    check(make, answers, tmp_path / "x")


def test_unions_with_nulls_of_their_own() -> None:
    add = add_bitmaps(b"\x05")

    def change(array: ArrowArray) -> None:
        add(array)
        array.children[0].contents.null_count = 1

    with pytest.raises(ValueError, match=r"'sparse'.*nulls of its own"):
        list(StreamCache(RawStream(BATCH.schema, [BATCH], change=change)))


def test_null_columns_without_a_table_of_buffers(tmp_path: Path) -> None:
    batch = pa.record_batch({"n": pa.nulls(3)})

    def change(array: ArrowArray) -> None:
        array.children[0].contents.n_buffers = 1
        array.children[0].contents.buffers = POINTER(c_void_p)()

    check(
        lambda: RawStream(batch.schema, [batch], change=change), [batch], tmp_path / "x"
    )


NULLABLE, ORDERED, SORTED = 2, 1, 4


@pytest.mark.parametrize("flags", [NULLABLE, ORDERED, NULLABLE | 8, 1 << 40, ~SORTED])
def test_flags_without_meaning(flags: int, tmp_path: Path) -> None:
    """DuckDB up to 1.1 has nullable keys of maps. Other producers set unknown flags."""

    def make() -> RawStream:
        return RawStream(MAPS.schema, [MAPS, MAPS], change_schema=set_flags(flags))

    check(make, [MAPS, MAPS], tmp_path / "x")
    keys = StreamCache(make()).schema.field("m").type.key_field
    assert not keys.nullable


def test_keys_with_unknown_null_counts(tmp_path: Path) -> None:
    """Some consumers refuse a bitmap without a null count, as if it had nulls."""
    bitmap = ctypes.create_string_buffer(b"\xff")
    kept.append(bitmap)

    def change(array: ArrowArray) -> None:
        entries = array.children[0].contents.children[0].contents
        for one in (entries, entries.children[0].contents):
            one.null_count = -1
            one.buffers[0] = ctypes.addressof(bitmap)

    batch = MAPS.select(["m"])
    check(
        lambda: RawStream(batch.schema, [batch], change=change), [batch], tmp_path / "x"
    )


FRAMES: dict[str, Callable[[Any], Any]] = {
    "column": lambda pl: pl.DataFrame({"i": [1, 2], "c": [None, None]}),
    "list": lambda pl: pl.DataFrame({"c": [[None], []]}),
    "struct": lambda pl: pl.DataFrame({"c": [{"a": None}]}),
    "no rows": lambda pl: pl.DataFrame({"c": []}),
    "literal": lambda pl: pl.select(x=pl.lit(None)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_null_columns_of_polars(name: str, tmp_path: Path) -> None:
    frame = FRAMES[name](pytest.importorskip("polars"))
    wanted = pa.table(frame)
    assert StreamCache(frame).to_table().equals(wanted)
    cache = on_disk(frame, tmp_path)
    assert cache.to_table().equals(wanted)
    batchcorder.record(frame, tmp_path / "x.arrows")
    with batchcorder.open(tmp_path / "x.arrows", verify=True) as cache:
        assert cache.to_table().equals(wanted)


EMPTY: dict[str, pa.Array] = {
    "struct": pa.array([{}, None], pa.struct([])),
    "list": pa.array([[{}], None], pa.list_(pa.struct([]))),
    "within": pa.array([{"x": {}}, None], pa.struct({"x": pa.struct([])})),
}


@pytest.mark.parametrize("name", EMPTY)
def test_types_without_children_are_read_everywhere(name: str, tmp_path: Path) -> None:
    """The file has vectors without elements, which some readers need."""
    table = pa.table({"a": EMPTY[name]})
    path = tmp_path / "x.arrows"
    batchcorder.record(table, path)
    with pa.ipc.open_stream(path) as stream:
        assert stream.read_all().equals(table)
    arro3 = pytest.importorskip("arro3.io").read_ipc_stream(path)
    assert pa.table(arro3).equals(table)
    nanoarrow = pytest.importorskip("nanoarrow")
    with nanoarrow.ArrayStream.from_path(path) as stream:
        assert pa.table(stream).equals(table)
    polars = pytest.importorskip("polars")
    assert polars.read_ipc_stream(path).height == table.num_rows


# ---- maps whose keys are null ----

PAIRS = pa.StructArray.from_arrays(
    [pa.array(["a", None, "c"]), pa.array([1, 2, 3])], ["key", "value"]
)
LISTS = pa.record_batch({"m": pa.ListArray.from_arrays(pa.array([0, 2, 3], "i4"), PAIRS)})
MAPPED = pa.schema({"m": pa.map_(pa.string(), pa.int64())})


@pytest.mark.parametrize("counted", [True, False])
def test_a_producer_gives_a_null_key(counted: bool, tmp_path: Path) -> None:
    """pyarrow aborts the process if it gets such a map."""

    def change(array: ArrowArray) -> None:
        keys = array.children[0].contents.children[0].contents.children[0].contents
        assert keys.null_count == 1
        keys.null_count = 1 if counted else -1

    for take in (StreamCache, lambda source: on_disk(source, tmp_path)):
        cache = take(RawStream(MAPPED, [LISTS, None], change=change))
        with pytest.raises(ValueError, match=r"'m\.entries\.key': a map's entries or k"):
            cache.ingest_all()


@pytest.mark.parametrize("verify", [True, False])
def test_a_file_has_a_null_key(verify: bool, tmp_path: Path) -> None:
    """The batches of a map have the same bytes as those of a list of pairs."""

    def written(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return sink.getvalue().to_pybytes()

    path = tmp_path / "x.arrows"
    head = len(written(LISTS.schema, [])) - 8
    path.write_bytes(written(MAPPED, [])[:-8] + written(LISTS.schema, [LISTS])[head:])
    with batchcorder.open(path, verify=verify) as cache:
        for read in (cache.to_table, lambda: cache[0], lambda: list(cache)):
            with pytest.raises(OSError, match="corrupt") as raised:
                read()
            assert raised.value.errno == errno.EBADMSG
