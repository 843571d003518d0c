"""`cached(key=, refresh=)` uses a recording, or makes it anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import cached
from children import die_at, fork, killed, linger, status, stream
from helpers import Task, ids, numbered, reader_of, wait_until
from queries import ALL, alone, never, source


def other() -> pa.RecordBatchReader:
    return stream(3)


def read(path: Path, make: Any, **options: Any) -> list[int]:
    with cached(path, make, **options) as cache:
        return ids(cache)


KEYS: list[Any] = [
    "select 1",
    "",
    0,
    -1.5,
    True,
    False,
    [],
    {},
    [1, "two", None, {"three": [3.0]}],
    {"sql": "select 'é'", "day": "2026-11-30"},
    "\ud800",
    "\0",
    b"",
    b"\x00\xff",
    b"select 1",
    "bytes:",
    "x" * 100_000,
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_key(key: Any, path: Path) -> None:
    assert read(path, source, key=key) == ALL
    assert read(path, never, key=key) == ALL
    for another in KEYS:
        if type(another) is type(key) and another == key:
            continue
        assert read(path, other, key=another) == ALL[:12]
        assert read(path, never, key=another) == ALL[:12]
        assert read(path, source, key=key) == ALL
    assert batchcorder.verify(path) == 6
    assert alone(path)


def test_equal_keys(path: Path) -> None:
    assert read(path, source, key={"a": 1, "b": (2, 3)}) == ALL
    assert read(path, never, key={"b": [2, 3], "a": 1}) == ALL
    assert read(path, source, key=b"x") == ALL
    assert read(path, never, key=bytearray(b"x")) == ALL


def test_wrong_keys(path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    for key, error in (
        (object(), TypeError),
        ({1, 2}, TypeError),
        ({(1, 2): 3}, TypeError),
        ([b"x"], TypeError),
        (float("nan"), ValueError),
        ([float("inf")], ValueError),
        (loop, ValueError),
        ("x" * (1 << 20), ValueError),
        (b"x" * (1 << 20), ValueError),
    ):
        with pytest.raises(error, match="'key'"):
            cached(path, never, key=key)
    with pytest.raises(TypeError, match="refresh"):
        cached(path, never, refresh="yes")  # type: ignore[arg-type]
    assert os.listdir(path.parent) == []


def test_the_file_keeps_the_key(path: Path) -> None:
    """Other libraries, copies and `open` read the file as before."""
    key = {"sql": "select 1"}
    assert read(path, source, key=key) == ALL
    copy = path.parent.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.unlink(path)
    assert read(copy, never, key=key) == ALL
    assert ids(pa.ipc.open_stream(copy.read_bytes())) == ALL
    with batchcorder.open(copy) as cache:
        assert cache.schema.metadata is None
        assert ids(cache) == ALL


def test_recordings_that_cached_did_not_make(path: Path) -> None:
    batchcorder.record(other(), path).close()
    before = path.read_bytes()
    for options in ({"key": "k"}, {"refresh": True}, {"key": "k", "refresh": True}):
        with pytest.raises(FileExistsError, match="not replaced"):
            cached(path, never, **options)
    assert path.read_bytes() == before


def test_a_recording_without_a_key(path: Path) -> None:
    assert read(path, other) == ALL[:12]
    assert read(path, source, key="k") == ALL
    # Without a key, any recording is used.
    assert read(path, source) == ALL
    assert read(path, other) == ALL


def test_functions_are_not_compared(path: Path) -> None:
    """With a key, a function with another schema is not called."""
    assert read(path, source, key="k") == ALL
    assert read(path, lambda: pa.table({"y": [1]}), key="k") == ALL
    with pytest.raises(ValueError, match="schema"):
        read(path, lambda: pa.table({"y": [1]}))


def test_refresh(path: Path) -> None:
    assert read(path, source, refresh=True) == ALL
    assert read(path, other, refresh=True) == ALL[:12]
    assert read(path, source, key="k", refresh=True) == ALL
    assert read(path, other, key="k", refresh=True) == ALL[:12]
    assert read(path, never, key="k") == ALL[:12]
    assert alone(path)


def test_a_cache_keeps_the_batches_of_a_replaced_file(path: Path) -> None:
    old = cached(path, source)
    assert ids(old) == ALL
    with cached(path, other, refresh=True) as new:
        assert ids(new) == ALL[:12]
    assert ids(old) == ALL
    first = cached(path, other, key="a")
    reader = first.reader()
    batches = [next(reader)]
    # Another key, while the first recording is being written.
    assert read(path, source, key="b") == ALL
    assert ids([*batches, *reader]) == ALL[:12]
    assert read(path, never, key="b") == ALL
    first.close()
    assert alone(path)


def test_refresh_follows_a_recording_that_is_being_written(path: Path) -> None:
    writer = cached(path, source, key="k", refresh=True)
    next(writer.reader())
    assert read(path, never, key="k", refresh=True) == ALL
    assert read(path, other, key="k", refresh=True) == ALL[:12]


def test_processes_that_refresh_at_once(path: Path) -> None:
    """Each gets all batches of one recording, and in the end the file is complete."""
    assert read(path, other, key="k") == ALL[:12]

    def again() -> None:
        assert read(path, source, key="k", refresh=True) == ALL

    for child in [fork(again) for _ in range(8)]:
        assert status(child) == 0
    assert read(path, never, key="k") == ALL
    assert alone(path)


def test_processes_with_two_keys(path: Path) -> None:
    def mine(number: int) -> None:
        make, wanted = ((source, ALL), (other, ALL[:12]))[number % 2]
        for _ in range(5):
            assert read(path, make, key=number % 2) == wanted

    for child in [fork(mine, i) for i in range(6)]:
        assert status(child) == 0
    assert alone(path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_killed_writer(resume: bool, path: Path) -> None:
    """An incomplete recording is resumed only if its key is equal."""

    def write() -> None:
        cached(path, lambda: stream(6, die_at(4)), key="k").ingest_all()

    asked: list[int] = []
    for key, first in (("k", 4), ("other", 0)):
        assert status(fork(write)) == -9
        with cached(
            path, lambda: stream(6, asked.append), key=key, resume=resume
        ) as cache:
            assert ids(cache) == ALL
            assert cache.stats()["resumed"] == (first if resume else 0)
        assert read(path, never, key=key) == ALL
        path.unlink()
    assert alone(path.with_name("none")) or os.listdir(path.parent) == []


def test_a_follower_needs_the_key(path: Path) -> None:
    def write() -> None:
        cache = cached(path, lambda: stream(6, _linger_at(3)), key="k")
        cache.ingest_all()

    with killed(fork(write)):
        wait_until(
            lambda: path.exists() and len(batchcorder.open(path, partial=True)) == 3
        )
        with cached(path, never, key="k") as follower:
            assert ids([next(follower.reader())]) == ALL[:4]
        # The writer goes on, but its file has no name any more.
        assert read(path, other, key="other") == ALL[:12]
    assert read(path, never, key="other") == ALL[:12]


def _linger_at(number: int) -> Any:
    return lambda i: linger() if i == number else None


def test_foreign_files_are_not_replaced(path: Path) -> None:
    with pa.ipc.new_stream(path, numbered(1)[0].schema) as writer:
        writer.write_batch(numbered(1)[0])
    before = path.read_bytes()
    for options in ({"key": "k"}, {"refresh": True}):
        with pytest.raises(FileExistsError, match="not replaced") as caught:
            cached(path, source, **options)
        assert caught.value.filename == str(path)
    path.write_text("no Arrow data")
    for options in ({"key": "k"}, {"refresh": True}):
        with pytest.raises(ValueError, match="Not an Arrow"):
            cached(path, source, **options)
    path.write_bytes(before)
    assert read(path, lambda: reader_of(numbered(1))) == ALL[:4]


def test_make_source_fails(path: Path) -> None:
    """The old recording stays."""
    assert read(path, source, key="a") == ALL
    for options in ({"key": "b"}, {"key": "a", "refresh": True}):
        with pytest.raises(ZeroDivisionError):
            cached(path, lambda: 1 / 0, **options)
        with pytest.raises(TypeError):
            cached(path, lambda: 5, **options)
        assert read(path, never, key="a") == ALL
    assert alone(path)


def test_make_source_makes_the_recording_itself(path: Path) -> None:
    assert read(path, other) == ALL[:12]

    def make() -> pa.RecordBatchReader:
        path.unlink()
        batchcorder.record(source(), path).close()
        return stream(0)

    assert read(path, make, refresh=True) == ALL


def test_threads(path: Path) -> None:
    tasks = [Task(read, path, source) for _ in range(4)]
    tasks += [Task(lambda i=i: read(path, source, key=i % 2)) for i in range(8)]
    assert [task.result() for task in tasks] == [ALL] * 12
    assert alone(path)


@pytest.mark.parametrize("length", [230, 243, 250, 254, 255])
def test_long_names(length: int, path: Path) -> None:
    """A name may have as many bytes as the file system allows."""
    long = path.with_name("x" * length)
    for key in (None, "k"):
        assert read(long, source, key=key) == ALL
        assert read(long, never, key=key) == ALL
        assert status(fork(_die, long, key)) == -9
        assert read(long, source, key=key, resume=True) == ALL
        assert os.listdir(path.parent) == [long.name]
    accents = path.with_name("é" * (length // 2))
    assert read(accents, source, key="k") == ALL
    with pytest.raises(OSError, match="name too long"):
        cached(path.with_name("x" * 256), source)


def _die(path: Path, key: Any) -> None:
    cached(path, lambda: stream(6, die_at(3)), key=key, refresh=True).ingest_all()
