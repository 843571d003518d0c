"""The local copy of a remote object: shared, bounded, and right after any fault."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import children
from batchcorder._remote import _directory, _local, _log
from batchcorder._remote._fetcher import Fetcher
from batchcorder._remote._local import LocalCopy
from helpers import Task
from memory_store import URL, Identity, MemoryStore, content

KIB = 1 << 10
DATA = content(1000 * KIB)
IDENTITY = Identity(len(DATA), "v0", None)
PIECE = 40 * KIB
OFFSETS = range(0, len(DATA), PIECE)


def copy_of(folder: Path, limit: int | None = None, **changes: object) -> LocalCopy:
    identity = IDENTITY._replace(**changes)
    return LocalCopy(folder, URL, identity, limit=limit)


def complete_path(folder: Path) -> str | None:
    return LocalCopy.complete_path(folder, URL, IDENTITY)


def write(copy: LocalCopy, offset: int, size: int = PIECE) -> None:
    copy.write(offset, DATA[offset : offset + size])


def held(copy: LocalCopy) -> int:
    """Check all bytes that the copy has. Return their count."""
    count = at = 0
    for start, end in [*copy.missing(0, len(DATA)), (len(DATA), len(DATA))]:
        if at < start:
            assert copy.read(at, start - at) == DATA[at:start]
        count += start - at
        at = end
    return count


def names(folder: Path) -> list[str]:
    """Return the extensions of the copies' files."""
    return sorted(one.suffix for one in folder.iterdir() if one.suffix != ".lock")


def file_of(folder: Path, suffix: str) -> Path:
    (found,) = folder.glob(f"*{suffix}")
    return found


# ---- ranges ----


