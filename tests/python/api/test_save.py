"""save(): any cache can be saved.

The file is a link or a copy, and appears atomically.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from foreign import file_of, stream_of
from helpers import Source, cache_file, identical, ids, numbered, on_disk, reader_of
from kinds import ALL, batch_of, slices_of
from tiers import MakeCache

WANTED = list(range(20))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saved.arrows"


def check(path: Path) -> None:
    assert batchcorder.verify(path) == 5
    with batchcorder.open(path) as cache:
        assert ids(cache) == WANTED
        info = cache.info()
        assert (info["kind"], info["complete"]) == ("recording", True)
    with pa.ipc.open_stream(path) as stream:
        assert ids(stream) == WANTED


def is_link(path: Path, other: str | Path | None) -> bool:
    assert other is not None
    return os.path.samefile(path, other)


def test_any_cache(make_any_cache: MakeCache, path: Path) -> None:
    """save() reads the source to its end, and the cache stays usable."""
    with make_any_cache(Source(numbered(5))) as cache:
        assert ids([next(iter(cache))]) == [0, 1, 2, 3]
        cache.save(path)
        assert cache.upstream_exhausted
        check(path)
        assert ids(cache) == WANTED
        cache.save(path.with_name("again"))
    check(path)
    check(path.with_name("again"))


@pytest.mark.parametrize("name", ALL)
def test_every_type_from_memory(name: str, path: Path) -> None:
    """files/test_record_and_open.py does the same from disk."""
    batches = slices_of(batch_of(name))
    source = reader_of(batches)
    StreamCache(source).save(path)
    with batchcorder.open(path, verify=True) as cache:
        identical(list(cache), batches)


def test_a_link_where_all_is_in_the_file(tmp_path: Path, path: Path) -> None:
    cache = on_disk(Source(numbered(5)), tmp_path)
    cache.save(path)
    assert is_link(path, cache.path)
    assert path.stat().st_nlink == 2
    cache.close()
    assert path.stat().st_nlink == 1
    check(path)


def test_a_link_to_a_recording(tmp_path: Path, path: Path) -> None:
    first = tmp_path / "first.arrows"
    with batchcorder.record(Source(numbered(5)), first) as cache:
        cache.save(path)
    second = tmp_path / "second.arrows"
    with batchcorder.open(first, verify=True) as cache:
        cache.save(second)
    assert is_link(path, first)
    assert is_link(second, first)
    check(second)


def copied(tmp_path: Path) -> Iterator[tuple[str, StreamCache]]:
    """Yield caches whose file lacks some batches or is not a recording."""
    batches = numbered(5)
    yield "memory", StreamCache(Source(batches))
    yield "both", on_disk(Source(batches), tmp_path, memory_capacity=1 << 30)
    evict = {"write_policy": "on_eviction", "memory_capacity": 64}
    yield "evict", on_disk(Source(batches), tmp_path, **evict)
    wide = [b.append_column("x", b.column(0)) for b in batches]
    batchcorder.record(Source(wide), tmp_path / "wide").close()
    yield "projected", batchcorder.open(tmp_path / "wide", columns=["id"])
    (tmp_path / "stream").write_bytes(stream_of(batches))
    yield "stream", batchcorder.open(tmp_path / "stream")
    (tmp_path / "file").write_bytes(file_of(batches, compression="zstd"))
    yield "file", batchcorder.open(tmp_path / "file")
    whole = (tmp_path / "wide").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1])
    yield "partial", batchcorder.open(tmp_path / "cut", partial=True, columns=["id"])


def test_a_copy_otherwise(tmp_path: Path, path: Path) -> None:
    for name, cache in copied(tmp_path):
        with cache:
            cache.save(path)
            if cache.path is not None and name != "both":
                assert not is_link(path, cache.path), name
            assert ids(cache) == WANTED
        assert path.stat().st_nlink == 1, name
        check(path)
        path.unlink()
    left = {"wide", "stream", "file", "cut"}
    assert set(os.listdir(tmp_path)) == left


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no other file system")
def test_a_copy_on_another_file_system(tmp_path: Path) -> None:
    other = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no other file system")
        cache = on_disk(Source(numbered(5)), tmp_path, compression="zstd")
        cache.save(other / "x.arrows")
        cache.save(other / "x.arrows", overwrite=True)
        assert os.listdir(other) == ["x.arrows"]
        check(other / "x.arrows")
        with batchcorder.open(other / "x.arrows") as opened:
            assert opened.info()["compression"] == "zstd"
    finally:
        shutil.rmtree(other)


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_overwriting(tier: str, tmp_path: Path, path: Path) -> None:
    """The new file replaces the old one atomically. Open caches keep the old file."""
    with batchcorder.record(Source(numbered(2)), path):
        pass
    old = batchcorder.open(path)
    reader = old.reader()
    first = next(reader)
    batches = numbered(5)
    source = Source(batches)
    cache = StreamCache(source) if tier == "memory" else on_disk(source, tmp_path)
    with pytest.raises(FileExistsError, match=str(path)):
        cache.save(path)
    assert ids(batchcorder.open(path)) == list(range(8))
    cache.save(path, overwrite=True)
    check(path)
    cache.save(path, overwrite=True)
    check(path)
    assert ids([first, *reader]) == list(range(8))
    assert ids(old) == list(range(8))
    cache.close()
    old.close()
    assert os.listdir(tmp_path) == [path.name]


def test_a_recording_over_itself(path: Path) -> None:
    with batchcorder.record(Source(numbered(5)), path) as cache:
        cache.save(path, overwrite=True)
        with pytest.raises(FileExistsError):
            cache.save(path)
    with batchcorder.open(path) as cache:
        cache.save(path, overwrite=True)
    with batchcorder.open(path, columns=[0]) as cache:
        cache.save(path, overwrite=True)
        assert ids(cache) == WANTED
    check(path)
    assert os.listdir(path.parent) == [path.name]


def test_changes_of_the_copy_are_not_those_of_the_cache(
    tmp_path: Path, path: Path
) -> None:
    """A removal of the saved file does not affect the cache's file, and vice versa."""
    cache = on_disk(Source(numbered(5)), tmp_path)
    cache.save(path)
    path.unlink()
    assert ids(cache) == WANTED
    cache.save(path)
    cache_file(tmp_path).unlink()
    assert ids(cache) == WANTED
    cache.close()
    check(path)


