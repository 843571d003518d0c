"""A full disk: a file system of 1 MiB in a mount namespace of its own.

The mounts belong to a child, so the file system vanishes with the child. If the system
forbids them, these tests are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import missing, run_python

# A new mount namespace, with a new user namespace or as root.
OWN_MOUNTS = [["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"]]

PRELUDE = """
    import errno, os, subprocess, sys

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", where]
        if subprocess.run(command).returncode != 0:
            sys.exit(77)

    mount("size=1m")

    from random import Random
    from helpers import *
    ballast = Path(where, "ballast")
    ballast.write_bytes(bytes(300_000))

    def refused(call, code=errno.ENOSPC):
        try:
            call()
        except OSError as error:
            assert error.errno == code, error
            assert "Disk write failed: No space left on device" in str(error), error
        else:
            raise AssertionError("there was room")

    def words(i):
        values = [f"{i} {k}" for k in range(4000)]
        indices = pa.array([0, i, None], pa.int32())
        return pa.record_batch({"d": pa.DictionaryArray.from_arrays(indices, values)})

    def noise(i):
        return pa.record_batch({"b": [Random(i).randbytes(50_000), b"", None]})
"""

# Name: batches that need more than 1 MiB, and the options of the cache.
SOURCES = {
    "large": "numbered(40, 8000), {}",
    "small, written together": "numbered(6000, 1), {}",
    "dictionaries": "[words(i) for i in range(40)], {}",
    "compressed": "[noise(i) for i in range(40)], {'compression': 'lz4'}",
}


@pytest.fixture
def own_mounts() -> list[str]:
    """Return a command that runs another command in a new mount namespace."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        missing("unshare and mount are needed")
    for command in OWN_MOUNTS:
        tried = subprocess.run([*command, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    pytest.skip("no mounts of our own are allowed here")


def run(code: str, where: Path, own_mounts: list[str]) -> None:
    code = f"    where = {str(where)!r}\n" + PRELUDE + code
    done = run_python(code, 60, own_mounts)
    if done.returncode == 77:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert list(where.iterdir()) == [], "the mount outlived the child"


@pytest.mark.parametrize("name", SOURCES)
def test_a_full_disk_loses_nothing(
    name: str, tmp_path: Path, own_mounts: list[str]
) -> None:
    """The prefix stays readable, and the ingest continues once there is room again."""
    code = f"""
    batches, options = {SOURCES[name]}
    source = Source(batches)
    cache = on_disk(source, where, **options)
    file = cache_file(where)
    stream = pa.RecordBatchReader.from_stream(cache)
    seen = []

    def check():
        # The same batches in order, from the cache and from the file.
        count = cache.ingested_count
        assert source.given == count + 1, (source.given, count)
        while len(seen) < count:
            seen.append(stream.read_next_batch())
        refused(stream.read_next_batch, None)  # pyarrow keeps only the message
        refused(lambda: list(cache))
        assert all(one.equals(other) for one, other in zip(seen, batches))
        with pa.ipc.open_stream(file) as written:
            got = list(written)
        assert 0 < len(got) <= count
        assert len(got) == count or "small" in {name!r}
        assert all(one.equals(other) for one, other in zip(got, batches))
        return count

    counts = []
    for _ in range(2):
        for _ in range(3):
            refused(cache.ingest_all)
        counts.append(check())
        ballast.write_bytes(b"")
    assert 0 < counts[0] < counts[1] < len(batches), counts

    mount("remount,size=16m")
    assert cache.ingest_all() == len(batches)
    seen += stream
    for got in (seen, cache, pa.ipc.open_stream(file)):
        for one, wanted in zip(got, batches, strict=True):
            assert one.equals(wanted)
    assert (source.given, source.streams, source.ended) == (len(batches), 1, True)
    cache.close()
    assert os.listdir(where) == ["ballast"]
    """
    run(code, tmp_path, own_mounts)


def test_a_disk_without_room_for_the_file(tmp_path: Path, own_mounts: list[str]) -> None:
    """The source is not read, and no file remains."""
    code = """
    for inodes in (2, 3):  # the root and the ballast, and one for the directory
        mount(f"remount,size=1m,nr_inodes={inodes}")
        source = Source(numbered(2))
        try:
            on_disk(source, where)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert "Failed to create cache " in str(error), error
        else:
            raise AssertionError("there was room")
        assert source.given == 0
        assert os.listdir(where) == ["ballast"]
    mount("remount,size=1m,nr_inodes=4")
    assert ids(on_disk(source, where)) == list(range(8))
    """
    run(code, tmp_path, own_mounts)


# The same for a recording.
RECORDED = {
    "large": "numbered(40, 8000), {}",
    "durable": "numbered(40, 8000), {'durable': True}",
    "small, written together": "numbered(6000, 1), {}",
    "small, durable": "numbered(6000, 1), {'durable': True}",
    "dictionaries": "[words(i) for i in range(40)], {}",
    "compressed": "[noise(i) for i in range(40)], {'compression': 'lz4'}",
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_on_a_full_disk(
    name: str, tmp_path: Path, own_mounts: list[str]
) -> None:
    """Every reader finds a prefix in the file. The recording continues or is resumed."""
    code = f"""
    import batchcorder
    batches, options = {RECORDED[name]}
    path = Path(where, "x.arrows")
    source = Source(batches)
    cache = batchcorder.cached(path, lambda: source, **options)

    def check():
        # Each reader gets the same batches in order.
        count = cache.ingested_count
        assert source.given == count + 1, (source.given, count)
        with pa.ipc.open_stream(path) as written:
            got = list(written)
        assert len(got) == count or "small" in {name!r}
        with batchcorder.open(path, partial=True, verify=True) as opened:
            assert len(opened) == len(got) <= count
            for one, other, wanted in zip(got, opened, batches):
                assert one.equals(wanted) and other.equals(wanted)
        reader = cache.reader()
        for wanted in batches[:count]:
            assert next(reader).equals(wanted)
        return len(got)

    counts = []
    for _ in range(2):
        for _ in range(3):
            refused(cache.ingest_all)
        counts.append(check())
        ballast.write_bytes(b"")
    assert 0 < counts[0] < counts[1] < len(batches), counts
    # There is no room for a copy either.
    refused(lambda: cache.save(path.with_name("y.arrows")))
    assert sorted(os.listdir(where)) == ["ballast", "x.arrows"]
    cache.close()

    mount("remount,size=16m")
    source = Source(batches)
    cache = batchcorder.cached(path, lambda: source, resume=True, **options)
    assert cache.stats()["resumed"] == counts[1]
    assert cache.ingest_all() == len(batches)
    cache.save(path.with_name("y.arrows"), durable=True)
    for got in (cache, pa.ipc.open_stream(path), batchcorder.open(path),
                pa.ipc.open_stream(path.with_name("y.arrows"))):
        for one, wanted in zip(got, batches, strict=True):
            assert one.equals(wanted)
    assert batchcorder.verify(path) == len(batches)
    cache.close()
    """
    run(code, tmp_path, own_mounts)


def test_a_disk_without_room_for_a_recording(
    tmp_path: Path, own_mounts: list[str]
) -> None:
    """The source is not read, and no file remains."""
    code = """
    import batchcorder
    path = Path(where, "x.arrows")
    # First there is room for the root and the ballast, then for files without pages.
    for options in ("size=1m,nr_inodes=2", "size=296k"):
        mount(f"remount,{options}")
        source = Source(numbered(2))
        try:
            batchcorder.record(source, path)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError("there was room")
        assert source.given == 0
        assert os.listdir(where) == ["ballast"]
        mount("remount,size=1m,nr_inodes=100")
    assert ids(batchcorder.record(source, path)) == list(range(8))
    """
    run(code, tmp_path, own_mounts)
