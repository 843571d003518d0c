"""Recordings are replayed while another process or thread writes them."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder._recordings import is_being_written
from children import fork, kill, killed, linger, status, stream, write
from helpers import Task, check_python, ids, mapped, numbered, wait_until

BATCHES = 8
ALL = list(range(4 * BATCHES))


class Pipe:
    """A pipe of tokens between processes: each token permits one batch."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def let(self, count: int = 1) -> None:
        os.write(self.into, b"." * count)

    def take(self, number: int) -> None:
        if number < BATCHES:
            assert os.read(self.out, 1) == b"."

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


@pytest.fixture
def pipe() -> Any:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.arrows"


def start(path: Path, before: Callable[[int], Any]) -> int:
    child = fork(write, path, BATCHES, before)
    wait_until(path.exists)
    return child


def follow(path: Path) -> list[int]:
    with batchcorder.open(path, follow=True) as cache:
        return ids(cache)


def test_before_the_first_batch_and_each_as_it_comes(path: Path, pipe: Pipe) -> None:
    with killed(start(path, pipe.take)) as child:
        cache = batchcorder.open(path, follow=True)
        assert (cache.ingested_count, cache.upstream_exhausted) == (0, False)
        reader = cache.reader()
        for number in range(BATCHES):
            pipe.let()
            assert ids([next(reader)]) == ALL[4 * number : 4 * number + 4]
        assert list(reader) == []
        assert status(child) == 0
        assert cache.upstream_exhausted
        assert (len(cache), cache.num_rows) == (BATCHES, len(ALL))
        assert cache.info()["kind"] == "recording"
        assert ids(cache) == ALL
    assert batchcorder.verify(path) == BATCHES


def test_many_processes_and_threads(path: Path, pipe: Pipe) -> None:
    def check() -> None:
        assert follow(path) == ALL

    with killed(start(path, pipe.take)) as child:
        children = [fork(check) for _ in range(4)]
        tasks = [Task(follow, path) for _ in range(4)]
        with batchcorder.open(path, follow=True) as shared:
            tasks += [Task(ids, shared) for _ in range(4)]
            for number in range(BATCHES):
                pipe.let()
                wait_until(lambda n=number: shared.ingested_count > n)
            assert [task.result() for task in tasks] == [ALL] * 8
        assert [status(one) for one in children] == [0] * 4
        assert status(child) == 0


@pytest.mark.parametrize("number", [0, 1, 5, BATCHES])
def test_the_writer_is_killed(path: Path, pipe: Pipe, number: int) -> None:
    child = start(path, lambda i: linger() if i == number else None)
    with batchcorder.open(path, follow=True) as cache:
        reader = cache.reader()
        assert ids([next(reader) for _ in range(number)]) == ALL[: 4 * number]
        # One thread polls the file, and the other thread waits for it.
        tasks = [Task(next, reader), Task(cache.ingest_all)]
        wait_until(lambda: cache.stats()["waiting"] == 1)
        kill(child)
        for task in tasks:
            with pytest.raises(OSError, match="writer died") as caught:
                task.result()
        assert caught.value.errno == errno.EOWNERDEAD
        assert str(path) in str(caught.value)
        # The error is permanent, after the same batches.
        for _ in range(2):
            again = cache.reader()
            assert ids([next(again) for _ in range(number)]) == ALL[: 4 * number]
            with pytest.raises(OSError, match="writer died"):
                next(again)
    with pytest.raises(OSError, match="not complete"):
        batchcorder.open(path)
    assert ids(batchcorder.open(path, partial=True)) == ALL[: 4 * number]


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_a_forked_child_does_not_count_as_the_writer(path: Path, end: str) -> None:
    """A forked worker inherits descriptors and mappings, and may outlive the writer."""
    pids = path.with_name("pids")

    def write_with_a_worker() -> None:
        cache = batchcorder.cached(path, lambda: stream(BATCHES))
        kept = [cache[i] for i in (0, 1, 2, 0)]
        assert mapped(path)
        assert ids(kept) == [*ALL[:12], *ALL[:4]]
        worker = os.fork()
        if worker == 0:
            linger()
            os._exit(0)
        pids.write_text(str(worker))
        if end == "closed":
            wait_until(path.with_name("close").exists)
            cache.close()
        linger()

    child = fork(write_with_a_worker)
    wait_until(lambda: pids.exists() and pids.read_text())
    with batchcorder.open(path, follow=True) as cache:
        reader = cache.reader()
        assert len([next(reader) for _ in range(3)]) == 3
        if end == "closed":
            path.with_name("close").touch()
        else:
            kill(child)
        with pytest.raises(OSError, match="writer died"):
            next(reader)
    os.kill(int(pids.read_text()), signal.SIGKILL)
    if end == "closed":
        kill(child)


