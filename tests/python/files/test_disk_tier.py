"""The file of the disk tier: always an Arrow IPC stream, private, removed at the end."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import (
    SANITIZED,
    SCHEMA,
    Source,
    cache_file,
    cache_files,
    check_python,
    ids,
    numbered,
    on_disk,
)


def prefix(file: Path) -> list[int]:
    with pa.ipc.open_stream(file) as stream:
        return ids(stream)


def test_the_file_is_a_stream_at_every_moment(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(10)), tmp_path)
    file = cache_file(tmp_path)
    assert file.stat().st_size == 0
    for i, _ in enumerate(cache):
        assert prefix(file) == list(range(4 * (i + 1)))
    cache.ingest_all()
    assert prefix(file) == list(range(40))
    with pa.ipc.open_stream(file) as stream:
        assert stream.schema.equals(cache.schema, check_metadata=True)


def test_where_the_file_is(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(2)), tmp_path)
    assert cache.path == str(cache_file(tmp_path).resolve())
    cache.close()
    assert cache.path is not None
    assert StreamCache(Source(numbered(1))).path is None


def test_polars_reads_the_file(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    cache = on_disk(Source(numbered(10)), tmp_path)
    cache.ingest_all()
    frame = polars.read_ipc_stream(cache_file(tmp_path))
    assert frame["id"].to_list() == list(range(40))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_modes(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        cache = on_disk(Source(numbered(1)), tmp_path / "new")
    finally:
        os.umask(before)
    file = cache_file(tmp_path / "new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.stat().st_uid == os.geteuid()
    del cache


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(1)), tmp_path)
    file = cache_file(tmp_path).resolve()
    found = [
        int(fd)
        for fd in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(file.parent))
    ]
    assert found
    assert not any(os.get_inheritable(fd) for fd in found)
    del cache


def test_caches_in_one_directory_do_not_meet(tmp_path: Path) -> None:
    caches = [on_disk(Source(numbered(2 + i)), tmp_path) for i in range(5)]
    assert len(cache_files(tmp_path)) == 5
    for i, cache in enumerate(caches):
        assert ids(cache) == list(range(4 * (2 + i)))
    caches[0].close()
    assert len(cache_files(tmp_path)) == 4
    assert ids(caches[1]) == list(range(12))
    caches.clear()
    del cache
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_in_one_directory(tmp_path: Path) -> None:
    mine = on_disk(Source(numbered(3)), tmp_path)
    code = f"""
        from helpers import *
        cache = on_disk(Source(numbered(5)), {str(tmp_path)!r})
        assert ids(cache) == list(range(20))
        print(len(cache_files({str(tmp_path)!r})))
    """
    assert check_python(code).strip() == "2"
    assert ids(mine) == list(range(12))
    assert len(cache_files(tmp_path)) == 1, "the file outlived a normal exit"


LEFT_BEHIND = """
    import os, sys
    from helpers import *
    cache = on_disk(Source(numbered(5)), sys.argv[1])
    cache.ingest_all()
    os._exit(0)
"""


def test_files_of_a_killed_process_do_not_disturb(tmp_path: Path) -> None:
    mine = on_disk(Source(numbered(3)), tmp_path)
    for _ in range(2):
        check_python(LEFT_BEHIND.replace("sys.argv[1]", repr(str(tmp_path))))
    other = on_disk(Source(numbered(4)), tmp_path)
    assert ids(mine) == list(range(12))
    assert ids(other) == list(range(16))


def test_leftovers_of_the_dead_are_reclaimed(tmp_path: Path) -> None:
    mine = on_disk(Source(numbered(3)), tmp_path)
    check_python(LEFT_BEHIND.replace("sys.argv[1]", repr(str(tmp_path))))
    other = on_disk(Source(numbered(4)), tmp_path)
    assert len(cache_files(tmp_path)) == 2
    assert ids(mine) == list(range(12))
    assert ids(other) == list(range(16))


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    """Links in the directory are neither written through nor removed."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "cache.arrow").write_text("precious")
    where = tmp_path / "where"
    where.mkdir()
    for i in range(20):
        (where / f"_{i}").symlink_to(target)
    (where / "batchcorder-x").symlink_to(target)
    cache = on_disk(Source(numbered(3)), where)
    assert ids(cache) == list(range(12))
    cache.close()
    assert (target / "cache.arrow").read_text() == "precious"
    assert len(list(where.iterdir())) == 21


def test_a_file_deleted_behind_the_cache(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(10)), tmp_path)
    reader = cache.reader()
    next(reader)
    cache_file(tmp_path).unlink()
    assert ids(reader) == list(range(4, 40))
    assert ids(cache) == list(range(40))
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_put_in_its_place_is_not_removed(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(3)), tmp_path)
    cache.ingest_all()
    file = cache_file(tmp_path)
    file.unlink()
    file.write_text("mine")
    assert ids(cache) == list(range(12))
    cache.close()
    assert file.read_text() == "mine"


