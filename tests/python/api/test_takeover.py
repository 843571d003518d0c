"""Followers of `cached` continue the recording of a writer that died, with `resume=True`.

Each reader gets each row once, and one process at a time writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import logging
import os
import random
import signal
import sys
import termios
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache, _cached_query, _decision, cached
from children import die_at, fork, kill, killed, linger, start_cached, status, stream
from helpers import SCHEMA, Gate, Task, check_python, ids, numbered, wait_until
from queries import ALL, BATCHES, never, source


def mark(path: Path) -> None:
    """Count an event in a file that all processes share."""
    with path.open("a") as out:
        out.write(".")


def marks(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def start(path: Path, number: int, **options: Any) -> int:
    return start_cached(path, BATCHES, number, **options)


def follow(path: Path, make: Callable[[], Any] = source, **options: Any) -> StreamCache:
    cache = cached(path, make, resume=True, **options)
    assert not cache.upstream_exhausted
    return cache


def is_complete(path: Path) -> bool:
    with contextlib.suppress(OSError):
        batchcorder.open(path).close()
        return True
    return False


def unread(pipe: int) -> int:
    """Return the number of bytes in a pipe."""
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def take(reader: Any, count: int) -> list[int]:
    return ids([next(reader) for _ in range(count)])


def left(path: Path, number: int, make: Callable[[], Any] = source) -> StreamCache:
    """Return a follower of a writer that has died after `number` batches."""
    child = start(path, number)
    with killed(child):
        cache = follow(path, make)
        assert take(cache.reader(), number) == ALL[: 4 * number]
    return cache


def check_whole(path: Path) -> None:
    with batchcorder.open(path) as cache:
        assert ids(cache) == ALL
    assert batchcorder.verify(path) == BATCHES
    assert os.listdir(path.parent) == [path.name]


def check_not_complete(path: Path) -> None:
    with pytest.raises(OSError, match="not complete"):
        batchcorder.open(path)


def check_died(reader: Any) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="writer died") as caught:
            next(reader)
        assert caught.value.errno == errno.EOWNERDEAD


# ---- a writer that is killed ----


@pytest.mark.parametrize("prefetch", [None, 2])
@pytest.mark.parametrize("number", range(BATCHES + 1))
def test_killed_at_every_batch(path: Path, number: int, prefetch: int | None) -> None:
    """With number BATCHES, the file has all batches and lacks the trailer."""
    with killed(start(path, number)) as child:
        cache = follow(path, prefetch=prefetch)
        reader = cache.reader()
        assert take(reader, number) == ALL[: 4 * number]
        # The threads wait while the writer dies.
        tasks = [Task(ids, reader), Task(ids, cache), Task(cache.ingest_all)]
        kill(child)
        assert tasks[0].result() == ALL[4 * number :]
        assert tasks[1].result() == ALL
        assert tasks[2].result() == BATCHES
        assert cache.upstream_exhausted
        cache.close()
    check_whole(path)


def follower_process(path: Path, number: int, begun: Path, calls: Path) -> None:
    def make() -> pa.RecordBatchReader:
        mark(calls)
        return source()

    cache = follow(path, make)
    reader = cache.reader()
    got = take(reader, number)
    mark(begun)
    got += ids(reader)
    assert got == ALL
    assert ids(cache) == ALL


@pytest.mark.parametrize("number", [0, 3, BATCHES])
def test_followers_in_many_processes(path: Path, number: int) -> None:
    begun, calls = path.parent.with_name("begun"), path.parent.with_name("calls")
    with killed(start(path, number)) as child:
        children = [fork(follower_process, path, number, begun, calls) for _ in range(8)]
        wait_until(lambda: marks(begun) == 8)
        kill(child)
        assert [status(one) for one in children] == [0] * 8
    assert marks(calls) == 1
    check_whole(path)


@pytest.mark.parametrize("number", [0, 3, BATCHES])
def test_followers_in_many_threads(path: Path, number: int) -> None:
    calls = path.parent.with_name("calls")
    begun = threading.Barrier(9)

    def make() -> pa.RecordBatchReader:
        mark(calls)
        return source()

    def read() -> list[int]:
        with follow(path, make) as cache:
            reader = cache.reader()
            got = take(reader, number)
            begun.wait(120)
            return got + ids(reader)

    with killed(start(path, number)) as child:
        tasks = [Task(read) for _ in range(8)]
        begun.wait(120)
        kill(child)
        assert [task.result() for task in tasks] == [ALL] * 8
    # The first taker is closed when its thread has all batches: a second is not needed.
    assert marks(calls) == 1
    check_whole(path)


def test_the_followers_die_as_well(path: Path) -> None:
    """Each process that takes over is killed one batch later."""
    begun, calls = path.parent.with_name("begun"), path.parent.with_name("calls")

    def run() -> None:
        def make() -> pa.RecordBatchReader:
            mark(calls)
            return stream(BATCHES, die_at(marks(calls)))

        cache = follow(path, make)
        mark(begun)
        assert ids(cache) == ALL

    with killed(start(path, 0)) as child:
        children = [fork(run) for _ in range(BATCHES + 2)]
        wait_until(lambda: marks(begun) == BATCHES + 2)
        kill(child)
        results = sorted(status(one) for one in children)
    # The last one has a source that never dies.
    assert results == [-signal.SIGKILL] * BATCHES + [0, 0]
    assert marks(calls) == BATCHES + 1
    check_whole(path)


def test_the_follower_is_closed_in_the_middle(path: Path) -> None:
    """A follower that took over is closed early. Other followers take over then."""
    cache = left(path, 2)
    other = follow_by(path, taken_over(path))
    with cache:
        assert take(cache.reader(), 3) == ALL[:12]
    assert ids(other) == ALL
    check_whole(path)


def follow_by(path: Path, begin: Callable[[], Any]) -> StreamCache:
    """Follow a recording without a writer, as a follower that was opened earlier does."""
    cache = batchcorder.open(path, follow=True)
    batchcorder._core.allow_takeover(cache, begin)
    return cache


def taken_over(
    path: Path, make: Callable[[], Any] = source, schema: pa.Schema | None = SCHEMA
) -> Callable[[], StreamCache | None]:
    options = {"key": None, "compression": None, "durable": False, "prefetch": None}
    begin = _cached_query._taken_over
    return lambda: begin(os.fsencode(path), make, schema, statistics=True, **options)


# ---- other deaths ----


def test_the_source_fails_in_another_process(path: Path) -> None:
    """The process of the failed writer lives on."""

    def write() -> None:
        def before(i: int) -> None:
            if i == 3:
                wait_until(path.with_name("go_on").exists)
                raise ZeroDivisionError("broken")

        cache = cached(path, lambda: stream(BATCHES, before))
        with pytest.raises(ZeroDivisionError):
            cache.ingest_all()
        linger()

    with killed(fork(write)):
        wait_until(path.exists)
        cache = follow(path)
        reader = cache.reader()
        assert take(reader, 3) == ALL[:12]
        path.with_name("go_on").touch()
        assert ids(reader) == ALL[12:]
        path.with_name("go_on").unlink()
        check_whole(path)


@pytest.mark.parametrize("closes", [False, True])
def test_a_writer_of_this_process_is_closed(path: Path, closes: bool) -> None:
    first = cached(path, source)
    assert take(first.reader(), 2) == ALL[:8]
    cache = follow(path)
    reader = cache.reader()
    assert take(reader, 2) == ALL[:8]
    first.close()
    assert ids(reader) == ALL[8:]
    check_whole(path)


def test_a_source_of_this_process_fails(path: Path) -> None:
    """The follower gets the error of a source in its own process, as without resume."""

    def before(i: int) -> None:
        if i == 3:
            raise ZeroDivisionError("broken")

    first = cached(path, lambda: stream(BATCHES, before))
    cache = follow(path, never)
    with pytest.raises(ZeroDivisionError, match="broken"):
        cache.ingest_all()
    check_not_complete(path)
    del first


def test_another_process_resumes_first(path: Path) -> None:
    """The follower then follows the new writer, and asks no source."""
    cache = left(path, 2, never)
    with killed(fork(lambda: ids(cached(path, source, resume=True)))) as child:
        assert status(child) == 0
    assert ids(cache) == ALL
    check_whole(path)


def test_without_resume_nothing_changes(path: Path) -> None:
    with killed(start(path, 3)) as child:
        cache = cached(path, never)
        reader = cache.reader()
        assert take(reader, 3) == ALL[:12]
        kill(child)
        check_died(reader)
    check_not_complete(path)


def test_a_complete_recording_has_no_takeover(path: Path) -> None:
    with cached(path, source) as cache:
        cache.ingest_all()
    with cached(path, never, resume=True) as cache:
        assert ids(cache) == ALL
        with pytest.raises(ValueError, match="does not follow"):
            batchcorder._core.allow_takeover(cache, never)


# ---- options and messages ----


def test_the_takeover_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = left(path, 2)
    with caplog.at_level(logging.WARNING, "batchcorder"):
        assert ids(cache) == ALL
    (entry,) = caplog.records
    assert (entry.name, entry.levelname) == ("batchcorder", "WARNING")
    assert str(path) in entry.getMessage()
    assert "the first 2 batches" in entry.getMessage()


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_options(path: Path, compression: Any) -> None:
    with killed(start(path, 2, compression=None if compression else "zstd")) as child:
        options = {"durable": True, "prefetch": 3, "statistics": False}
        cache = follow(path, compression=compression, **options)
        reader = cache.reader(columns=["id"], start=1)
        assert take(reader, 1) == ALL[4:8]
        kill(child)
        assert ids(reader) == ALL[8:]
    check_whole(path)


@pytest.mark.parametrize("key", [None, {"day": 7}])
def test_the_recording_keeps_its_key(path: Path, key: Any) -> None:
    """A follower that asks for no key follows any recording."""
    with killed(start(path, 2, key={"day": 7})) as child:
        cache = follow(path, key=key)
        kill(child)
        assert ids(cache) == ALL
    assert ids(cached(path, never, key={"day": 7})) == ALL
    check_whole(path)


def test_the_function_is_remembered(path: Path) -> None:
    """The function that completed the recording is not called by the next `cached`."""
    with killed(start(path, 2)) as child:
        cache = follow(path, lambda: stream(2 * BATCHES // 2))
        kill(child)
        assert ids(cache) == ALL
    calls: list[int] = []

    def other() -> pa.RecordBatchReader:
        calls.append(1)
        return source()

    assert ids(cached(path, other)) == ALL
    assert calls == [1]


# ---- sources that fail ----


def raises() -> NoReturn:
    raise ZeroDivisionError("no query")


def call_busy() -> NoReturn:
    raise OSError(errno.EBUSY, "the database is busy")


def call_blocking() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, "later")


def call_exit() -> NoReturn:
    raise SystemExit("leave")


OTHERS: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "raises": (ZeroDivisionError, raises),
    "no stream": (TypeError, lambda: 5),
    "schema": (ValueError, lambda: pa.table({"other": [1, 2]})),
    "metadata": (
        ValueError,
        lambda: source().read_all().replace_schema_metadata({"a": "b"}),
    ),
    "rows": (ValueError, lambda: stream(BATCHES, rows=5)),
    "shorter": (ValueError, lambda: stream(2)),
    "fails": (ZeroDivisionError, lambda: stream(BATCHES, lambda i: 1 // (4 - i))),
    "fails early": (ZeroDivisionError, lambda: stream(BATCHES, lambda i: 1 // (1 - i))),
    "busy": (OSError, call_busy),
    "blocking": (BlockingIOError, call_blocking),
    "exits": (SystemExit, call_exit),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_source(path: Path, other: str) -> None:
    """All readers get the error, and another process may continue the recording."""
    kind, make = OTHERS[other]
    calls: list[int] = []

    def count() -> Any:
        calls.append(1)
        return make()

    cache = left(path, 3, count)
    there = 4 if other == "fails" else 3
    for _ in range(2):
        reader = cache.reader()
        assert take(reader, there) == ALL[: 4 * there]
        with pytest.raises(kind):
            next(reader)
    assert calls == [1]
    assert cache.stats()["state"] == "failed"
    check_not_complete(path)
    assert len(batchcorder.open(path, partial=True)) == there
    with killed(fork(lambda: ids(cached(path, source, resume=True)))) as child:
        assert status(child) == 0
    check_whole(path)


def test_a_schema_that_pyarrow_refuses(path: Path) -> None:
    """The exception has no schema for a source that raises it, and becomes a message."""
    left(path, 2).close()
    with (
        follow_by(path, taken_over(path, raises, None)) as cache,
        pytest.raises(OSError, match="ZeroDivisionError: no query") as caught,
    ):
        cache.ingest_all()
    assert caught.value.errno == errno.EOWNERDEAD
    assert ids(follow_by(path, taken_over(path, source, None))) == ALL
    check_whole(path)


class HostileError(OSError):
    """An exception whose words cannot be made."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


