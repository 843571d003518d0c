"""
What must happen under each hazard: which tests show it, and those that are only here.

Times are measured where a promise has a figure, in a process of their own: the best of a
few tries keeps to the figure, and each to a bound that a busy machine keeps too.
"""

from __future__ import annotations

import ast
import ctypes
import errno
import gc
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from conftest import MakeCache, Tier
from cstream import ArrowArray, ArrowArrayStream, RawStream, arrays, stream_in
from helpers import (
    CLOSED,
    HERE,
    SCHEMA,
    Gate,
    Source,
    Task,
    batch,
    cache_file,
    cache_files,
    check_python,
    ids,
    numbered,
    on_disk,
)

# The rows that are ours so far. Rows are numbered as in the project's list of hazards.
HAZARDS: dict[int, tuple[str, str]] = {
    1: (
        "an error of the source in mid-stream comes to every reader, after the same batches",
        "test_source_errors.py::test_an_error_at_each_batch "
        "test_threads.py::test_an_error_reaches_every_thread "
        "unit/test_cache.c::test_source_errors_stay",
    ),
    2: (
        "a batch that was taken and cannot be kept is tried again",
        "test_budget.py::test_over_memory_capacity "
        "test_budget.py::test_over_disk_capacity "
        "test_full_disk.py::test_a_full_disk_loses_nothing "
        "fault/test_faults.c::test_disk",
    ),
    3: (
        "a write that broke off goes on where it stopped",
        "test_disk.py::test_a_write_that_fails_loses_nothing "
        "fault/test_faults.c::test_written_together",
    ),
    4: ("a full disk", "test_full_disk.py::test_a_full_disk_loses_nothing"),
    5: (
        "interrupted and short system calls",
        "test_interrupt.py::test_a_storm_of_signals_changes_nothing "
        "fault/test_faults.c::test_disk",
    ),
    7: ("no memory", "fault/test_faults.c::test_memory"),
    8: (
        "the GIL against our locks",
        "test_hazards.py::test_hazard_08_the_heart_beats_on "
        "test_hazards.py::test_hazard_08_answers_while_the_source_is_stuck "
        "test_slow_sources.py::test_what_answers_while_the_source_is_stuck "
        "test_slow_sources.py::test_a_reader_asked_for_its_state_while_it_waits "
        "test_python_sources.py::test_every_consumer "
        "test_python_sources.py::test_the_gil_is_handed_round "
        "test_matrix.py::test_random_matrix",
    ),
    9: (
        "threads that share a reader",
        "test_threads.py::test_threads_that_share_a_reader "
        "threads/test_replay.c::test_one_reader_shared "
        "threads/test_random.c::test_everything_at_once "
        "test_matrix.py::test_random_matrix",
    ),
    10: (
        "a source that reads its own cache",
        "test_reentry.py::test_published_batches_are_served_and_others_refused "
        "test_reentry.py::test_two_caches_that_feed_each_other "
        "test_reentry.py::test_two_caches_that_feed_each_other_from_two_threads "
        "threads/test_replay.c::test_caches_that_feed_each_other "
        "threads/test_prefetch.c::test_a_source_that_reads_its_own_cache",
    ),
    11: (
        "Ctrl-C",
        "test_hazards.py::test_hazard_11_an_interrupt_is_prompt "
        "test_hazards.py::test_hazard_11_in_a_cell_of_a_notebook "
        "test_hazards.py::test_hazard_11_while_workers_read "
        "test_interrupt.py::test_a_source_written_in_c "
        "test_interrupt.py::test_waiting_for_another_thread "
        "test_interrupt.py::test_a_python_source_that_sees_it",
    ),
    12: (
        "exit with threads inside",
        "test_exit.py::test_exits "
        "test_processes.py::test_exit_with_threads_waiting "
        "test_processes.py::test_exit_with_threads_at_work "
        "test_prefetch.py::test_exit_with_the_thread_at_work",
    ),
    13: (
        "C code that reads and releases after finalisation",
        "test_exit.py::test_exits "
        "test_processes.py::test_exit_with_objects_alive "
        "test_processes.py::test_use_after_atexit",
    ),
    14: ("a subinterpreter", "test_processes.py::test_a_subinterpreter_is_refused"),
    15: (
        "fork, spawn, forkserver",
        "test_hazards.py::test_hazard_15_forks_while_threads_read "
        "test_processes.py::test_a_forked_child_reads_what_was_recorded "
        "test_processes.py::test_a_forked_child_leaves_its_parents_file "
        "test_processes.py::test_fork_while_a_thread_is_inside_the_source "
        "test_processes.py::test_a_fork_in_the_middle_of_disk_writes "
        "test_processes.py::test_multiprocessing "
        "test_prefetch.py::test_a_fork_has_no_such_thread",
    ),
    16: (
        "two processes in one directory",
        "test_disk.py::test_two_processes_in_one_directory",
    ),
    17: (
        "what a killed process leaves",
        "test_hazards.py::test_hazard_17_killed_at_any_moment "
        "test_disk.py::test_a_killed_process_is_in_nobodys_way "
        "test_disk.py::test_leftovers_of_the_dead_are_reclaimed",
    ),
    18: ("planted links", "test_disk.py::test_no_symbolic_link_is_followed"),
    19: (
        "modes, and descriptors that children get",
        "test_disk.py::test_modes test_disk.py::test_descriptors_are_not_inherited",
    ),
    20: (
        "another's file in the place of ours",
        "test_disk.py::test_a_file_put_in_its_place_is_not_removed",
    ),
    22: ("damage", "test_damage.py::test_every_byte"),
    24: ("a file that shrinks", "test_damage.py::test_a_shortened_file"),
    25: (
        "others read the file while it is written",
        "test_disk.py::test_the_file_is_a_stream_at_every_moment "
        "test_file_readers.py::test_the_file_at_every_moment",
    ),
    27: (
        "no descriptors",
        "test_disk.py::test_without_descriptors "
        "test_disk.py::test_few_descriptors_and_mappings",
    ),
    28: (
        "buffers that are not aligned",
        "test_broken_sources.py::test_buffers_aligned_to_less_than_their_type",
    ),
    29: (
        "slices",
        "test_budget.py::test_slices_add_up_to_their_parent "
        "test_disk.py::test_only_referenced_bytes_are_written",
    ),
    30: (
        "batches that their schema does not allow",
        "test_broken_sources.py::test_a_batch_that_its_schema_does_not_allow",
    ),
    31: (
        "dictionaries that change",
        "test_dictionaries.py::test_every_batch_keeps_its_own",
    ),
    32: (
        "the contract of C streams",
        "test_hazards.py::test_hazard_32_the_contract_of_c_streams "
        "test_readers.py::test_the_end_comes_as_often_as_asked "
        "unit/test_cache.c::test_stream_contract",
    ),
    33: (
        "batches that go while others read",
        "test_threads.py::test_eviction_under_threads "
        "test_projection.py::test_a_start_that_was_evicted "
        "test_max_readers.py::test_batches_handed_out_outlive_their_eviction "
        "threads/test_replay.c::test_eviction",
    ),
    34: (
        "a reader that is given up",
        "test_max_readers.py::test_a_dropped_reader_holds_nothing_back "
        "test_capacity.py::test_a_dropped_reader_gives_the_room_back",
    ),
    35: (
        "close at any moment",
        "test_hazards.py::test_hazard_35_waiters_wake_at_once "
        "test_hazards.py::test_hazard_35_everything_goes_while_the_source_is_stuck "
        "test_slow_sources.py::test_close_while_the_source_is_stuck "
        "test_prefetch.py::test_close_while_the_source_is_stuck "
        "test_reentry.py::test_close_from_inside_the_source "
        "test_threads.py::test_close_under_threads "
        "test_readers.py::test_after_close "
        "test_readers.py::test_mapped_batches_outlive_close "
        "test_readers.py::test_close_gives_memory_back "
        "test_disk.py::test_close_frees_the_files_space_at_once "
        "test_source_errors.py::test_the_source_is_released_at_once",
    ),
    36: (
        "a release that takes the GIL, or uses the cache",
        "test_hazards.py::test_hazard_36_a_release_that_uses_the_cache "
        "test_reentry.py::test_a_batch_whose_release_uses_the_cache",
    ),
    37: (
        "padding that nobody wrote",
        "test_hazards.py::test_hazard_37_padding_is_zeros "
        "unit/test_padding.c::test_padding_is_zeros",
    ),
    38: (
        "paths of every kind",
        "test_arguments.py::test_paths "
        "test_arguments.py::test_an_empty_and_a_relative_path "
        "test_arguments.py::test_a_path_with_a_nul",
    ),
    39: (
        "none and very many",
        "test_types.py::test_batches_without_columns "
        "test_types.py::test_empty_streams_and_empty_batches "
        "test_disk.py::test_a_batch_of_more_than_2_gib",
    ),
}
# A file of this project that is written nowhere yet has no rows: recordings that outlive
# the process (6, 21, 23, 26, 40).
LATER = {6, 21, 23, 26, 40}


