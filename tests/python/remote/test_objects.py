"""Recordings in stores by the public functions: opened, recorded, saved, made once."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

import batchcorder
from batchcorder import StreamCache, cached
from batchcorder._remote._local import LocalCopy
from children import fork, status, stream
from helpers import Task, check_python, wait_until

BATCHES, ROWS, COLUMNS = 30, 5000, 6
SCHEMA = pa.schema({f"c{i}": pa.int64() for i in range(COLUMNS)})
TABLE = pa.table(
    [pa.array(range(i, BATCHES * ROWS + i)) for i in range(COLUMNS)], schema=SCHEMA
)
URL = "memory://bucket/x.arrows"


def source() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, TABLE.to_batches(ROWS))


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """Each test has an empty store."""
    yield
    store = fsspec.filesystem("memory").store
    store.clear()


@pytest.fixture
def recorded() -> str:
    batchcorder.record(source(), URL).close()
    return URL


# ---- record, open ----


def test_record_and_open() -> None:
    with batchcorder.record(source(), URL) as cache:
        assert cache.path == URL
        assert cache.to_table().equals(TABLE)
    with batchcorder.open(URL) as cache:
        assert cache.upstream_exhausted
        assert len(cache) == BATCHES
        assert cache.num_rows == TABLE.num_rows
        assert cache.to_table().equals(TABLE)
        assert URL in repr(cache)
        assert cache.info()["kind"] == "recording"
        assert cache.info()["bytes"] == fsspec.filesystem("memory").size(
            "/bucket/x.arrows"
        )
    assert batchcorder.verify(URL) == BATCHES


def test_columns_ranges_rows_and_order(recorded: str) -> None:
    with batchcorder.open(recorded, ["c4", 1]) as cache:
        assert cache.to_table().equals(TABLE.select(["c4", "c1"]))
        assert cache[7].equals(TABLE.to_batches(ROWS)[7].select(["c4", "c1"]))
        part = pa.table(cache.reader(start=3, stop=9, columns=["c1"]))
        assert part.equals(TABLE.slice(3 * ROWS, 6 * ROWS).select(["c1"]))
        some = cache.take([0, 70_000, 3])
        assert some["c1"].to_pylist() == [1, 70_001, 4]
        got = {batch["c1"][0].as_py() for batch in cache.shuffle(seed=1)}
        assert got == {i * ROWS + 1 for i in range(BATCHES)}


def test_statistics_skip_batches(recorded: str) -> None:
    with batchcorder.open(recorded) as cache:
        table = cache.dataset().to_table(filter=pa.compute.field("c0") > 149_000)
        assert table.num_rows == 999


def test_an_existing_object_stays(recorded: str) -> None:
    def never() -> Iterator[pa.RecordBatch]:
        raise AssertionError
        yield

    unread = pa.RecordBatchReader.from_batches(SCHEMA, never())
    with pytest.raises(FileExistsError, match=URL):
        batchcorder.record(unread, recorded)
    cache = StreamCache(stream(3))
    with pytest.raises(FileExistsError):
        cache.save(recorded)
    assert batchcorder.verify(recorded) == BATCHES
    cache.save(recorded, overwrite=True)
    assert batchcorder.verify(recorded) == 3


def test_a_failed_source_leaves_no_object() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield TABLE.to_batches(ROWS)[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        batchcorder.record(pa.RecordBatchReader.from_batches(SCHEMA, failing()), URL)
    assert fsspec.filesystem("memory").find("/") == []


@pytest.mark.parametrize("kind", ["fsspec", "pyarrow", "subtree"])
def test_a_filesystem(kind: str) -> None:
    memory = fsspec.filesystem("memory")
    filesystem: Any = memory
    path = "/bucket/y.arrows"
    if kind != "fsspec":
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(memory))
    if kind == "subtree":
        filesystem, path = fs.SubTreeFileSystem("bucket", filesystem), "y.arrows"
    batchcorder.record(source(), path, filesystem=filesystem).close()
    with batchcorder.open(path, filesystem=filesystem) as cache:
        assert cache.to_table().equals(TABLE)
        again = pickle.loads(pickle.dumps(cache))
        assert again.to_table().equals(TABLE)
    assert batchcorder.verify("memory://bucket/y.arrows") == BATCHES


def test_a_local_filesystem_is_this_machine(tmp_path: Path) -> None:
    path = str(tmp_path / "x.arrows")
    local = fs.LocalFileSystem()
    with batchcorder.record(source(), path, filesystem=local) as cache:
        assert cache.path == path
    with batchcorder.open(f"file://{path}") as cache:
        assert cache.path == path
        assert cache.to_table().equals(TABLE)
    with batchcorder.open(
        "x.arrows", filesystem=fs.SubTreeFileSystem(str(tmp_path), local)
    ) as cache:
        assert cache.path == path


# ---- bad input ----


@pytest.mark.parametrize(
    ("path", "options", "kind", "words"),
    [
        ("memory://bucket/none", {}, FileNotFoundError, "memory://bucket/none"),
        (URL, {"follow": True}, ValueError, "follow"),
        ("nowhere://x/y", {}, ValueError, "nowhere"),
        ("x.arrows", {"local": "/tmp"}, ValueError, "local"),
        ("x.arrows", {"filesystem": 3}, TypeError, "filesystem"),
    ],
)
def test_bad_arguments(
    recorded: str, path: str, options: dict[str, Any], kind: type, words: str
) -> None:
    with pytest.raises(kind, match=words):
        batchcorder.open(path, **options)


def test_the_first_request_is_repeated(
    recorded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError(errno.EIO, "a moment"), OSError(errno.ECONNRESET, "another")]
    info = fsspec.implementations.memory.MemoryFileSystem.info

    def failing(self: Any, path: str, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return info(self, path, **options)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.info", failing)
    with batchcorder.open(recorded) as cache:
        assert len(cache) == BATCHES
    assert errors == []


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 100_000])
def test_a_part_of_an_object(recorded: str, size: int) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/part", memory.cat("/bucket/x.arrows")[:size])
    with pytest.raises(OSError, match="memory://bucket/part") as caught:
        batchcorder.open("memory://bucket/part")
    assert caught.value.errno == errno.ENODATA
    if size > 5000:
        with batchcorder.open("memory://bucket/part", partial=True) as cache:
            assert cache.to_table().equals(TABLE.slice(0, len(cache) * ROWS))


def test_another_format() -> None:
    fsspec.filesystem("memory").pipe("/bucket/x.parquet", b"PAR1" + bytes(100))
    with pytest.raises(ValueError, match="Parquet"):
        batchcorder.open("memory://bucket/x.parquet")


def test_damage(recorded: str) -> None:
    memory = fsspec.filesystem("memory")
    data = bytearray(memory.cat("/bucket/x.arrows"))
    data[len(data) // 2] ^= 1
    memory.pipe("/bucket/x.arrows", bytes(data))
    with (
        batchcorder.open(recorded) as cache,
        pytest.raises(OSError, match="batch 1") as caught,
    ):
        cache.to_table()
    assert caught.value.errno == errno.EBADMSG
    with pytest.raises(OSError, match="Checksum mismatch"):
        batchcorder.verify(recorded)


class Wrong(MemoryFileSystem):
    """A store that sends one wrong byte, once."""

    at = 0

    def cat_file(self, path: str, start: Any = None, end: Any = None, **rest: Any) -> Any:
        data = bytearray(super().cat_file(path, start, end, **rest))
        if self.at and start <= self.at < end:
            data[self.at - start] ^= 1
            self.at = 0
        return bytes(data)


@pytest.mark.parametrize("is_local", [False, True])
@pytest.mark.parametrize("columns", [None, ["c3"]])
def test_bytes_that_are_wrong_once(
    recorded: str, tmp_path: Path, is_local: bool, columns: list[str] | None
) -> None:
    store = Wrong(skip_instance_cache=True)
    size = store.size("/bucket/x.arrows")
    local = tmp_path if is_local else None
    wanted = TABLE if columns is None else TABLE.select(columns)
    for part in range(1, 6):
        with batchcorder.open(
            "/bucket/x.arrows", columns, filesystem=store, local=local
        ) as cache:
            store.at = size * part // 7
            for _ in range(2):
                assert cache.to_table().equals(wanted)
    store.at = 0
    for path in tmp_path.glob("*.arrows"):
        assert batchcorder.verify(path) == BATCHES


def test_a_changed_object_is_no_mixture(recorded: str) -> None:
    with batchcorder.open(recorded) as cache:
        reader = cache.reader(columns=["c0"])
        first = next(reader)
        StreamCache(
            pa.RecordBatchReader.from_batches(SCHEMA, TABLE.to_batches(ROWS)[::-1])
        ).save(recorded, overwrite=True)
        got = [first]
        with pytest.raises(OSError, match="changed") as caught:
            got += reader
        assert caught.value.errno == errno.ESTALE
        whole = pa.Table.from_batches(got)
        assert whole.equals(TABLE.select(["c0"]).slice(0, whole.num_rows))
        for _ in range(2):
            with pytest.raises(OSError, match="changed") as caught:
                cache[BATCHES - 1]
            assert caught.value.errno == errno.ESTALE
    with batchcorder.open(recorded) as cache:
        assert cache[0]["c0"][0].as_py() == (BATCHES - 1) * ROWS


# ---- other formats ----


FOLDER = os.environ.get("ARROW_TESTING", "")
GOLDEN = [
    path
    for path in sorted(Path(FOLDER, "golden").rglob("*"))
    if FOLDER and path.suffix in (".stream", ".arrow_file")
]


@pytest.mark.skipif(not GOLDEN, reason="ARROW_TESTING names no folder with golden files")
def test_golden_files() -> None:
    memory = fsspec.filesystem("memory")
    count = 0
    for path in GOLDEN:
        memory.pipe("/bucket/golden", path.read_bytes())
        try:
            local = batchcorder.open(path)
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                batchcorder.open("memory://bucket/golden")
            continue
        with local, batchcorder.open("memory://bucket/golden", verify=True) as cache:
            assert cache.schema.equals(local.schema, check_metadata=True)
            assert cache.to_table().equals(local.to_table()), path
            for i in reversed(range(len(cache))):
                assert cache[i].equals(local[i])
            for name in cache.schema.names[:3]:
                if cache.schema.names.count(name) == 1:
                    one = pa.table(cache.reader(columns=[name]))
                    assert one.equals(pa.table(local.reader(columns=[name])))
        count += 1
    assert count > 20


# ---- local copies ----


def test_a_local_copy(recorded: str, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    with batchcorder.open(recorded, ["c2"], local=copies) as cache:
        assert cache.to_table().equals(TABLE.select(["c2"]))
    with batchcorder.open(recorded, local=copies) as cache:
        assert cache.path == recorded
        assert cache.to_table().equals(TABLE)
    # The second epoch reads the local recording.
    fsspec.filesystem("memory").store["/bucket/x.arrows"].seek(0)
    with batchcorder.open(recorded, local=copies) as cache:
        assert cache.path is not None
        assert cache.path.startswith(str(copies))
        assert cache.to_table().equals(TABLE)
        assert pickle.loads(pickle.dumps(cache)).to_table().equals(TABLE)


def test_a_copy_that_is_removed_at_the_opening(
    recorded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with batchcorder.open(recorded, local=tmp_path) as cache:
        cache.to_table()
    real = LocalCopy.complete_path
    found = []

    def complete_path(*arguments: Any) -> str | None:
        path = real(*arguments)
        if path is not None:
            found.append(path)
            os.unlink(path)
        return path

    monkeypatch.setattr(LocalCopy, "complete_path", complete_path)
    with batchcorder.open(recorded, local=tmp_path) as cache:
        assert len(found) == 1
        assert cache.path == recorded
        assert cache.to_table().equals(TABLE)


def test_a_directory_that_cannot_be_used(recorded: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="local copy"):
        batchcorder.open(recorded, local=tmp_path / "file")


# ---- cached ----


class Query:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> pa.RecordBatchReader:
        self.calls += 1
        return source()


def test_cached() -> None:
    query = Query()
    for _ in range(2):
        with cached(URL, query) as cache:
            assert cache.to_table().equals(TABLE)
    assert query.calls == 1
    with cached(URL, query, refresh=True) as cache:
        assert cache.num_rows == TABLE.num_rows
    assert query.calls == 2
    for _ in range(2):
        cached(URL, query, key={"day": 1}).close()
    assert query.calls == 3
    cached(URL, query).close()
    assert query.calls == 3
    cached(URL, query, key={"day": 2}).close()
    assert query.calls == 4


def test_cached_replaces_no_object_of_others(recorded: str) -> None:
    query = Query()
    cached(recorded, query).close()
    for options in ({"key": 1}, {"refresh": True}):
        with pytest.raises(FileExistsError, match="not replaced"):
            cached(recorded, query, **options)
    assert query.calls == 0
    assert batchcorder.verify(recorded) == BATCHES


def test_cached_by_two_at_once() -> None:
    inside = threading.Barrier(2)

    def query() -> pa.RecordBatchReader:
        inside.wait(120)
        return source()

    tasks = [Task(lambda: cached(URL, query).to_table()) for _ in range(2)]
    assert all(task.result().equals(TABLE) for task in tasks)


def test_cached_cannot_resume() -> None:
    with pytest.raises(ValueError, match="resume"):
        cached(URL, Query(), resume=True)


# ---- threads, forks, exits ----


def test_readers_side_by_side(recorded: str) -> None:
    with batchcorder.open(recorded) as cache:
        tasks = [Task(lambda: pa.table(cache.reader())) for _ in range(8)]
        tasks += [Task(lambda i=i: pa.table(cache.reader(columns=[i]))) for i in range(6)]
        assert all(task.result().equals(TABLE) for task in tasks[:8])
        for i, task in enumerate(tasks[8:]):
            assert task.result().equals(TABLE.select([i]))


def test_threads_of_one_reader(recorded: str) -> None:
    """Each batch goes to one thread."""
    with batchcorder.open(recorded) as cache:
        reader = cache.reader()
        tasks = [Task(lambda: [b["c0"][0].as_py() for b in reader]) for _ in range(6)]
        got = sorted(row for task in tasks for row in task.result())
        assert got == [i * ROWS for i in range(BATCHES)]


def test_closed_while_threads_read(recorded: str) -> None:
    for _ in range(10):
        cache = batchcorder.open(recorded)
        tasks = [Task(cache.to_table) for _ in range(4)]
        cache.close()
        for task in tasks:
            with contextlib.suppress(ValueError, OSError):
                assert task.result().equals(TABLE)


def test_arrays_outlive_the_cache(recorded: str) -> None:
    cache = batchcorder.open(recorded)
    batch = cache[3]
    reader = pa.RecordBatchReader.from_stream(cache)
    first = reader.read_next_batch()
    cache.close()
    del cache
    gc.collect()
    assert batch.equals(TABLE.to_batches(ROWS)[3])
    assert first.equals(TABLE.to_batches(ROWS)[0])


def test_a_fork(recorded: str) -> None:
    with batchcorder.open(recorded) as cache:
        reader = cache.reader()
        next(reader)

        def read() -> None:
            for call in (lambda: next(reader), lambda: cache[9]):
                with pytest.raises(OSError, match="before a fork") as caught:
                    call()
                assert caught.value.errno == errno.ECANCELED

        assert status(fork(read)) == 0
        assert pa.Table.from_batches(reader).num_rows == TABLE.num_rows - ROWS


def test_consumers(recorded: str) -> None:
    with batchcorder.open(recorded) as cache:
        assert duckdb.sql("select sum(c1), count(*) from cache").fetchall() == [
            (sum(range(1, BATCHES * ROWS + 1)), BATCHES * ROWS)
        ]
        assert pl.from_arrow(pa.table(cache)).height == BATCHES * ROWS
        found = duckdb.sql(
            "select count(*) from cache a join cache b using (c0)"
        ).fetchall()
        assert found == [(BATCHES * ROWS,)]


def test_the_interpreter_ends_while_threads_read() -> None:
    check_python(
        f"""
    import sys, threading
    import pyarrow as pa, batchcorder
    table = pa.table({{"x": range(1_000_000)}})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(1000))
    batchcorder.record(reader, {URL!r}).close()
    cache = batchcorder.open({URL!r})
    begun = threading.Event()
    def read():
        while True:
            for batch in cache.reader():
                begun.set()
    for _ in range(3):
        threading.Thread(target=read, daemon=True).start()
    assert begun.wait(120)
    sys.exit(0)
    """
    )


def test_an_interrupt_ends_a_read_and_loses_nothing() -> None:
    printed = check_python(
        f"""
    import os, signal, threading
    import fsspec, pyarrow as pa, batchcorder
    from fsspec.implementations.memory import MemoryFileSystem
    table = pa.table({{"x": range(100_000)}})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(1000))
    batchcorder.record(reader, {URL!r}).close()
    stuck, go_on = threading.Event(), threading.Event()
    real = MemoryFileSystem.cat_file
    class Slow(MemoryFileSystem):
        def cat_file(self, *arguments, **options):
            if armed:
                stuck.set()
                assert go_on.wait(120)
            return real(self, *arguments, **options)
    armed = False
    slow = Slow(skip_instance_cache=True)
    cache = batchcorder.open("/bucket/x.arrows", filesystem=slow)
    reader = cache.reader()
    armed = True
    def interrupt():
        assert stuck.wait(120)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    got = []
    try:
        got += reader
        print("no interrupt")
    except KeyboardInterrupt:
        print("interrupted")
    go_on.set()
    armed = False
    got += reader
    print(pa.Table.from_batches(got).equals(table))
    """
    )
    assert printed == "interrupted\nTrue\n"


def test_nothing_is_left(recorded: str) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with batchcorder.open(recorded) as cache:
            cache.to_table()
        batchcorder.open(recorded)[2].validate()
    gc.collect()
    wait_until(lambda: threading.active_count() <= before[0])
    assert len(os.listdir("/proc/self/fd")) <= before[1]


# ---- the command line ----


def command(*words: str, script: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process whose memory:// store has the recording."""
    code = (
        "import sys, fsspec\n"
        f"{script}\n"
        "from batchcorder._cli.main import main\n"
        f"sys.exit(main({list(words)!r}))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=300, check=False
    )


