"""Fork, exit while threads work, subinterpreters and multiprocessing."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import cache_files, check_python

FORK = """
    import gc, os, signal, sys
    from helpers import *

    def in_child(function):
        '''Run in a forked child, which must end well within 10 s.'''
        pid = os.fork()
        if pid == 0:
            signal.alarm(120)
            code = 1
            try:
                function()
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
"""


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_a_forked_child_reads_recorded_batches(tier: str, tmp_path: Path) -> None:
    check_python(
        FORK
        + f"""
    source = Source(numbered(5))
    if {tier!r} == "memory":
        cache = StreamCache(source)
    else:
        cache = on_disk(source, {str(tmp_path)!r})
    reader = cache.reader()
    for _ in range(2):
        next(reader)

    def child():
        mine = cache.reader()
        assert ids([next(mine), next(mine)]) == list(range(8))
        for call in (lambda: next(mine), lambda: next(reader), cache.ingest_all):
            try:
                call()
            except OSError as error:
                assert error.errno == 125, error
            else:
                raise AssertionError("no error")
        assert cache.ingested_count == 2
        assert cache.schema == SCHEMA
        assert not cache.upstream_exhausted

    in_child(child)
    assert ids(list(reader)) == list(range(8, 20))
    in_child(lambda: ids(cache) == list(range(20)) or 1 / 0)
    assert ids(cache) == list(range(20))
    """
    )


def test_a_forked_child_leaves_its_parents_file(tmp_path: Path) -> None:
    check_python(
        FORK
        + f"""
    cache = on_disk(Source(numbered(5)), {str(tmp_path)!r})
    cache.ingest_all()

    def drop():
        global cache
        del cache
        gc.collect()

    ends = [lambda: os._exit(0), lambda: sys.exit(0), cache.close, drop]
    for end in ends:
        pid = os.fork()
        if pid == 0:
            signal.alarm(120)
            end()
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert cache_file({str(tmp_path)!r}).exists()
        assert ids(cache) == list(range(20))
    del ends
    """
    )
    assert cache_files(tmp_path) == []


def test_a_forked_child_makes_caches_of_its_own(tmp_path: Path) -> None:
    check_python(
        FORK
        + f"""
    path = {str(tmp_path)!r}
    cache = on_disk(Source(numbered(5)), path)

    def child():
        mine = on_disk(Source(numbered(3)), path)
        assert ids(mine) == list(range(12))
        assert len(cache_files(path)) == 2
        mine.close()

    in_child(child)
    assert ids(cache) == list(range(20))
    """
    )


def test_fork_while_a_thread_is_inside_the_source() -> None:
    check_python(
        FORK
        + """
    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    producer = Task(cache.ingest_all)
    assert gate.reached.wait(120)

    def child():
        mine = cache.reader()
        assert ids([next(mine), next(mine)]) == list(range(8))
        try:
            next(mine)
        except OSError as error:
            assert error.errno == 125, error
        else:
            raise AssertionError("no error")
        cache.close()

    in_child(child)
    gate.opened.set()
    assert producer.result() == 4
    """
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        "from helpers import *\n"
        "def work(n):\n"
        "    return ids(StreamCache(Source(numbered(n))))\n"
    )
    check_python(
        f"""
    import multiprocessing, sys
    sys.path.insert(0, {str(tmp_path)!r})
    from work import *
    if __name__ == "__main__":
        cache = StreamCache(Source(numbered(3)))
        cache.ingest_all()
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            assert pool.map(work, [1, 2]) == [list(range(4)), list(range(8))]
        assert ids(cache) == list(range(12))
    """
    )


STUCK = """
    import sys
    from helpers import *
    gate = Gate(numbered(4), at=2)
    cache = {make}
    reader = cache.reader()
    producer = Task({call})
    assert gate.reached.wait(120)
    waiters = [Task(lambda: next(cache.reader(False))) for _ in range(3)]
    waiters += [Task(pa.table, cache) for _ in range(3)]
    print("leaving")
    sys.exit(0)
