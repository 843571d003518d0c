"""Dictionaries of extension types: a recording keeps the metadata of the values."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from cstream import ArrowSchema, RawStream, stream_in
from helpers import cache_file, identical, on_disk, reader_of

PREFIX = b"batchcorder.values:"
HUGE = pa.opaque(pa.binary(16), "uhugeint", "DuckDB")


def of_values(values: pa.Array, field: str) -> pa.RecordBatch:
    """Return a batch of one column, a dictionary of the values, with metadata."""
    indices = pa.array([0, 1, None, 1], pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, values)
    schema = pa.schema([pa.field(field, column.type, metadata={"unit": "none"})])
    return pa.RecordBatch.from_arrays([column], schema=schema)


def extension(kind: Any, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


SERIALIZED = b'{"type_name":"uhugeint","vendor_name":"DuckDB"}'
NUMBERS = [(1).to_bytes(16, "little"), (2**100).to_bytes(16, "little")]
HUGE_BATCH = of_values(extension(HUGE, NUMBERS), "d")
BATCHES = {
    "opaque": HUGE_BATCH,
    "uuid": of_values(extension(pa.uuid(), NUMBERS), "d"),
    "json": of_values(extension(pa.json_(), ["1", "{}"]), "d"),
    "in a struct": pa.record_batch({"s": pa.StructArray.from_arrays(
        HUGE_BATCH.columns, fields=list(HUGE_BATCH.schema))}),
    "in values": of_values(pa.StructArray.from_arrays(
        [HUGE_BATCH.column(0).take(pa.array([0, 1]))], fields=list(HUGE_BATCH.schema)),
        "d"),
}  # fmt: skip


def check(cache: StreamCache, batch: pa.RecordBatch, count: int) -> None:
    """Check that the cache has the batch `count` times, with all metadata."""
    assert cache.schema.equals(batch.schema, check_metadata=True)
    identical(list(cache), [batch] * count)
    assert pa.table(cache).schema.equals(batch.schema, check_metadata=True)


@pytest.mark.parametrize("name", BATCHES)
def test_every_way_to_a_recording(name: str, tmp_path: Path) -> None:
    """A cache has the type if it records, opens, follows or saves, and with `cached`."""
    batch, path = BATCHES[name], tmp_path / "x.arrows"
    recording = batchcorder.record(reader_of([batch] * 2), path)
    assert recording[0] == batch
    with batchcorder.open(path, follow=True) as follower:
        assert follower.schema.equals(batch.schema, check_metadata=True)
        check(recording, batch, 2)
        check(follower, batch, 2)
    recording.close()
    for options in ({}, {"verify": True}, {"mmap": False}, {"columns": [0]}):
        with batchcorder.open(path, **options) as cache:
            check(cache, batch, 2)
            cache.save(tmp_path / "saved.arrows", overwrite=True)
        with batchcorder.open(tmp_path / "saved.arrows") as cache:
            check(cache, batch, 2)
    StreamCache(reader_of([batch])).save(tmp_path / "memory.arrows")
    on_disk(reader_of([batch]), tmp_path).save(tmp_path / "disk.arrows")
    for copy in ("memory.arrows", "disk.arrows"):
        with batchcorder.open(tmp_path / copy) as cache:
            check(cache, batch, 1)

    def make_source() -> pa.RecordBatchReader:
        return reader_of([batch])

    for _ in range(2):
        with batchcorder.cached(tmp_path / "cached.arrows", make_source) as cache:
            check(cache, batch, 1)


@pytest.mark.parametrize("name", BATCHES)
def test_resume(name: str, tmp_path: Path) -> None:
    """A recording is resumed only from a source with the same metadata of values."""
    batch, path = BATCHES[name], tmp_path / "x.arrows"
    assert batchcorder.cached(path, lambda: reader_of([batch] * 3))[:1] == [batch]
    with batchcorder.open(path, partial=True) as part:
        check(part, batch, 1)
    with pa.ipc.open_stream(path) as stream:
        schema = pa.schema([pa.field(f.name, f.type) for f in stream.schema])
        (stored,) = (one.cast(schema) for one in stream)
    with pytest.raises(ValueError, match="schema"):
        batchcorder.cached(path, lambda: reader_of([stored] * 3), resume=True)
    resumed = batchcorder.cached(path, lambda: reader_of([batch] * 3), resume=True)
    assert resumed.stats()["resumed"] == 1
    check(resumed, batch, 3)
    assert batchcorder.verify(path) == 3


def test_other_readers(tmp_path: Path) -> None:
    """Other readers see the values' storage, and the metadata as keys of the field."""
    path = tmp_path / "x.arrows"
    batchcorder.record(reader_of([HUGE_BATCH]), path).close()
    with pa.ipc.open_stream(path) as stream:
        field = stream.schema.field(0)
        table_read = stream.read_all()
    assert field.type == pa.dictionary(pa.int8(), pa.binary(16))
    assert field.metadata == {
        b"unit": b"none",
        PREFIX + b"ARROW:extension:name": b"arrow.opaque",
        PREFIX + b"ARROW:extension:metadata": SERIALIZED,
    }
    wanted = [NUMBERS[0], NUMBERS[1], None, NUMBERS[1]]
    assert table_read["d"].to_pylist() == wanted
    frame = pl.read_ipc_stream(path)
    assert frame["d"].cast(pl.Binary).to_list() == wanted
    assert duckdb.sql("from table_read").fetchall() == [(v,) for v in wanted]


