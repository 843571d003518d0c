"""Compressed bodies follow the format, and reads decompress them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

import kinds
from batchcorder import StreamCache
from helpers import Source, cache_file, cache_files, check_python, on_disk

CODECS = ["lz4", "zstd"]


def text_batches(count: int = 6, rows: int = 3000) -> list[pa.RecordBatch]:
    names = pa.array([f"name {i % 17} of a few" for i in range(rows)])
    numbers = pa.array(range(rows), pa.int64())
    return [pa.record_batch({"s": names, "i": numbers}) for _ in range(count)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", list(kinds.ALL))
def test_every_type(name: str, codec: str, tmp_path: Path) -> None:
    whole = kinds.batch_of(name)
    batches = [whole, *kinds.slices_of(whole)]
    cache = on_disk(Source(batches), tmp_path, memory_capacity=1, compression=codec)
    for _ in range(2):
        read = list(cache)
        assert len(read) == len(batches)
        for got, want in zip(read, batches, strict=True):
            got.validate(full=True)
            assert got.equals(want)


@pytest.mark.parametrize("codec", CODECS)
def test_other_libraries_read_the_file(codec: str, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    batches = text_batches()
    cache = on_disk(Source(batches), tmp_path, memory_capacity=1, compression=codec)
    file = cache_file(tmp_path)
    for i, _ in enumerate(cache):
        with pa.ipc.open_stream(file) as stream:
            assert stream.read_all().equals(pa.Table.from_batches(batches[: i + 1]))
    table = pa.Table.from_batches(batches)
    assert polars.read_ipc_stream(file).equals(polars.from_arrow(table))
    assert file.stat().st_size < table.nbytes / 3


@pytest.mark.parametrize("codec", CODECS)
def test_incompressible_data(codec: str, tmp_path: Path) -> None:
    noise = Random(1).randbytes(1 << 20)
    array = pa.Array.from_buffers(pa.int64(), 1 << 17, [None, pa.py_buffer(noise)])
    batch = pa.record_batch({"x": array, "d": array.cast(pa.decimal128(38))})
    cache = on_disk(Source([batch]), tmp_path, memory_capacity=1, compression=codec)
    (read,) = cache
    assert read.equals(batch)
    assert all(b.address % 16 == 0 for c in read.columns for b in c.buffers() if b)
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        assert stream.read_next_batch().equals(batch)


@pytest.mark.parametrize("codec", CODECS)
def test_decompressed_batches_outlive_the_cache(codec: str, tmp_path: Path) -> None:
    batches = text_batches()
    cache = on_disk(Source(batches), tmp_path, memory_capacity=1, compression=codec)
    read = list(cache)
    cache.close()
    assert cache_files(tmp_path) == []
    assert all(a.equals(b) for a, b in zip(read, batches, strict=True))


def test_dictionaries(tmp_path: Path) -> None:
    schema = pa.schema([("d", pa.dictionary(pa.int32(), pa.string()))])
    words = [f"word number {i}" for i in range(400)]
    sizes = [100, 200, 300, 50, 50, 400]
    batches = [
        pa.record_batch(
            [pa.DictionaryArray.from_arrays(pa.array([0, n - 1], pa.int32()), words[:n])],
            schema=schema,
        )
        for n in sizes
    ]
    cache = on_disk(Source(batches), tmp_path, memory_capacity=1, compression="zstd")
    for _ in range(2):
        assert all(a.equals(b) for a, b in zip(cache, batches, strict=True))
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        assert stream.read_all().equals(pa.Table.from_batches(batches))
        assert stream.stats.num_dictionary_deltas == 3


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("codec", CODECS)
def test_damage_is_an_error_or_harmless(
    codec: str, checksum: bool, tmp_path: Path
) -> None:
    code = f"""
        import os
        from helpers import *
        batch = pa.record_batch({{"s": ["ab" * 40] * 20, "i": list(range(20))}})
        size = None
        at = 0
        while size is None or at < size:
            source = Source([batch])
            cache = on_disk(source, {str(tmp_path)!r}, memory_capacity=1,
                            compression={codec!r}, checksum={checksum})
            cache.ingest_all()
            file = cache_file({str(tmp_path)!r})
            size = file.stat().st_size
            with open(file, "r+b") as bytes:
                bytes.seek(at)
                old = bytes.read(1)[0]
                bytes.seek(at)
                bytes.write(b"%c" % (old ^ 0x55))
            try:
                (read,) = cache
            except OSError as error:
                assert "atch 0" in str(error) or "schema" in str(error), error
            except MemoryError:
                assert not {checksum}
            else:
                assert not {checksum}, at
            cache.close()
            at += 3
    """
    check_python(code)


@pytest.mark.parametrize(
    ("value", "error"), [("gzip", ValueError), ("", ValueError), (1, TypeError)]
)
def test_arguments(value: Any, error: type[Exception], tmp_path: Path) -> None:
    source = Source(text_batches(1))
    with pytest.raises(error, match="compression"):
        StreamCache(source, disk_path=tmp_path, disk_capacity=1000, compression=value)
    with pytest.raises(error, match="compression"):
        StreamCache.on_disk(source, path=tmp_path, compression=value)
    assert source.given == 0