def test_durable(tmp_path: Path, path: Path) -> None:
    for cache in (
        StreamCache(Source(numbered(5))),
        on_disk(Source(numbered(5)), tmp_path),
    ):
        cache.save(path, durable=True, overwrite=True)
        check(path)
    path.unlink()
    batchcorder.record(Source(numbered(5)), path, durable=True).close()
    check(path)


def test_caches_that_cannot_be_saved(tmp_path: Path, path: Path) -> None:
    for options in ({}, {"disk_path": tmp_path, "disk_capacity": 1 << 20}):
        cache = StreamCache(Source(numbered(5)), max_readers=2, **options)
        assert ids(cache) == WANTED
        # Nothing is evicted yet, since another reader may come.
        last = cache.reader()
        assert ids([next(last)]) == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="no longer cached"):
            cache.save(path)
        cache.close()
        with pytest.raises(ValueError, match="closed"):
            cache.save(path)
    failing = StreamCache(Source(numbered(5), fail_at=3, error=KeyError("why")))
    with pytest.raises(KeyError, match="why"):
        failing.save(path)
    assert os.listdir(tmp_path) == []


def test_a_projected_readers_budget_is_not_needed(path: Path) -> None:
    """A cache that allows no more readers can be saved while nothing is evicted."""
    cache = StreamCache(Source(numbered(5)), max_readers=1)
    cache.save(path)
    check(path)
    assert ids(cache) == WANTED


def test_a_full_budget(path: Path) -> None:
    cache = StreamCache(Source(numbered(5)), memory_capacity=40)
    with pytest.raises(MemoryError):
        cache.save(path)
    assert not path.exists()
