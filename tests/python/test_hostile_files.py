"""Files that are made to take longer to read than their size."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder

ROWS = [1000, 1, 1, 1, 1]


def test_many_blocks_of_one_message(tmp_path: Path) -> None:
    """A footer may name one message for many batches, which then are the whole file."""
    batches = [pa.record_batch({"x": pa.array(range(n))}) for n in ROWS]
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    content = sink.getvalue()
    # The blocks stand behind their number: offset, sizes of metadata and body, 24 bytes.
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
    with pytest.raises(OSError, match="no message"):
        batchcorder.open(path)
    path.write_bytes(sink.getvalue())
    with batchcorder.open(path) as cache:
        assert cache.to_table() == pa.Table.from_batches(batches)