# The exception of the function, and errno and words of the reader's error.
BEGINS: list[tuple[BaseException, int, str]] = [
    (OSError(errno.EIO, "the disk broke", "x"), errno.EIO, "the disk broke: 'x'"),
    (OSError(errno.EIO, "the disk broke"), errno.EIO, "the disk broke"),
    (BlockingIOError(errno.EAGAIN, "later"), errno.EAGAIN, "later"),
    (InterruptedError(errno.EINTR, "signal"), errno.EOWNERDEAD, "signal"),
    (OSError(errno.ECANCELED, "cancelled"), errno.EOWNERDEAD, "cancelled"),
    (OSError("no number"), errno.EOWNERDEAD, "OSError: no number"),
    (OSError(-5, "negative"), errno.EOWNERDEAD, "negative"),
    (OSError(1 << 80, "huge"), errno.EOWNERDEAD, "huge"),
    (OSError("text", "text"), errno.EOWNERDEAD, "text"),
    (KeyError("é\ud800"), errno.EOWNERDEAD, "KeyError: "),
    (ValueError("long" * 1000), errno.EOWNERDEAD, "ValueError: longlong"),
    (HostileError(), errno.EOWNERDEAD, "take over"),
    (SystemExit(3), errno.EOWNERDEAD, "SystemExit: 3"),
]