def test_the_source_fails(path: Path, pipe: Pipe) -> None:
    """A follower in another process gets an error, though the writer lives on."""

    def write_and_stay() -> None:
        def before(i: int) -> None:
            pipe.take(i)
            if i == 3:
                raise ZeroDivisionError("broken")

        cache = batchcorder.cached(path, lambda: stream(BATCHES, before))
        with pytest.raises(ZeroDivisionError):
            cache.ingest_all()
        linger()

    with killed(fork(write_and_stay)):
        wait_until(path.exists)
        with batchcorder.open(path, follow=True) as cache:
            pipe.let(4)
            reader = cache.reader()
            assert ids([next(reader) for _ in range(3)]) == ALL[:12]
            with pytest.raises(OSError, match="writer died"):
                next(reader)


def test_a_writer_resumes_after_a_crash(path: Path, pipe: Pipe) -> None:
    child = start(path, lambda i: linger() if i == 3 else None)
    first = batchcorder.open(path, follow=True)
    old = fork(follow, path)
    reader = first.reader()
    assert ids([next(reader) for _ in range(3)]) == ALL[:12]
    kill(old)
    kill(child)
    with pytest.raises(OSError, match="writer died"):
        next(reader)

    def go_on() -> None:
        def source() -> pa.RecordBatchReader:
            return stream(BATCHES, lambda i: pipe.take(i) if i >= 4 else None)

        assert ids(batchcorder.cached(path, source, resume=True)) == ALL

    child = fork(go_on)
    with killed(child):
        # No process writes the recording until the child does.
        wait_until(lambda: is_being_written(batchcorder.open(path, follow=True)))
        second = Task(follow, path)
        pipe.let(BATCHES)
        assert second.result() == ALL
        assert status(child) == 0
    # The failed follower keeps its error, after the batches that it has.
    again = first.reader()
    assert ids([next(again) for _ in range(3)]) == ALL[:12]
    with pytest.raises(OSError, match="writer died"):
        next(again)


# ---- in one process ----


def test_another_thread_writes(path: Path, pipe: Pipe) -> None:
    task = Task(write, path, BATCHES, pipe.take)
    wait_until(path.exists)
    followers = [Task(follow, path) for _ in range(3)]
    for number in range(BATCHES):
        pipe.let()
        wait_until(lambda n=number: len(batchcorder.open(path, partial=True)) > n)
    assert [one.result() for one in followers] == [ALL] * 3
    task.result()


def test_one_thread_alone_does_not_wait_for_itself(path: Path) -> None:
    first = batchcorder.cached(path, lambda: stream(BATCHES))
    second = batchcorder.open(path, follow=True)
    assert ids([next(first.reader())]) == ALL[:4]
    assert ids([next(second.reader())]) == ALL[:4]
    assert ids(second) == ALL
    assert first.upstream_exhausted
    assert ids(first) == ALL