"""


@pytest.mark.parametrize(
    ("call", "tier"),
    [
        ("lambda: list(reader)", "disk"),
        ("lambda: pa.table(cache)", "memory"),
    ],
)
def test_exit_with_threads_waiting(call: str, tier: str, tmp_path: Path) -> None:
    """0.1.3 aborts here. The process ends with status 0 before the timeout."""
    make = "StreamCache(gate)"
    if tier == "disk":
        make = f"on_disk(gate, {str(tmp_path)!r})"
    script = STUCK.replace("{make}", make).replace("{call}", call)
    assert check_python(script, timeout=300) == "leaving\n"


@pytest.mark.parametrize("threads", [1, 4])
def test_exit_with_threads_at_work(threads: int) -> None:
    """An endless source is read and evicted as fast as possible."""
    for _ in range(2):
        check_python(
            f"""
        import sys, threading
        from helpers import *
        enough = threading.Event()

        def generate():
            for k in range(1 << 60):
                if k == 1000:
                    enough.set()
                yield batch(0)

        cache = StreamCache(
            pa.RecordBatchReader.from_batches(SCHEMA, generate()), "200MB", max_readers=9
        )
        readers = [cache.reader() for _ in range({threads})]
        for _ in range(9 - {threads}):
            cache.reader()
        tasks = [Task(lambda r: [None for _ in r], reader) for reader in readers]
        assert enough.wait(120)
        sys.exit(0)
        """,
            timeout=300,
        )


@pytest.mark.parametrize(
    "keep",
    [
        "cache",
        "cache.reader()",
        "cache.__arrow_c_stream__()",
        "pa.RecordBatchReader.from_stream(cache)",
        "list(cache)",
        "cache.cast(SCHEMA)",
        "pa.table(cache)",
    ],
)
def test_exit_with_objects_alive(keep: str, tmp_path: Path) -> None:
    """The objects are in a module's globals and in a cycle. The file is removed."""
    check_python(
        f"""
    from helpers import *
    import builtins
    cache = on_disk(Source(numbered(5)), {str(tmp_path)!r})
    kept = {keep}
    cycle = [kept, cache]
    cycle.append(cycle)
    builtins.hidden = kept
    del cache
    """
    )
    if keep == "cache":
        assert cache_files(tmp_path) == []


@pytest.mark.parametrize("prefetch", [None, 2])
def test_exit_takes_the_file_of_a_cache_that_its_source_keeps(
    prefetch: int | None, tmp_path: Path
) -> None:
    """The generator keeps the module, which keeps the cache and so the generator."""
    check_python(
        f"""
    from helpers import *
    def generate():
        while True:
            yield batch(0)
    stream = pa.RecordBatchReader.from_batches(SCHEMA, generate())
    cache = on_disk(stream, {str(tmp_path)!r}, prefetch={prefetch})
    next(iter(cache))
    """
    )
    assert list(tmp_path.iterdir()) == []


def test_use_after_atexit() -> None:
    """A stream that is used during finalisation fails and never hangs."""
    check_python(
        """
    import atexit
    from helpers import *
    cache = StreamCache(Source(numbered(5)))
    reader = cache.reader()
    next(reader)

    class Late:
        def __del__(self):
            try:
                next(reader)
            except BaseException:
                pass

    late = Late()
    atexit.register(lambda: print(len(list(cache.reader()))))
    """,
        timeout=300,
    )


def test_a_subinterpreter_is_refused() -> None:
    code = "try:\\n import batchcorder._core\\n"
    code += "except ImportError as e: print('refused', e)\\nelse: print('accepted')"
    out = check_python(
        f"""
    import batchcorder
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    try:
        interpreters.run_string(interpreters.create(), "{code}")
    except Exception as error:
        print("refused", error)
    """
    )
    assert "refused" in out
    assert "accepted" not in out


def test_import_warns_of_nothing() -> None:
    check_python("import warnings; warnings.simplefilter('error'); import batchcorder")


def test_a_fork_in_the_middle_of_disk_writes(tmp_path: Path) -> None:
    """The child closes and exits, for any lock that a thread holds at the fork."""
    check_python(
        f"""
    import os
    import threading
    from helpers import *

    table = pa.table({{"id": pa.array(range(200_000), pa.int64())}})
    for _ in range(20):
        cache = on_disk(table.to_reader(max_chunksize=10), {str(tmp_path)!r})
        task = Task(cache.ingest_all)
        wait_until(lambda: cache.ingested_count >= 50)
        child = os.fork()
        if child == 0:
            cache.close()
            del cache
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        cache.close()
        try:
            task.result()
        except ValueError:
            pass
    """,
        timeout=300,
    )


@pytest.mark.parametrize("prefetch", [None, 50])
def test_a_child_reads_after_a_fork_with_locks_held(
    prefetch: int | None, tmp_path: Path
) -> None:
    """Threads of the parent write, read, evict and make readers while it forks."""
    check_python(
        FORK
        + f"""
    import threading
    import batchcorder
    texts = pa.array([str(i % 97) for i in range(300_000)]).dictionary_encode()
    table = pa.table({{"id": pa.array(range(300_000), pa.int64()), "t": texts}})
    stop = threading.Event()
    source = lambda: table.to_reader(max_chunksize=10)
    caches = [
        on_disk(source(), {str(tmp_path)!r}, prefetch={prefetch}),
        StreamCache(source(), prefetch={prefetch}),
    ]

    def use(cache):
        while not stop.is_set():
            try:
                reader = cache.reader()
                for _ in range(20):
                    next(reader)
                cache.stats()
                if cache.ingested_count < 30_000:
                    batchcorder._core.ingest_to(cache, cache.ingested_count + 10)
            except StopIteration:
                pass

    tasks = [Task(use, cache) for cache in caches for _ in range(2)]

    def child():
        for cache in caches:
            count = cache.ingested_count
            last = cache.reader(start=count - 20)
            assert ids([next(last) for _ in range(20)])[-1] == 10 * count - 1
            assert cache.stats()["batches"] == count
            assert cache[count // 2].num_rows == 10
            assert [b.num_rows for b in cache.reader(columns=["t"], stop=5)] == [10] * 5

    for cache in caches:
        wait_until(lambda cache=cache: cache.ingested_count >= 100)
    for _ in range(40):
        in_child(child)
    stop.set()
    for task in tasks:
        task.result()
    """,
        timeout=300,
    )