@pytest.mark.parametrize(("error", "number", "words"), BEGINS)
def test_exceptions_of_the_function(
    path: Path, error: BaseException, number: int, words: str
) -> None:
    def begin() -> NoReturn:
        raise error

    left(path, 2).close()
    cache = follow_by(path, begin)
    for _ in range(2):
        with pytest.raises(OSError, match=r".") as caught:
            cache.ingest_all()
        assert caught.value.errno == number
        assert words in str(caught.value)


def test_a_function_that_returns_no_cache(path: Path) -> None:
    left(path, 2).close()
    with pytest.raises(OSError, match="TypeError: expected a StreamCache"):
        follow_by(path, lambda: 5).ingest_all()
    fresh = StreamCache.__new__(StreamCache)
    with pytest.raises(OSError, match="ValueError: "):
        follow_by(path, lambda: fresh).ingest_all()
    # Another cache does not write the recording.
    other = StreamCache(source())
    with pytest.raises(OSError, match="writer died"):
        follow_by(path, lambda: other).ingest_all()


def test_without_memory_the_call_can_be_repeated(path: Path) -> None:
    turns: list[int] = []

    def begin() -> StreamCache | None:
        turns.append(1)
        if len(turns) == 1:
            raise MemoryError
        return taken_over(path)()

    left(path, 2).close()
    cache = follow_by(path, begin)
    with pytest.raises(MemoryError):
        cache.ingest_all()
    assert ids(cache) == ALL
    check_whole(path)


