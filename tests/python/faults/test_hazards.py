"""
The hazards of docs/hazards.md: the page names tests that exist. Some are in this file.

Hazards with tests elsewhere appear on the page only.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import errno
import gc
import os
import re
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from cstream import ArrowArray, ArrowArrayStream, ArrowSchema, RawStream, stream_in
from helpers import (
    CLOSED,
    ROOT,
    SANITIZED,
    SCHEMA,
    TESTS,
    Source,
    Task,
    batch,
    cache_file,
    cache_files,
    check_python,
    ids,
    numbered,
    on_disk,
    start_python,
)
from tiers import MakeCache

HAZARDS = ROOT / "docs" / "hazards.md"


def tests_of_hazards() -> dict[int, list[str]]:
    """Return the tests that the page names, by the index of the hazard."""
    found: dict[int, list[str]] = {}
    for line in HAZARDS.read_text().splitlines():
        if title := re.match(r"## (\d+)\. ", line):
            found[int(title[1])] = []
        elif test := re.fullmatch(r"- `(\S+::\w+)`", line):
            found[max(found)].append(test[1])
    return found


def functions_in(path: Path) -> set[str]:
    text = path.read_text()
    if path.suffix == ".c":
        return set(re.findall(r"^static void (test_\w+)\(void\)", text, re.M))
    return {one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)}


def test_every_hazard_has_tests_that_exist() -> None:
    found = tests_of_hazards()
    assert list(found) == list(range(1, 41))
    for number, tests in found.items():
        assert tests, f"hazard {number} names no test"
        for test in tests:
            file, name = test.split("::")
            assert name in functions_in(TESTS / file), test


def test_every_test_of_a_hazard_is_on_the_page() -> None:
    named = tests_of_hazards()
    for name in functions_in(Path(__file__)):
        if found := re.match(r"test_hazard_(\d\d)_", name):
            assert f"python/faults/test_hazards.py::{name}" in named[int(found[1])]


@pytest.mark.parametrize(("where", "prefetch"), [("memory", None), ("disk", 2)])
def test_hazard_08_other_threads_run_meanwhile(
    where: str, prefetch: int | None, tmp_path: Path
) -> None:
    """One consumer calls the source and two wait: the interpreter runs other threads."""
    for module in ("adbc_driver_sqlite", "arro3.core", "datafusion", "duckdb"):
        pytest.importorskip(module)
    check_python(
        f"""
    from helpers import *
    from tiers import maker_here
    from python_sources import CONSUMERS
    for name, read in CONSUMERS.items():
        print(name, flush=True)
        gate = Gate(numbered(2), at=1)
        cache = maker_here()(gate, prefetch={prefetch})
        tasks = [Task(read, cache) for _ in range(3)]
        assert gate.reached.wait(120)
        wait_until(lambda: cache.stats()["waiting"] >= 2)
        for _ in range(100):
            Task(lambda: None).result()
        gate.opened.set()
        for task in tasks:
            assert task.result() == list(range(8)), name
    """,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


@pytest.mark.parametrize(("where", "prefetch"), [("memory", None), ("disk", 2)])
def test_hazard_08_answers_while_the_source_is_stuck(
    where: str, prefetch: int | None, tmp_path: Path
) -> None:
    """Calls that need no further batch return, close() too.

    Other threads wait meanwhile.
    """
    pytest.importorskip("nanoarrow")
    check_python(
        f"""
    import nanoarrow
    from helpers import *
    from tiers import maker_here
    from at_once import AT_ONCE

    def native(cache):
        with nanoarrow.ArrayStream(cache) as stream:
            return sum(len(chunk) for chunk in stream.iter_chunks())

    gates = []
    def stuck():
        gate = Gate(numbered(4), at=2)
        gates.append(gate)
        cache = maker_here()(gate, prefetch={prefetch})
        shared = cache.reader()
        calls = (cache.ingest_all, lambda: list(shared), lambda: cache[2])
        calls += (lambda: pa.table(cache), lambda: native(cache))
        tasks = [Task(call) for call in calls]
        assert gate.reached.wait(120)
        wait_until(lambda: cache.ingested_count == 2)
        wait_until(lambda: cache.stats()["waiting"] >= len(calls) - 1)
        return cache, shared, tasks

    cache, shared, tasks = stuck()
    answers = {{name: (answer, cache) for name, answer in AT_ONCE.items()}}
    answers["closed"] = (lambda r: (r.closed, repr(r), r.schema), shared)
    answers["c_schema of a reader"] = (lambda r: r.__arrow_c_schema__(), shared)
    for name, answer in answers.items():
        print(name, flush=True)
        Task(*answer).result()
    for _ in range(3):
        Task(stuck()[0].close).result()
    for gate in gates:
        gate.opened.set()
    """,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


# A thread sends the signal once the main thread is in `call`. It then releases one batch
# after the other until the call has ended.
INTERRUPTED = """
    import ctypes, os, signal
    from helpers import *
    from cstream import *

    def interrupted(call, condition, let=lambda: None):
        calling = threading.Event()
        def watch():
            assert calling.wait(120)
            wait_until(condition)
            os.kill(os.getpid(), signal.SIGINT)
            while not over.wait(0.01):
                let()
        over = threading.Event()
        watcher = Task(watch)
        try:
            calling.set()
            call()
        except KeyboardInterrupt:
            over.set()
            watcher.result()
        else:
            raise AssertionError("not interrupted")

    COUNT = 1000

    class Stepped:
        '''A source without Python that gives as many batches as it is let.'''

        def __init__(self, count):
            self.capsule = pa.Table.from_batches(numbered(count)).__arrow_c_stream__()
            out, self.into = os.pipe()
            library = ctypes.CDLL(os.environ["CCODE"])
            assert library.stepped(ctypes.byref(stream_in(self.capsule)), out) == 0

        def let(self, count=1):
            os.write(self.into, b"." * count)

        def __arrow_c_stream__(self, requested_schema=None):
            return self.capsule

    def waiting(cache, count):
        return lambda: cache.stats()["waiting"] == count