def test_a_follower_keeps_its_writer_alive(path: Path) -> None:
    first = batchcorder.cached(path, lambda: stream(BATCHES))
    second = batchcorder.open(path, follow=True)
    del first
    third = batchcorder.open(path, follow=True)
    second.close()
    del second
    assert ids(third) == ALL
    assert batchcorder.verify(path) == BATCHES


def leave(path: Path, batches: int) -> None:
    """Leave an incomplete recording of `batches` batches."""
    with batchcorder.cached(path, lambda: stream(BATCHES)) as cache:
        batchcorder._core.ingest_to(cache, batches)


def resume(path: Path, before: Callable[[int], Any] = lambda i: None) -> Any:
    return batchcorder.cached(path, lambda: stream(BATCHES, before), resume=True)


def fails_at_five(number: int) -> None:
    if number == 5:
        raise ZeroDivisionError("broken")


def resumed_after_it_was_opened(path: Path) -> None:
    leave(path, 2)
    follower = batchcorder.open(path, follow=True)
    writer = resume(path)
    assert ids(follower) == ALL
    assert writer.upstream_exhausted


def resumed_while_it_reads(path: Path) -> None:
    first = batchcorder.cached(path, lambda: stream(BATCHES))
    batchcorder._core.ingest_to(first, 2)
    reader = batchcorder.open(path, follow=True).reader()
    assert ids([next(reader)]) == ALL[:4]
    first.close()
    with resume(path):
        assert ids(reader) == ALL[4:]


def resumed_twice(path: Path) -> None:
    """The follower's first writer fails, and another writer continues the recording."""
    leave(path, 2)
    follower = batchcorder.open(path, follow=True)
    first = resume(path, fails_at_five)
    reader = follower.reader()
    assert ids([next(reader) for _ in range(3)]) == ALL[:12]
    with pytest.raises(ZeroDivisionError):
        first.ingest_all()
    second = resume(path)
    assert ids(reader) == ALL[12:]
    second.close()


def resumed_and_failed(path: Path) -> None:
    """The follower reports the error of a writer that failed before it was found."""
    leave(path, 2)
    follower = batchcorder.open(path, follow=True)
    writer = resume(path, fails_at_five)
    with pytest.raises(ZeroDivisionError):
        writer.ingest_all()
    reader = follower.reader()
    assert ids([next(reader) for _ in range(5)]) == ALL[:20]
    with pytest.raises(ZeroDivisionError, match="broken"):
        next(reader)


def closed_while_it_looks(path: Path) -> None:
    """A closed follower does not keep its writer alive."""
    leave(path, 2)
    with batchcorder.open(path, follow=True) as follower:
        writer = resume(path)
        reader = follower.reader()
        assert ids([next(reader) for _ in range(3)]) == ALL[:12]
    del writer
    gc.collect()
    assert not is_being_written(batchcorder.open(path, follow=True))


@pytest.mark.parametrize(
    "situation",
    [
        resumed_after_it_was_opened,
        resumed_while_it_reads,
        resumed_twice,
        resumed_and_failed,
        closed_while_it_looks,
    ],
)
def test_the_writer_is_looked_for_again(
    path: Path, situation: Callable[[Path], None]
) -> None:
    assert status(fork(situation, path, seconds=20)) == 0


def test_the_writer_is_closed(path: Path) -> None:
    first = batchcorder.cached(path, lambda: stream(BATCHES))
    with batchcorder.open(path, follow=True) as second:
        reader = second.reader()
        assert ids([next(reader)]) == ALL[:4]
        first.close()
        with pytest.raises(OSError, match="writer died") as caught:
            next(reader)
        assert caught.value.errno == errno.EOWNERDEAD


def test_the_source_of_the_same_process_fails(path: Path) -> None:
    def before(i: int) -> None:
        if i == 3:
            raise ZeroDivisionError("broken")

    first = batchcorder.cached(path, lambda: stream(BATCHES, before))
    with batchcorder.open(path, follow=True) as second:
        for cache in (second, second, first):
            reader = cache.reader()
            assert ids([next(reader) for _ in range(3)]) == ALL[:12]
            with pytest.raises(ZeroDivisionError, match="broken"):
                next(reader)


