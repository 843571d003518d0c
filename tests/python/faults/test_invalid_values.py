"""Files with unverified offsets, views, ids and runs are recorded again."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder

TEXT = [b"0123456789"] * 6


def offsets(width: str, *values: int) -> bytes:
    return struct.pack(f"<{len(values)}{width}", *values)


def view(length: int, prefix: bytes, buffer: int, offset: int) -> bytes:
    return struct.pack("<i4sii", length, prefix, buffer, offset)


def lists(
    child: pa.Array, ends: list[int], kind: type[pa.Array], index: pa.DataType
) -> pa.Array:
    return kind.from_arrays(pa.array(ends, index), child)


def dense_union() -> pa.Array:
    return pa.UnionArray.from_dense(
        pa.array([0, 1, 0, 1, 0, 1], pa.int8()),
        pa.array([10, 20, 11, 21, 12, 22], pa.int32()),
        [pa.array(range(30), pa.int16()), pa.array(range(30), pa.int32())],
    )


def sparse_union() -> pa.Array:
    return pa.UnionArray.from_sparse(
        pa.array([0, 1, 0, 1, 0, 1, 1, 1], pa.int8()),
        [pa.array(range(8), pa.int16()), pa.array(range(8), pa.int32())],
    )


def views(kind: pa.DataType) -> pa.Array:
    return pa.array([b"a long text, number %d" % i for i in range(3)], kind)


BINARY = pa.array(TEXT, pa.binary())
LARGE = pa.array(TEXT, pa.large_binary())
WORDS = pa.array([t.decode() for t in TEXT])
SMALL = pa.array(range(40), pa.int8())
LONG = b"a long text, number "
TENS = (0, 10, 20, 30, 40, 50, 60)
#: The array, its bytes in a file, and the bytes that replace them.
CASES: dict[str, tuple[pa.Array, list[tuple[bytes, bytes]]]] = {
    "list_cuts_binary": (
        lists(BINARY, [0, 6], pa.ListArray, pa.int32()),
        [
            (offsets("i", *TENS), offsets("i", 0, 10, 20, 30, 40, 290000, 60)),
            (offsets("i", 0, 6), offsets("i", 0, 5)),
        ],
    ),
    "list_cuts_large_binary": (
        lists(LARGE, [0, 6], pa.ListArray, pa.int32()),
        [
            (offsets("q", *TENS), offsets("q", 0, 10, 20, 30, 40, 1 << 40, 60)),
            (offsets("i", 0, 6), offsets("i", 0, 5)),
        ],
    ),
    "large_list_starts_in_text": (
        lists(WORDS, [0, 3, 6], pa.LargeListArray, pa.int64()),
        [
            (offsets("i", *TENS), offsets("i", 0, 10, -290000, 30, 40, 50, 60)),
            (offsets("q", 0, 3, 6), offsets("q", 2, 3, 6)),
        ],
    ),
    "list_view_cuts_binary": (
        pa.ListViewArray.from_arrays(
            pa.array([0, 3], pa.int32()), pa.array([3, 3], pa.int32()), BINARY
        ),
        [
            (offsets("i", *TENS), offsets("i", 0, 10, 20, 30, 40, 290000, 60)),
            (offsets("i", 3, 3), offsets("i", 3, 2)),
        ],
    ),
    "binary": (
        BINARY,
        [(offsets("i", *TENS), offsets("i", 0, 10, 20, 30, 400, 50, 60))],
    ),
    "large_string": (
        pa.array([t.decode() for t in TEXT], pa.large_string()),
        [(offsets("q", *TENS), offsets("q", 0, 10, 20, -30, 40, 50, 60))],
    ),
    "list": (
        lists(SMALL, [0, 11, 22, 40], pa.ListArray, pa.int32()),
        [(offsets("i", 0, 11, 22, 40), offsets("i", 0, 1100, 22, 40))],
    ),
    "large_list": (
        lists(SMALL, [0, 11, 22, 40], pa.LargeListArray, pa.int64()),
        [(offsets("q", 0, 11, 22, 40), offsets("q", 0, 11, -22, 40))],
    ),
    "list_in_struct": (
        pa.StructArray.from_arrays(
            [lists(SMALL, [0, 11, 22, 40], pa.ListArray, pa.int32())], ["inner"]
        ),
        [(offsets("i", 0, 11, 22, 40), offsets("i", 0, 33, 22, 40))],
    ),
    "binary_in_fixed_size_list": (
        pa.FixedSizeListArray.from_arrays(BINARY, 2),
        [(offsets("i", *TENS), offsets("i", 0, 10, 20, 30, 400, 50, 60))],
    ),
    "map": (
        pa.MapArray.from_arrays(pa.array([0, 2, 4, 6], pa.int32()), WORDS, BINARY),
        [(offsets("i", 0, 2, 4, 6), offsets("i", 0, 5, 4, 6))],
    ),
    "list_view_offset": (
        pa.ListViewArray.from_arrays(
            pa.array([30, 20], pa.int32()), pa.array([9, 8], pa.int32()), SMALL
        ),
        [(offsets("i", 9, 8), offsets("i", 9, 800))],
    ),
    "large_list_view_size": (
        pa.LargeListViewArray.from_arrays(
            pa.array([30, 20], pa.int64()), pa.array([9, 8], pa.int64()), SMALL
        ),
        [(offsets("q", 9, 8), offsets("q", -9, 8))],
    ),
    "view_buffer": (
        views(pa.binary_view()),
        [(view(21, LONG[:4], 0, 21), view(21, LONG[:4], 9, 21))],
    ),
    "view_offset": (
        views(pa.string_view()),
        [(view(21, LONG[:4], 0, 21), view(21, LONG[:4], 0, 1 << 20))],
    ),
    "view_length": (
        views(pa.binary_view()),
        [(view(21, LONG[:4], 0, 21), view(1 << 24, LONG[:4], 0, 21))],
    ),
    "view_length_is_negative": (
        views(pa.binary_view()),
        [(view(21, LONG[:4], 0, 21), view(-21, LONG[:4], 0, 21))],
    ),
    "view_without_buffers": (
        pa.array([b"short", b"words"], pa.binary_view()),
        [(struct.pack("<i12s", 5, b"words"), view(21, LONG[:4], 0, 0))],
    ),
    "dense_union_id": (
        dense_union(),
        [(bytes([0, 1, 0, 1, 0, 1]), bytes([0, 1, 0, 100, 0, 1]))],
    ),
    "dense_union_offset": (
        dense_union(),
        [
            (offsets("i", 0, 0, 1, 1, 2, 2), offsets("i", 0, 0, 1, 1, 2000, 2)),
            (offsets("i", 10, 20, 11, 21, 12, 22), offsets("i", 10, 20, 11, 21, -12, 22)),
        ],
    ),
    "sparse_union_id": (
        sparse_union(),
        [(bytes([0, 1, 0, 1, 0, 1, 1, 1]), bytes([0, 1, 255, 1, 0, 1, 1, 1]))],
    ),
    "run_ends_fall": (
        pa.RunEndEncodedArray.from_arrays(
            pa.array([3, 5, 9, 12], pa.int32()), pa.array(range(4), pa.int8())
        ),
        [(offsets("i", 3, 5, 9, 12), offsets("i", 3, 11, 9, 12))],
    ),
    "run_ends_stop": (
        pa.RunEndEncodedArray.from_arrays(
            pa.array([3, 5, 9, 12], pa.int16()), pa.array(range(4), pa.int8())
        ),
        [(offsets("h", 3, 5, 9, 12), offsets("h", 3, 5, 9, 10))],
    ),
}


def hostile_file(path: Path, name: str, *, dictionary: bool = False) -> None:
    """Write a stream of a valid batch and an invalid one, with a wrong column `col`."""
    array, edits = CASES[name]
    if dictionary:
        array = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), array)
    schema = pa.schema([("col", array.type)])
    good = pa.record_batch([array[:0]], schema=schema)
    bad = pa.record_batch([array], schema=schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        if not dictionary:
            writer.write_batch(good)
        writer.write_batch(bad)
    content = bytearray(path.read_bytes())
    done = 0
    for old, new in edits:
        at = content.rfind(old)
        if at >= 0:
            content[at : at + len(old)] = new
            done += 1
    assert done, "the file lacks the bytes to replace"
    path.write_bytes(content)


def again(source: pa.RecordBatchReader, how: str, path: Path) -> batchcorder.StreamCache:
    if how == "record":
        return batchcorder.record(source, path / "copy.arrows")
    if how == "on_eviction":
        return batchcorder.StreamCache.on_disk(
            source, path=path, memory_capacity=0, write_policy="on_eviction"
        )
    return batchcorder.StreamCache.on_disk(source, path=path)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_saved(tmp_path: Path, name: str, mmap: bool) -> None:
    path = tmp_path / "hostile.arrow"
    hostile_file(path, name)
    cache = batchcorder.open(path, mmap=mmap)
    with pytest.raises(OSError, match=r"[Bb]atch 1 .*'col") as caught:
        cache.save(tmp_path / "saved.arrows")
    assert caught.value.errno == 74
    assert not (tmp_path / "saved.arrows").exists()


@pytest.mark.parametrize("how", ["record", "on_disk", "on_eviction"])
@pytest.mark.parametrize("name", CASES)
def test_recorded_again(tmp_path: Path, name: str, how: str) -> None:
    path = tmp_path / "hostile.arrow"
    hostile_file(path, name)
    with pytest.raises(ValueError, match=r"[Bb]atch 1 .*'col"):
        again(batchcorder.open(path), how, tmp_path).ingest_all()


@pytest.mark.parametrize("name", CASES)
def test_dictionary(tmp_path: Path, name: str) -> None:
    array = CASES[name][0]
    if pa.types.is_union(array.type) or pa.types.is_run_end_encoded(array.type):
        pytest.skip("pyarrow has no dictionaries of these")
    path = tmp_path / "hostile.arrow"
    try:
        hostile_file(path, name, dictionary=True)
    except pa.ArrowException:
        pytest.skip("pyarrow does not write it")
    with pytest.raises(OSError, match=r"[Bb]atch 0 .*'col"):
        batchcorder.open(path).save(tmp_path / "saved.arrows")


def test_null_counts_are_counted(tmp_path: Path) -> None:
    """The recording counts nulls itself and ignores the producer's null count."""
    bitmap = pa.py_buffer(b"\x0f")
    data = pa.py_buffer(bytes(32))
    for said in (1, 8):
        array = pa.Array.from_buffers(pa.int32(), 8, [bitmap, data], null_count=said)
        batch = pa.record_batch([array], names=["x"])
        path = tmp_path / f"{said}.arrows"
        source = pa.RecordBatchReader.from_batches(batch.schema, [batch])
        batchcorder.record(source, path).close()
        assert pa.table(batchcorder.open(path, verify=True))["x"].null_count == 4
