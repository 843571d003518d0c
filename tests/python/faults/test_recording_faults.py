"""Recordings and the system: writers that die, limits, signals, links, masks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from helpers import Source, check_python, ids, numbered, on_disk, start_python

WRITER = """
    from helpers import *
    import batchcorder, signal
    path = {path!r}
    def generate():
        yield from numbered(5)
        print("recorded", flush=True)
        signal.pause()
    stream = pa.RecordBatchReader.from_batches(SCHEMA, generate())
    batchcorder.record(stream, path, durable={durable})
"""


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_a_follower_gets_an_error_when_its_writer_dies(
    waits: bool, durable: bool, tmp_path: Path
) -> None:
    """The follower gets the error while it waits or at its next call, and for ever."""
    path = str(tmp_path / "x.arrows")
    with start_python(WRITER.format(path=path, durable=durable)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "recorded\n"
        try:
            check_python(
                f"""
    import batchcorder, errno, os, signal
    from helpers import *
    cache = batchcorder.open({path!r}, follow=True)
    reader = cache.reader()
    assert ids([next(reader) for _ in range(5)]) == list(range(20))
    assert batchcorder._recordings.is_being_written(cache)

    def wait():
        try:
            next(reader)
        except OSError as error:
            return error
        raise AssertionError("no error")

    if {waits}:
        task, other = Task(wait), Task(cache.ingest_all)
        wait_until(lambda: cache.stats()["waiting"] > 0)
    os.kill({writer.pid}, signal.SIGKILL)
    error = task.result() if {waits} else wait()
    assert error.errno == errno.EOWNERDEAD and "died" in str(error), error
    assert wait().errno == errno.EOWNERDEAD
    assert cache.ingested_count == 5 and not cache.upstream_exhausted
    """
            )
        finally:
            writer.kill()
    with batchcorder.open(path, partial=True) as left:
        assert ids(left) == list(range(20))


def test_a_follower_of_a_name_that_another_recording_takes(tmp_path: Path) -> None:
    """The follower follows the file that it opened, to its end."""
    path = tmp_path / "x.arrows"
    first = batchcorder.cached(path, lambda: Source(numbered(3)))
    next(first.reader())
    follower = batchcorder.open(path, follow=True)
    with on_disk(Source(numbered(7)), tmp_path) as other:
        other.save(path, overwrite=True)
    assert ids(batchcorder.open(path)) == list(range(28))
    assert first.ingest_all() == 3
    assert ids(follower) == list(range(12))


def test_two_processes_record_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    go = tmp_path / "go"
    code = f"""
    from helpers import *
    import batchcorder
    print("ready", flush=True)
    wait_until(lambda: os.path.exists({str(go)!r}))
    try:
        batchcorder.record(Source(numbered(50)), {str(path)!r})
    except FileExistsError:
        print("exists")
    else:
        print("recorded")
    """
    for _ in range(3):
        with start_python(code) as one, start_python(code) as other:
            said = []
            for process in (one, other):
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            go.touch()
            for process in (one, other):
                said.append(process.communicate(timeout=300)[0])
        assert sorted(said) == ["exists\n", "recorded\n"]
        assert batchcorder.verify(path) == 50
        go.unlink()
        assert os.listdir(tmp_path) == ["x.arrows"]
        path.unlink()


def test_planted_links(tmp_path: Path) -> None:
    """A recording neither writes through a link nor creates its target."""
    target = tmp_path / "target"
    path = tmp_path / "x.arrows"
    for there in (False, True):
        if there:
            target.write_bytes(b"mine")
        path.symlink_to(target)
        with pytest.raises(FileExistsError):
            batchcorder.record(Source(numbered(2)), path)
        with on_disk(Source(numbered(2)), tmp_path) as cache:
            with pytest.raises(FileExistsError):
                cache.save(path)
            assert target.exists() == there
            assert path.is_symlink()
            cache.save(path, overwrite=True)
        assert not path.is_symlink()
        assert batchcorder.verify(path) == 2
        assert target.exists() == there
        path.unlink()
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0])
def test_modes(mask: int, tmp_path: Path) -> None:
    """A recording has the modes of any new file. A cache's own file stays private."""
    before = os.umask(mask)
    try:
        batchcorder.record(Source(numbered(2)), tmp_path / "recorded").close()
        with on_disk(Source(numbered(2)), tmp_path / "caches") as cache:
            cache.ingest_all()
            file = Path(cache.path or "")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            cache.save(tmp_path / "linked")
            cache.save(tmp_path / "linked", overwrite=True)
        with batchcorder.StreamCache(Source(numbered(2))) as cache:
            cache.save(tmp_path / "copied")
            cache.save(tmp_path / "copied", overwrite=True)
    finally:
        os.umask(before)
    for name in ("recorded", "linked", "copied"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask, name


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    check_python(
        f"""
    import os, subprocess, sys
    from pathlib import Path
    from helpers import *
    import batchcorder
    where = Path({str(tmp_path)!r})
    writing = batchcorder.cached(where / "x", lambda: Source(numbered(9)))
    next(writing.reader())
    opened = [batchcorder.open(where / "x", partial=True),
              batchcorder.open(where / "x", follow=True)]
    with open(where / "x", "rb") as file:
        opened.append(batchcorder.open(file, partial=True))
    writing.reader()
    left = batchcorder.cached(where / "y", lambda: Source(numbered(9)))
    next(left.reader())
    left.close()
    resumed = batchcorder.cached(where / "y", lambda: Source(numbered(9)), resume=True)
    code = "import os; print([os.readlink(f'/proc/self/fd/{{n}}') for n in os.listdir("
    code += "'/proc/self/fd') if os.path.exists(f'/proc/self/fd/{{n}}')])"
    mine = str([os.readlink(f"/proc/self/fd/{{n}}") for n in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{{n}}")])
    assert mine.count(str(where)) == 5, mine
    command = [sys.executable, "-c", code]
    theirs = subprocess.run(command, close_fds=False, capture_output=True, text=True)
    assert theirs.returncode == 0, theirs.stderr
    assert str(where) not in theirs.stdout, theirs.stdout
    """
    )


def test_a_write_that_fails_leaves_a_prefix(tmp_path: Path) -> None:
    """RLIMIT_FSIZE acts as a full disk, which later has room again."""
    check_python(
        f"""
    import errno, resource, signal
    from pathlib import Path
    from helpers import *
    import batchcorder
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = Path({str(tmp_path)!r}, "x.arrows")

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def refused(call):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EFBIG, error
        else:
            raise AssertionError("no error")

    batchcorder.record(Source(numbered(10)), path).close()
    size = path.stat().st_size
    path.unlink()
    counts = set()
    for most in (0, 1, *range(100, size, 41)):
        # Room for nothing, the schema, some batches, or a part of the trailer.
        durable = most % 2 == 0
        source = Source(numbered(10))
        limit(most)
        try:
            cache = batchcorder.cached(path, lambda: source, durable=durable)
        except OSError as error:
            assert error.errno == errno.EFBIG, error
            assert os.listdir(path.parent) == [], os.listdir(path.parent)
            assert source.given == 0
            limit(soft)
            continue
        for _ in range(3):
            refused(cache.ingest_all)
        count = cache.ingested_count
        counts.add(count)
        assert source.given == min(count + 1, 10)
        assert path.stat().st_size <= most
        for _ in range(2):
            assert ids(pa.ipc.open_stream(path)) == list(range(4 * count))
            with batchcorder.open(path, partial=True, verify=True) as opened:
                assert ids(opened) == list(range(4 * count))
            limit(soft)
        assert os.listdir(path.parent) == ["x.arrows"]
        if most % 3:
            assert cache.ingest_all() == 10
        else:
            cache.close()
            source = Source(numbered(10))
            cache = batchcorder.cached(path, lambda: source, resume=True)
            assert cache.ingest_all() == 10 and cache.stats()["resumed"] == count
        assert ids(cache) == ids(pa.ipc.open_stream(path)) == list(range(40))
        cache.close()
        assert batchcorder.verify(path) == 10 and path.stat().st_size == size
        path.unlink()
    assert counts == set(range(11)), counts

    # There is no room for a save, by link (the trailer) or by copy.
    for how in ({{"memory_capacity": 1}}, {{"write_policy": "on_eviction"}}):
        how["statistics"] = True
        with on_disk(Source(numbered(10)), path.parent / "caches", **how) as cache:
            assert cache.ingest_all() == 10
            for most in range(0, size, 499):
                limit(most)
                refused(lambda: cache.save(path))
                assert not path.exists()
            limit(soft)
            cache.save(path)
        assert batchcorder.verify(path) == 10
        path.unlink()
    """
    )


def test_a_storm_of_signals_changes_nothing(tmp_path: Path) -> None:
    """A signal arrives every millisecond during a recording, and its handler returns."""
    check_python(
        f"""
    import signal
    from pathlib import Path
    from helpers import *
    import batchcorder
    handled = 0

    def handler(number, frame):
        global handled
        handled += 1

    where = Path({str(tmp_path)!r})
    path = where / "x.arrows"
    large = [batch(i, 200_000) for i in range(4)]
    small = numbered(200)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    rounds = 0
    while handled < 100 or rounds < 3:
        rounds += 1
        for batches in (large, small):
            source = Source(batches)
            cache = batchcorder.cached(path, lambda: source, durable=True)
            follower = batchcorder.open(path, follow=True)
            task = Task(lambda: list(follower))
            assert next(cache.reader()).equals(batches[0])
            cache.close()
            try:
                task.result()
            except OSError as error:
                assert "died" in str(error), error
            cache = batchcorder.cached(path, lambda: Source(batches), resume=True)
            follower = batchcorder.open(path, follow=True)
            task = Task(lambda: list(follower))
            assert cache.ingest_all() == len(batches)
            cache.save(where / "y.arrows", overwrite=True, durable=True)
            for got in (task.result(), cache, pa.ipc.open_stream(path),
                        batchcorder.open(where / "y.arrows", mmap=False)):
                for one, wanted in zip(got, batches, strict=True):
                    assert one.equals(wanted)
            assert batchcorder.verify(path) == len(batches)
            cache.close()
            path.unlink()
    signal.setitimer(signal.ITIMER_REAL, 0)
    """
    )


def test_without_descriptors_and_address_space(tmp_path: Path) -> None:
    """EMFILE and ENOMEM are clean errors, and later calls work."""
    check_python(
        f"""
    import errno, resource
    from pathlib import Path
    from helpers import *
    import batchcorder
    path = Path({str(tmp_path)!r}, "x.arrows")
    large = [batch(i, 1_000_000) for i in range(4)]
    batchcorder.record(Source(large), path).close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limits[1]))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    source = Source(numbered(2))
    for call in (lambda: batchcorder.open(path), lambda: batchcorder.verify(path),
                 lambda: batchcorder.open(path, follow=True),
                 lambda: batchcorder.record(source, path.with_name("y"))):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        else:
            raise AssertionError("no error")
    assert source.given == 0
    for fd in held:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.listdir(path.parent) == ["x.arrows"]

    # Room for Python's own needs, but not for 32 MB more.
    def bytes_mapped():
        return int(Path("/proc/self/statm").read_text().split()[0]) * 4096

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (bytes_mapped() + (16 << 20), limits[1]))
    errors = []
    for mmap in (True, False):
        try:
            with batchcorder.open(path, mmap=mmap) as cache:
                for one in cache:
                    assert one.num_rows == 1_000_000
        except (OSError, MemoryError) as error:
            errors.append(error)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    # The file is mapped whole, or read in batches of 8 MB.
    assert len(errors) >= 1 and "cannot be mapped" in str(errors[0]), errors
    assert batchcorder.verify(path) == 4
    """
    )


@pytest.mark.parametrize("options", ["{}", "{'partial': True}", "{'mmap': False}"])
def test_few_descriptors_and_mappings(options: str, tmp_path: Path) -> None:
    """The counts of descriptors and mappings follow the files, not the batches."""
    check_python(
        f"""
    from pathlib import Path
    from helpers import *
    import batchcorder
    path = Path({str(tmp_path)!r}, "x.arrows")
    cache = batchcorder.cached(path, lambda: Source(numbered(2000)))
    assert cache.ingest_all() == 2000
    if "partial" in {options}:
        os.truncate(path, path.stat().st_size - 1)  # no trailer any more
    fds = len(os.listdir("/proc/self/fd"))
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    files = [batchcorder.open(path, **{options}) for _ in range(5)]
    tables = [pa.table(one) for one in files]
    batches = [list(one) for one in files]
    assert all(len(one) == 8000 for one in tables)
    assert len(os.listdir("/proc/self/fd")) - fds == 5
    # Threads and arenas have some more.
    assert len(Path("/proc/self/maps").read_text().splitlines()) - maps < 60
    mine = Path("/proc/self/maps").read_text().count(str(path))
    assert mine <= 6, mine
    del tables, batches
    for one in files:
        one.close()
    del files, one
    assert len(os.listdir("/proc/self/fd")) == fds
    assert Path("/proc/self/maps").read_text().count(str(path)) <= 1
    """
    )


@pytest.mark.parametrize("rows", [1, 700, 20_000])
def test_other_libraries_read_the_growing_file(rows: int, tmp_path: Path) -> None:
    """Each read meanwhile finds an exact prefix, and the last one the whole."""
    check_python(
        f"""
    import mmap
    from pathlib import Path
    from helpers import *
    import batchcorder
    rows = {rows}
    path = Path({str(tmp_path)!r}, "x.arrows")
    count = max(60, min(4000, 400_000 // rows))

    def one(i):
        ids = pa.array(range(i * rows, (i + 1) * rows), pa.int64())
        words = [f"{{i}}-{{k}}" for k in range(3)] if i % 5 == 0 else ["same"] * 3
        at = pa.array([k % 3 for k in range(rows)], pa.int32())
        words = pa.DictionaryArray.from_arrays(at, words)
        return pa.record_batch({{"id": ids, "d": words}})

    batches = [one(i) for i in range(count)]
    cache = batchcorder.cached(path, lambda: Source(batches))
    seen = {{}}

    def check(how, got):
        assert len(got) >= seen.get(how, 0), how
        seen[how] = len(got)
        assert all(a.equals(b) for a, b in zip(got, batches)), how
        return len(got)

    def by_pages():
        with pa.memory_map(str(path)) as pages:
            return list(pa.ipc.open_stream(pages))

    ways = {{
        "stream": lambda: list(pa.ipc.open_stream(path)),
        "pages": by_pages,
        "bytes": lambda: list(pa.ipc.open_stream(path.read_bytes())),
        "ours": lambda: list(batchcorder.open(path, partial=True, verify=True)),
        "copied": lambda: list(batchcorder.open(path, partial=True, mmap=False)),
    }}
    task = Task(cache.ingest_all)
    between = set()
    while task.is_alive():
        for how, read in ways.items():
            try:
                got = read()
            except OSError:
                # Other libraries read in parts, so 8 bytes may be published in between.
                assert how in ("stream", "pages", "bytes"), how
                continue
            between.add(check(how, got))
    assert task.result() == count
    for how, read in ways.items():
        assert check(how, read()) == count
    assert batchcorder.verify(path) == count
    """
    )


@pytest.mark.parametrize("column", ["a", "b"])
def test_damage_in_a_recording_that_is_not_complete(column: str, tmp_path: Path) -> None:
    """If a bit is wrong, one column read by itself is an exact prefix."""
    words = [["x", "y"], ["p", "q"], ["x", "z"], ["p", "r"]]
    batches = [
        pa.record_batch(
            {
                name: pa.DictionaryArray.from_arrays(pa.array([i, 1, 0], pa.int32()), w)
                for name, w in (("a", words[2 * i]), ("b", words[2 * i + 1]))
            }
        )
        for i in range(2)
    ]
    path = tmp_path / "x.arrows"
    with batchcorder.cached(path, lambda: Source([*batches, batches[0]])) as cache:
        reader = cache.reader()
        assert next(reader).equals(batches[0])
        assert next(reader).equals(batches[1])
    content = path.read_bytes()
    wanted = [one[column].to_pylist() for one in batches]
    # A wrong byte in the other column's body is no error.
    found = 0
    file = os.open(path, os.O_WRONLY)
    for at, byte in enumerate(content):
        os.pwrite(file, bytes([byte ^ 1 << at % 8]), at)
        got = []
        try:
            with batchcorder.open(path, columns=[column], partial=True) as opened:
                for one in opened:
                    got.append(one[column].to_pylist())
        except (OSError, ValueError, NotImplementedError):
            found += 1
        else:
            found += len(got) < 2
        assert got == wanted[: len(got)], at
        os.pwrite(file, bytes([byte]), at)
    os.close(file)
    assert found > len(content) // 2