def test_messages_of_exceptions(path: Path) -> None:
    def make() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "no such table" * 200, "orders")

    cache = left(path, 2, make)
    with pytest.raises(FileNotFoundError) as caught:
        cache.ingest_all()
    assert caught.value.filename == "orders"
    assert caught.value.strerror == "no such table" * 200
    assert "in make" in str(caught.value.__cause__)


def test_the_error_of_one_process_is_not_that_of_another(path: Path) -> None:
    """If make_source fails in one process, another process takes over."""
    failed = path.parent.with_name("failed")
    child = start(path, 2)
    with killed(child):

        def fail() -> None:
            cache = follow(path, raises)
            mark(failed)
            with pytest.raises(ZeroDivisionError):
                cache.ingest_all()
            mark(failed)
            linger()

        with killed(fork(fail)):
            wait_until(lambda: marks(failed) == 1)
            cache = follow(path)
            kill(child)
            wait_until(lambda: marks(failed) == 2)
            assert ids(cache) == ALL
    check_whole(path)


def test_make_source_asks_for_the_same_recording(path: Path) -> None:
    def make() -> Any:
        return cached(path, source, resume=True)

    cache = left(path, 2, make)
    with pytest.raises(RuntimeError, match="make_source asks"):
        cache.ingest_all()
    check_not_complete(path)


