"""max_readers limits the readers. Batches that all readers have passed are freed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import CLOSED, SCHEMA, Source, cache_file, ids, numbered, on_disk
from tiers import MakeCache

TAKES: dict[str, Callable[[StreamCache], Any]] = {
    "reader": lambda c: c.reader(),
    "reader(False)": lambda c: c.reader(False),
    "iter": iter,
    "capsule": lambda c: c.__arrow_c_stream__(),
    "pyarrow": pa.RecordBatchReader.from_stream,
    "requested": lambda c: c.__arrow_c_stream__(SCHEMA.__arrow_c_schema__()),
    "view": lambda c: c.cast(SCHEMA).__arrow_c_stream__(),
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES.keys())
def test_one_reader_too_many(
    take: Callable[[StreamCache], Any], make_cache: MakeCache
) -> None:
    cache = make_cache(Source(numbered(3)), max_readers=2)
    kept = [take(cache)]
    take(cache)  # dropped at once, but its slot stays taken
    gc.collect()
    for other in TAKES.values():
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            other(cache)
        assert type(caught.value) is ValueError
        assert str(caught.value) == "Maximum number of readers (2) has been reached"
    del kept


def test_calls_that_take_no_slot(make_cache: MakeCache) -> None:
    cache = make_cache(Source(numbered(3)), max_readers=1)
    assert cache.ingest_all() == 3
    assert cache.schema == SCHEMA
    assert cache.cast(SCHEMA).schema == SCHEMA
    assert pa.schema(cache) == SCHEMA
    reader = cache.reader()
    next(reader)
    assert ids(reader.cast(SCHEMA)) == list(range(4, 12))
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        cache.reader()


def test_batches_are_freed_once_all_readers_passed(make_cache: MakeCache) -> None:
    """The source's buffers belong to pyarrow, whose allocator counts their release."""
    before = pa.total_allocated_bytes()
    rows = 10_000
    size = rows * 8

    def held() -> int:
        return round((pa.total_allocated_bytes() - before) / size)

    def stream() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(
            SCHEMA, (numbered(1, rows)[0] for _ in range(20))
        )

    cache = StreamCache(stream(), max_readers=2)
    first, second = cache.reader(), cache.reader()
    for _ in range(10):
        next(first)
    assert held() == 10
    for _ in range(5):
        next(second)
    assert held() == 5
    del first
    gc.collect()
    for _ in range(15):
        next(second)
        assert held() <= 6
    with pytest.raises(StopIteration):
        next(second)
    assert held() == 0
    assert cache.ingest_all() == 20


def test_nothing_is_freed_before_all_readers_exist() -> None:
    cache = StreamCache(Source(numbered(10)), max_readers=2)
    first = cache.reader()
    assert ids(first) == list(range(40))
    del first
    gc.collect()
    assert ids(cache.reader()) == list(range(40))


def test_a_dropped_reader_holds_nothing_back() -> None:
    """Room for two batches suffices for a single reader that keeps up."""
    cache = StreamCache(Source(numbered(50)), 64, max_readers=3)
    for dropped in (cache.reader(), pa.RecordBatchReader.from_stream(cache)):
        del dropped
    gc.collect()
    assert ids(cache) == list(range(200))


def test_readers_in_step_need_little_memory() -> None:
    cache = StreamCache(Source(numbered(50)), 64, max_readers=2)
    first, second = cache.reader(), cache.reader()
    for i in range(50):
        assert ids([next(first)]) == ids([next(second)]) == list(range(4 * i, 4 * i + 4))


def test_ingest_all_frees_nothing() -> None:
    cache = StreamCache(Source(numbered(10)), 64, max_readers=1)
    with pytest.raises(MemoryError):
        cache.ingest_all()
    assert cache.ingested_count == 2
    assert ids(cache) == list(range(40))
    assert cache.ingest_all() == 10


def test_a_reader_from_the_frontier_needs_no_earlier_batches() -> None:
    cache = StreamCache(Source(numbered(10)), 64, max_readers=2)
    first = cache.reader()
    for _ in range(2):
        next(first)
    second = cache.reader(from_start=False)
    rest = [one for pair in zip(first, second, strict=True) for one in pair]
    assert ids(rest[::2]) == ids(rest[1::2]) == list(range(8, 40))


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_every_batch_is_right_while_earlier_ones_go(tier: str, tmp_path: Path) -> None:
    source = Source(numbered(100))
    cache = (
        StreamCache(source, max_readers=3)
        if tier == "memory"
        else on_disk(source, tmp_path, max_readers=3)
    )
    readers = [cache.reader() for _ in range(3)]
    seen: list[list[int]] = [[], [], []]
    for step in range(100):
        for i in ((0, 1, 2), (2, 0, 1))[step % 2]:
            seen[i] += ids([next(readers[i])])
    assert seen == [list(range(400))] * 3


def test_disk_space_of_passed_batches_is_room_again(tmp_path: Path) -> None:
    """A hundred batches of 8 kB pass through 100 kB."""
    source = Source(numbered(100, rows=1000))
    cache = on_disk(source, tmp_path, disk_capacity=100_000, max_readers=2)
    first, second = cache.reader(), cache.reader()
    for i in range(100):
        assert ids([next(first)]) == ids([next(second)])
        assert cache_file(tmp_path).stat().st_blocks * 512 <= 200_000, i
    assert cache.ingest_all() == 100


def test_batches_handed_out_outlive_their_eviction(tmp_path: Path) -> None:
    for cache in (
        StreamCache(Source(numbered(50, 100)), max_readers=1),
        on_disk(Source(numbered(50, 100)), tmp_path, max_readers=1),
    ):
        assert ids(list(cache)) == list(range(5000))