def test_a_write_that_fails_loses_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE acts as a full disk, which later has room again."""
    code = f"""
        import resource, signal
        from helpers import *
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        counts = set()
        for limit in (0, 1, *range(100, 3000, 37)):
            source = Source(numbered(10))
            cache = on_disk(source, {str(tmp_path)!r})
            file = cache_file({str(tmp_path)!r})
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            for _ in range(3):
                try:
                    cache.ingest_all()
                except OSError as error:
                    assert "] Disk write failed: " in str(error), error
                    assert error.errno == 27, error
                else:
                    raise AssertionError("no error")
            count = cache.ingested_count
            counts.add(count)
            assert source.given == count + 1
            reader = cache.reader()
            assert ids([next(reader) for _ in range(count)]) == list(range(4 * count))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            if count:
                assert ids(pa.ipc.open_stream(file)) == list(range(4 * count))
            assert cache.ingest_all() == 10
            assert ids(cache) == ids(pa.ipc.open_stream(file)) == list(range(40))
            assert ids(list(reader)) == list(range(4 * count, 40))
            cache.close()
        assert len(counts) > 4, counts
    """
    check_python(code)


def test_a_write_that_is_never_retried_is_still_read(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        from helpers import *
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        cache = on_disk(Source(numbered(10)), {str(tmp_path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        stream = pa.RecordBatchReader.from_stream(cache)
        seen = []
        try:
            for one in stream:
                seen.append(one)
        except OSError as error:
            assert "Disk write failed: " in str(error), error
        assert 0 < len(seen) < 10
        assert ids(seen) == ids(pa.ipc.open_stream(cache_file({str(tmp_path)!r})))
    """
    check_python(code)


def test_large_batches(tmp_path: Path) -> None:
    values = np.arange(3_000_000)
    table = pa.table(
        {"id": values, "text": pa.array(values[:3_000_000]).cast(pa.string())}
    )
    cache = on_disk(table.to_reader(max_chunksize=1_000_000), tmp_path)
    assert cache.ingest_all() == 3
    assert pa.table(cache).equals(table)
    assert cache_file(tmp_path).stat().st_size < table.nbytes * 1.01 + 10_000


@pytest.mark.long
def test_a_batch_of_more_than_2_gib(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 10 << 30:
        pytest.skip("a batch of 2 GiB needs its room")
    rows = (1 << 28) + 1000
    one = pa.record_batch({"id": np.zeros(rows, np.int64)})
    for cache in (
        StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, [one])),
        on_disk(
            pa.RecordBatchReader.from_batches(SCHEMA, [one]),
            tmp_path,
            disk_capacity=3 << 30,
        ),
    ):
        assert [got.num_rows for got in cache] == [rows]
        (got,) = pa.RecordBatchReader.from_stream(cache)
        assert got.column("id")[rows - 1].as_py() == 0
        assert got.column("id").buffers()[1].size >= 8 * rows
        del got
        cache.close()


def test_close_frees_the_files_space_at_once(tmp_path: Path) -> None:
    """Readers, streams and the cache are still referenced: no descriptor, no mapping."""

    def uses() -> list[str]:
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        maps = Path("/proc/self/maps").read_text().splitlines()
        return [
            found
            for found in (*map(os.path.realpath, links), *maps)
            if str(tmp_path.resolve()) in found
        ]

    cache = on_disk(Source(numbered(5, rows=1000)), tmp_path)
    readers = [cache.reader() for _ in range(2)]
    stream = pa.RecordBatchReader.from_stream(cache)
    cache.ingest_all()
    assert ids(readers[0]) == ids(cache) == list(range(5000))
    next(readers[1])
    stream.read_next_batch()
    gc.collect()
    assert uses() != []
    cache.close()
    assert uses() == []
    assert list(tmp_path.iterdir()) == []
    del readers, stream


@pytest.mark.skipif(SANITIZED, reason="ASan keeps freed memory")
def test_anonymous_memory_stays_flat(tmp_path: Path) -> None:
    """160 MB pass through a cache without memory."""
    code = f"""
        import numpy as np
        from pathlib import Path
        from helpers import *

        def anonymous():
            lines = Path("/proc/self/status").read_text().splitlines()
            return sum(int(l.split()[1]) for l in lines if l.startswith("RssAnon")) >> 10

        def generate():
            for i in range(20):
                yield pa.record_batch({{"id": np.full(1_000_000, i)}})

        stream = pa.RecordBatchReader.from_batches(SCHEMA, generate())
        cache = on_disk(stream, {str(tmp_path)!r})
        before = anonymous()
        assert cache.ingest_all() == 20
        total = sum(b.column(0)[5].as_py() for b in cache)
        assert total == sum(range(20))
        assert anonymous() - before < 60, anonymous() - before
    """
    check_python(code)


def test_only_referenced_bytes_are_written(tmp_path: Path) -> None:
    """One-row slices of an int64 column take at most 384 bytes each."""
    whole = pa.record_batch({"id": pa.array(range(1000), pa.int64())})
    batches = [whole.slice(i, 1) for i in range(1000)]
    cache = on_disk(pa.RecordBatchReader.from_batches(SCHEMA, batches), tmp_path)
    assert cache.ingest_all() == 1000
    assert ids(cache) == list(range(1000))
    assert cache_file(tmp_path).stat().st_size <= 384_000


def test_few_descriptors_and_mappings(tmp_path: Path) -> None:
    """The counts of descriptors and mappings follow the caches, not the batches."""
    cache = on_disk(Source(numbered(2000)), tmp_path)
    fds = len(os.listdir("/proc/self/fd"))
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    batches = list(cache)
    tables = [pa.table(cache) for _ in range(3)]
    assert len(batches) == 2000
    assert len(tables[0]) == 8000
    assert len(os.listdir("/proc/self/fd")) - fds <= 2
    assert len(Path("/proc/self/maps").read_text().splitlines()) - maps < 40


def test_without_descriptors(tmp_path: Path) -> None:
    """EMFILE is an OSError that leaves no file."""
    source = Source(numbered(1))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, limits[1]))
    try:
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(OSError, match="Failed to create cache") as caught:
            on_disk(source, tmp_path)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == 24
    assert source.given == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cache_in_the_default_directory() -> None:
    cache = StreamCache.on_disk(Source(numbered(2)), memory_capacity=1)
    assert cache.ingest_all() == 2
    assert cache.stats()["disk_bytes"] > 0
    assert ids(cache) == list(range(8))