def test_make_source_reads_the_follower(path: Path) -> None:
    caches: list[StreamCache] = []

    def make() -> Any:
        return pa.table({"id": ids(caches[0])})

    caches.append(left(path, 2, make))
    with pytest.raises(OSError, match="deadlock"):
        caches[0].ingest_all()
    caches.pop().close()
    check_not_complete(path)


# ---- other files at the path ----


def replace(path: Path) -> None:
    os.rename(path, path.with_name("moved"))
    cached(path, source)[0]


@pytest.mark.parametrize("change", [Path.unlink, replace])
@pytest.mark.parametrize("inside", [False, True])
def test_the_file_is_not_there_any_more(
    path: Path, change: Callable[[Path], None], inside: bool
) -> None:
    """The file moves before the follower decides, or inside its make_source."""

    def make() -> pa.RecordBatchReader:
        assert inside
        change(path)
        return source()

    cache = left(path, 3, make)
    if not inside:
        change(path)
    reader = cache.reader()
    assert take(reader, 3) == ALL[:12]
    check_died(reader)
    cache.close()
    for other in path.parent.iterdir():
        check_not_complete(other)


def test_the_file_may_not_be_written(path: Path, monkeypatch: Any) -> None:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    cache = left(path, 3, never)
    monkeypatch.setattr(_decision, "_lock", refused)
    reader = cache.reader()
    assert take(reader, 3) == ALL[:12]
    with pytest.raises(OSError, match=r"writer died.*Permission denied") as caught:
        next(reader)
    assert caught.value.errno == errno.EOWNERDEAD


# ---- consumers in C ----


def with_pyarrow(cache: StreamCache) -> list[int]:
    return pa.RecordBatchReader.from_stream(cache).read_all()["id"].to_pylist()


def with_duckdb(cache: StreamCache) -> list[int]:
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.connect().sql("select id from cache").fetchall()
    return [row[0] for row in rows]


def with_polars(cache: StreamCache) -> list[int]:
    return pytest.importorskip("polars").DataFrame(cache)["id"].to_list()


def with_dataset(cache: StreamCache) -> list[int]:
    return cache.dataset().to_table()["id"].to_pylist()


def with_take(cache: StreamCache) -> list[int]:
    return cache.take(ALL)["id"].to_pylist()


@pytest.mark.parametrize(
    "consume", [with_pyarrow, with_duckdb, with_polars, with_dataset, with_take]
)
def test_consumers(path: Path, consume: Callable[[StreamCache], list[int]]) -> None:
    with killed(start(path, 2)) as child:
        cache = follow(path)
        task = Task(consume, cache)
        wait_until(lambda: cache.ingested_count == 2)
        kill(child)
        assert sorted(task.result()) == ALL
        # Rows of the last batch do not need the end of the stream.
        assert cache.ingest_all() == BATCHES
    check_whole(path)


def test_a_stream_outlives_its_cache(path: Path) -> None:
    with killed(start(path, 2)) as child:
        reader = pa.RecordBatchReader.from_stream(follow(path))
        gc.collect()
        assert ids([reader.read_next_batch()]) == ALL[:4]
        kill(child)
        assert ids(reader) == ALL[4:]
    check_whole(path)