@pytest.mark.long
def test_a_child_starts_while_prefetching_begins_and_ends() -> None:
    """Threads that Python did not make come and go in the interpreter at each batch.

    In Python 3.11, the child waits for ever if such a thread holds the lock at the fork.
    """
    check_python(
        FORK
        + """
    batch = pa.record_batch({"id": pa.array([1])})
    table = pa.Table.from_batches([batch] * 200_000)
    caches = [StreamCache(table.to_reader(), prefetch=1_000_000) for _ in range(3)]
    readers = [cache.reader() for cache in caches]
    for reader in readers:
        next(reader)
    for _ in range(200):
        in_child(lambda: None)
    """,
        timeout=300,
    )


def test_a_fork_after_the_module_was_imported_again() -> None:
    check_python(
        FORK
        + """
    for name in [name for name in sys.modules if name.startswith("batchcorder")]:
        del sys.modules[name]
    import batchcorder
    cache = batchcorder.StreamCache(Source(numbered(5)))
    cache.ingest_all()

    def child():
        assert ids(cache) == list(range(20))

    in_child(child)
    assert ids(cache) == list(range(20))
    """,
        timeout=300,
    )


def test_a_child_of_a_waiting_process_exits_at_once(tmp_path: Path) -> None:
    """The child has none of the threads that the parent's exit waits for."""
    check_python(
        """
    import os
    import sys
    import time
    from helpers import *

    gate = Gate(numbered(4), at=2)
    cache = StreamCache(gate)
    task = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    gate.opened.set()
    assert task.result() == 4
    """
    )


SOURCE_THAT_FORKS = """
    import batchcorder
    pids = []

    def forks():
        for i, one in enumerate(numbered(6)):
            if i == 2 and not pids:
                pids.append(os.fork())
            # Another one in the child.
            yield one if pids != [0] else numbered(100)[50 + i]

    source = pa.RecordBatchReader.from_batches(SCHEMA, forks())

    def ended():
        _, status = os.waitpid(pids[0], 0)
        return status == 0
"""


@pytest.mark.parametrize("prefetch", [None, 2])
@pytest.mark.parametrize("tier", ["memory", "disk", "evict", "recording", "durable"])
def test_a_source_that_forks(tier: str, prefetch: int | None, tmp_path: Path) -> None:
    """The child cannot write its parent's file, and its source's prefetch thread ends."""
    check_python(
        FORK
        + SOURCE_THAT_FORKS
        + f"""
    path = {str(tmp_path)!r} + "/x.arrows"
    how = {{"prefetch": {prefetch}}}
    if {tier!r} == "memory":
        cache = StreamCache(source, **how)
    elif {tier!r} == "disk":
        cache = on_disk(source, {str(tmp_path)!r}, memory_capacity=0, **how)
    elif {tier!r} == "evict":
        cache = on_disk(source, {str(tmp_path)!r}, write_policy="on_eviction", **how)
    else:
        cache = batchcorder.cached(path, lambda: source, durable={tier!r} == "durable")
    try:
        cache.ingest_all()
        assert pids[0] > 0
    except OSError as error:
        assert pids == [0] and error.errno == 125, error
        assert cache.ingested_count == 2
        assert ids([cache[0], cache[1]]) == list(range(8))
        os._exit(0)
    assert ended()
    assert ids(cache) == list(range(24))
    if {tier!r} in ("recording", "durable"):
        assert batchcorder.verify(path) == 6
    """
    )
    assert cache_files(tmp_path) == []


def test_a_forked_child_of_a_source_exits_cleanly(tmp_path: Path) -> None:
    """The child's interpreter and caches end, and the parent's file stays."""
    check_python(
        FORK
        + SOURCE_THAT_FORKS
        + f"""
    cache = on_disk(source, {str(tmp_path)!r})
    try:
        cache.ingest_all()
    except OSError as error:
        assert pids == [0] and error.errno == 125, error
        sys.exit(0)
    assert ended()
    assert cache_file({str(tmp_path)!r}).exists()
    assert ids(cache) == list(range(24))
    """
    )


def test_a_child_pickles_a_recorded_cache(tmp_path: Path) -> None:
    """The child opens its parent's file, and saves to its own file."""
    check_python(
        FORK
        + f"""
    import pickle
    import warnings
    import batchcorder
    cache = on_disk(Source(numbered(5)), {str(tmp_path)!r})
    cache.ingest_all()

    def child():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ids(pickle.loads(pickle.dumps(cache))) == list(range(20))
        cache.save({str(tmp_path)!r} + "/mine.arrows")
        assert batchcorder.verify({str(tmp_path)!r} + "/mine.arrows") == 5

    in_child(child)
    assert ids(cache) == list(range(20))
    """
    )