def functions_in(path: Path) -> set[str]:
    text = path.read_text()
    if path.suffix == ".c":
        return set(re.findall(r"^static void (test_\w+)\(void\)", text, re.M))
    return {one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)}


def test_every_hazard_has_tests_that_exist() -> None:
    assert HAZARDS.keys() | LATER == set(range(1, 41))
    assert not HAZARDS.keys() & LATER
    for _, tests in HAZARDS.values():
        for test in tests.split():
            file, name = test.split("::")
            folder = HERE.parent if file.endswith(".c") else HERE
            assert name in functions_in(folder / file), test


def test_every_test_of_a_hazard_is_in_the_table() -> None:
    for name in functions_in(Path(__file__)):
        if found := re.match(r"test_hazard_(\d\d)_", name):
            assert f"test_hazards.py::{name}" in HAZARDS[int(found[1])][1].split()


TIMED = """
    import math, signal, time
    from helpers import *

    def check(times, figure, bound):
        assert min(times) < figure, times
        assert max(times) < bound, times
"""

# Beats every 5 ms; `stalled` is the longest time between two beats.
HEART = """
    class Heart:
        def __enter__(self):
            self.stalled = 0.0
            self._over = threading.Event()
            begun = threading.Event()
            self._task = Task(self._beat, begun)
            assert begun.wait(10)
            return self

        def _beat(self, begun):
            last = time.monotonic()
            while not self._over.wait(0.005):
                now = time.monotonic()
                self.stalled = max(self.stalled, now - last)
                last = now
                begun.set()

        def __exit__(self, *_):
            self._over.set()
            self._task.result()

    def sleeping(seconds):
        def generate():
            yield batch(0)
            time.sleep(seconds)
            yield batch(4)
        return pa.RecordBatchReader.from_batches(SCHEMA, generate())
"""


