"""A prefetch thread keeps the recording ahead of the readers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import (
    CLOSED,
    DEADLINE,
    SCHEMA,
    Gate,
    Source,
    check_python,
    ids,
    numbered,
    wait_until,
)
from tiers import MakeCache


class Watched(Source):
    """A source that records its calling threads and lets a test wait for batches."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.threads: set[int] = set()
        self.changed = threading.Condition()

    def _generate(self) -> Iterator[pa.RecordBatch]:
        for one in super()._generate():
            with self.changed:
                self.threads.add(threading.get_ident())
                self.changed.notify_all()
            yield one

    def wait_until_given(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.given >= count, DEADLINE)


def wait_until_recorded(cache: StreamCache, count: int) -> None:
    wait_until(lambda: cache.ingested_count >= count)


def test_stays_ahead_of_the_fastest_reader(make_any_cache: MakeCache) -> None:
    source = Watched(numbered(50))
    cache = make_any_cache(source, prefetch=4)
    assert source.given == 0, "prefetch began before a reader existed"
    slow, fast = cache.reader(), cache.reader()
    for i in range(10):
        wait_until_recorded(cache, i + 4)
        assert cache.ingested_count == i + 4
        next(fast)
    next(slow)
    assert ids(fast) == list(range(40, 200))
    assert ids(slow) == list(range(4, 200))
    assert ids(cache) == list(range(200))
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_no_further_than_readers_go() -> None:
    cache = StreamCache(Source(numbered(50)), prefetch=20)
    short = cache.reader(stop=3)
    wait_until_recorded(cache, 3)
    assert ids(short) == list(range(12))
    assert cache.ingested_count == 3
    far = cache.reader(start=40)
    wait_until_recorded(cache, 23)
    assert cache.ingested_count == 23, "prefetch did not start at the first missing batch"
    assert ids(far) == list(range(160, 200))


def test_all_other_calls_work_with_prefetch(make_any_cache: MakeCache) -> None:
    source = Watched(numbered(20))
    cache = make_any_cache(source, prefetch=1)
    assert ids([cache[7]]) == list(range(28, 32))
    assert cache.ingest_all() == 20
    assert pa.table(cache).num_rows == 80
    assert threading.get_ident() not in source.threads


def test_a_budget_and_readers_that_pass() -> None:
    source = Watched(numbered(30))
    cache = StreamCache(source, 5 * 32, max_readers=1, prefetch=10)
    with pytest.raises(MemoryError):
        cache.ingest_all()
    assert (cache.ingested_count, source.given) == (5, 6)
    assert ids(cache) == list(range(120))
    assert threading.get_ident() not in source.threads


def test_an_error_comes_where_it_happened() -> None:
    class MyError(Exception):
        pass

    source = Source(numbered(5), 3, MyError("boom"))
    cache = StreamCache(source, prefetch=100)
    for _ in range(2):
        reader = cache.reader()
        assert ids([next(reader) for _ in range(3)]) == list(range(12))
        with pytest.raises(MyError, match="boom"):
            next(reader)


def test_close_while_the_source_is_stuck(make_cache: MakeCache) -> None:
    gate = Gate(numbered(5), 2)
    cache = make_cache(gate, prefetch=5)
    reader = cache.reader()
    assert gate.reached.wait(120)
    assert ids([next(reader), next(reader)]) == list(range(8))
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        next(reader)
    gate.opened.set()


@pytest.mark.parametrize("value", [0, None, 1, 1 << 40])
def test_values(value: int | None) -> None:
    cache = StreamCache(Source(numbered(3)), prefetch=value)
    assert ids(cache) == list(range(12))


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, OverflowError), (1 << 64, OverflowError), ("4", TypeError), (1.5, TypeError)],
)
def test_invalid_values(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        StreamCache(Source(numbered(1)), prefetch=value)


@pytest.mark.parametrize("where", ["stuck", "idle", "busy"])
def test_exit_with_the_thread_at_work(where: str) -> None:
    """The interpreter ends at once while the prefetch thread works."""
    check_python(
        f"""
        import itertools, threading
        from helpers import *
        where = {where!r}
        reached = threading.Event()

        def generate():
            for i in itertools.count():
                if i == 20:
                    reached.set()
                    if where == "stuck":
                        threading.Event().wait()
                yield batch(4 * i)

        source = pa.RecordBatchReader.from_batches(SCHEMA, generate())
        cache = StreamCache(source, prefetch=25 if where != "busy" else 1 << 40)
        reader = cache.reader()
        assert ids([next(reader)]) == [0, 1, 2, 3]
        assert reached.wait(120)
        """,
        timeout=300,
    )


def test_a_fork_has_no_such_thread() -> None:
    check_python(
        """
        import os
        from helpers import *
        cache = StreamCache(Source(numbered(5)), prefetch=2)
        reader = cache.reader()
        next(reader)
        wait_until(lambda: cache.ingested_count >= 3)
        child = os.fork()
        if child == 0:
            assert ids([next(reader), next(reader)]) == list(range(4, 12))
            try:
                next(reader)
            except OSError as error:
                os._exit(0 if "forked" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert ids(reader) == list(range(4, 20))
        """
    )


def test_dropped_at_any_moment() -> None:
    for i in range(50):
        stream = pa.RecordBatchReader.from_batches(SCHEMA, iter(numbered(20)))
        cache = StreamCache(stream, prefetch=1 + i % 5)
        reader = cache.reader()
        for _ in range(i % 7):
            next(reader)
        del reader, cache
