"""Child processes of the test. They are forked, so that many cost little."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

import batchcorder
from helpers import DEADLINE, SCHEMA, numbered, wait_until


def fork(function: Callable[..., Any], *args: Any, seconds: int = DEADLINE) -> int:
    """Call `function` in a child that may take `seconds`.

    Return the child's process id.
    """
    child = os.fork()
    if child != 0:
        return child
    code = 1
    try:
        # If the child hangs, it first prints where its threads are.
        faulthandler.dump_traceback_later(max(seconds - 5, 1), file=2)
        signal.alarm(seconds)
        function(*args)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def status(child: int) -> int:
    """Wait for a child. Return its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> None:
    """End a child with SIGKILL."""
    os.kill(child, signal.SIGKILL)
    assert status(child) in (-signal.SIGKILL, 0)


def linger(*_: Any) -> None:
    """Sleep until this process is killed, or for the time that a test may take."""
    time.sleep(DEADLINE)  # sleep: does nothing on purpose


@contextlib.contextmanager
def killed(child: int) -> Iterator[int]:
    """Kill the child at the end of the block."""
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def ignore(number: int) -> None:
    """Do nothing before a batch."""


def stream(
    count: int, before: Callable[[int], Any] = ignore, rows: int = 4
) -> pa.RecordBatchReader:
    """Return a stream of `count` batches; `before(i)` is called before batch i."""

    def generate() -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(numbered(count, rows)):
            before(i)
            yield batch
        before(count)

    return pa.RecordBatchReader.from_batches(SCHEMA, generate())


def write(path: Path | str, count: int, before: Callable[[int], Any] = ignore) -> None:
    """Record `stream(count, before)` under the path."""
    batchcorder.record(stream(count, before), path)


def die_at(number: int) -> Callable[[int], None]:
    """Return a function that kills its process before batch `number`."""

    def check(i: int) -> None:
        if i == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return check


def start_cached(path: Path, count: int, number: int, **options: Any) -> int:
    """
    Start a process that records `stream(count)` by `cached`.

    It stops before batch `number` until it is killed. The recording has no digest of the
    process's function, so that `cached` calls no other function to compare schemas.
    """
    begun = path.parent.with_name("begun writing")
    begun.unlink(missing_ok=True)

    def write_some() -> None:
        def before(i: int) -> None:
            if i == number:
                linger()

        cache = batchcorder.cached(path, lambda: stream(count, before), **options)
        with contextlib.suppress(OSError):
            os.removexattr(path, "user.batchcorder.source")
        begun.touch()
        cache.ingest_all()

    child = fork(write_some)
    wait_until(begun.exists)
    return child
