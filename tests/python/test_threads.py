"""Threads: shared readers, many readers, consumers that hold the GIL, Python sources."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest

from batchcorder import StreamCache
from conftest import MakeCache
from helpers import SCHEMA, Source, Task, check_python, ids, numbered


def test_threads_that_share_a_reader(make_any_cache: MakeCache) -> None:
    """Each batch goes to exactly one of them."""
    cache = make_any_cache(Source(numbered(400)))
    for _ in range(2):  # recording, then replaying
        reader = cache.reader()
        start = threading.Barrier(8)

        def read(reader: Any = reader, start: Any = start) -> list[int]:
            start.wait(10)
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
        start.wait(10)
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
        start.wait(10)
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
        start.wait(10)
        with pytest.raises(MemoryError):  # noqa: PT012
            for one in cache:
                seen.append(one)
        return ids(seen)

    for task in [Task(read) for _ in range(4)]:
        assert task.result() == list(range(200))


def test_eviction_under_threads() -> None:
    """Room for 20 batches: whoever is ahead waits for nobody, and tries again."""
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
        assert task.result(30) == list(range(1600))


def test_close_under_threads(make_any_cache: MakeCache) -> None:
    """Readers get right batches, then "closed" or the end; nothing else."""
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
        assert enough.wait(10)
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
        task.result(30)


# Sources that need the GIL, whoever asks them.


def python_csv() -> Any:
    text = io.StringIO()
    csv.writer(text).writerows([["id"], *([i] for i in range(2000))])
    file = pa.PythonFile(io.BytesIO(text.getvalue().encode()), mode="r")
    options = pa.csv.ReadOptions(block_size=512)
    return pa.csv.open_csv(file, read_options=options)


def generator() -> Any:
    def generate() -> Iterator[pa.RecordBatch]:
        lock = threading.Lock()
        for one in numbered(500):
            with lock:
                yield one

    return pa.RecordBatchReader.from_batches(SCHEMA, generate())


# Consumers; nanoarrow and arro3 call get_next with the GIL held.


def with_nanoarrow(cache: StreamCache) -> list[int]:
    nanoarrow = pytest.importorskip("nanoarrow")
    with nanoarrow.ArrayStream(cache) as stream:
        return [row[0] for chunk in stream for row in chunk.iter_tuples()]


def with_arro3(cache: StreamCache) -> list[int]:
    core = pytest.importorskip("arro3.core")
    reader = core.RecordBatchReader.from_arrow(cache)
    return ids([pa.record_batch(one) for one in reader])


def with_polars(cache: StreamCache) -> list[int]:
    polars = pytest.importorskip("polars")
    return polars.DataFrame(cache)["id"].to_list()


CONSUMERS: dict[str, Callable[[StreamCache], list[int]]] = {
    "iteration": lambda c: ids(list(c)),
    "pyarrow": lambda c: ids(pa.RecordBatchReader.from_stream(c)),
    "cast": lambda c: ids(c.reader().cast(SCHEMA)),
    "nanoarrow": with_nanoarrow,
    "arro3": with_arro3,
    "polars": with_polars,
}


@pytest.mark.parametrize("source", [python_csv, generator])
@pytest.mark.parametrize("name", [*CONSUMERS, "all"])
def test_python_sources_and_every_consumer(
    name: str, source: Callable[[], Any], make_cache: MakeCache
) -> None:
    for module in ("nanoarrow", "arro3.core", "polars"):
        if name in (*module.split("."), "all"):
            pytest.importorskip(module)
    chosen = list(CONSUMERS.values()) if name == "all" else [CONSUMERS[name]]
    cache = make_cache(source())
    start = threading.Barrier(8)

    def read(i: int) -> list[int]:
        start.wait(10)
        return chosen[i % len(chosen)](cache)

    for task in [Task(read, i) for i in range(8)]:
        assert task.result(20) == list(range(2000))


def test_a_python_source_that_hands_the_gil_round() -> None:
    """Other threads take the GIL between any two steps, so every order comes up."""
    check_python(
        """
        import sys
        import nanoarrow
        from helpers import *
        sys.setswitchinterval(1e-6)
        for _ in range(10):
            cache = StreamCache(Source(numbered(100)))
            reader = cache.reader()
            def native():
                with nanoarrow.ArrayStream(cache) as stream:
                    return sum(len(chunk) for chunk in stream.iter_chunks())
            tasks = [Task(native) for _ in range(4)]
            shared = [Task(lambda: len(list(reader))) for _ in range(3)]
            def look():
                for _ in range(500):
                    assert not reader.closed or cache.ingested_count == 100
            looking = Task(look)
            assert [t.result(20) for t in tasks] == [400] * 4
            assert sum(t.result(20) for t in shared) == 100
            looking.result(20)
        """
    )
