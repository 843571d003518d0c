"""Helpers of several test files: sources, scripts with a deadline, waits for events."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

import batchcorder
from batchcorder import StreamCache

LIB = Path(__file__).resolve().parent
TESTS = LIB.parents[1]
ROOT = LIB.parents[2]
SCHEMA = pa.schema([("id", pa.int64())])
CLOSED = "Dataset has been closed"
# AddressSanitizer is loaded. Its allocator keeps freed memory. In gcc 12, a fork's child
# may lack a lock that another thread held.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
USED = "Reader already consumed"
# Seconds after which a wait counts as a hang, since a busy machine is slow.
DEADLINE = 120


def batch(start: int, rows: int = 4) -> pa.RecordBatch:
    """Return a batch of one int64 column that counts from `start`."""
    return pa.record_batch({"id": pa.array(range(start, start + rows), pa.int64())})


def numbered(count: int, rows: int = 4) -> list[pa.RecordBatch]:
    """Return `count` batches with consecutive ids."""
    return [batch(i * rows, rows) for i in range(count)]


def ids(stream: Any) -> list[int]:
    """Return the column `id` of an iterable of batches or of an Arrow stream."""
    if hasattr(stream, "__arrow_c_stream__"):
        stream = pa.RecordBatchReader.from_stream(stream)
    return [i for b in stream for i in b.column("id").to_pylist()]


def reader_of(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatchReader:
    """Return a stream of the batches, which have one schema."""
    return pa.RecordBatchReader.from_batches(batches[0].schema, batches)


def identical(got: list[pa.RecordBatch], wanted: list[pa.RecordBatch]) -> None:
    """Check that batches are equal, including every flag and all metadata."""
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        one.validate(full=True)
        assert one.schema.equals(other.schema, check_metadata=True)
        assert str(one.schema) == str(other.schema)
        assert one.num_rows == other.num_rows
        assert one.equals(other, check_metadata=True)
        assert one.to_pylist() == other.to_pylist()


def recorded(cache: StreamCache, wanted: pa.Table) -> None:
    """Check that the cache has the batches `wanted`, recording and replaying."""
    for _ in range(2):
        got = pa.table(cache)
        assert got.cast(wanted.schema).equals(wanted)
    assert cache.upstream_exhausted
    assert len(cache) == cache.ingest_all()


class Source:
    """A source that counts the requests. It raises `error` before batch `fail_at`."""

    def __init__(
        self,
        batches: list[pa.RecordBatch],
        fail_at: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.batches = batches
        self.fail_at = fail_at
        self.error = error
        self.given = 0
        self.streams = 0
        self.ended = False

    def _generate(self) -> Iterator[pa.RecordBatch]:
        for i, one in enumerate(self.batches):
            if i == self.fail_at:
                break
            self.given += 1
            yield one
        self.ended = True
        if self.error is not None:
            raise self.error

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        self.streams += 1
        schema = self.batches[0].schema if self.batches else SCHEMA
        reader = pa.RecordBatchReader.from_batches(schema, self._generate())
        return reader.__arrow_c_stream__()


ROWS = 2000


def orders() -> Source:
    """Return a source of ten batches with id, grp (five groups), v and txt."""
    table = pa.table(
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "grp": pa.array([i % 5 for i in range(ROWS)], pa.int32()),
            "v": [i / 2 for i in range(ROWS)],
            "txt": [None if i % 7 == 0 else f"text {i}" for i in range(ROWS)],
        }
    )
    return Source(table.to_batches(max_chunksize=200))


TABLE = pa.Table.from_batches(orders().batches)


class Gate:
    """A source that waits before batch `at` until it is opened."""

    def __init__(self, batches: list[pa.RecordBatch], at: int) -> None:
        self.batches = batches
        self.at = at
        self.reached = threading.Event()
        self.opened = threading.Event()

    def _generate(self) -> Iterator[pa.RecordBatch]:
        for i, one in enumerate(self.batches):
            if i == self.at:
                self.reached.set()
                assert self.opened.wait(DEADLINE), "the gate was never opened"
            yield one

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        schema = self.batches[0].schema
        reader = pa.RecordBatchReader.from_batches(schema, self._generate())
        return reader.__arrow_c_stream__()


def wait_until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Wait for the action of another thread or process."""
    end = time.monotonic() + seconds  # clock: a deadline
    while not condition():
        assert time.monotonic() < end, "it never came"  # clock: a deadline
        time.sleep(0.002)  # sleep: no event tells of the change


class Task(threading.Thread):
    """A thread. `result` returns its result or raises its exception."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._arguments = args
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = DEADLINE) -> Any:
        """Return the function's result, or raise its exception."""
        self.join(timeout)
        assert not self.is_alive(), f"{self._function} hangs"
        if self._error is not None:
            raise self._error
        return self._result


def _script(code: str, environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    paths = [str(LIB), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)]
    return command, os.environ | {"PYTHONPATH": path} | environment


def run_python(
    code: str, timeout: float = 300, before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new interpreter with these helpers, by the command `before`."""
    command, env = _script(code, environment)
    return subprocess.run(
        [*before, *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=env,
    )


def start_python(code: str, stdin: bool = False) -> subprocess.Popen[str]:
    """Start `code` as `run_python` does. Its output can be read while it runs."""
    command, env = _script(code, {})
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe if stdin else None, stdout=pipe, text=True, env=env
    )


def check_python(
    code: str, timeout: float = 300, before: Sequence[str] = (), **environment: str
) -> str:
    """Run `code` as `run_python` does. Check that it succeeds, and return its output."""
    run = run_python(code, timeout, before, **environment)
    assert run.returncode == 0, f"rc {run.returncode}\n{run.stdout}\n{run.stderr}"
    return run.stdout


def exit_at_once() -> None:
    """
    End this process without finalisation.

    Scripts that read files through Python need it. pyarrow's threads release its buffers
    later, and abort an interpreter that ends at that moment.
    """
    sys.stdout.flush()
    os._exit(0)


def recorded_file(folder: Path, source: Any, **options: Any) -> Path:
    """Record the source into a file in the folder. Return the path of the recording."""
    path = folder / "x.arrows"
    batchcorder.record(source, path, **options).close()
    return path


def heed_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt also in a background job of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(words: str) -> NoReturn:
    """Skip the test if a tool is missing. In CI, all tools are there: fail."""
    import pytest  # imported here: scripts that import this module need no pytest

    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def cache_files(path: Path | str) -> list[Path]:
    """Return the cache files below `path`."""
    return sorted(Path(os.fsdecode(path)).glob("*/cache.arrow"))


def cache_file(path: Path | str) -> Path:
    """Return the one cache file below `path`."""
    (file,) = cache_files(path)
    return file


def mapped(path: Path) -> list[tuple[int, int]]:
    """Return the address ranges of this process's mappings of `path`."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, _, _, _, inode = line.split()[:5]
        # Compare the inode: a file that was created without a name has none in maps.
        if int(inode) == path.stat().st_ino:
            low, high = where.split("-")
            found.append((int(low, 16), int(high, 16)))
    return found


def on_disk(source: Any, path: Path, **options: Any) -> StreamCache:
    """Return a cache with a disk tier and no room in memory."""
    settings: dict[str, Any] = {"memory_capacity": 1, "disk_capacity": 1 << 30}
    return StreamCache(source, disk_path=path, **(settings | options))