def test_ranges_are_there_once_they_are_written(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    assert copy.missing(5, 10) == [(5, 15)]
    write(copy, 10, 20)
    write(copy, 100, 20)
    assert copy.missing(0, 200) == [(0, 10), (30, 100), (120, 200)]
    assert copy.missing(12, 10) == []
    assert copy.read(12, 10) == DATA[12:22]
    # Another object of this process, and one of the same files later.
    other = copy_of(tmp_path)
    assert held(other) == 40
    write(other, 500, 20)
    assert held(copy) == 60


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900 * KIB), st.integers(1, 99 * KIB))))
def test_random_ranges_equal_a_model(
    tmp_path_factory: pytest.TempPathFactory, ranges: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("copies")
    copies = [copy_of(folder), copy_of(folder)]
    model: set[int] = set()
    for i, (offset, size) in enumerate(ranges):
        write(copies[i % 2], offset, size)
        model |= {*range(offset, offset + size)}
        copies[i % 2].complete()
    for copy in [*copies, copy_of(folder)]:
        assert held(copy) == len(model)


def test_a_sparse_copy_takes_the_space_of_its_ranges(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    write(copy, 400 * KIB, 4 * KIB)
    part = file_of(tmp_path, ".part").stat()
    assert part.st_size == len(DATA)
    assert part.st_blocks * 512 < 64 * KIB


def test_another_identity_has_another_copy(tmp_path: Path) -> None:
    write(copy_of(tmp_path), 0)
    for changes in ({"etag": "v1"}, {"modified": 15}, {"size": len(DATA) - 1}):
        other = copy_of(tmp_path, **changes)
        assert other.missing(0, PIECE) == [(0, PIECE)]


# ---- completion ----


def test_a_copy_with_all_bytes_gets_its_final_name(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    for offset in OFFSETS[1:]:
        write(copy, offset)
        copy.complete()
    assert complete_path(tmp_path) is None
    write(copy, 0)
    copy.close()
    path = complete_path(tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == DATA
    assert names(tmp_path) == [".arrows"]
    assert LocalCopy.complete_path(tmp_path, URL + "2", IDENTITY) is None
    with open(path, "ab") as file:
        file.write(b"x")
    assert complete_path(tmp_path) is None


def test_the_last_bytes_of_two_copies_complete_the_file(tmp_path: Path) -> None:
    one, two = copy_of(tmp_path), copy_of(tmp_path)
    for i, offset in enumerate(OFFSETS):
        write((one, two)[i % 2], offset)
    one.complete()
    two.complete()
    assert names(tmp_path) == [".arrows"]
    assert held(one) == held(two) == len(DATA)
    # The copy of a third reader, that opened before the file was complete, is not hurt.
    three = copy_of(tmp_path)
    write(three, 0)
    assert held(three) == PIECE


def test_opening_completes_the_copy_of_a_process_that_died(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    for offset in OFFSETS:
        write(copy, offset)
    assert complete_path(tmp_path) is None
    assert held(copy_of(tmp_path)) == len(DATA)
    assert complete_path(tmp_path) is not None


def test_an_identity_with_only_a_size_has_no_copy(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="neither an ETag nor a time") as caught:
        copy_of(tmp_path, etag=None)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_finalizer_does_not_wait_for_its_own_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = copy_of(tmp_path)
    for offset in OFFSETS:
        write(copy, offset)
    with copy._directory.locked():
        copy.close()
    assert warnings_of(caplog) == 1


def test_the_second_epoch_makes_no_request(tmp_path: Path) -> None:
    store = MemoryStore(DATA, checks_reads=False)
    for epoch in range(2):
        fetcher = Fetcher(store, store.identity, local=copy_of(tmp_path))
        for offset in OFFSETS[::2]:
            (found,) = fetcher.read([(offset, PIECE)])
            assert bytes(found) == DATA[offset : offset + PIECE]
        fetcher.close()
        if epoch == 0:
            calls = store.calls
    assert store.calls == calls
    # Ranges of both: the copy has every second piece.
    fetcher = Fetcher(store, store.identity, local=copy_of(tmp_path))
    (found,) = fetcher.read([(10, len(DATA) - 20)])
    assert bytes(found) == DATA[10:-10]
    assert store.fetched < len(DATA) + PIECE
    fetcher.read([(0, 10), (len(DATA) - 10, 10)])
    fetcher.close()
    path = complete_path(tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == DATA


def test_bytes_of_a_changed_object_are_not_kept(tmp_path: Path) -> None:
    def before(number: int) -> None:
        if number == 1:
            store.change(content(len(DATA), 1))

    store = MemoryStore(DATA, checks_reads=False, before=before)
    fetcher = Fetcher(store, store.identity, local=copy_of(tmp_path))
    with pytest.raises(OSError, match="changed"):
        fetcher.read([(0, PIECE)])
    fetcher.close()
    assert held(copy_of(tmp_path)) == 0


# ---- several processes ----


def fill(folder: Path, seed: int) -> None:
    """Read all bytes in a random order through a fetcher."""
    store = MemoryStore(DATA)
    fetcher = Fetcher(store, store.identity, local=copy_of(folder), memory=1)
    chance = random.Random(seed)
    for offset in chance.sample(OFFSETS, len(OFFSETS)):
        start, end = max(offset - chance.randrange(100), 0), offset + PIECE
        (found,) = fetcher.read([(start, min(end, len(DATA)) - start)])
        assert bytes(found) == DATA[start:end]
    fetcher.close()


@pytest.mark.parametrize("count", [2, 8])
def test_processes_fill_a_copy_at_the_same_time(tmp_path: Path, count: int) -> None:
    found = [children.fork(fill, tmp_path, seed) for seed in range(count)]
    assert [children.status(child) for child in found] == [0] * count
    path = complete_path(tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == DATA


def test_threads_fill_a_copy_at_the_same_time(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    store = MemoryStore(DATA)
    fetcher = Fetcher(store, store.identity, local=copy, memory=1)

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(100):
            offset = chance.randrange(len(DATA) - 9)
            (found,) = fetcher.read([(offset, 9)])
            assert bytes(found) == DATA[offset : offset + 9]

    for task in [Task(read, seed) for seed in range(8)]:
        task.result()
    assert held(copy) > 0
    fetcher.close()


def die_in_call(monkeypatch: pytest.MonkeyPatch, number: int, seed: int) -> None:
    """Kill this process in its call `number` of the system, which may be half done."""
    chance = random.Random(seed)
    calls = 0

    def dying(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(file: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                if name in ("write", "pwrite") and chance.random() < 0.7:
                    data = memoryview(arguments[0])
                    original(file, data[: chance.randrange(len(data))], *arguments[1:])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(file, *arguments, **options)

        return call

    for name in ("write", "pwrite", "fsync", "ftruncate", "unlink"):
        monkeypatch.setattr(os, name, dying(name))


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_leaves_right_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)

    def fill_and_die(number: int) -> None:
        die_in_call(monkeypatch, number, number)
        fill(tmp_path, number)

    for _ in range(8):
        running = children.fork(fill, tmp_path, chance.randrange(1000))
        status = children.status(children.fork(fill_and_die, chance.randrange(1, 60)))
        assert status in (0, -signal.SIGKILL)
        held(copy_of(tmp_path))
        assert children.status(running) == 0
        path = complete_path(tmp_path)
        if path is not None:
            assert Path(path).read_bytes() == DATA
            os.unlink(path)
        for other in tmp_path.glob("*.part"):
            if chance.random() < 0.3:
                other.unlink()
    fill(tmp_path, 0)
    path = complete_path(tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == DATA


# ---- the log ----


@pytest.mark.parametrize("size", range(21))
def test_a_torn_entry_is_ignored(tmp_path: Path, size: int) -> None:
    copy = copy_of(tmp_path)
    write(copy, 0)
    log = file_of(tmp_path, ".log")
    entry = log.read_bytes()[-20:]
    with log.open("ab") as file:
        file.write(content(size, size) if size % 2 else entry[:size])
    write(copy, 2 * PIECE)
    for one in (copy, copy_of(tmp_path)):
        assert held(one) == 2 * PIECE


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_log_has_no_false_range(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("copies")
    copy = copy_of(folder)
    for offset in OFFSETS[::3]:
        write(copy, offset)
    log = file_of(folder, ".log")
    text = bytearray(log.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(text) - 1))
        text[i] ^= 1 << data.draw(st.integers(0, 7))
    log.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    held(copy_of(folder))


def test_a_log_of_another_boot_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = copy_of(tmp_path)
    write(old, 0)
    monkeypatch.setattr(_local, "_boot", lambda: "another boot")
    new = copy_of(tmp_path)
    assert held(new) == 0
    write(new, PIECE)
    # Readers of the old files go on.
    write(old, 2 * PIECE)
    assert held(old) == 2 * PIECE
    assert held(copy_of(tmp_path)) == PIECE


def test_without_a_boot_id_no_log_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    write(copy_of(tmp_path), 0)
    assert held(copy_of(tmp_path)) == 0


# ---- faults of the disk ----


def warnings_of(caplog: pytest.LogCaptureFixture) -> int:
    return sum(one.levelno == logging.WARNING for one in caplog.records)


def read_all(copy: LocalCopy) -> None:
    """Read all bytes twice through a fetcher."""
    store = MemoryStore(DATA)
    fetcher = Fetcher(store, store.identity, local=copy, memory=1)
    for _ in range(2):
        for offset in OFFSETS:
            (found,) = fetcher.read([(offset, PIECE)])
            assert bytes(found) == DATA[offset : offset + PIECE]
    fetcher.close()


@pytest.mark.parametrize("name", ["pwrite", "write", "pread", "fsync", "rename"])
@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_disk_is_no_error_of_the_reader(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    number: int,
    code: int,
) -> None:
    copy = copy_of(tmp_path)
    original = getattr(os, name)
    calls = 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= number:
            raise OSError(code, os.strerror(code))
        return original(*arguments, **options)

    monkeypatch.setattr(os, name, failing)
    read_all(copy)
    monkeypatch.undo()
    assert warnings_of(caplog) == (calls >= number)
    held(copy_of(tmp_path))


def test_a_file_at_its_size_limit_is_no_error_of_the_reader(tmp_path: Path) -> None:
    def read_with_limit() -> None:
        copy = copy_of(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300 * KIB, 300 * KIB))
        read_all(copy)

    assert children.status(children.fork(read_with_limit)) == 0
    assert held(copy_of(tmp_path)) == 300 * KIB // PIECE * PIECE


def test_a_short_write_leaves_right_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda n, data, at: original(n, data[:1000], at))
    copy = copy_of(tmp_path)
    write(copy, 0)
    assert held(copy) == PIECE


def test_a_directory_that_vanished_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "copies"
    copy = copy_of(folder)
    write(copy, 0)
    shutil.rmtree(folder)
    read_all(copy)
    assert warnings_of(caplog) == 1


def test_a_truncated_copy_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = copy_of(tmp_path)
    write(copy, 0)
    os.truncate(file_of(tmp_path, ".part"), 10)
    assert copy.read(0, 100) is None
    assert copy.missing(0, 100) == [(0, 100)]
    assert warnings_of(caplog) == 1
    assert held(copy_of(tmp_path)) == 0


# ---- hostile directories ----


@pytest.mark.parametrize("suffix", [".part", ".log"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "short", "empty"])
def test_files_of_another_kind_are_replaced(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    folder = tmp_path / "copies"
    write(copy_of(folder), 0)
    path = file_of(folder, suffix)
    victim = tmp_path / "victim"
    victim.write_bytes(bytes(len(DATA)))
    path.unlink()
    if kind in ("link", "dangling"):
        path.symlink_to(victim if kind == "link" else tmp_path / "none")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x" * 100 * (kind == "short"))
    copy = copy_of(folder)
    assert held(copy) == 0
    write(copy, 0)
    assert held(copy) == PIECE
    assert victim.read_bytes() == bytes(len(DATA))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["file", "lock link", "lock folder", "part folder"])
def test_an_unusable_directory_is_an_error(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "copies"
    if kind == "file":
        folder.write_bytes(b"")
    else:
        write(copy_of(folder), 0)
        path = folder / _directory._LOCK
        if kind == "part folder":
            path = file_of(folder, ".part")
        path.unlink()
        if kind == "lock link":
            path.symlink_to(tmp_path / "none")
        else:
            path.mkdir()
    with pytest.raises(OSError, match="no local copy can be kept here") as caught:
        copy_of(folder)
    assert caught.value.filename == str(folder)
    assert not (tmp_path / "none").exists()


def test_a_lock_that_another_process_keeps_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = copy_of(tmp_path)
    monkeypatch.setattr(_directory, "_LOCK_MAX", 0.0)
    with (tmp_path / _directory._LOCK).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="keeps the lock"):
            copy_of(tmp_path)
        # A reader goes on.
        read_all(copy)
    assert warnings_of(caplog) == 1
    assert held(copy_of(tmp_path)) == 0


def test_a_link_is_no_complete_copy(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    fill(folder, 0)
    path = file_of(folder, ".arrows")
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert complete_path(folder) is None


# ---- the bound ----


def test_the_least_recently_used_copies_are_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.arrows"
    foreign.write_bytes(DATA)
    (tmp_path / ("0" * 63 + ".part")).write_bytes(DATA)
    copies = []
    limit = 3 * len(DATA) + 200 * KIB
    for i in range(4):
        copy = copy_of(tmp_path, limit=limit, etag=f"v{i}")
        copies.append(copy)
        for offset in OFFSETS:
            write(copy, offset)
        copy.complete()
        for path in tmp_path.glob(f"{copy._key}.*"):
            os.utime(path, (i, i))
        if i == 2:
            # The first copy is used again.
            used = LocalCopy.complete_path(tmp_path, URL, IDENTITY)
            assert used is not None
    kept = [f"{copy._key}.arrows" for copy in copies]
    assert (tmp_path / kept[0]).exists()
    assert not (tmp_path / kept[1]).exists()
    assert (tmp_path / kept[3]).exists()
    assert foreign.read_bytes() == DATA
    assert (tmp_path / ("0" * 63 + ".part")).exists()
    # The removed copy has its reader still.
    assert copies[1].read(0, len(DATA)) == DATA
    sizes = [path.stat().st_blocks * 512 for path in tmp_path.iterdir()]
    assert sum(sizes) - 2 * len(DATA) <= limit + 64 * KIB


def test_an_object_above_the_limit_is_kept_in_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = copy_of(tmp_path, limit=300 * KIB)
    read_all(copy)
    assert names(tmp_path) == [".log", ".part"]
    assert file_of(tmp_path, ".part").stat().st_blocks * 512 <= 300 * KIB
    assert held(copy_of(tmp_path)) >= 200 * KIB
    assert warnings_of(caplog) == 0


def test_the_default_limit_is_half_of_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in OFFSETS:
        write(copy_of(tmp_path), offset)
    system = os.statvfs_result((4096, 4096, 0, 0, 1000, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _: system)
    used = sum(one.stat().st_blocks * 512 for one in tmp_path.iterdir())
    limit = copy_of(tmp_path)._directory.limit
    assert limit == (1000 * 4096 + used) // 2


def test_a_removed_copy_is_not_completed_under_the_name_of_another(
    tmp_path: Path,
) -> None:
    old = copy_of(tmp_path)
    for one in tmp_path.iterdir():
        one.unlink()
    new = copy_of(tmp_path)
    write(new, 0)
    for offset in OFFSETS:
        write(old, offset)
    old.close()
    assert complete_path(tmp_path) is None
    assert held(copy_of(tmp_path)) == PIECE


def test_the_size_of_an_entry() -> None:
    assert _log._ENTRY_SIZE == 20
