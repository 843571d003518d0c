"""Files that an attacker makes to cost more time or memory than their size permits."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from subprocess import check_output

import pyarrow as pa
import pytest

import batchcorder
from helpers import check_python

ROWS = [1000, 1, 1, 1, 1]
COLUMNS = 4000
# Prints the peak memory of the process in KiB, before and after it reads a file.
READ = """
import re, sys
import pyarrow
import batchcorder

def most():
    return re.search("VmHWM:\\s*([0-9]+)", open("/proc/self/status").read())[1]

before = most()
with batchcorder.open(sys.argv[1], verify=True) as cache:
    rows = sum(len(batch) for batch in cache.reader())
print(before, most(), rows)
"""


def test_many_blocks_of_one_message(tmp_path: Path) -> None:
    """A footer may name one message, as large as the file, for many batches."""
    batches = [pa.record_batch({"x": pa.array(range(n))}) for n in ROWS]
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    content = sink.getvalue()
    # The blocks follow their count, 24 bytes each: offset, metadata size, body size.
    footer = len(content) - 10 - struct.unpack_from("<i", content, len(content) - 10)[0]
    number = content.index(struct.pack("<i", len(ROWS)), footer)
    blocks = [number + 4 + 24 * i for i in range(len(ROWS))]
    for at in blocks:
        where = struct.unpack_from("<q", content, at)[0]
        assert content[where : where + 4] == b"\xff\xff\xff\xff"
    for at in blocks[1:]:
        content = content[:at] + content[blocks[0] :][:24] + content[at + 24 :]
    path = tmp_path / "x.arrow"
    path.write_bytes(content)
    with pytest.raises(OSError, match="No valid Arrow message"):
        batchcorder.open(path)
    path.write_bytes(sink.getvalue())
    with batchcorder.open(path) as cache:
        assert cache.to_table() == pa.Table.from_batches(batches)


def test_a_block_behind_the_file(tmp_path: Path) -> None:
    """A message that was appended after the open is not part of the file."""
    batch = pa.record_batch({"x": pa.array(range(10))})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content = bytearray(sink.getvalue())
    footer = len(content) - 10 - struct.unpack_from("<i", content, len(content) - 10)[0]
    block = content.index(struct.pack("<i", 1), footer) + 4
    offset, metadata, body = struct.unpack_from("<qi4xq", content, block)
    message = content[offset : offset + metadata + body]
    assert message.startswith(b"\xff\xff\xff\xff")
    behind = -(-len(content) // 64) * 64
    struct.pack_into("<q", content, block, behind)
    path = tmp_path / "x.arrow"
    path.write_bytes(content)
    check_python(
        f"""
    import batchcorder
    cache = batchcorder.open({str(path)!r}, follow=True)
    with open({str(path)!r}, "ab") as out:
        out.write(bytes({behind - len(content)}) + {bytes(message)!r})
    try:
        list(cache)
    except OSError as error:
        assert "No valid Arrow message" in str(error)
    else:
        raise AssertionError
    """
    )


def test_many_dictionaries(tmp_path: Path) -> None:
    """The memory for a dictionary does not grow with the number of other columns."""
    words = pa.array(["a", "b"])
    indices = pa.array([0, 1], pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, words)
    batch = pa.record_batch({f"c{i}": column for i in range(COLUMNS)})
    path = tmp_path / "x.arrows"
    with pa.ipc.new_stream(path, batch.schema) as writer:
        writer.write_batch(batch)
    before, after, rows = map(
        int, check_output([sys.executable, "-c", READ, path]).split()
    )
    assert rows == 2
    # As an Arrow array, the batch takes about 500 bytes a column, in two libraries.
    assert after - before < 20 * path.stat().st_size // 1024
