"""`cached` opens, follows or makes a recording.

One of many processes records it, whole.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import _decision, cached
from children import die_at, fork, kill, killed, linger, status, stream
from helpers import Task, check_python, ids, mapped, numbered, wait_until
from queries import ALL, BATCHES, alone, never, source


def read(
    path: Path, make: Callable[[], Any] = source, resume: bool = False, **options: Any
) -> list[int]:
    """Return the ids of `cached`'s batches, which must be all."""
    with cached(path, make, resume=resume, **options) as cache:
        got = ids(cache)
    assert got == ALL
    return got


def check_whole(path: Path) -> None:
    assert read(path, never) == ALL
    assert batchcorder.verify(path) == BATCHES
    assert alone(path)


def check_not_complete(path: Path) -> None:
    """An incomplete recording is refused. It may also be missing."""
    if path.exists():
        with pytest.raises(OSError, match="not complete") as caught:
            batchcorder.open(path)
        assert caught.value.errno == errno.ENODATA


# ---- one process ----


def test_recorded_in_the_first_pass_and_opened_then(path: Path) -> None:
    asked: list[int] = []
    cache = cached(path, lambda: stream(BATCHES, asked.append))
    assert asked == []
    reader = cache.reader()
    for number in range(BATCHES):
        assert ids([next(reader)]) == ALL[4 * number : 4 * number + 4]
        assert asked == list(range(number + 1))
        check_not_complete(path)
    assert list(reader) == []
    check_whole(path)
    assert ids(cache) == ALL
    assert asked == [*range(BATCHES), BATCHES]
    cache.close()
    check_whole(path)


def test_a_stream_without_batches(path: Path) -> None:
    assert ids(cached(path, lambda: stream(0))) == []
    assert ids(cached(path, never)) == []


def test_options(path: Path) -> None:
    with cached(path, source, compression="zstd", durable=True, prefetch=2) as cache:
        assert ids(cache) == ALL
    assert batchcorder.open(path).info()["compression"] == "zstd"
    check_whole(path)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", b"b", Path("c"), "with space.é"):
        assert ids(cached(name, source)) == ALL
        assert ids(cached(name, never)) == ALL
    os.symlink("d", "link")
    assert ids(cached("link", source)) == ALL
    assert ids(cached("d", never)) == ALL
    assert sorted(os.listdir()) == ["a", "b", "c", "d", "link", "with space.é"]


def test_closed_before_the_end(path: Path) -> None:
    for count in range(3):
        with cached(path, source) as cache:
            assert len(cache[:count]) == count
        check_not_complete(path)
        assert alone(path)
    read(path)
    check_whole(path)


def test_again_while_the_first_is_not_read(path: Path) -> None:
    first = cached(path, source)
    assert ids([next(first.reader())]) == ALL[:4]
    second = cached(path, never)
    assert ids(second) == ALL
    assert ids(first) == ALL
    check_whole(path)


