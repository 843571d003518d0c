"""read_all, read_next_batch and close of a reader behave as in pyarrow's reader."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import CLOSED, SCHEMA, USED, Gate, Source, Task, ids, numbered
from tiers import MakeCache


def test_read_all_returns_the_rest(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(4)))
    reader = cache.reader()
    next(reader)
    table = reader.read_all()
    assert type(table) is pa.Table
    assert table == pa.Table.from_batches(numbered(4)[1:])
    assert reader.closed
    assert reader.read_all() == SCHEMA.empty_table()
    assert cache.reader().read_all() == cache.to_table()


def test_read_all_of_some_columns_and_batches(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(4)))
    table = cache.reader(columns=["id"], start=1, stop=3).read_all()
    assert table == pa.Table.from_batches(numbered(4)[1:3]).select(["id"])


def test_read_next_batch(make_any_cache: MakeCache) -> None:
    reader = make_any_cache(Source(numbered(2))).reader()
    assert [reader.read_next_batch() for _ in range(2)] == numbered(2)
    for _ in range(2):
        with pytest.raises(StopIteration):
            reader.read_next_batch()
    assert reader.closed


def test_errors_are_those_of_iteration() -> None:
    cache = StreamCache(Source(numbered(3), error=ValueError("broken")))
    for call in ("read_all", "read_next_batch"):
        reader = cache.reader(start=3)
        with pytest.raises(ValueError, match="broken"):
            getattr(reader, call)()
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        reader.read_next_batch()
    with pytest.raises(ValueError, match=CLOSED):
        reader.read_all()


def test_close_is_idempotent_and_frees_batches() -> None:
    cache = StreamCache(Source(numbered(6)), max_readers=2)
    first, second = cache.reader(), cache.reader()
    assert ids(first) == list(range(24))
    assert cache.stats()["evicted"] == 0
    for _ in range(3):
        assert second.close() is None
    assert second.closed
    assert cache.stats()["evicted"] == 6
    with pytest.raises(ValueError, match=USED):
        second.read_next_batch()


def test_close_while_another_thread_reads() -> None:
    gate = Gate(numbered(2), 0)
    reader = StreamCache(gate).reader()
    waiting = Task(reader.read_next_batch)
    assert gate.reached.wait(60)
    reader.close()
    gate.opened.set()
    assert waiting.result(60) == numbered(1)[0]
    with pytest.raises(ValueError, match=USED):
        reader.read_next_batch()


def test_threads_share_a_reader() -> None:
    """Each batch goes to exactly one thread, by any of the methods."""
    reader = StreamCache(Source(numbered(400))).reader()
    found: list[int] = []
    start = threading.Barrier(6)

    def read(whole: bool) -> None:
        start.wait()
        mine: list[pa.RecordBatch] = []
        if whole:
            mine = reader.read_all().to_batches()
        else:
            while True:
                try:
                    mine.append(reader.read_next_batch())
                except StopIteration:
                    break
        found.extend(ids(mine))

    threads = [threading.Thread(target=read, args=(i % 2 == 0,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1600))
