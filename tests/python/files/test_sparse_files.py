"""Files of a large size that take few bytes on a disk."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash

import batchcorder

SIZE = 4 << 30
ROWS = 2345
# Uses a file in every way, then prints the rows, and the bytes read and allocated.
USE = """
import re, sys
from errno import EBADMSG, EINVAL, ENODATA, EOWNERDEAD
import pyarrow
import batchcorder

def counted(path, name):
    return int(re.search(name + ":\\\\s*([0-9]+)", open(path).read())[1])

def used():
    return counted("/proc/self/io", "rchar"), counted("/proc/self/status", "VmHWM") << 10

before = used()
done = 0
for options in [
    {}, {"mmap": False}, {"verify": True}, {"partial": True}, {"follow": True}
]:
    try:
        with batchcorder.open(sys.argv[1], **options) as cache:
            cache.info()
            done += sum(len(batch) for batch in cache.reader())
    except OSError as error:
        assert error.errno in (ENODATA, EBADMSG, EOWNERDEAD, EINVAL), error
    except ValueError:
        pass
try:
    batchcorder.verify(sys.argv[1])
except (OSError, ValueError):
    pass
after = used()
print(done, *(b - a for a, b in zip(before, after)))
"""


def check(path: Path, rows: int = 0) -> None:
    """Check that reads and memory follow the blocks on disk, not the size of the file."""
    on_disk = path.stat().st_blocks * 512
    assert on_disk < 1 << 20
    assert path.stat().st_size >= 1 << 30
    output = subprocess.check_output(
        [sys.executable, "-c", USE, path], text=True, timeout=300
    )
    done, read, held = map(int, output.split())
    assert done >= rows
    # There are six ways. pyarrow itself takes some memory, too.
    assert read < 6 * (4 * on_disk + (1 << 20))
    assert held < 4 * on_disk + (16 << 20)


def footer(end: int, schema_bytes: int, batches: int = 0, rows: int = 0) -> bytes:
    numbers = struct.pack("<iiqqqqqqQ", 1, 1, end, schema_bytes, batches, rows, 0, 0, 0)
    content = (b"BCTRAIL1" + numbers).ljust(112, bytes(1))
    return content + struct.pack("<Q", xxhash.xxh3_64_intdigest(content)) + b"BCTRAIL1"


def write(path: Path, start: bytes, at: int, end: bytes) -> None:
    with path.open("wb") as file:
        file.write(start)
        file.seek(at)
        file.write(end)


def test_trailer_of_a_large_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    marker = struct.pack("<ii", -1, 0).ljust(64, bytes(1))
    write(path, b"", SIZE, marker + footer(SIZE, SIZE - 64))
    check(path)


def test_trailer_of_many_batches(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batch = pa.record_batch({"x": pa.array(range(ROWS))})
    source = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    batchcorder.record(source, path).close()
    content = path.read_bytes()
    end, schema_bytes = struct.unpack_from("<qq", content, len(content) - 128 + 16)
    checksum = struct.unpack_from("<Q", content, len(content) - 128 + 64)[0]
    batches = (SIZE - end) // 32 // 2 * 2
    size = end + 64 + 32 * batches
    numbers = struct.pack(
        "<iiqqqqqqQ", 1, 1, end, schema_bytes, batches, ROWS, 0, 0, checksum
    )
    last = (b"BCTRAIL1" + numbers).ljust(112, bytes(1))
    last += struct.pack("<Q", xxhash.xxh3_64_intdigest(last)) + b"BCTRAIL1"
    # The first entry is right.
    write(path, content[: end + 64 + 32], -(-(size) // 64) * 64, last)
    check(path)


def schema_message(body: int) -> bytes:
    """Return a stream's schema message that claims to have a body."""
    sink = io.BytesIO()
    pa.ipc.new_stream(sink, pa.schema([("x", pa.int64())])).close()
    old = sink.getvalue()[8:-8]
    root = struct.unpack_from("<I", old)[0]
    vtable = root - struct.unpack_from("<i", old, root)[0]
    header = root + struct.unpack_from("<H", old, vtable + 8)[0]
    target = header + struct.unpack_from("<I", old, header)[0]
    front = bytearray(64)
    struct.pack_into("<I", front, 0, 24)
    struct.pack_into("<HHHHHH", front, 8, 12, 24, 4, 6, 8, 16)
    struct.pack_into("<ihBxI", front, 24, 24 - 8, 4, 1, 64 + target - 32)
    struct.pack_into("<q", front, 40, body)
    metadata = bytes(front) + old
    return struct.pack("<Ii", 0xFFFFFFFF, len(metadata)) + metadata


def test_body_of_a_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    message = schema_message(SIZE)
    write(path, message, len(message) + SIZE - 8, struct.pack("<ii", -1, 0))
    check(path)


@pytest.mark.parametrize("behind", [0, ROWS])
def test_metadata(tmp_path: Path, behind: int) -> None:
    """The metadata of the second or of the first message is a hole."""
    path = tmp_path / "x.arrow"
    start = b""
    if behind > 0:
        sink = io.BytesIO()
        batch = pa.record_batch({"x": pa.array(range(behind))})
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        start = sink.getvalue()[:-8]
    start += struct.pack("<ii", -1, (1 << 31) - 64)
    write(path, start, SIZE, bytes(64))
    check(path)


def test_footer(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    tail = struct.pack("<i", (1 << 31) - 64) + b"ARROW1"
    write(path, b"ARROW1" + bytes(2), SIZE, tail)
    check(path)


@pytest.mark.parametrize("dictionary", [False, True])
def test_body_of_a_batch(tmp_path: Path, dictionary: bool) -> None:
    """A batch with all of its rows is read, though its body claims to be large."""
    path = tmp_path / "x.arrow"
    values = pa.array([b"%040d" % i for i in range(ROWS)])
    if dictionary:
        values = pa.DictionaryArray.from_arrays(pa.array([1, 2]), values)
    batch = pa.record_batch({"x": values})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content = bytearray(sink.getvalue())
    stream = pa.ipc.open_stream(content)
    assert stream.read_next_batch() == batch
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(bytes(content)))
    bodies = [len(message.body) for message in reader if message.body is not None]
    body = max(bodies)
    number = content.index(struct.pack("<q", body))
    struct.pack_into("<q", content, number, body + SIZE)
    # The rest of the file follows the hole.
    where = content.index(bytes([255] * 4), content.index(b"%040d" % (ROWS - 1)))
    write(path, bytes(content[:where]), where + SIZE, bytes(content[where:]))
    check(path, rows=len(batch))


def test_sparse_rows_are_read(tmp_path: Path) -> None:
    """A sparse copy of a file has holes for zeros, and its rows are read."""
    path = tmp_path / "x.arrows"
    batch = pa.record_batch({"x": pa.repeat(pa.scalar(0), 1 << 20)})
    source = pa.RecordBatchReader.from_batches(batch.schema, [batch] * 3)
    batchcorder.record(source, path).close()
    copy = tmp_path / "copy.arrows"
    subprocess.check_call(["cp", "--sparse=always", path, copy])
    assert copy.stat().st_blocks * 512 < 1 << 20
    for mmap in (True, False):
        with batchcorder.open(copy, mmap=mmap, verify=True) as cache:
            assert all(b == batch for b in cache.reader())
            assert cache.info()["complete"]
    assert batchcorder.verify(copy) == 3