"""
CALLS = {
    "ingest_all": "lambda: cache.ingest_all()",
    "next": "lambda: list(cache)",
    "reader": "lambda: list(cache.reader())",
}


@pytest.mark.parametrize("prefetch", [None, 2])
def test_hazard_11_an_interrupt_is_prompt(prefetch: int | None, ccode: Path) -> None:
    """An interrupt ends an ingest, also while another thread ingests or prefetches."""
    check_python(
        INTERRUPTED
        + f"""
    calls = {{name: eval(code) for name, code in {CALLS!r}.items()}}
    for name, call in calls.items():
        print(name, flush=True)
        for _ in range(4):
            source = Stepped(COUNT)
            cache = StreamCache(source, prefetch={prefetch})
            source.let(3)
            interrupted(call, lambda: cache.ingested_count == 3, source.let)
            count = cache.ingested_count
            assert 3 <= count < COUNT
            source.let(COUNT)
            reader = cache.reader()
            got = ids([next(reader) for _ in range(count + 1)])
            assert got == list(range(4 * count + 4))
            cache.close()

        gate = Gate(numbered(4), at=2)
        cache = StreamCache(gate, prefetch={prefetch})
        producer = Task(cache.ingest_all)
        assert gate.reached.wait(120)
        if {prefetch}:
            wait_until(lambda: cache.stats()["waiting"] == 1)
        already = cache.stats()["waiting"]
        for _ in range(4):
            interrupted(call, waiting(cache, already + 1))
        gate.opened.set()
        assert producer.result() == 4
        assert ids(cache) == list(range(16))
    """,
        CCODE=str(ccode),
    )


def test_hazard_11_while_workers_read(ccode: Path) -> None:
    """The main thread is interrupted, and threads of all kinds get every batch."""
    pytest.importorskip("nanoarrow")
    check_python(
        INTERRUPTED
        + """
    from python_sources import with_nanoarrow
    for _ in range(4):
        source = Stepped(COUNT)
        cache = StreamCache(source)
        source.let(3)
        reader = cache.reader()
        workers = [Task(lambda: ids(cache)), Task(lambda: ids(list(cache)))]
        workers += [Task(with_nanoarrow, cache), Task(cache.ingest_all)]
        interrupted(lambda: list(reader), lambda: cache.ingested_count == 3, source.let)
        source.let(COUNT)
        assert [w.result() for w in workers] == [list(range(4 * COUNT))] * 3 + [COUNT]
        assert ids(cache) == list(range(4 * COUNT))
    """,
        CCODE=str(ccode),
    )


def test_hazard_11_in_a_cell_of_a_notebook(ccode: Path) -> None:
    """IPython's kernel runs a cell in an event loop, with the default SIGINT handler."""
    check_python(
        INTERRUPTED
        + """
    import asyncio

    async def run_cell(code, condition, let):
        interrupted(lambda: exec(code, globals()), condition, let)

    loop = asyncio.new_event_loop()
    for _ in range(4):
        source = Stepped(COUNT)
        cache = StreamCache(source)
        source.let(3)
        condition = lambda: cache.ingested_count == 3
        run = run_cell("cache.ingest_all()", condition, source.let)
        loop.run_until_complete(run)
        assert 3 <= cache.ingested_count < COUNT
        source.let(COUNT)
        loop.run_until_complete(asyncio.sleep(0))
        exec("assert cache.ingest_all() == COUNT", globals())
        assert ids(cache) == list(range(4 * COUNT))
    """,
        CCODE=str(ccode),
    )