def test_the_command_line(recorded: str, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    path.write_bytes(fsspec.filesystem("memory").cat("/bucket/x.arrows"))
    put = f"fsspec.filesystem('memory').put({str(path)!r}, '/bucket/x.arrows')"
    done = command("info", URL, script=put)
    assert done.returncode == 0, done.stderr
    assert f"{BATCHES * ROWS:,}".encode() in done.stdout
    done = command("verify", URL, script=put)
    assert done.returncode == 0
    assert b"all right" in done.stdout
    done = command("cat", URL, "--columns", "c3", script=put)
    assert pa.ipc.open_stream(done.stdout).read_all().equals(TABLE.select(["c3"]))
    done = command("head", URL, script=put)
    assert done.returncode == 0
    done = command("record", URL, str(tmp_path / "y.arrows"), script=put)
    assert done.returncode == 0, done.stderr
    assert batchcorder.verify(tmp_path / "y.arrows") == BATCHES
    done = command("record", str(path), "memory://bucket/z.arrows")
    assert done.returncode == 0, done.stderr
    assert b"30 batches" in done.stderr
    done = command("record", str(path), URL, script=put)
    assert done.returncode == 1
    assert b"exists" in done.stderr
    done = command("info", "memory://bucket/none")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1


def test_the_command_line_prints_no_password() -> None:
    url = "memory://user:word@bucket/none?sig=word"
    for words in (["info", url], ["verify", url], ["record", url, "y.arrows"]):
        done = command(*words)
        assert done.returncode == 1
        assert b"memory://bucket/none: " in done.stderr
        assert b"word" not in done.stdout + done.stderr


def test_interrupts_leave_no_lock() -> None:
    """A cache is read and closed after interrupts at any instruction of its reads."""
    check_python(
        f"""
    import faulthandler, random, signal
    import pyarrow as pa, batchcorder
    faulthandler.dump_traceback_later(100, exit=True)
    table = pa.table({{"x": range(6000)}})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(200))
    batchcorder.record(reader, {URL!r}).close()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with batchcorder.open({URL!r}) as cache:
        for number in range(4000):
            try:
                pause = random.uniform(0.0001, 0.0004)
                signal.setitimer(signal.ITIMER_REAL, pause)
                while True:
                    cache[number % 30]
            except KeyboardInterrupt:
                # Here the traceback is alive.
                assert cache[3]["x"][0].as_py() == 600
        assert cache.to_table().equals(table)
    """
    )
