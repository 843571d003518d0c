"""No copies: memory keeps the source's buffers, and the disk tier maps the file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from cstream import ArrowArray, array_of, arrays
from helpers import cache_file, mapped, numbered, on_disk, reader_of
from kinds import ALL, batch_of, slices_of

Tree = list[object]


def child_types(kind: pa.DataType) -> list[pa.DataType]:
    """Return the types of an array's children, in the order of the C data interface."""
    types = pa.types
    if types.is_map(kind):
        return [pa.struct([kind.key_field, kind.item_field])]
    if types.is_run_end_encoded(kind):
        return [kind.run_end_type, kind.value_type]
    if types.is_struct(kind) or types.is_union(kind):
        return [kind.field(i).type for i in range(kind.num_fields)]
    if kind.num_fields == 1:
        return [kind.value_type]
    return []


def buffers_of(array: ArrowArray, kind: pa.DataType) -> list[int | None]:
    """Return the buffer addresses of an array, without its children."""
    buffers = [array.buffers[i] for i in range(array.n_buffers)]
    if str(kind) in ("string_view", "binary_view"):
        buffers.pop()  # the variadic buffers' sizes, which each export makes anew
    return buffers


def tree_of(array: ArrowArray, kind: pa.DataType) -> Tree:
    """Return lengths, offsets and buffer addresses of an array and its descendants."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    kinds = child_types(kind)
    assert len(kinds) == array.n_children
    children = [array.children[i].contents for i in range(array.n_children)]
    dictionary = array.dictionary.contents if array.dictionary else None
    return [
        array.length,
        array.offset if array.length > 0 else 0,
        buffers_of(array, kind),
        [tree_of(child, kind) for child, kind in zip(children, kinds, strict=True)],
        None if dictionary is None else tree_of(dictionary, kind.value_type),
    ]


def batch_tree(array: ArrowArray, schema: pa.Schema) -> Tree:
    """Return the tree of each column of a batch."""
    return [
        tree_of(array.children[i].contents, schema.field(i).type)
        for i in range(array.n_children)
    ]


def exported(batch: pa.RecordBatch) -> Tree:
    array = array_of(batch)
    tree = batch_tree(array, batch.schema)
    array.release(array)
    return tree


@pytest.mark.parametrize("name", ALL)
def test_memory_hands_out_the_sources_own_buffers(name: str) -> None:
    batches = slices_of(batch_of(name))
    schema = batches[0].schema
    cache = StreamCache(pa.RecordBatchReader.from_batches(schema, batches))
    wanted = [exported(b) for b in batches]
    for _ in range(2):
        assert [batch_tree(array, schema) for array in arrays(cache)] == wanted


def test_pyarrow_sees_the_same_addresses() -> None:
    batches = numbered(3, 1000)
    cache = StreamCache(reader_of(batches))
    for _ in range(2):
        for got, wanted in zip(cache, batches, strict=True):
            assert (
                got.column(0).buffers()[1].address
                == wanted.column(0).buffers()[1].address
            )


def addresses_in(tree: Any) -> Iterator[int]:
    """Return the addresses of all buffers of nonempty arrays."""
    length, _, buffers, children, dictionary = tree
    if length > 0:
        yield from filter(None, buffers)
        for below in [*children, *([dictionary] if dictionary else [])]:
            yield from addresses_in(below)


@pytest.mark.parametrize("name", ALL)
def test_disk_hands_out_the_mapped_file(name: str, tmp_path: Path) -> None:
    batches = [b for b in slices_of(batch_of(name)) if b.num_rows > 0]
    cache = on_disk(reader_of(batches), tmp_path)
    cache.ingest_all()
    for array in arrays(cache):
        ranges = mapped(cache_file(tmp_path).resolve())
        assert ranges
        trees = batch_tree(array, batches[0].schema)
        addresses = [address for tree in trees for address in addresses_in(tree)]
        assert addresses
        for address in addresses:
            assert address % 64 == 0
            assert any(low <= address < high for low, high in ranges), hex(address)


def test_bodies_begin_at_64_byte_offsets_in_the_file(tmp_path: Path) -> None:
    """A consumer that maps the file also gets aligned buffers."""
    cache = on_disk(
        pa.table({"a": list(range(100)), "s": [str(i) for i in range(100)]}), tmp_path
    )
    cache.ingest_all()
    with (
        pa.memory_map(str(cache_file(tmp_path))) as file,
        pa.ipc.open_stream(file) as stream,
    ):
        (one,) = list(stream)
        assert one.num_rows == 100
        for column in one.columns:
            for buffer in column.buffers():
                assert buffer is None or buffer.address % 64 == 0


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_children_outlive_the_batch_in_any_order(tier: str, tmp_path: Path) -> None:
    """A consumer may move children out of a batch and release them last."""
    batches = [batch_of("list_struct"), batch_of("list_struct").slice(3)]
    source = reader_of(batches)
    cache = StreamCache(source) if tier == "memory" else on_disk(source, tmp_path)
    moved = []
    for array in arrays(cache):
        for i in (1, 0):
            child = ArrowArray()
            ctypes.memmove(
                ctypes.addressof(child),
                ctypes.addressof(array.children[i].contents),
                ctypes.sizeof(child),
            )
            array.children[i].contents.release = type(child.release)()
            moved.append(child)
    del cache
    kinds = [batches[0].schema.field(1).type, batches[0].schema.field(0).type] * 2
    columns = [
        pa.Array._import_from_c(ctypes.addressof(child), kind)
        for child, kind in zip(moved, kinds, strict=True)
    ]
    wanted = [b.column(i) for b in batches for i in (1, 0)]
    while columns:
        assert columns.pop(0).equals(wanted.pop(0))