SCRIPT = """
    import contextlib, ctypes, os, signal, sys
    from pathlib import Path
    from batchcorder import cached, open
    from children import kill, linger, start_cached, stream
    from cstream import stream_in
    from helpers import *

    path = Path({path!r})
    child = start_cached(path, {batches}, 2)
"""


def script(path: Path, code: str) -> str:
    return check_python(SCRIPT.format(path=str(path), batches=BATCHES) + code)


def test_a_thread_without_python(path: Path, ccode: Path) -> None:
    """A thread of C reads, and the source of the follower is in Python."""
    printed = script(
        path,
        f"""
    cache = cached(path, lambda: stream({BATCHES}), resume=True)
    keeper = ctypes.CDLL({str(ccode)!r})
    keeper.keeper_begin()
    capsule = cache.__arrow_c_stream__()
    assert keeper.keeper_keep(ctypes.byref(stream_in(capsule)), 3, 0) == 0
    wait_until(lambda: cache.ingested_count == 2)
    kill(child)
    wait_until(lambda: cache.upstream_exhausted)
    """,
    )
    assert f"kept: {BATCHES} batches, 0" in printed
    check_whole(path)


# ---- locks, forks, interrupts, exits ----


def test_the_wait_for_a_decision_ends(path: Path) -> None:
    """While another thread decides, a follower waits, and closing it ends the wait."""
    cache = left(path, 2)
    other = follow_by(path, taken_over(path))
    decided = threading.Event()
    decides = threading.Event()

    def decide() -> None:
        with _decision.decision(os.fsencode(path)):
            decides.set()
            assert decided.wait(120)

    task = Task(decide)
    assert decides.wait(120)
    tasks = [Task(ids, one) for one in (cache, other, other)]
    wait_until(lambda: other.stats()["waiting"] == 1)
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        tasks[0].result()
    decided.set()
    task.result()
    assert [one.result() for one in tasks[1:]] == [ALL] * 2
    check_whole(path)


def test_closed_inside_make_source(path: Path) -> None:
    gate = Gate(numbered(BATCHES), 0)

    def make() -> Any:
        gate.reached.set()
        assert gate.opened.wait(120)
        return source()

    cache = left(path, 2, make)
    task = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    cache.close()
    gate.opened.set()
    with pytest.raises(ValueError, match="closed"):
        task.result()
    assert ids(cached(path, source, resume=True)) == ALL
    check_whole(path)


def test_a_forked_child_does_not_take_over(path: Path) -> None:
    cache = left(path, 2)

    def read() -> None:
        reader = cache.reader()
        assert take(reader, 2) == ALL[:8]
        with pytest.raises(OSError, match="forked") as caught:
            next(reader)
        assert caught.value.errno == errno.ECANCELED

    assert status(fork(read)) == 0
    assert ids(cache) == ALL
    check_whole(path)


def test_a_fork_inside_make_source(path: Path) -> None:
    """The child neither writes nor keeps the parent's locks."""
    children: list[int] = []

    def make() -> pa.RecordBatchReader:
        children.append(fork(lambda: None))
        children.append(fork(linger))
        return source()

    cache = left(path, 2, make)
    assert ids(cache) == ALL
    assert status(children[0]) == 0
    kill(children[1])
    check_whole(path)


@pytest.mark.parametrize(
    "batches",
    ["cache.reader()", "pa.RecordBatchReader.from_stream(cache)"],
    ids=["method", "stream"],
)
def test_interrupted_inside_make_source(path: Path, batches: str) -> None:
    """The interrupt ends the call, and the next call takes over."""
    printed = script(
        path,
        f"""
    calls, got, interrupts = [], [], 0

    def make():
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            linger()
        return stream({BATCHES})

    cache = cached(path, make, resume=True)
    kill(child)
    batches = {batches}
    idle = threading.Event()
    while True:
        try:
            # pyarrow raises its own error first, then the interrupt.
            with contextlib.suppress(OSError):
                for batch in batches:
                    got.append(batch)
                break
            while True:
                idle.wait(0.01)
        except KeyboardInterrupt:
            interrupts += 1
    print(interrupts, len(calls), ids(got) == ids(cache) == ids(open(path)))
    """,
    )
    assert printed == "1 2 True\n"
    check_whole(path)