@pytest.mark.parametrize("way", ["memory", "disk", "opened"])
def test_duckdb_reads_the_type(way: str, tmp_path: Path) -> None:
    if way == "memory":
        cache = StreamCache(reader_of([HUGE_BATCH]))
    elif way == "disk":
        cache = on_disk(reader_of([HUGE_BATCH]), tmp_path)
    else:
        batchcorder.record(reader_of([HUGE_BATCH]), tmp_path / "x.arrows").close()
        cache = batchcorder.open(tmp_path / "x.arrows")
    found = duckdb.sql("select typeof(d), d from cache").fetchall()
    assert {kind for kind, _ in found} == {"UHUGEINT"}
    cache.close()


# ---- metadata without a registered extension type ----


def packed(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return metadata in the encoding of the C data interface."""
    words = [word for pair in pairs for word in pair]
    texts = [struct.pack("=i", len(word)) + word for word in words]
    return struct.pack("=i", len(pairs)) + b"".join(texts)


def unpacked(address: int | None) -> list[tuple[bytes, bytes]] | None:
    if address is None:
        return None
    at = address

    def read(size: int) -> bytes:
        nonlocal at
        at += size
        return ctypes.string_at(at - size, size)

    def number() -> int:
        return int(struct.unpack("=i", read(4))[0])

    return [(read(number()), read(number())) for _ in range(number())]


def with_metadata(own: bytes | None, values: bytes | None) -> RawStream:
    """Return a stream with one dictionary column that has this metadata."""
    kept = [ctypes.create_string_buffer(text) for text in (own, values) if text]

    def change(schema: ArrowSchema) -> None:
        column = schema.children[0].contents
        texts = iter(kept)
        for field, text in ((column, own), (column.dictionary.contents, values)):
            field.metadata = ctypes.addressof(next(texts)) if text else None

    batch = pa.record_batch({"d": pa.array(["a", "b", "a"]).dictionary_encode()})
    return RawStream(batch.schema, [batch], change_schema=change)


def metadata_in(stream: Any) -> tuple[Any, Any]:
    """Return the metadata of the stream's column, and of its values."""
    raw, schema = stream_in(capsule := stream.__arrow_c_stream__()), ArrowSchema()
    assert raw.get_schema(raw, schema) == 0
    column = schema.children[0].contents
    found = unpacked(column.metadata), unpacked(column.dictionary.contents.metadata)
    schema.release(schema)
    del capsule
    return found


PLAIN = [(b"k", b"v")]
ODD = [(b"a\0b", b"\0"), (b"", b""), (b"a\0b", b"again"), (b"\xff\xfe", b"\x80\0")]
TAKEN = [
    (PREFIX + b"k", b"own"),
    (PREFIX, b""),
    (b"batchcorder.values+:k", b"1"),
    (b"batchcorder.values++:k", b"2"),
    (b"batchcorder.values", b"3"),
    (PREFIX + b"\0", b"\0"),
]


@pytest.mark.parametrize(
    ("own", "values"),
    [
        (None, None),
        (None, PLAIN),
        (PLAIN, None),
        (PLAIN, PLAIN),
        (ODD, ODD),
        (TAKEN, None),
        (None, TAKEN),
        (TAKEN, TAKEN),
        (TAKEN + ODD, PLAIN),
    ],
)
def test_any_pairs(own: Any, values: Any, tmp_path: Path) -> None:
    """Pairs keep their bytes and their order, for any prefix of their keys."""
    texts = [None if pairs is None else packed(pairs) for pairs in (own, values)]
    path, again = tmp_path / "x.arrows", tmp_path / "y.arrows"
    make: Callable[[], Any] = lambda: with_metadata(*texts)  # noqa: E731
    cache = StreamCache(make())
    assert metadata_in(cache) == (own, values)
    batchcorder.record(make(), path).close()
    with batchcorder.open(path) as opened:
        assert metadata_in(opened) == (own, values)
        opened.save(again)
    with batchcorder.open(again) as opened:
        assert metadata_in(opened) == (own, values)
    assert path.read_bytes() == again.read_bytes()


def test_metadata_without_pairs(tmp_path: Path) -> None:
    """Values with empty metadata have no metadata when the file is opened."""
    batchcorder.record(with_metadata(None, packed([])), tmp_path / "x.arrows").close()
    with batchcorder.open(tmp_path / "x.arrows") as opened:
        assert metadata_in(opened) == (None, None)


def test_files_of_other_writers(tmp_path: Path) -> None:
    """A copy of our file by pyarrow has the type of the values when it is opened."""
    path, copy = tmp_path / "x.arrows", tmp_path / "y.arrows"
    batchcorder.record(reader_of([HUGE_BATCH]), path).close()
    with pa.ipc.open_stream(path) as stream:
        table = stream.read_all()
    with pa.ipc.new_stream(copy, table.schema) as writer:
        writer.write_table(table)
    with batchcorder.open(copy) as cache:
        check(cache, HUGE_BATCH, 1)


def test_fields_without_a_dictionary(tmp_path: Path) -> None:
    """Keys of other fields and of the schema are unchanged, in the file too."""
    pairs = dict(TAKEN)
    field = pa.field("x", pa.int8(), metadata=pairs)
    batch = pa.RecordBatch.from_arrays(
        [pa.array([1], pa.int8())], schema=pa.schema([field], metadata=pairs)
    )
    path = tmp_path / "x.arrows"
    batchcorder.record(reader_of([batch]), path).close()
    assert pa.ipc.open_stream(path).schema.equals(batch.schema, check_metadata=True)
    with batchcorder.open(path) as cache:
        check(cache, batch, 1)


def test_a_cache_file_has_them_too(tmp_path: Path) -> None:
    cache = on_disk(reader_of([HUGE_BATCH]), tmp_path)
    cache.ingest_all()
    with batchcorder.open(cache_file(tmp_path), partial=True) as opened:
        check(opened, HUGE_BATCH, 1)
    cache.close()
