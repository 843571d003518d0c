"""Operations that must work in a directory of any file system; run as scripts.

python places.py DIRECTORY use              every operation of a process on files.
python places.py DIRECTORY share            two processes at one recording.
python places.py DIRECTORY refuse LIBRARY   `use`, while the system refuses calls.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache

TABLE = pa.table({"a": range(8)})
OTHER = pa.table({"a": [1]})

# Refused calls. A container may have no /proc, an old kernel no renameat2, a network file
# system no locks.
REFUSALS = [
    "",
    "renameat2",
    "renameat2=EINVAL",
    "renameat2=EPERM",
    "linkat=EPERM",
    "linkat=EOPNOTSUPP",
    "proc",
    "renameat2=EINVAL,linkat=EPERM",
    "renameat2,proc",
    "linkat,proc",
    "renameat2,linkat,proc",
    "ofd=EINVAL",
    "ofd=ENOLCK",
    "ofd=ENOSYS",
    "ofd=EOPNOTSUPP",
    "flock=ENOLCK",
    "flock=ENOSYS",
    "flock=EOPNOTSUPP",
    "flock=EINVAL",
    "ofd=ENOLCK,flock=ENOLCK",
    "ofd=ENOLCK,flock=ENOLCK,renameat2=EINVAL,linkat=EPERM",
    "fallocate=EOPNOTSUPP",
    "fchmod=EPERM",
    "fchmod",
    "fchmod,linkat",
    "fchmod,proc",
    "getrandom",
    "getrandom,proc",
    "fdatasync=EINVAL",
    "fdatasync",
    "fsync=EINVAL",
    "fdatasync=EINVAL,fsync=EINVAL",
    "fdatasync,fsync",
    "fdatasync=EOPNOTSUPP,fsync=EOPNOTSUPP",
    "madvise",
    "renameat2,linkat,proc,flock,fallocate,fchmod,getrandom,fdatasync,madvise",
    "renameat2,linkat,proc,flock,fallocate,fchmod,getrandom,fdatasync,madvise,ofd",
]


def batches(count: int = 8) -> Iterator[pa.RecordBatch]:
    for i in range(count):
        yield pa.record_batch({"a": [i]})


def stream(source: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(TABLE.schema, source)


def check(cache: StreamCache) -> None:
    assert cache.to_table() == TABLE, cache.to_table()
    cache.close()


def names(where: Path) -> set[str]:
    """Remove the files of the directory, and return their names."""
    # Frames of a caught error may keep a mapping, and then FUSE keeps the file.
    gc.collect()
    found = {path.name for path in where.iterdir()}
    for path in where.iterdir():
        path.unlink()
    return found


def failing(count: int) -> Iterator[pa.RecordBatch]:
    yield from batches(count)
    raise RuntimeError("enough")


def record(where: Path) -> None:
    check(batchcorder.record(stream(batches()), where / "x"))
    assert batchcorder.verify(where / "x") == 8
    check(batchcorder.open(where / "x"))
    assert stat.S_IMODE((where / "x").stat().st_mode) == 0o644
    with pytest.raises(FileExistsError):
        batchcorder.record(OTHER, where / "x")
    assert names(where) == {"x"}


def record_durably(where: Path) -> None:
    check(batchcorder.record(stream(batches()), where / "x", durable=True))
    assert names(where) == {"x"}


def follow(where: Path) -> None:
    """A recording is followed while it is made, and is never replaced."""
    seen = []

    def source() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches()):
            if number == 4:
                with batchcorder.cached(where / "x", lambda: OTHER) as other:
                    seen.append(other[0])
                with batchcorder.open(where / "x", follow=True) as other:
                    seen.append(other[0])
            yield batch

    with batchcorder.cached(where / "x", lambda: stream(source())) as cache:
        check(cache)
    assert seen == [next(batches())] * 2
    check(batchcorder.cached(where / "x", lambda: OTHER))
    assert names(where) == {"x"}


def resume(where: Path) -> None:
    for wanted in (True, False):
        with pytest.raises(RuntimeError, match="enough"):
            batchcorder.record(stream(failing(3)), where / "x")
        cache = batchcorder.cached(where / "x", lambda: stream(batches()), resume=wanted)
        check(cache)
        assert names(where) == {"x"}


def save(where: Path) -> None:
    cache = StreamCache(stream(batches()))
    cache.save(where / "x")
    with pytest.raises(FileExistsError):
        cache.save(where / "x")
    StreamCache(OTHER).save(where / "x", overwrite=True)
    cache.save(where / "x", overwrite=True)
    check(batchcorder.open(where / "x"))
    assert names(where) == {"x"}


def save_from_disk(where: Path) -> None:
    with tempfile.TemporaryDirectory(dir=where.parent) as tier:
        with StreamCache.on_disk(stream(batches()), path=tier) as cache:
            cache.save(where / "x")
            assert stat.S_IMODE((where / "x").stat().st_mode) == 0o644
            cache.save(where / "x", overwrite=True)
            check(batchcorder.open(where / "x"))
        assert os.listdir(tier) == []
    assert names(where) == {"x"}


def cache_on_disk(where: Path) -> None:
    for options in ({}, {"max_readers": 1}):
        cache = StreamCache.on_disk(
            stream(batches()), path=where, memory_capacity=0, **options
        )
        assert pa.table(cache) == TABLE
        cache.close()
        assert names(where) == set()


def warns_of_locks(where: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache_on_disk(where)
    assert {warning.category for warning in caught} == {RuntimeWarning}
    assert "refuses locks" in str(caught[0].message)


def fails(call: Any, where: Path, code: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        call(where)
    assert type(caught.value) is OSError, repr(caught.value)
    assert caught.value.errno == code, repr(caught.value)


ALL = [
    record, record_durably, follow, resume, save, save_from_disk, cache_on_disk
]  # fmt: skip


def use(where: Path, refused: str = "") -> None:
    calls = {call.partition("=")[0] for call in refused.split(",")}
    for call in ALL:
        if "ofd" in calls and call in (record, record_durably, follow, resume):
            fails(call, where, errno.ENOLCK)
            assert names(where) == set()
        elif call is record_durably and "fsync" in calls and refused != "fsync=EINVAL":
            fails(call, where, errno.EIO)
            assert len(names(where)) <= 1
        elif call is cache_on_disk and "flock" in calls:
            warns_of_locks(where)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore" if "flock" in calls else "error")
                call(where)


def refuse(where: Path, library: str) -> None:
    shim = ctypes.CDLL(library)
    for number, refused in enumerate(REFUSALS):
        place = where / str(number)
        place.mkdir()
        shim.refuse(refused.encode())
        try:
            use(place, refused)
        except BaseException:
            print(f"refused: {refused}", flush=True)
            raise
        finally:
            shim.refuse(b"")


def other_process(code: str) -> str:
    code = f"import batchcorder, pyarrow as pa\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def share(where: Path) -> None:
    path = str(where / "x")
    seen = []

    def source() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches()):
            if number == 4:
                seen.append(
                    other_process(
                        f"path = {path!r}\n"
                        f"other = lambda: pa.table({{'a': [1]}})\n"
                        f"print(batchcorder.cached(path, other)[0]['a'].to_pylist())\n"
                        f"c = batchcorder.cached(path, other, resume=True)\n"
                        f"print(c[0]['a'].to_pylist())\n"
                        f"followed = batchcorder.open(path, follow=True)\n"
                        f"print(batchcorder._recordings.is_being_written(followed))"
                    )
                )
            yield batch

    with batchcorder.cached(path, lambda: stream(source())) as cache:
        assert pa.table(cache) == TABLE
    assert seen == ["[0]\n[0]\nTrue"], seen
    # A recording of a killed process is made again.
    other_process(
        f"import os\n"
        f"assert batchcorder.open({path!r}).num_rows == 8\n"
        f"c = batchcorder.cached({path + 'y'!r}, lambda: pa.table({{'b': [1]}}))\n"
        f"print(c.schema.names, flush=True)\n"
        f"os._exit(0)"
    )
    check(batchcorder.cached(path + "y", lambda: stream(batches())))
    assert names(where) == {"x", "xy"}


def main() -> None:
    where = Path(sys.argv[1])
    os.umask(0o022)
    {"use": use, "share": share, "refuse": refuse}[sys.argv[2]](where, *sys.argv[3:])


if __name__ == "__main__":
    main()