@pytest.mark.parametrize("where", ["decision", "make_source"])
def test_the_interpreter_ends_while_a_thread_takes_over(path: Path, where: str) -> None:
    script(
        path,
        f"""
    from batchcorder import _cached_query, _decision
    inside, asked = threading.Event(), threading.Event()

    def make():
        inside.set()
        linger()

    def ask(*arguments, **options):
        asked.set()
        return _decision.decision(*arguments, **options)

    cache = cached(path, make, resume=True)
    reader = cache.reader()
    next(reader), next(reader)
    held = _decision.decision(os.fsencode(path))
    if {where!r} == "decision":
        held.__enter__()
    _cached_query.decision = ask
    kill(child)
    Task(ids, reader)
    assert (asked if {where!r} == "decision" else inside).wait(120)
    sys.exit(0)
    """,
    )
    check_not_complete(path)


# ---- nothing is left ----


class Maker:
    """A function that can be referred to weakly."""

    def __call__(self) -> pa.RecordBatchReader:
        return source()


@pytest.mark.parametrize("end", ["dropped", "closed", "taken over", "failed"])
def test_a_cache_goes_with_its_last_reference(path: Path, end: str) -> None:
    gc.collect()
    gc.disable()
    try:
        make = Maker()
        cache = left(path, 2, make)
        gone, released = weakref.ref(cache), weakref.ref(make)
        del make
        assert released() is not None
        if end == "closed":
            cache.close()
            assert released() is None
        if end == "taken over":
            assert ids(cache) == ALL
        if end == "failed":
            path.unlink()
            with contextlib.suppress(OSError):
                cache.ingest_all()
            assert cache.stats()["state"] == "failed"
        del cache
        assert gone() is None
        assert released() is None
    finally:
        gc.enable()


def test_no_descriptor_and_no_lock_is_left(path: Path) -> None:
    def work(make: Callable[[], Any]) -> None:
        cache = left(path, 2, make)
        with contextlib.suppress(ZeroDivisionError):
            cache.ingest_all()
        cache.close()
        assert os.listdir(path.parent) == [path.name]
        path.unlink()

    work(source)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for make in (source, raises) * 4:
        work(make)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


# ---- at random ----


@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 200), marks=pytest.mark.long)]
)
def test_processes_are_killed_at_random(path: Path, seeds: range) -> None:
    """The parent permits each batch, and kills processes in between."""
    calls = path.parent.with_name("calls")
    for seed in seeds:
        draw = random.Random(seed)
        out, into = os.pipe()

        def run(prefetch: int | None, threads: int, out: int = out) -> None:
            def permitted(number: int) -> None:
                assert os.read(out, 1) == b"."

            def make() -> pa.RecordBatchReader:
                mark(calls)
                return stream(BATCHES, permitted)

            def read() -> None:
                with cached(path, make, resume=True, prefetch=prefetch) as cache:
                    assert ids(cache) == ALL

            for task in [Task(read) for _ in range(threads)]:
                task.result()

        children = [
            fork(run, draw.choice([None, 2]), draw.randrange(1, 4))
            for _ in range(draw.randrange(2, 7))
        ]
        victims = draw.sample(children, draw.randrange(len(children)))
        wait_until(path.exists)
        for child in victims:
            os.write(into, b"." * draw.randrange(BATCHES + 2))
            if draw.random() < 0.7:
                wait_until(lambda: unread(into) == 0 or is_complete(path))  # noqa: B023
            os.kill(child, signal.SIGKILL)
        # A source reads BATCHES + 1 times at most.
        os.write(into, b"." * (BATCHES + 1) * 10 * len(children))
        results = {child: status(child) for child in children}
        os.close(out)
        os.close(into)
        for child in children:
            assert results[child] == 0 or child in victims
        # A victim may have been deciding.
        path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
        check_whole(path)
        path.unlink()
    # Some victims were writers.
    assert marks(calls) > len(seeds)
