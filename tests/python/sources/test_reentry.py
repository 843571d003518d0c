"""Sources that read the caches they feed: recorded batches are read, later ones raise."""

from __future__ import annotations

import pytest

from helpers import check_python

PRELUDE = """
    import errno, threading
    from helpers import *

    refused = []

    def refuse(call):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EDEADLK, error
            refused.append(str(error))
        else:
            raise AssertionError("not refused")

    def make(generate, tier):
        stream = pa.RecordBatchReader.from_batches(SCHEMA, generate())
        if tier == "memory":
            return StreamCache(stream)
        return StreamCache.on_disk(stream, memory_capacity=1)
"""


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_published_batches_are_served_and_others_refused(tier: str) -> None:
    check_python(
        PRELUDE
        + f"""
    def generate():
        for k in range(4):
            reader = cache.reader()
            assert ids([next(reader) for _ in range(k)]) == list(range(4 * k))
            stream = pa.RecordBatchReader.from_stream(cache)
            assert ids([stream.read_next_batch() for _ in range(k)]) == list(range(4 * k))
            assert cache.ingested_count == k
            assert not cache.upstream_exhausted
            assert cache.schema == SCHEMA
            refuse(lambda: next(reader))
            refuse(cache.ingest_all)
            refuse(lambda: list(cache))
            yield batch(4 * k)

    cache = make(generate, {tier!r})
    assert cache.ingest_all() == 4
    assert ids(cache) == list(range(16))
    assert len(refused) == 12
    """
    )


def test_refused_through_a_c_stream_too() -> None:
    check_python(
        PRELUDE
        + """
    def generate():
        yield batch(0)
        try:
            pa.table(cache)
        except OSError as error:
            refused.append(str(error))
        yield batch(4)

    cache = make(generate, "memory")
    assert ids(cache) == list(range(8))
    assert len(refused) == 1 and "source" in refused[0], refused
    """
    )


def test_a_source_that_does_not_catch_it_fails_for_good() -> None:
    check_python(
        PRELUDE
        + """
    def generate():
        yield batch(0)
        yield from list(cache)

    cache = make(generate, "memory")
    for _ in range(2):
        for path in (cache.ingest_all, lambda: list(cache), lambda: pa.table(cache)):
            try:
                path()
            except OSError as error:
                assert "its own cache" in str(error), error
            else:
                raise AssertionError("not refused")
    assert cache.ingested_count == 1
    """
    )


def test_a_source_that_reads_back_its_batches() -> None:
    """Each batch is made from the previous one, which the source reads from the cache."""
    check_python(
        PRELUDE
        + """
    def generate():
        yield batch(0)
        reader = cache.reader()
        for _ in range(9):
            last = next(reader)
            yield pa.record_batch({"id": [i + 4 for i in last.column(0).to_pylist()]})

    cache = make(generate, "memory")
    assert ids(pa.table(cache)) == list(range(40))
    """
    )


def test_two_caches_that_feed_each_other() -> None:
    check_python(
        PRELUDE
        + """
    def from_other(other):
        def generate():
            yield batch(0)
            reader = other().reader()
            for _ in range(3):
                yield next(reader)
        return generate

    first = make(from_other(lambda: second), "memory")
    second = make(from_other(lambda: first), "memory")
    for path in (first.ingest_all, second.ingest_all, lambda: list(first)):
        try:
            print(path())
        except OSError as error:
            assert "its own cache" in str(error), error
            refused.append(1)
    assert refused or first.ingested_count == 4
    assert ids([next(iter(first))]) == ids([next(iter(second))]) == [0, 1, 2, 3]
    """,
        timeout=300,
    )


def test_two_caches_that_feed_each_other_from_two_threads() -> None:
    """The threads do not wait for each other for ever."""
    check_python(
        PRELUDE
        + """
    both = threading.Barrier(2)

    def from_other(other):
        def generate():
            yield batch(0)
            both.wait(120)
            yield from list(other())
        return generate

    first = make(from_other(lambda: second), "memory")
    second = make(from_other(lambda: first), "memory")
    tasks = [Task(first.ingest_all), Task(second.ingest_all)]
    failed = 0
    for task in tasks:
        try:
            task.result()
        except OSError:
            failed += 1
    assert failed >= 1
    """,
        timeout=300,
    )


def test_close_from_inside_the_source() -> None:
    check_python(
        PRELUDE
        + """
    def generate():
        yield batch(0)
        cache.close()
        yield batch(4)

    for path in (lambda c: c.ingest_all(), list, pa.table):
        cache = make(generate, "memory")
        try:
            path(cache)
        except ValueError as error:
            assert "Dataset has been closed" in str(error)
        else:
            raise AssertionError("not closed")
        assert cache.ingested_count == 1
    """
    )


def test_a_source_that_drops_its_cache() -> None:
    check_python(
        PRELUDE
        + """
    def generate():
        global cache
        yield batch(0)
        del cache
        yield batch(4)

    cache = make(generate, "memory")
    assert ids(cache.reader()) == list(range(8))
    """
    )


def test_a_batch_whose_release_uses_the_cache() -> None:
    """The cache holds no lock while it calls foreign code."""
    check_python(
        PRELUDE
        + """
    import gc, weakref
    import numpy as np
    seen = []

    def generate():
        for k in range(6):
            values = np.arange(4 * k, 4 * k + 4)
            weakref.finalize(values, lambda: seen.append(cache.ingested_count))
            yield pa.record_batch({"id": pa.array(values)})
            del values

    source = pa.RecordBatchReader.from_batches(SCHEMA, generate())
    cache = StreamCache(source, max_readers=1)
    assert ids(cache.reader()) == list(range(24))
    gc.collect()
    assert len(seen) >= 5, seen
    """
    )