@pytest.mark.parametrize(("where", "prefetch"), [("memory", None), ("disk", 2)])
def test_hazard_08_the_heart_beats_on(
    where: str, prefetch: int | None, tmp_path: Path
) -> None:
    """Three consumers of a kind: one asks the source, which sleeps; the others wait."""
    for module in ("adbc_driver_sqlite", "arro3.core", "datafusion", "duckdb"):
        pytest.importorskip(module)
    check_python(
        TIMED
        + HEART
        + f"""
    from conftest import maker_here
    from test_python_sources import CONSUMERS
    for name, read in CONSUMERS.items():
        read(StreamCache(Source(numbered(2))))  # its imports
        stalls = []
        while not stalls or (min(stalls) > 0.1 and len(stalls) < 4):
            cache = maker_here()(sleeping(0.2), prefetch={prefetch})
            with Heart() as heart:
                tasks = [Task(read, cache) for _ in range(3)]
                for task in tasks:
                    assert task.result() == list(range(8)), name
            stalls.append(heart.stalled)
        print(name, stalls, flush=True)
        check(stalls, 0.1, 2)
    """,
        timeout=120,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


@pytest.mark.parametrize(("where", "prefetch"), [("memory", None), ("disk", 2)])
def test_hazard_08_answers_while_the_source_is_stuck(
    where: str, prefetch: int | None, tmp_path: Path
) -> None:
    """Whatever needs no batch that is not there; close() too. Others wait meanwhile."""
    pytest.importorskip("nanoarrow")
    check_python(
        TIMED
        + f"""
    import nanoarrow
    from conftest import maker_here
    from test_slow_sources import AT_ONCE

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
        assert gate.reached.wait(10)
        while cache.ingested_count < 2 or cache.stats()["waiting"] < len(calls) - 1:
            pass
        return cache, shared, tasks

    def timed(answer, *arguments):
        began = time.monotonic()
        answer(*arguments)
        return time.monotonic() - began

    cache, shared, tasks = stuck()
    answers = {{name: (answer, cache) for name, answer in AT_ONCE.items()}}
    answers["closed"] = (lambda r: (r.closed, repr(r), r.schema), shared)
    answers["c_schema of a reader"] = (lambda r: r.__arrow_c_schema__(), shared)
    for name, answer in answers.items():
        times = [timed(*answer) for _ in range(5)]
        print(name, max(times), flush=True)
        check(times, 0.05, 1)
    check([timed(stuck()[0].close) for _ in range(3)], 0.05, 1)
    for gate in gates:
        gate.opened.set()
    """,
        TIER=where,
        TIER_PATH=str(tmp_path),
    )


# A thread that sends the signal once the main thread is in `call`, and what that took.
INTERRUPTED = (
    (
        TIMED
        + """
    def interrupted(call, condition):
        '''Return the seconds from the signal to KeyboardInterrupt.'''
        times = []
        calling = threading.Event()
        def watch():
            assert calling.wait(10)
            while not condition():
                time.sleep(0.001)
            times.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        watcher = Task(watch)
        try:
            calling.set()
            call()
            while True:  # an interrupt that a C stream could not give comes here
                time.sleep(0.001)
        except KeyboardInterrupt:
            took = time.monotonic()
        watcher.result()
        return took - times[0]

    def slow(count):
        '''Return a source of one batch every 20 ms in which no Python runs.'''
        capsule = pa.Table.from_batches(numbered(count)).__arrow_c_stream__()
        assert ctypes.CDLL(os.environ["CCODE"]).slow(ctypes.byref(stream_in(capsule))) == 0
        return Capsule(capsule)

    class Capsule:
        def __init__(self, capsule):
            self.capsule = capsule

        def __arrow_c_stream__(self, requested_schema=None):
            return self.capsule

    def waiting(cache, count):
        return lambda: cache.stats()["waiting"] == count
"""
    )
    .replace("import math", "import ctypes, math, os")
    .replace(
        "    from helpers import *",
        "    from helpers import *\n    from cstream import *",
    )
)
CALLS = {
    "ingest_all": "lambda: cache.ingest_all()",
    "next": "lambda: list(cache)",
    "reader": "lambda: list(cache.reader())",
}


@pytest.mark.parametrize("prefetch", [None, 2])
def test_hazard_11_an_interrupt_is_prompt(prefetch: int | None, ccode: Path) -> None:
    """In an ingest, while another thread ingests, and while one prefetches."""
    check_python(
        INTERRUPTED
        + f"""
    calls = {{name: eval(code) for name, code in {CALLS!r}.items()}}
    for name, call in calls.items():
        times = []
        for _ in range(4):
            cache = StreamCache(slow(400), prefetch={prefetch})
            times.append(interrupted(call, lambda: cache.ingested_count > 2))
            assert not cache.upstream_exhausted
            count = cache.ingested_count
            reader = cache.reader()
            got = ids([next(reader) for _ in range(count + 1)])
            assert got == list(range(4 * count + 4))
            cache.close()
        print(name, times, flush=True)
        check(times, 0.12, 1)  # 0.1 after the source's batch, which takes 0.02

        gate = Gate(numbered(4), at=2)
        cache = StreamCache(gate, prefetch={prefetch})
        producer = Task(cache.ingest_all)
        assert gate.reached.wait(10)
        while {prefetch or 0} > 0 and cache.stats()["waiting"] < 1:
            pass
        already = cache.stats()["waiting"]
        times = [interrupted(call, waiting(cache, already + 1)) for _ in range(4)]
        print(name, "waiting", times, flush=True)
        check(times, 0.1, 1)
        gate.opened.set()
        assert producer.result() == 4
        assert ids(cache) == list(range(16))
    """,
        CCODE=str(ccode),
    )


def test_hazard_11_while_workers_read(ccode: Path) -> None:
    """The main thread is interrupted; threads of all kinds get every batch."""
    pytest.importorskip("nanoarrow")
    check_python(
        INTERRUPTED
        + """
    from test_python_sources import with_nanoarrow
    times = []
    for _ in range(4):
        cache = StreamCache(slow(12))
        reader = cache.reader()
        workers = [Task(lambda: ids(cache)), Task(lambda: ids(list(cache)))]
        workers += [Task(with_nanoarrow, cache), Task(cache.ingest_all)]
        times.append(interrupted(lambda: list(reader), lambda: cache.ingested_count > 2))
        assert [w.result() for w in workers] == [list(range(48))] * 3 + [12]
        assert ids(cache) == list(range(48))
    print(times)
    check(times, 0.12, 1)
    """,
        CCODE=str(ccode),
    )


def test_hazard_11_in_a_cell_of_a_notebook(ccode: Path) -> None:
    """A cell as IPython's kernel runs it: inside an event loop, under SIGINT's default."""
    check_python(
        INTERRUPTED
        + """
    import asyncio

    async def run_cell(code, condition):
        return interrupted(lambda: exec(code, globals()), condition)

    loop = asyncio.new_event_loop()
    times = []
    for _ in range(4):
        cache = StreamCache(slow(20))
        run = run_cell("cache.ingest_all()", lambda: cache.ingested_count > 2)
        times.append(loop.run_until_complete(run))
        count = cache.ingested_count
        assert 2 < count < 20
        loop.run_until_complete(asyncio.sleep(0))
        exec("assert cache.ingest_all() == 20", globals())
        assert ids(cache) == list(range(80))
    check(times, 0.12, 1)
    """,
        CCODE=str(ccode),
    )


FORK = """
    import os, signal, sys
    from helpers import *

    def fork(function):
        '''Run in a forked child, whose status must be 0 within 10 s. Return its number.'''
        child = os.fork()
        if child:
            return child
        signal.alarm(10)
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


@pytest.mark.parametrize("options", ["", "max_readers=10**6", "prefetch=1000"])
def test_hazard_15_forks_while_threads_read(options: str, tier: Tier) -> None:
    """Whatever locks they hold: the child reads, makes readers, asks, closes and exits."""
    check_python(
        FORK
        + f"""
    import itertools
    from conftest import maker_here
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
    while cache.ingested_count < 400:
        pass

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

    for _ in range(40):
        pid = fork(child)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
    over.set()
    for task in tasks:
        task.result()
    """,
        timeout=120,
        **tier,
    )
