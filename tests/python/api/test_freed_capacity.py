"""Readers free room on disk, and budgets change in use."""

from __future__ import annotations

import ctypes
import gc
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import CLOSED, SCHEMA, Source, cache_file, ids, numbered, on_disk, reader_of

MB = 1_000_000
ROWS = 250_000  # int64 values: 2 MB a batch
PUNCH = 1 | 2  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE


@pytest.fixture
def holes(tmp_path: Path) -> Path:
    """Return a directory on a file system that can punch holes into a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    with (tmp_path / "probe").open("wb") as probe:
        probe.write(bytes(1 << 16))
        probe.flush()
        if libc.fallocate(probe.fileno(), PUNCH, 0, 4096) != 0:
            pytest.skip("the file system punches no holes")
    (tmp_path / "probe").unlink()
    return tmp_path


def large(count: int) -> pa.RecordBatchReader:
    """Return a stream of `count` batches of 2 MB, each filled with its index."""
    batches = (pa.record_batch({"id": np.full(ROWS, i)}) for i in range(count))
    return pa.RecordBatchReader.from_batches(SCHEMA, batches)


def allocated(path: Path) -> int:
    return cache_file(path).stat().st_blocks * 512


def test_a_long_stream_passes_through_a_small_file(holes: Path) -> None:
    """160 MB pass through 20 MB: batches that the reader has passed leave the file."""
    cache = on_disk(large(80), holes, disk_capacity="20MB", max_readers=1)
    most = 0
    for i, one in enumerate(cache):
        assert one.column(0)[i].as_py() == one.column(0)[-1].as_py() == i
        assert cache.stats()["disk_bytes"] <= 20 * MB
        most = max(most, allocated(holes))
    assert cache.ingested_count == 80
    assert cache_file(holes).stat().st_size > 160 * MB
    assert most < 21 * MB


def test_batches_in_use_stay_in_the_file(holes: Path) -> None:
    """Batches that a consumer keeps are charged until their release and never change."""
    cache = on_disk(large(80), holes, disk_capacity="20MB", max_readers=1)
    reader = cache.reader()
    held = [next(reader) for _ in range(9)]
    with pytest.raises(MemoryError, match=r"Disk cache capacity \(20000000 bytes\)"):
        next(reader)
    assert [one.column(0)[7].as_py() for one in held] == list(range(9))
    del held[:4]
    gc.collect()
    assert [next(reader).column(0)[0].as_py() for _ in range(60)] == list(range(9, 69))
    assert [one.column(0)[7].as_py() for one in held] == list(range(4, 9))


def test_a_reader_behind_stops_the_ingest_and_lets_it_go_on(holes: Path) -> None:
    cache = on_disk(large(30), holes, disk_capacity=20 * MB, max_readers=2)
    first, second = cache.reader(), cache.reader()
    for i in range(9):
        assert next(first).column(0)[0].as_py() == i
    for _ in range(3):
        with pytest.raises(MemoryError, match="Disk cache capacity"):
            next(first)
    stats = cache.stats()
    assert (stats["batches"], stats["source_calls"]) == (9, 10), (
        "the tenth batch is not pending"
    )
    for i in range(9, 30):
        assert next(second).column(0)[0].as_py() == i - 9
        assert next(first).column(0)[0].as_py() == i
        assert allocated(holes) < 21 * MB
    assert [one.column(0)[0].as_py() for one in second] == list(range(21, 30))
    assert list(first) == []
    assert cache.stats()["source_calls"] == 31


def test_a_dropped_reader_gives_the_room_back(holes: Path) -> None:
    cache = on_disk(large(30), holes, disk_capacity=20 * MB, max_readers=2)
    first, second = cache.reader(), cache.reader()
    seen = [next(first).column(0)[0].as_py() for _ in range(9)]
    with pytest.raises(MemoryError):
        next(first)
    del second
    gc.collect()
    seen += [one.column(0)[0].as_py() for one in first]
    assert seen == list(range(30))


def test_dictionaries_of_passed_batches_give_their_room_back(holes: Path) -> None:
    """Each batch has its own dictionary, 1 MB large."""

    def generate() -> Any:
        for i in range(30):
            words = pa.array([f"{i:010}{k:010}" for k in range(50_000)])
            indices = pa.array([i, 2 * i, 0], pa.int32())
            yield pa.record_batch({"d": pa.DictionaryArray.from_arrays(indices, words)})

    schema = pa.schema([("d", pa.dictionary(pa.int32(), pa.string()))])
    source = pa.RecordBatchReader.from_batches(schema, generate())
    cache = on_disk(source, holes, disk_capacity=8 * MB, max_readers=1)
    for i, one in enumerate(cache):
        wanted = [f"{i:010}{k:010}" for k in (i, 2 * i, 0)]
        assert one.column(0).to_pylist() == wanted
        assert allocated(holes) < 9 * MB
    assert cache.ingested_count == 30


@pytest.mark.parametrize("codec", [None, "zstd"])
def test_dictionaries_that_grow_while_batches_go(codec: str, holes: Path) -> None:
    """A batch is read with all deltas of its dictionary, including the oldest ones."""
    chance = random.Random(2)
    words: list[str] = []
    batches = []
    for i in range(200):
        if chance.random() < 0.05:
            words = []
        words = [*words, f"{i} {chance.random()}"]
        indices = pa.array([0, len(words) - 1, None, len(words) // 2], pa.int32())
        batches.append(
            pa.record_batch({"d": pa.DictionaryArray.from_arrays(indices, words)})
        )
    source = reader_of(batches)
    cache = on_disk(
        source, holes, disk_capacity=100_000, max_readers=2, compression=codec
    )
    readers = [cache.reader(), cache.reader()]
    passed = [0, 0]
    while min(passed) < 200:
        which = chance.randrange(2)
        if passed[which] == min(200, min(passed) + 9):
            continue
        assert next(readers[which]).equals(batches[passed[which]])
        passed[which] += 1
    assert allocated(holes) <= 100_000 + 4096 < cache_file(holes).stat().st_size


def test_small_batches_give_their_room_back(holes: Path) -> None:
    """Whole pages are freed, so some batches are charged longer than needed."""
    cache = on_disk(Source(numbered(3000)), holes, disk_capacity=40_000, max_readers=1)
    assert ids(cache) == list(range(12_000))
    assert cache_file(holes).stat().st_size > 900_000
    assert allocated(holes) <= 40_000 + 4096


@pytest.mark.parametrize("more", [320, "320B", "1MB", 1 << 63, None])
def test_more_memory_lets_a_stopped_ingest_go_on(more: Any) -> None:
    source = Source(numbered(10))
    cache = StreamCache(source, 200)
    reader = cache.reader()
    seen = [next(reader) for _ in range(6)]
    with pytest.raises(MemoryError, match=r"\(200 bytes\)"):
        next(reader)
    cache.memory_capacity = 230
    assert cache.memory_capacity == 230
    seen.append(next(reader))
    for _ in range(2):
        with pytest.raises(MemoryError, match=r"\(230 bytes\)"):
            cache.ingest_all()
    assert (cache.ingested_count, source.given) == (7, 8)
    cache.memory_capacity = more
    assert cache.ingest_all() == 10
    assert (source.given, source.streams) == (10, 1)
    assert ids([*seen, *reader]) == ids(cache) == list(range(40))


@pytest.mark.parametrize("more", [100_000, "100kB", "1MiB", (1 << 64) - 1, None])
def test_more_disk_lets_a_stopped_ingest_go_on(more: Any, tmp_path: Path) -> None:
    probe = on_disk(Source(numbered(6)), tmp_path / "probe")
    probe.ingest_all()
    limit = probe.stats()["disk_bytes"]
    source = Source(numbered(10))
    cache = on_disk(source, tmp_path / "cache", disk_capacity=limit)
    reader = cache.reader()
    with pytest.raises(MemoryError, match=rf"Disk cache capacity \({limit} bytes\)"):
        cache.ingest_all()
    assert (cache.ingested_count, source.given) == (6, 7)
    cache.disk_capacity = limit + 10
    assert cache.disk_capacity == limit + 10
    with pytest.raises(MemoryError, match=rf"Disk cache capacity \({limit + 10} bytes"):
        cache.ingest_all()
    assert (cache.ingested_count, source.given) == (6, 7)
    cache.disk_capacity = more
    assert cache.disk_capacity == {"100kB": 100_000, "1MiB": 1 << 20}.get(
        more, None if more == (1 << 64) - 1 else more
    )
    assert ids(reader) == ids(cache) == list(range(40))
    assert source.given == 10
    with pa.ipc.open_stream(cache_file(tmp_path / "cache")) as stream:
        assert ids(stream) == list(range(40))


def test_a_smaller_budget_keeps_recorded_batches(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(10)), tmp_path, memory_capacity=320)
    reader = cache.reader()
    seen = [next(reader) for _ in range(5)]
    cache.disk_capacity = cache.memory_capacity = 0
    with pytest.raises(MemoryError, match=r"Disk cache capacity \(0 bytes\)"):
        cache.ingest_all()
    again = cache.reader()
    assert ids([next(again) for _ in range(5)]) == ids(seen) == list(range(20))
    cache.disk_capacity = None
    assert cache.ingest_all() == 10
    assert cache.stats()["memory_bytes"] == 160, "a batch was kept in memory"
    assert ids(cache) == list(range(40))


BAD: list[tuple[Any, type[Exception], str]] = [
    (-1, OverflowError, "can't convert negative int to unsigned"),
    (1 << 64, OverflowError, "int too big to convert"),
    ("20EB", ValueError, "argument '{}': expected a number of bytes such as"),
    ("20000PB", OverflowError, "int too big to convert"),
    (1.5, TypeError, "argument '{}': 'float' object cannot be interpreted as an integer"),
    ([], TypeError, "argument '{}': 'list' object cannot be interpreted as an integer"),
    ("", ValueError, "argument '{}': expected a number of bytes such as"),
    ("-5", ValueError, "argument '{}': expected a number of bytes such as"),
    ("5 apples", ValueError, "argument '{}': expected a number of bytes such as"),
]


@pytest.mark.parametrize("name", ["memory_capacity", "disk_capacity"])
@pytest.mark.parametrize(("value", "kind", "words"), BAD)
def test_bad_values_are_refused_as_in_the_constructor(
    value: Any, kind: type[Exception], words: str, name: str, tmp_path: Path
) -> None:
    """A refused value changes nothing."""
    source = Source(numbered(10))
    with pytest.raises(kind) as made:
        StreamCache(source, **{"disk_path": tmp_path, "disk_capacity": 1, name: value})
    cache = on_disk(source, tmp_path, memory_capacity=7, disk_capacity=9)
    with pytest.raises(kind) as caught:
        setattr(cache, name, value)
    assert type(caught.value) is type(made.value) is kind
    assert str(caught.value) == str(made.value)
    assert str(caught.value).startswith(words.format(name))
    assert (cache.memory_capacity, cache.disk_capacity) == (7, 9)


def test_capacities_that_cannot_be_set(tmp_path: Path) -> None:
    cache = StreamCache(Source(numbered(2)))
    assert cache.disk_capacity is None
    with pytest.raises(ValueError, match="no disk tier"):
        cache.disk_capacity = 5
    for name in ("memory_capacity", "disk_capacity"):
        with pytest.raises(AttributeError, match=name):
            delattr(cache, name)
    closed = on_disk(Source(numbered(2)), tmp_path)
    closed.close()
    for name in ("memory_capacity", "disk_capacity"):
        with pytest.raises(ValueError, match=CLOSED):
            setattr(closed, name, 5)