def test_a_source_that_follows_itself(path: Path) -> None:
    def before(i: int) -> None:
        if i == 2:
            with batchcorder.open(path, follow=True) as cache:
                reader = cache.reader()
                assert ids([next(reader) for _ in range(2)]) == ALL[:8]
                next(reader)

    with pytest.raises(OSError, match="source") as caught:
        batchcorder.record(stream(BATCHES, before), path)
    assert caught.value.errno == errno.EDEADLK


def test_prefetching_and_followers(path: Path) -> None:
    first = batchcorder.cached(path, lambda: stream(BATCHES), prefetch=2)
    tasks = [Task(follow, path) for _ in range(3)]
    assert [task.result() for task in tasks] == [ALL] * 3
    assert ids(first) == ALL


# ---- consumers ----


def with_pyarrow(cache: batchcorder.StreamCache) -> int:
    return pa.RecordBatchReader.from_stream(cache).read_all().num_rows


def with_duckdb(cache: batchcorder.StreamCache) -> int:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.connect().sql("select count(*) from cache").fetchall()[0][0]


def with_polars(cache: batchcorder.StreamCache) -> int:
    return pytest.importorskip("polars").DataFrame(cache).height


def with_dataset(cache: batchcorder.StreamCache) -> int:
    return cache.dataset().to_table(columns=["id"]).num_rows


def with_take(cache: batchcorder.StreamCache) -> int:
    return 1 + cache.take([len(ALL) - 1])["id"].to_pylist()[0]


@pytest.mark.parametrize(
    "consume", [with_pyarrow, with_duckdb, with_polars, with_dataset, with_take]
)
def test_consumers_wait_as_well(
    path: Path, pipe: Pipe, consume: Callable[[batchcorder.StreamCache], int]
) -> None:
    with (
        killed(start(path, pipe.take)) as child,
        batchcorder.open(path, follow=True) as cache,
    ):
        task = Task(consume, cache)
        for number in range(BATCHES):
            pipe.let()
            wait_until(lambda n=number: cache.ingested_count > n)
        assert task.result() == len(ALL)
        assert status(child) == 0


def test_columns_starts_and_stops(path: Path, pipe: Pipe) -> None:
    with (
        killed(start(path, pipe.take)),
        batchcorder.open(path, ["id"], follow=True) as cache,
    ):
        pipe.let(5)
        assert ids(cache.reader(start=1, stop=3)) == ALL[4:12]
        assert ids([cache[3]]) == ALL[12:16]
        assert not cache.upstream_exhausted
        pipe.let(3)
        assert ids(cache.reader(start=6)) == ALL[24:]


# ---- waits that end ----


@pytest.mark.parametrize(
    "how",
    [
        "cache.ingest_all()",
        "next(cache.reader())",
        "cache.to_table()",
        "pa.RecordBatchReader.from_stream(cache).read_all()",
    ],
)
def test_an_interrupt_ends_the_wait(path: Path, pipe: Pipe, how: str) -> None:
    with killed(start(path, pipe.take)):
        printed = check_python(
            f"""
            import os, signal
            import pyarrow as pa
            import batchcorder
            from helpers import *

            cache = batchcorder.open({str(path)!r}, follow=True)
            idle = threading.Event()
            try:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                # The consumer raises its own error first, then the interrupt.
                try:
                    {how}
                except OSError as error:
                    print(type(error).__name__, error)
                while True:
                    idle.wait(0.01)
            except KeyboardInterrupt:
                print("KeyboardInterrupt")
            cache.close()
            """
        )
        assert printed.endswith("KeyboardInterrupt\n")


