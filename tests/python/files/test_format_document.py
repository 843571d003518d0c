"""docs/file-format.md suffices to read files: the parser here has no library code."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from helpers import cache_file, on_disk

xxhash = pytest.importorskip("xxhash")

ROWS = 1000


def messages(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the metadata of each message, with prefix and padding, and its body."""
    at = 0
    while at < len(content):
        assert at % 64 == 0
        mark, size = struct.unpack_from("<Ii", content, at)
        assert mark == 0xFFFFFFFF
        assert (8 + size) % 64 == 0
        head = content[at : at + 8 + size]
        message = pa.ipc.read_message(pa.BufferReader(content[at:]))
        body = b"" if message.body is None else message.body.to_pybytes()
        assert len(body) % 64 == 0
        yield head, body
        at += len(head) + len(body)


def digits_of(head: bytes) -> tuple[bytes, list[str]]:
    """Return the metadata with its own digest zeroed, and all digests, 16 digits each."""
    key = head.index(b"batchcorder.xxh3")
    (found,) = (m for m in re.finditer(rb"[0-9a-f]{16,}", head) if m.start() != key)
    text = found[0].decode()
    assert len(text) % 16 == 0
    blank = head[: found.start()] + b"0" * 16 + head[found.start() + 16 :]
    return blank, [text[i : i + 16] for i in range(0, len(text), 16)]


def xxh3(content: bytes) -> str:
    return f"{xxhash.xxh3_64_intdigest(content):016x}"


@pytest.mark.parametrize("rows", [10, ROWS])
def test_checksums(rows: int, tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": pa.array(range(3 * rows), pa.int64()),
            "s": [None if i % 3 == 0 else f"text {i}" for i in range(3 * rows)],
        }
    )
    cache = on_disk(table.to_reader(max_chunksize=rows), tmp_path)
    cache.ingest_all()
    found = list(messages(cache_file(tmp_path).read_bytes()))
    assert len(found) == 1 + 3
    for number, (head, body) in enumerate(found):
        blank, digits = digits_of(head)
        assert digits[0] == xxh3(blank)
        if number == 0:
            assert (digits[1:], body) == ([], b"")
            continue
        if len(body) <= 4096:
            assert digits[1:] == [xxh3(body)]
            continue
        # Column x has values and no bitmap. Column s has a bitmap, offsets and text.
        texts = table["s"].combine_chunks().slice((number - 1) * rows, rows)
        size = sum(len(t) for t in texts.to_pylist() if t is not None)
        lengths = [0, 8 * rows, (rows + 7) // 8, 4 * (rows + 1), size]
        at, wanted = 0, []
        for length in lengths:
            padded = -(-length // 64) * 64
            wanted.append(xxh3(body[at : at + padded]) if length else "0" * 16)
            assert not any(body[at + length : at + padded])
            at += padded
        assert at == len(body)
        assert digits[1:] == wanted


def test_without_checksums(tmp_path: Path) -> None:
    cache = on_disk(pa.table({"x": range(9)}), tmp_path, checksum=False)
    cache.ingest_all()
    assert b"batchcorder" not in cache_file(tmp_path).read_bytes()