@pytest.mark.parametrize("follows", [False, True])
def test_a_cache_goes_with_its_last_reference(path: Path, follows: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        first = cached(path, source)
        cache = cached(path, never) if follows else first
        gone = weakref.ref(cache)
        del cache
        first.close()
        del first
        assert gone() is None
    finally:
        gc.enable()


def test_a_notebook_cell_runs_again(path: Path) -> None:
    """If a cell runs again, its first cache is released after the second one is made."""
    cache = cached(path, source)
    assert ids([next(cache.reader())]) == ALL[:4]
    cache = cached(path, never)
    cache = cached(path, never)
    assert ids(cache) == ALL
    check_whole(path)


@pytest.mark.parametrize("resume", [False, True])
def test_the_source_fails(path: Path, resume: bool) -> None:
    def before(i: int) -> None:
        if i == 3:
            raise ZeroDivisionError("broken")

    # Such a cache may stay alive, for example in a traceback.
    failed = cached(path, lambda: stream(BATCHES, before))
    with pytest.raises(ZeroDivisionError):
        failed.ingest_all()
    check_not_complete(path)
    assert len(batchcorder.open(path, partial=True)) == 3
    read(path, source, resume)
    check_whole(path)
    reader = failed.reader()
    assert ids([next(reader) for _ in range(3)]) == ALL[:12]
    with pytest.raises(ZeroDivisionError):
        next(reader)


def test_threads(path: Path) -> None:
    calls = []
    started = threading.Barrier(8)

    def make() -> pa.RecordBatchReader:
        calls.append(1)
        return stream(BATCHES)

    def start() -> list[int]:
        started.wait(120)
        return read(path, make)

    tasks = [Task(start) for _ in range(8)]
    assert [task.result() for task in tasks] == [ALL] * 8
    assert calls == [1]
    check_whole(path)


# ---- make_source ----


def test_make_source_raises(path: Path) -> None:
    def make() -> Any:
        raise ZeroDivisionError("no query")

    with pytest.raises(ZeroDivisionError, match="no query"):
        cached(path, make)
    assert os.listdir(path.parent) == []
    with pytest.raises(TypeError):
        cached(path, lambda: 5)
    assert os.listdir(path.parent) == []
    cached(path, source)[0]
    # The file stays until a new recording replaces it.
    with pytest.raises(ZeroDivisionError, match="no query"):
        cached(path, make)
    check_not_complete(path)
    assert len(batchcorder.open(path, partial=True)) == 1


def test_make_source_makes_other_recordings(path: Path) -> None:
    inner, inmost = path.with_name("inner"), path.with_name("inmost")

    def make_inner() -> Any:
        return cached(inmost, source)

    def make() -> Any:
        return cached(inner, make_inner)

    assert ids(cached(path, make)) == ALL
    for one in (path, inner, inmost):
        assert ids(cached(one, never)) == ALL
    assert sorted(os.listdir(path.parent)) == ["inmost", "inner", path.name]


def test_make_source_asks_for_the_same_recording(path: Path) -> None:
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    for again in (path, link / path.name):

        def make(again: Path = again) -> Any:
            return cached(again, source)

        with pytest.raises(RuntimeError, match="make_source"):
            Task(cached, path, make).result()

    def by_another() -> Any:
        return cached(path.with_name("other"), lambda: cached(path, source))

    with pytest.raises(RuntimeError, match="make_source"):
        Task(cached, path, by_another).result()
    assert os.listdir(path.parent) == []
    read(path)


def test_make_source_makes_the_recording_itself(path: Path) -> None:
    def make() -> Any:
        batchcorder.record(source(), path)
        return stream(0)

    assert ids(cached(path, make)) == ALL
    check_whole(path)


# ---- files in the recording's place ----


def test_there_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.arrows"
    with pytest.raises(FileNotFoundError) as caught:
        cached(path, never)
    assert caught.value.filename == str(path)
    path.parent.write_text("")
    with pytest.raises(NotADirectoryError):
        cached(path, never)
    for directory in (tmp_path, f"{tmp_path}/new/", "/"):
        with pytest.raises(IsADirectoryError):
            cached(directory, never)
    with pytest.raises(IsADirectoryError):
        batchcorder.record(source(), f"{tmp_path}/new/")
    with pytest.raises(IsADirectoryError):
        batchcorder.StreamCache(source()).save(f"{tmp_path}/new/")
    assert os.listdir(tmp_path) == ["none"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_the_directory_is_read_only(path: Path) -> None:
    path.parent.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        cached(path, never)
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("resume", [False, True])
def test_foreign_files_stay(path: Path, resume: bool) -> None:
    path.write_text("notes of mine, of which there is no other copy")
    with pytest.raises(ValueError, match="Not an Arrow"):
        cached(path, never, resume=resume)
    batches = numbered(BATCHES)
    with pa.ipc.new_stream(path, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    assert ids(cached(path, never, resume=resume)) == ALL
    for size in (path.stat().st_size - 30, 20):
        os.truncate(path, size)
        before = path.read_bytes()
        with pytest.raises(OSError, match=r"cut off|ends before") as caught:
            cached(path, never, resume=resume)
        assert caught.value.errno == errno.ENODATA
        assert path.read_bytes() == before
    assert alone(path)


def test_a_damaged_recording_stays(path: Path) -> None:
    read(path)
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(OSError, match="Checksum") as caught:
        cached(path, never)
    assert caught.value.errno == errno.EBADMSG
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("size", [0, 1, 8, 64, 100_000])
def test_a_file_of_zeros_is_replaced(path: Path, size: int, resume: bool) -> None:
    """After a loss of power, a file that is not durable may have only zeros."""
    path.write_bytes(bytes(size))
    read(path, source, resume)
    check_whole(path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_recording_without_its_start_is_replaced(path: Path, resume: bool) -> None:
    cache = cached(path, source)
    assert len(cache[:3]) == 3
    cache.close()
    left = path.read_bytes()
    assert len(left) > 512
    path.write_bytes(bytes(512) + left[512:])
    read(path, source, resume)
    check_whole(path)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("start", [8, 4096, 3 << 20])
def test_a_file_of_another_that_begins_with_zeros_stays(
    path: Path, start: int, resume: bool
) -> None:
    """The image of a disk may begin with empty sectors."""
    content = bytes(start) + b"CD001" + bytes(3000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Not a recording, so it stays"):
        cached(path, never, resume=resume)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_file_of_another_in_the_place_of_the_lock(path: Path, kind: str) -> None:
    lock = path.with_name(f".{path.name}.lock")
    if kind == "file":
        lock.write_text("of another")
    elif kind == "directory":
        lock.mkdir()
    else:
        lock.symlink_to("elsewhere")
    with pytest.raises(OSError, match=r"'\.x\.arrows\.lock' is kept for") as raised:
        cached(path, never)
    assert raised.value.filename == str(path)
    assert os.listdir(path.parent) == [lock.name]


# ---- going on ----


def test_resume_logs_the_skipped_batches(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached(path, source)[:4]
    asked: list[int] = []
    with caplog.at_level(logging.WARNING, "batchcorder"):
        cache = cached(path, lambda: stream(BATCHES, asked.append), resume=True)
    (entry,) = caplog.records
    assert (entry.name, entry.levelname) == ("batchcorder", "WARNING")
    assert str(path) in entry.getMessage()
    assert "4 batches" in entry.getMessage()
    assert cache.stats()["resumed"] == 4
    # Recorded batches need no source.
    assert ids(cache.reader(stop=4)) == ALL[:16]
    assert asked == []
    assert ids(cache) == ALL
    caplog.clear()
    assert cached(path, never, resume=True).stats()["resumed"] == 0
    assert caplog.records == []
    check_whole(path)


OTHERS: dict[str, Callable[[], Any]] = {
    "schema": lambda: pa.table({"other": [1, 2]}),
    "metadata": lambda: source().read_all().replace_schema_metadata({"a": "b"}),
    "rows": lambda: stream(BATCHES, rows=5),
    "shorter": lambda: stream(2),
}


@pytest.mark.parametrize("other", OTHERS)
def test_resuming_with_another_source(path: Path, other: str) -> None:
    cached(path, source)[:4]
    with pytest.raises(ValueError, match="source"):
        cached(path, OTHERS[other], resume=True).ingest_all()
    check_not_complete(path)
    assert ids(batchcorder.open(path, partial=True)) == ALL[:16]
    read(path, source, True)
    check_whole(path)


# ---- processes that are killed ----


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("prefetch", [None, 2])
def test_killed_at_every_batch(path: Path, resume: bool, prefetch: int | None) -> None:
    for number in range(BATCHES + 1):

        def make(number: int = number) -> pa.RecordBatchReader:
            return stream(BATCHES, die_at(number))

        child = fork(lambda make=make: read(path, make, prefetch=prefetch))
        assert status(child) == -signal.SIGKILL
        check_not_complete(path)
        there = len(batchcorder.open(path, partial=True))
        # Without prefetch, a reader requested each batch.
        assert there == number or (prefetch and there >= number - 2)
        cache = cached(path, source, resume=resume)
        assert cache.stats()["resumed"] == (there if resume else 0)
        assert ids(cache) == ALL
        check_whole(path)
        path.unlink()


@pytest.mark.long
def test_killed_at_random(path: Path) -> None:
    """The parent kills the child when the source reaches a random batch."""
    draw = random.Random(7)
    finished = 0
    for number in range(60):
        out, into = os.pipe()

        def run(out: int = out, into: int = into) -> None:
            os.close(out)
            read(path, lambda: stream(BATCHES, lambda i: os.write(into, b".")), True)

        child = fork(run)
        os.close(into)
        moments = draw.randrange(BATCHES + 3) if number else BATCHES + 2
        for _ in range(moments):
            os.read(out, 1)
        os.close(out)
        kill(child)
        try:
            batchcorder.open(path)
        except FileNotFoundError:
            left = {".x.arrows.lock", ".x.arrows.unfinished"}
            assert set(os.listdir(path.parent)) <= left
        except OSError:
            check_not_complete(path)
            there = ids(batchcorder.open(path, partial=True))
            assert there == ALL[: len(there)]
        else:
            finished += 1
            check_whole(path)
            path.unlink()
    assert finished > 0
    read(path)
    check_whole(path)


def test_killed_inside_make_source(path: Path) -> None:
    """The child dies inside make_source. The next call removes its files."""
    child = fork(read, path, linger)
    wait_until(lambda: os.listdir(path.parent))
    begun = path.parent.with_name("begun")
    begun.touch()

    def run() -> None:
        with begun.open("a") as out:
            out.write(".")
        read(path)

    others = [fork(run) for _ in range(2)]
    wait_until(lambda: begun.read_text() == "..")
    kill(child)
    assert [status(one) for one in others] == [0, 0]
    check_whole(path)


def test_a_forked_child_of_make_source_does_not_block_the_next_call(path: Path) -> None:
    """Workers forked inside make_source inherit its descriptors and stay alive."""
    pids = path.parent.with_name("pids")

    def make() -> pa.RecordBatchReader:
        worker = os.fork()
        if worker == 0:
            linger()
            os._exit(0)
        pids.write_text(str(worker))
        linger()
        return source()

    child = fork(read, path, make)
    wait_until(lambda: pids.exists() and pids.read_text())
    kill(child)
    assert Task(read, path).result() == ALL
    os.kill(int(pids.read_text()), signal.SIGKILL)
    check_whole(path)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_a_batch_outlives_its_writer(path: Path, resume: bool, closes: bool) -> None:
    """A kept batch maps the file, but its process does not count as the writer."""
    cache = cached(path, source)
    assert len(cache[:3]) == 3
    kept = cache[0]
    assert mapped(path)
    if closes:
        cache.close()
    del cache
    assert Task(read, path, source, resume).result() == ALL
    assert ids([kept]) == ALL[:4]
    check_whole(path)


# ---- many at once ----


@pytest.mark.parametrize("seed", range(8))
def test_many_processes_start_together(path: Path, seed: int) -> None:
    """Any number of processes start at once: one records, and each reads all batches."""
    draw = random.Random(seed)
    calls = path.parent.with_name("calls")
    for _ in range(6):
        calls.write_text("")
        resume, leaves = draw.random() < 0.5, draw.random() < 0.6
        if leaves:
            child = fork(
                read, path, lambda: stream(BATCHES, die_at(draw.randrange(BATCHES + 1)))
            )
            assert status(child) == -signal.SIGKILL
        slow, pause = draw.choice([0, 0, 0.02]), draw.choice([0, 0, 0.002])

        def run(delay: float, slow: float, pause: float, resume: bool) -> None:
            def make() -> pa.RecordBatchReader:
                with calls.open("a") as out:
                    out.write(".")
                time.sleep(slow)  # sleep: a random moment
                return stream(BATCHES, lambda i: time.sleep(pause))  # sleep: another

            time.sleep(delay)  # sleep: a random moment
            read(path, make, resume)

        children = [
            fork(run, draw.choice([0, draw.uniform(0, 0.03)]), slow, pause, resume)
            for _ in range(draw.randrange(2, 7))
        ]
        assert [status(child) for child in children] == [0] * len(children)
        assert calls.read_text() == "."
        check_whole(path)
        path.unlink()


def test_the_next_process_takes_over(path: Path) -> None:
    """make_source fails in the first process, while other processes wait."""
    flag, begun = path.parent.with_name("flag"), path.parent.with_name("begun")
    begun.touch()

    def make() -> pa.RecordBatchReader:
        wait_until(lambda: begun.read_text() == "....")
        if not flag.exists():
            flag.touch()
            raise ZeroDivisionError("not yet")
        return source()

    def run() -> None:
        with begun.open("a") as out:
            out.write(".")
        try:
            read(path, make)
        except ZeroDivisionError:
            os._exit(3)

    children = [fork(run) for _ in range(4)]
    assert sorted(status(child) for child in children) == [0, 0, 0, 3]
    check_whole(path)


def test_a_follower_takes_over(path: Path) -> None:
    """The writer is killed while a process follows it. The next call resumes."""
    child = fork(read, path, lambda: stream(BATCHES, lambda i: i == 3 and linger()))
    wait_until(path.exists)
    with killed(child):
        follower = cached(path, never)
        reader = follower.reader()
        assert ids([next(reader) for _ in range(3)]) == ALL[:12]
        kill(child)
        with pytest.raises(OSError, match="writer died"):
            next(reader)
    read(path, source, True)
    check_whole(path)


def test_a_recording_that_is_being_discarded_is_not_followed(path: Path) -> None:
    """A process decides to discard a recording, and holds its lock for that moment."""
    child = fork(read, path, lambda: stream(BATCHES, die_at(3)))
    assert status(child) == -signal.SIGKILL
    held = path.parent.with_name("held")
    go_on = path.parent.with_name("go_on")

    def discard() -> None:
        with _decision.decision(os.fsencode(path)), path.open("r+b") as file:
            _decision._call_lock(file.fileno(), fcntl.F_OFD_SETLK, fcntl.F_WRLCK)
            held.touch()
            wait_until(go_on.exists)
            path.unlink()

    child = fork(discard)
    wait_until(held.exists)
    task = Task(read, path)
    # A follower opens the file. The thread that waits for the decision does not.
    time.sleep(0.05)  # sleep: gives the fault a moment to show itself
    go_on.touch()
    assert status(child) == 0
    assert task.result() == ALL
    check_whole(path)


def test_many_threads_and_processes(path: Path) -> None:
    def run() -> None:
        tasks = [Task(read, path) for _ in range(3)]
        assert [task.result() for task in tasks] == [ALL] * 3

    children = [fork(run) for _ in range(3)]
    assert [status(child) for child in children] == [0] * 3
    check_whole(path)


def test_an_interrupt_ends_the_wait_for_make_source(path: Path) -> None:
    with killed(fork(read, path, linger)):
        wait_until(lambda: os.listdir(path.parent))
        check_python(
            f"""
            import os, signal, threading
            import batchcorder

            try:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                batchcorder.cached({str(path)!r}, lambda: 1 / 0)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError
            """
        )


def test_no_descriptor_is_left(path: Path) -> None:
    read(path)
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for resume in (False, True) * 5:
        path.unlink()
        cached(path, source)[0]
        read(path, source, resume)
        with pytest.raises(ZeroDivisionError):
            cached(path.with_name("other"), lambda: 1 / 0)
    assert threading.active_count() < threads + 20
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_batch_that_was_never_written_is_recorded_again(tmp_path: Path) -> None:
    """After a loss of power, a frame may be in the file without its body."""
    path = tmp_path / "x.arrows"
    table = pa.table({"x": range(60_000)})

    def source() -> pa.RecordBatchReader:
        return table.to_reader(max_chunksize=10_000)

    with batchcorder.cached(path, source) as cache:
        batchcorder._core.ingest_to(cache, 4)
    data = bytearray(path.read_bytes())
    at = data.index((20_000).to_bytes(8, "little") + (20_001).to_bytes(8, "little"))
    data[at : at + 40_000] = bytes(40_000)
    path.write_bytes(data)
    with batchcorder.cached(path, source, resume=True) as cache:
        assert cache.stats()["resumed"] == 2
        assert cache.to_table() == table
    assert batchcorder.verify(path) == 6