def test_closing_ends_the_wait(path: Path, pipe: Pipe) -> None:
    with killed(start(path, pipe.take)):
        cache = batchcorder.open(path, follow=True)
        tasks = [Task(ids, cache), Task(cache.ingest_all)]
        wait_until(lambda: cache.stats()["waiting"] == 1)
        cache.close()
        for task in tasks:
            with pytest.raises(ValueError, match="closed"):
                task.result()


def test_recorded_batches_are_readable_while_a_thread_waits(
    path: Path, pipe: Pipe
) -> None:
    with (
        killed(start(path, pipe.take)),
        batchcorder.open(path, follow=True) as cache,
    ):
        pipe.let(2)
        assert ids([cache[1]]) == ALL[4:8]
        tasks = [Task(cache.ingest_all) for _ in range(2)]
        wait_until(lambda: cache.stats()["waiting"] == 1)
        assert ids(cache.reader(stop=2)) == ALL[:8]
        assert cache.stats()["batches"] == 2
        assert not cache.upstream_exhausted
        pipe.let(BATCHES - 2)
        assert [task.result() for task in tasks] == [BATCHES] * 2


# ---- other files ----


def test_a_complete_recording_just_opens(path: Path) -> None:
    write(path, BATCHES)
    with batchcorder.open(path, follow=True) as cache:
        assert cache.upstream_exhausted
        assert len(cache) == BATCHES
        assert ids(cache) == ALL


@pytest.mark.parametrize("form", ["file", "stream", "stream without an end"])
def test_foreign_files_end(path: Path, form: str) -> None:
    make = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    batches = numbered(BATCHES)
    with make(path, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    if form == "stream without an end":
        os.truncate(path, path.stat().st_size - 8)
    assert Task(follow, path).result() == ALL


def test_a_foreign_file_that_is_cut_off_is_an_error(path: Path) -> None:
    batches = numbered(BATCHES)
    with pa.ipc.new_stream(path, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    os.truncate(path, path.stat().st_size - 30)
    with (
        batchcorder.open(path, follow=True) as cache,
        pytest.raises(OSError, match="cut off") as caught,
    ):
        Task(cache.ingest_all).result()
    assert caught.value.errno == errno.ENODATA


def test_an_abandoned_recording_cannot_be_followed(path: Path) -> None:
    batchcorder.cached(path, lambda: stream(BATCHES)).close()
    with pytest.raises(OSError, match="writer died"):
        Task(follow, path).result()


def test_files_that_cannot_be_followed(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        batchcorder.open(path, follow=True)
    path.write_bytes(b"")
    with pytest.raises(OSError, match="schema"):
        batchcorder.open(path, follow=True)
    path.write_text("no Arrow at all, but some text")
    with pytest.raises(ValueError, match="Not an Arrow"):
        batchcorder.open(path, follow=True)
    with pytest.raises(ValueError, match="partial"):
        batchcorder.open(path, follow=True, partial=True)


def test_a_file_that_is_removed_is_followed_to_its_end(path: Path, pipe: Pipe) -> None:
    with (
        killed(start(path, pipe.take)) as child,
        batchcorder.open(path, follow=True) as cache,
    ):
        path.unlink()
        pipe.let(BATCHES)
        assert ids(cache) == ALL
        assert status(child) == 0


def test_waiting_costs_little(path: Path, pipe: Pipe) -> None:
    with killed(start(path, pipe.take)):
        cache = batchcorder.open(path, follow=True)
        threading.Timer(1, cache.close).start()
        began = time.process_time()  # clock: processor time, not elapsed time
        with pytest.raises(ValueError, match="closed"):
            ids(cache)
        assert time.process_time() - began < 0.2  # clock: processor time


def test_a_follower_at_the_end_has_every_batch(tmp_path: Path) -> None:
    path = tmp_path / "x"
    writer = batchcorder.cached(path, lambda: pa.table({"x": [1, 2, 3]}))
    follower = batchcorder.open(path, follow=True)
    assert not follower.info()["complete"]
    writer.ingest_all()
    assert follower.to_table().num_rows == 3
    assert follower.info()["complete"]
