"""info(): its figures for a file equal those that pyarrow computes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from foreign import file_of, stream_of
from helpers import CLOSED, Gate, Source, Task, cache_file, numbered, on_disk, reader_of
from kinds import ALL, batch_of, slices_of

KEYS = {
    "kind",
    "path",
    "bytes",
    "complete",
    "checksums",
    "compression",
    "schema",
    "batches",
    "rows",
    "columns",
    "dictionary_batches",
    "dictionary_bytes",
}


def by_pyarrow(content: bytes) -> tuple[list[int], int, int]:
    """Return the bytes of each column, the number of dictionaries, and their bytes."""
    with pa.ipc.open_stream(content) as stream:
        columns = [0] * len(stream.schema)
        for one in stream:
            for i, column in enumerate(one.columns):
                columns[i] += sum(b.size for b in column.buffers() if b is not None)
    source = pa.BufferReader(content)
    number = size = at = 0
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type == "dictionary":
            number += 1
            size += source.tell() - at
        at = source.tell()
    return columns, number, size


@pytest.mark.parametrize("make", ["recording", "stream"])
@pytest.mark.parametrize("name", ALL)
def test_bytes_of_columns(name: str, make: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    path = tmp_path / "x.arrows"
    if make == "recording":
        source = reader_of(batches)
        batchcorder.record(source, path).close()
    else:
        path.write_bytes(stream_of(batches))
    content = path.read_bytes()
    columns, dictionaries, dictionary_bytes = by_pyarrow(content)
    with batchcorder.open(path) as cache:
        info = cache.info()
    assert info.keys() == KEYS
    assert info["dictionary_batches"] == dictionaries
    assert info["dictionary_bytes"] == dictionary_bytes
    assert [c["name"] for c in info["columns"]] == batches[0].schema.names
    assert [c["type"] for c in info["columns"]] == [
        str(t) for t in batches[0].schema.types
    ]
    # All dictionaries belong to the first column.
    columns[0] += dictionary_bytes
    assert [c["bytes"] for c in info["columns"]] == columns
    assert info["bytes"] == len(content)
    assert (info["batches"], info["rows"]) == (7, sum(b.num_rows for b in batches))
    assert info["schema"].equals(batches[0].schema, check_metadata=True)


def brief(cache: StreamCache) -> tuple[Any, ...]:
    info = cache.info()
    keys = ("kind", "complete", "checksums", "compression", "batches", "rows")
    return tuple(info[key] for key in keys)


def test_kinds(tmp_path: Path) -> None:
    batches = numbered(3)
    cache = StreamCache(Source(batches))
    assert brief(cache) == ("memory", False, False, None, 0, 0)
    assert cache.info()["path"] is None
    cache.ingest_all()
    assert brief(cache) == ("memory", False, False, None, 3, 12)
    assert [c["bytes"] for c in cache.info()["columns"]] == [0]

    cache = on_disk(Source(batches), tmp_path, compression="lz4")
    assert brief(cache)[:3] == ("cache", False, True)
    cache.ingest_all()
    assert brief(cache) == ("cache", False, True, "lz4", 3, 12)
    assert cache.info()["path"] == str(cache_file(tmp_path))
    path = tmp_path / "x.arrows"
    cache.save(path)
    assert brief(cache)[:2] == ("cache", True)
    cache.close()

    with batchcorder.open(path) as cache:
        assert brief(cache) == ("recording", True, True, "lz4", 3, 12)
    content = path.read_bytes()
    with batchcorder.open(io.BytesIO(content)) as cache:
        assert brief(cache) == ("recording", True, True, "lz4", 3, 12)
        assert cache.info()["path"] in (None, "<BytesIO>")
    cut = io.BytesIO(content[:-200])
    with batchcorder.open(cut, partial=True) as cache:
        assert brief(cache) == ("recording", False, True, "lz4", 3, 12)

    plain = on_disk(Source(batches), tmp_path, checksum=False)
    plain.save(path, overwrite=True)
    with batchcorder.open(path) as cache:
        assert brief(cache) == ("recording", True, False, None, 3, 12)

    for codec in (None, "lz4", "zstd"):
        content = stream_of(batches, compression=codec)
        with batchcorder.open(io.BytesIO(content)) as cache:
            assert brief(cache) == ("stream", True, False, codec, 3, 12)
        content = file_of(batches, compression=codec)
        with batchcorder.open(io.BytesIO(content)) as cache:
            assert brief(cache) == ("file", True, False, codec, 3, 12)
    with batchcorder.open(io.BytesIO(content[:-20]), partial=True) as cache:
        assert brief(cache)[1:] == (False, False, "zstd", 3, 12)


def test_of_some_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    table = pa.table({"x": range(100), "y": [b"12345"] * 100, "z": [True] * 100})
    batchcorder.record(table, path).close()
    with batchcorder.open(path, columns=["z", "x"]) as cache:
        info = cache.info()
    assert [(c["name"], c["bytes"]) for c in info["columns"]] == [("z", 13), ("x", 800)]
    assert info["schema"].names == ["z", "x"]
    assert info["bytes"] == path.stat().st_size


def test_while_recording(tmp_path: Path) -> None:
    """info() neither waits for the source nor reads it."""
    gate = Gate(numbered(4), at=2)
    cache = on_disk(gate, tmp_path)
    ingest = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    assert brief(cache) == ("cache", False, True, None, 2, 8)
    assert [c["bytes"] for c in cache.info()["columns"]] == [64]
    gate.opened.set()
    ingest.result()
    assert brief(cache)[-2:] == (4, 16)
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        cache.info()
