"""Ctrl-C stops an ingest or a wait at once, and the recording can continue."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import check_python

PRELUDE = """
    import os, signal, threading
    from helpers import *

    calling = threading.Event()

    def interrupt_when(condition):
        # The condition holds, and the main thread is in its call or about to be.
        calling.clear()
        def watch():
            assert calling.wait(120)
            wait_until(condition)
            os.kill(os.getpid(), signal.SIGINT)
        return Task(watch)

    def waits():
        return cache.stats()["waiting"] == 1

    def expect_interrupt(call, watcher):
        try:
            calling.set()
            call()
        except KeyboardInterrupt:
            watcher.result()
        else:
            raise AssertionError("not interrupted")
"""

CALLS = {
    "ingest_all": "cache.ingest_all",
    "next": "lambda: [one for one in cache]",
    "stream": "lambda: pa.RecordBatchReader.from_stream(cache).read_all()",
}


@pytest.mark.parametrize("call", ["ingest_all", "next"])
def test_a_source_written_in_c(call: str) -> None:
    """The source is a pyarrow table in one-row batches, and its ingest takes a while."""
    check_python(
        PRELUDE
        + f"""
    rows = 150_000
    table = pa.table({{"id": pa.array(range(rows), pa.int64())}})
    cache = StreamCache(table.to_reader(max_chunksize=1))
    expect_interrupt({CALLS[call]}, interrupt_when(lambda: cache.ingested_count > 1000))
    count = cache.ingested_count
    assert 1000 < count < rows, count
    assert not cache.upstream_exhausted
    assert ids([next(cache.reader(from_start=False))]) == [count]
    assert cache.ingest_all() == rows
    assert pa.table(cache).column("id").to_pylist() == list(range(rows))
    """
    )


@pytest.mark.parametrize("call", ["ingest_all", "next"])
def test_waiting_for_another_thread(call: str) -> None:
    check_python(
        PRELUDE
        + f"""
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    producer = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    for _ in range(2):
        expect_interrupt({CALLS[call]}, interrupt_when(waits))
    assert cache.ingested_count == 2
    gate.opened.set()
    assert producer.result() == 4
    assert ids(cache) == list(range(16))
    """
    )


def test_waiting_in_a_c_stream_for_another_thread() -> None:
    """The stream fails or continues. Python raises the interrupt. No batch is lost."""
    check_python(
        PRELUDE
        + """
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    producer = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    watcher = interrupt_when(waits)
    opener = Task(lambda: (watcher.result(), over.wait(120), gate.opened.set()))
    over, idle = threading.Event(), threading.Event()
    try:
        try:
            calling.set()
            pa.RecordBatchReader.from_stream(cache).read_all()
        except OSError as error:
            assert "Interrupted" in str(error)
        while True:
            idle.wait(0.01)
    except KeyboardInterrupt:
        over.set()
    else:
        raise AssertionError("not interrupted")
    opener.result()
    assert producer.result() == 4
    assert ids(cache) == list(range(16))
    """
    )


@pytest.mark.parametrize(
    "call",
    [
        "ingest_all",
        "next",
        pytest.param(
            "stream",
            marks=pytest.mark.xfail(
                reason="pyarrow raises its own error for a C stream's"
            ),
        ),
    ],
)
def test_a_python_source_that_sees_it(call: str) -> None:
    """The source raises KeyboardInterrupt, and the stream never counts as complete."""
    check_python(
        PRELUDE
        + f"""
    def generate():
        for i, one in enumerate(numbered(30)):
            if i == 3:
                threading.Event().wait(120)
            yield one

    cache = StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    expect_interrupt({CALLS[call]}, interrupt_when(lambda: cache.ingested_count > 2))
    count = cache.ingested_count
    assert 2 < count < 30
    assert not cache.upstream_exhausted
    try:
        assert cache.ingest_all() == 30
    except BaseException as error:
        assert not cache.upstream_exhausted
        reader = cache.reader()
        assert ids([next(reader) for _ in range(count)]) == list(range(4 * count))
    else:
        assert ids(cache) == list(range(120))
    """
    )


def test_a_handler_that_raises_nothing_stops_nothing() -> None:
    check_python(
        PRELUDE
        + """
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    table = pa.table({"id": pa.array(range(100_000), pa.int64())})
    for make in (StreamCache, lambda s: StreamCache.on_disk(s, memory_capacity=1)):
        cache = make(table.to_reader(max_chunksize=1))
        assert cache.ingest_all() == 100_000
        assert pa.table(cache).equals(table)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert seen
    """
    )


def test_a_handler_that_raises_something_else() -> None:
    check_python(
        PRELUDE
        + """
    class Mine(Exception):
        pass

    def handler(*_):
        raise Mine("from the handler")

    signal.signal(signal.SIGINT, handler)
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    producer = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    for call in (cache.ingest_all, lambda: list(cache)):
        watcher = interrupt_when(lambda: True)
        try:
            calling.set()
            call()
        except Mine as error:
            assert str(error) == "from the handler"
        else:
            raise AssertionError("not raised")
        watcher.result()
    gate.opened.set()
    assert producer.result() == 4
    """
    )


def test_a_handler_that_raises_below_a_source() -> None:
    """A source waits in another cache. The exception of a handler is one clean error."""
    check_python(
        PRELUDE
        + """
    gate = Gate(numbered(4), at=2)
    inner = StreamCache(gate)
    producer = Task(inner.ingest_all)
    assert gate.reached.wait(120)

    def generate():
        yield from pa.RecordBatchReader.from_stream(inner)

    class Boom(Exception):
        pass

    def raise_boom(number, frame):
        raise Boom

    outer = StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    signal.signal(signal.SIGALRM, raise_boom)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        outer.ingest_all()
    except (Boom, OSError, ValueError) as error:
        assert "exception set" not in str(error), error
    else:
        raise AssertionError("not interrupted")
    assert outer.ingested_count == 2
    gate.opened.set()
    assert producer.result() == 4
    assert ids(inner) == list(range(16))
    """
    )


@pytest.mark.parametrize(
    "options", ["", "compression='lz4'", "max_readers=1", "prefetch=2"]
)
def test_a_storm_of_signals_changes_nothing(options: str, tmp_path: Path) -> None:
    """A signal arrives every millisecond in writes and reads. Its handler returns."""
    check_python(
        f"""
    import signal
    from helpers import *
    handled = 0

    def handler(number, frame):
        global handled
        handled += 1

    large = [batch(i, 500_000) for i in range(4)]
    small = numbered(300)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    rounds = 0
    while handled < 100 or rounds < 3:
        rounds += 1
        for batches in (large, small):
            source = Source(batches)
            cache = on_disk(source, {str(tmp_path)!r}, {options})
            assert cache.ingest_all() == len(batches)
            file = pa.ipc.open_stream(cache_file({str(tmp_path)!r}))
            for stream in (file, cache):
                for one, wanted in zip(stream, batches, strict=True):
                    assert one.equals(wanted)
            assert (source.given, source.streams) == (len(batches), 1)
            cache.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    """
    )


HANDED_ON = (
    PRELUDE
    + """
    class Mine(Exception):
        pass

    made = []

    def handler(*_):
        made.append(Mine("from the handler"))
        raise made[-1]

    rows = 200_000
    table = pa.table({"id": pa.array(range(rows), pa.int64())})

    def use(consume):
        # The handler runs in the slow path: the source is C, and no other code polls.
        signal.signal(signal.SIGALRM, handler)
        delay, caught = 0.05, None
        while caught is None:
            cache = StreamCache(table.to_reader(max_chunksize=1))
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                consume(cache)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Mine as error:
                caught = error
            else:
                assert not made, "the handler's exception is lost"
                delay /= 2  # the read ended before the signal
        assert caught is made.pop() and not made
        assert cache.ingest_all() == rows
        assert pa.table(cache).equals(table)
