"""A slow source delays only the threads that need its next batch."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from at_once import AT_ONCE
from batchcorder import StreamCache
from helpers import CLOSED, SCHEMA, Gate, Task, ids, numbered
from tiers import MakeCache


# These calls must return while the source is stuck before batch 2.
@pytest.mark.parametrize("how", ["ingest_all", "next", "stream"])
def test_calls_that_return_while_the_source_is_stuck(
    how: str, make_cache: MakeCache
) -> None:
    gate = Gate(numbered(4), at=2)
    cache = make_cache(gate)
    read = {
        "ingest_all": lambda: ids(cache) if cache.ingest_all() else [],
        "next": lambda: ids(cache),
        "stream": lambda: ids(pa.RecordBatchReader.from_stream(cache)),
    }[how]
    producer = Task(read)
    assert gate.reached.wait(120)
    waiter = Task(lambda: ids(cache))
    for answer in AT_ONCE.values():
        Task(answer, cache).result()
    gate.opened.set()
    assert producer.result() == waiter.result() == list(range(16))


def test_the_state_of_a_reader_that_waits() -> None:
    """In 0.1.3, `closed` hangs during `next` of the same reader."""
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    reader = cache.reader()
    task = Task(lambda: ids(list(reader)))
    assert gate.reached.wait(120)
    assert Task(lambda: reader.closed).result() is False
    assert Task(lambda: reader.schema).result() == SCHEMA
    assert "closed=False" in Task(repr, reader).result()
    Task(reader.__arrow_c_schema__).result()
    gate.opened.set()
    assert task.result() == list(range(16))


@pytest.mark.parametrize("how", ["ingest_all", "next", "stream"])
def test_close_while_the_source_is_stuck(how: str, make_cache: MakeCache) -> None:
    """Waiters fail at once, and the producer fails when the source returns."""
    gate = Gate(numbered(4), at=2)
    cache = make_cache(gate)
    kept = cache.reader()
    read = {
        "ingest_all": cache.ingest_all,
        "next": lambda: list(cache),
        "stream": lambda: pa.RecordBatchReader.from_stream(cache).read_all(),
    }[how]
    producer = Task(read)
    assert gate.reached.wait(120)
    batches = [next(kept), next(kept)]
    waiters = [
        Task(lambda: list(cache)),
        Task(lambda: next(kept)),
        Task(cache.ingest_all),
    ]
    Task(cache.close).result()
    for waiter in waiters:
        with pytest.raises(ValueError, match=CLOSED):
            waiter.result()
    assert producer.is_alive()
    gate.opened.set()
    with pytest.raises(ValueError, match=CLOSED):
        producer.result()
    assert ids(batches) == list(range(8))
    assert cache.ingested_count == 2


def test_a_reader_used_up_while_it_waits() -> None:
    gate = Gate(numbered(4), at=2)
    reader = StreamCache(gate).reader()
    task = Task(lambda: [next(reader) for _ in range(3)])
    assert gate.reached.wait(120)
    stream = Task(pa.RecordBatchReader.from_stream, reader).result()
    assert reader.closed
    gate.opened.set()
    assert len(task.result()) == 3
    assert ids(stream) == list(range(12, 16))


def test_everything_dropped_while_the_source_is_stuck() -> None:
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    task = Task(lambda r: ids(r), cache.reader())
    assert gate.reached.wait(120)
    del cache
    gate.opened.set()
    assert task.result() == list(range(16))


def test_other_threads_run_while_a_source_is_slow() -> None:
    """While a source waits, the GIL is free for any kind of call."""
    gate = Gate(numbered(4), at=1)
    cache = StreamCache(gate)
    task = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    beats = 0
    stop = threading.Event()

    def beat() -> None:
        nonlocal beats
        while not stop.is_set():
            beats += 1

    heart = Task(beat)
    while beats < 1000:
        assert heart.is_alive()
    stop.set()
    gate.opened.set()
    assert task.result() == 4
