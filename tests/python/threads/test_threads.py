"""Threads share readers, use many readers, and meet close and eviction."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import SCHEMA, Source, Task, ids, numbered
from tiers import MakeCache


def test_threads_that_share_a_reader(make_any_cache: MakeCache) -> None:
    """Each batch goes to exactly one thread."""
    cache = make_any_cache(Source(numbered(400)))
    for _ in range(2):  # recording, then replaying
        reader = cache.reader()
        start = threading.Barrier(8)

        def read(reader: Any = reader, start: Any = start) -> list[int]:
            start.wait(120)
            return ids(list(reader))

        parts = [task.result() for task in [Task(read) for _ in range(8)]]
        assert Counter(i for part in parts for i in part) == Counter(range(1600))
        assert all(part == sorted(part) for part in parts)
        assert reader.closed


def test_threads_with_a_reader_each(make_any_cache: MakeCache) -> None:
    source = Source(numbered(200))
    cache = make_any_cache(source)
    start = threading.Barrier(8)

    def read(i: int) -> list[int]:
        start.wait(120)
        if i % 4 == 0:
            cache.ingest_all()
        if i % 4 == 1:
            return ids(pa.RecordBatchReader.from_stream(cache))
        if i % 4 == 2:
            return ids(cache.reader().cast(SCHEMA))
        return ids(list(cache))

    for task in [Task(read, i) for i in range(8)]:
        assert task.result() == list(range(800))
    assert source.given == 200


def test_an_error_reaches_every_thread(make_cache: MakeCache) -> None:
    cache = make_cache(Source(numbered(100), 50, ValueError("boom")))
    start = threading.Barrier(8)

    def read() -> list[int]:
        seen = []
        start.wait(120)
        with pytest.raises(ValueError, match="boom"):  # noqa: PT012
            for one in cache:
                seen.append(one)
        return ids(seen)

    for task in [Task(read) for _ in range(8)]:
        assert task.result() == list(range(200))


def test_a_budget_that_is_used_up_by_many_threads() -> None:
    cache = StreamCache(Source(numbered(100)), 50 * 32)
    start = threading.Barrier(4)

    def read() -> list[int]:
        seen = []
        start.wait(120)
        with pytest.raises(MemoryError):  # noqa: PT012
            for one in cache:
                seen.append(one)
        return ids(seen)

    for task in [Task(read) for _ in range(4)]:
        assert task.result() == list(range(200))


def test_eviction_under_threads() -> None:
    """Memory has room for 20 batches.

    A reader that is ahead gets MemoryError and retries.
    """
    cache = StreamCache(Source(numbered(400)), 20 * 32, max_readers=4)
    readers = [cache.reader() for _ in range(4)]

    def read(reader: Any) -> list[int]:
        seen: list[int] = []
        while True:
            try:
                seen += ids([next(reader)])
            except MemoryError:
                continue
            except StopIteration:
                return seen

    for task in [Task(read, reader) for reader in readers]:
        assert task.result() == list(range(1600))


def test_close_under_threads(make_any_cache: MakeCache) -> None:
    """Readers get correct batches, then "closed" or the end."""
    for moment in range(0, 100, 10):
        cache = make_any_cache(Source(numbered(100)))
        enough = threading.Event()

        def read(cache: StreamCache = cache, at: int = moment, e: Any = enough) -> int:
            seen = 0
            try:
                for one in cache:
                    assert ids([one]) == list(range(4 * seen, 4 * seen + 4))
                    seen += 1
                    if seen > at:
                        e.set()
            except ValueError as error:
                assert str(error) == "Dataset has been closed"  # noqa: PT017
            return seen

        tasks = [Task(read) for _ in range(4)]
        assert enough.wait(120)
        cache.close()
        for task in tasks:
            assert task.result() <= 100


def test_caches_made_and_dropped_by_many_threads(make_any_cache: MakeCache) -> None:
    def work() -> None:
        for _ in range(20):
            cache = make_any_cache(Source(numbered(5)))
            assert ids(cache) == list(range(20))
            reader = cache.reader()
            next(reader)
            del cache
            assert ids(reader) == list(range(4, 20))

    for task in [Task(work) for _ in range(4)]:
        task.result()