FORK = """
    import os, signal, sys
    from helpers import *

    def fork(function):
        '''Run in a forked child, with a deadline. Return its number.'''
        child = os.fork()
        if child:
            return child
        signal.alarm(120)
        try:
            function()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
"""


@pytest.mark.skipif(SANITIZED, reason="ASan's own locks outlive a fork")
@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("memory", "max_readers=10**6"),
        ("disk", "max_readers=10**6"),
        ("disk", "prefetch=9"),
    ],
)
def test_hazard_15_forks_while_threads_read(
    where: str, options: str, tmp_path: Path
) -> None:
    """The child reads, records, closes and exits, for any locks held at the fork."""
    check_python(
        FORK
        + f"""
    import itertools
    from tiers import maker_here
    table = pa.table({{"id": pa.array(range(4000), pa.int64())}})
    over = threading.Event()

    def endless():
        for one in table.to_batches(40) * 10:
            yield one
        while not over.wait(0.001):
            yield batch(0)

    stream = pa.RecordBatchReader.from_batches(SCHEMA, endless())
    cache = maker_here()(stream, {options})
    first = cache.reader()
    next(first)

    def read_c():
        while not over.is_set():
            stream = pa.RecordBatchReader.from_stream(cache)
            for _ in range(20):
                stream.read_next_batch()

    def read():
        while not over.is_set():
            reader = cache.reader()
            for _ in range(20):
                next(reader)
            cache.stats()

    tasks = [Task(read_c) for _ in range(2)] + [Task(read), Task(cache.ingest_all)]
    wait_until(lambda: cache.ingested_count >= 400)

    def child():
        reader = cache.reader()
        assert ids([next(reader) for _ in range(400)]) == list(range(4000)) * 4
        next(first)
        assert cache.stats()["state"] == "open"
        tail = cache.reader(from_start=False)
        try:
            next(tail)
        except OSError as error:
            assert error.errno == 125 and "forked" in str(error), error
        else:
            raise AssertionError("no error")
        cache.close()

    for _ in range(30):
        pid = fork(child)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
    over.set()
    for task in tasks:
        task.result()
    """,
        timeout=300,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_hazard_15_multiprocessing(method: str, tmp_path: Path) -> None:
    """Caches are pickled as their path. A forked worker inherits its parent's caches."""
    (tmp_path / "work.py").write_text(
        "from helpers import *\n"
        "cache = None\n"
        "def work(n):\n"
        "    mine = on_disk(Source(numbered(n)), PATH)\n"
        "    if cache is not None:\n"
        "        assert ids(cache) == list(range(12))\n"
        "    return ids(mine)\n"
        f"PATH = {str(tmp_path / 'caches')!r}\n"
    )
    check_python(
        f"""
    import multiprocessing, sys
    sys.path.insert(0, {str(tmp_path)!r})
    import work
    from helpers import *
    if __name__ == "__main__":
        context = multiprocessing.get_context({method!r})
        cache = work.cache = on_disk(Source(numbered(3)), work.PATH)
        cache.ingest_all()
        with context.Pool(2) as pool:
            assert pool.map(work.work, [1, 2]) == [[*range(4)], [*range(8)]]
            assert pool.map(ids, [cache]) == [list(range(12))]
        assert ids(cache) == list(range(12))
        next(cache.reader())
    """,
        timeout=300,
    )
    assert cache_files(tmp_path / "caches") == []


def test_hazard_17_killed_at_any_moment(tmp_path: Path) -> None:
    """After a kill at any moment, the next cache starts and removes the left files."""
    script = f"""
        import sys
        from helpers import *
        def generate():
            for i in range(1 << 60):
                print(i, flush=True)
                yield batch(4 * i, 1000)
        stream = pa.RecordBatchReader.from_batches(SCHEMA, generate())
        on_disk(stream, {str(tmp_path)!r}, prefetch=1).ingest_all()
    """
    for moment in (0, 2, 100):
        with start_python(script) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < moment:
                pass
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        assert len(cache_files(tmp_path)) == 1
        mine = on_disk(Source(numbered(3)), tmp_path)
        assert len(cache_files(tmp_path)) == 1
        assert ids(mine) == list(range(12))
        mine.close()
        assert list(tmp_path.iterdir()) == []


def test_hazard_32_the_contract_of_c_streams(make_cache: MakeCache) -> None:
    """A moved stream returns its schema, its errors and their messages repeatedly."""
    cache = make_cache(Source(numbered(3), 2, ValueError("boom")))
    capsule = cache.__arrow_c_stream__()
    moved = ArrowArrayStream()
    original = stream_in(capsule)
    ctypes.memmove(ctypes.addressof(moved), ctypes.addressof(original), 40)
    original.release = type(original.release)()
    for i in range(2):
        array = ArrowArray()
        assert moved.get_next(moved, array) == 0
        assert pa.RecordBatch._import_from_c(ctypes.addressof(array), SCHEMA) == batch(
            4 * i
        )
        for _ in range(2):
            schema = ArrowSchema()
            assert moved.get_schema(moved, schema) == 0
            assert pa.Schema._import_from_c(ctypes.addressof(schema)) == SCHEMA
    for _ in range(3):
        array = ArrowArray()
        assert moved.get_next(moved, array) == errno.EINVAL
        assert not array.release
        address = moved.get_last_error(moved)
        cache.stats(), repr(cache), cache.reader()
        assert b"boom" in ctypes.string_at(address), (
            "other calls changed the stream's error"
        )
    del cache, capsule
    gc.collect()
    assert b"boom" in ctypes.string_at(moved.get_last_error(moved))
    moved.release(moved)
    assert not moved.release


@pytest.mark.parametrize(("where", "prefetch"), [("memory", None), ("disk", 2)])
def test_hazard_35_waiters_wake_at_once(
    where: str, prefetch: int | None, tmp_path: Path
) -> None:
    """Each waiter gets the documented error, whether it waits in Python or in C."""
    pytest.importorskip("nanoarrow")
    check_python(
        f"""
    import nanoarrow
    from helpers import *
    from tiers import maker_here

    def native():
        with nanoarrow.ArrayStream(cache) as stream:
            return sum(len(chunk) for chunk in stream.iter_chunks())

    def fails(call):
        try:
            call()
        except Exception as error:
            return error
        raise AssertionError("no error")

    for _ in range(4):
        gate = Gate(numbered(4), at=2)
        cache = maker_here()(gate, prefetch={prefetch})
        producer = Task(fails, cache.ingest_all)
        assert gate.reached.wait(120)
        shared = cache.reader()
        held = [next(shared), next(shared), *cache[:2]]
        calls = [cache.ingest_all, lambda: next(shared), lambda: next(shared)]
        calls += [lambda: pa.table(cache), lambda: cache[3], native]
        waiters = [Task(fails, call) for call in calls]
        wait_until(lambda: cache.stats()["waiting"] >= len(calls))
        cache.close()
        for waiter in waiters:
            assert CLOSED in str(waiter.result())
        gate.opened.set()
        assert CLOSED in str(producer.result())
        assert ids(held) == list(range(8)) * 2
    """,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


def test_hazard_35_close_frees_all_while_the_source_is_stuck(
    make_cache: MakeCache, tmp_path: Path
) -> None:
    """Memory and the file are freed at once, and the source once it returns."""

    class Held:
        pass

    def generate(held: Held) -> Iterator[pa.RecordBatch]:
        for i in range(5):
            yield batch(i, 100_000)
        reached.set()
        opened.wait(120)

    reached, opened = threading.Event(), threading.Event()
    held = Held()
    mark = weakref.ref(held)
    before = pa.total_allocated_bytes()
    cache = make_cache(pa.RecordBatchReader.from_batches(SCHEMA, generate(held)))
    del held
    kept = next(iter(cache))
    producer = Task(cache.ingest_all)
    assert reached.wait(120)
    on_disk = cache_files(tmp_path) != []
    assert on_disk or pa.total_allocated_bytes() - before >= 4_000_000
    cache.close()
    assert pa.total_allocated_bytes() - before < 1_600_000, (
        "close() kept more than the exported batch"
    )
    assert list(tmp_path.iterdir()) == []
    assert ids([kept]) == list(range(100_000))
    assert mark() is not None
    opened.set()
    with pytest.raises(ValueError, match=CLOSED):
        producer.result()
    gc.collect()
    assert mark() is None


@pytest.mark.parametrize("options", [{}, {"max_readers": 2}], ids=["kept", "evicted"])
def test_hazard_36_a_release_that_uses_the_cache(
    options: dict[str, Any], make_any_cache: MakeCache
) -> None:
    """C code releases batches through a Python callback, which calls the cache."""
    released: list[int] = []

    def hook(array: ArrowArray) -> None:
        address = ctypes.cast(array.release, ctypes.c_void_p).value
        assert address is not None
        original = type(array.release)(address)

        def release(moved: Any) -> None:
            released.append(cache.ingested_count)
            cache.stats(), repr(cache), [reader.closed for reader in readers]
            with contextlib.suppress(ValueError):  # too many readers, or closed
                next(cache.reader())
            original(moved)

        callback = type(array.release)(release)
        callbacks.append(callback)
        array.release = callback

    callbacks: list[Any] = []
    readers: list[Any] = []
    source = RawStream(SCHEMA, [*numbered(40)], change=hook)
    cache = make_any_cache(source, **options)
    readers += [cache.reader(), cache.reader()]
    tasks = [
        Task(lambda r: ids(list(r)), readers[0]),
        Task(lambda r: ids(pa.RecordBatchReader.from_stream(r)), readers[1]),
    ]
    for task in tasks:
        assert task.result() == list(range(160))
    cache.close()
    gc.collect()
    assert len(released) == 40


# The bits and bytes after the values, in a type of each kind of buffer.
POISONED = {
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "decimal": pa.decimal128(9, 2),
    "fixed": pa.binary(3),
}


@pytest.mark.parametrize("rows", [1, 5, 13, 64, 65, 1000])
@pytest.mark.parametrize("name", POISONED)
def test_hazard_37_padding_is_zeros(name: str, rows: int, tmp_path: Path) -> None:
    """If the source's buffers have only ones, the file has zeros after the values."""
    kind = POISONED[name]
    wide = 8 * rows * 16 + 64
    ones = [pa.py_buffer(b"\xff" * wide) for _ in range(2)]
    array = pa.Array.from_buffers(kind, rows, ones, null_count=-1)
    valid = bytearray(b"\xff" * wide)
    valid[0] &= 0xFE  # a null, so that the bitmap is written
    nulls = pa.Array.from_buffers(kind, rows, [pa.py_buffer(bytes(valid)), ones[1]])
    source = pa.table({"a": array, "b": nulls})
    cache = on_disk(source, tmp_path)
    assert cache.ingest_all() == 1
    bits = rows * (1 if name == "bool" else kind.bit_width)
    with (
        pa.memory_map(str(cache_file(tmp_path))) as file,
        pa.ipc.open_stream(file) as stream,
    ):
        (one,) = list(stream)
        for column in one.columns:
            for buffer, used in zip(column.buffers(), (rows, bits), strict=True):
                if buffer is None:
                    continue
                end = -(-used // 512) * 64
                raw = ctypes.string_at(buffer.address, end)
                assert int.from_bytes(raw, "little") >> used == 0, (column, used)
        del column, buffer, one


@pytest.mark.parametrize("options", ["", "verify=True", "mmap=False", "columns=['id']"])
def test_hazard_24_a_recording_that_shrinks(options: str, tmp_path: Path) -> None:
    """A missing part of the file is an error, in batches that were read before too."""
    check_python(
        f"""
    import errno, os
    from helpers import *
    import batchcorder
    path = {str(tmp_path / "x.arrows")!r}
    table = pa.table({{"id": range(200_000)}})
    batchcorder.record(table.to_reader(max_chunksize=10_000), path).close()
    size = os.path.getsize(path)
    for cut in (size - 1, size // 2, 100, 0):
        for seen in (0, 3, 20):
            batchcorder.StreamCache(table.to_reader(max_chunksize=10_000)).save(
                path, overwrite=True
            )
            cache = batchcorder.open(path, {options})
            reader = cache.reader()
            for _ in range(seen):
                next(reader)
            os.truncate(path, cut)
            for read in (lambda: cache[0], lambda: next(cache.reader()), cache.to_table):
                try:
                    read()
                except OSError as error:
                    assert error.errno == errno.EIO, error
                else:
                    raise AssertionError("read a missing part")
            cache.close()
    """
    )


def test_hazard_39_a_recording_larger_than_4_gib(tmp_path: Path) -> None:
    """Offsets need more than 32 bits: most of the file is a hole from another writer."""
    path = tmp_path / "large"
    rows = 5 << 30
    small = pa.record_batch({"id": pa.array([1, 2, 3], pa.int8())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, small.schema) as out:
        out.write_batch(small)
    data = sink.getvalue().to_pybytes()
    message = data.index(b"\xff\xff\xff\xff", 4)
    head, batch = data[:message], bytearray(data[message : len(data) - 8])
    size = int.from_bytes(batch[4:8], "little")
    metadata = batch[8 : 8 + size]
    # Rows, the node's length, the buffer's length and the body's length have 64 bits.
    lengths = [i for i in range(0, size, 8) if metadata[i : i + 8] == b"\3" + bytes(7)]
    bodies = [i for i in range(0, size, 8) if metadata[i : i + 8] == b"\10" + bytes(7)]
    for place in lengths + bodies:
        metadata[place : place + 8] = rows.to_bytes(8, "little")
    with path.open("wb") as file:
        file.write(head + batch[:8] + metadata)
        file.seek(rows, os.SEEK_CUR)
        file.write(batch[: 8 + size] + batch[8 + size :])
    with batchcorder.open(path) as cache:
        assert cache.num_rows == rows + 3
        large, last = cache
        assert large.num_rows == rows
        assert large["id"][rows - 1].as_py() == 0
        assert last["id"].to_pylist() == [1, 2, 3]
        assert cache.take([0, rows - 1, rows, rows + 2])["id"].to_pylist() == [0, 0, 1, 3]