"""
)


@pytest.mark.long
def test_a_handlers_exception_in_a_c_stream() -> None:
    check_python(
        HANDED_ON
        + """
    use(lambda cache: pa.RecordBatchReader.from_stream(cache).read_all())
    use(lambda cache: pa.table(cache))
    use(lambda cache: StreamCache(cache).ingest_all())
    use(lambda cache: list(StreamCache(cache)))
    """,
        timeout=300,
    )


def test_a_handlers_exception_in_adbc() -> None:
    check_python(
        HANDED_ON
        + """
    import adbc_driver_sqlite.dbapi

    def ingest(cache):
        with adbc_driver_sqlite.dbapi.connect() as connection:
            with connection.cursor() as cursor:
                cursor.adbc_ingest("t", pa.RecordBatchReader.from_stream(cache))

    use(ingest)
    """,
        timeout=300,
    )


def test_a_handlers_exception_while_a_c_stream_waits() -> None:
    """The exception of a handler ends the wait."""
    check_python(
        PRELUDE
        + """
    class Mine(Exception):
        pass

    def handler(*_):
        raise Mine

    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    producer = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            pa.RecordBatchReader.from_stream(cache).read_all()
        except OSError as error:
            assert "Interrupted" in str(error)
        for _ in range(100_000):
            pass
    except Mine:
        pass
    else:
        raise AssertionError("not handed on")
    gate.opened.set()
    assert producer.result() == 4
    assert ids(cache) == list(range(16))
    """
    )
