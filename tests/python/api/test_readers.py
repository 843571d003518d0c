"""Readers are independent and single-use, and they keep the recording alive."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache, StreamCacheReader
from helpers import CLOSED, SCHEMA, USED, Source, cache_file, ids, numbered, on_disk
from tiers import MakeCache


def test_readers_are_independent(make_any_cache: MakeCache) -> None:
    source = Source(numbered(4))
    cache = make_any_cache(source)
    first, second = cache.reader(), cache.reader()
    third = pa.RecordBatchReader.from_stream(cache)
    wanted = [list(range(i, i + 4)) for i in (0, 4, 8, 12)]
    assert ids([next(first), next(first)]) == wanted[0] + wanted[1]
    assert ids([next(second)]) == wanted[0]
    assert ids([third.read_next_batch()]) == wanted[0]
    assert source.given == 2
    assert ids(first) == wanted[2] + wanted[3]
    assert ids(second) == wanted[1] + wanted[2] + wanted[3]
    assert ids(third) == wanted[1] + wanted[2] + wanted[3]
    assert ids(cache) == list(itertools.chain(*wanted))
    assert source.given == 4


def test_from_start_false(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(4)))
    at_zero = cache.reader(from_start=False)
    lead = cache.reader()
    next(lead)
    next(lead)
    at_two = cache.reader(False)
    cache.ingest_all()
    at_end = cache.reader(from_start=False)
    assert ids(at_zero) == list(range(16))
    assert ids(at_two) == list(range(8, 16))
    assert list(at_end) == []
    assert ids(lead) == list(range(8, 16))


def test_the_end_repeats(make_cache: MakeCache) -> None:
    reader = make_cache(Source(numbered(2))).reader()
    assert not reader.closed
    assert len(list(reader)) == 2
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(reader)
    assert reader.closed
    assert list(reader) == []
    assert reader.schema == SCHEMA
    stream = pa.RecordBatchReader.from_stream(reader)
    for _ in range(3):
        with pytest.raises(StopIteration):
            stream.read_next_batch()


def test_closed_after_the_last_batch_but_before_the_end() -> None:
    reader = StreamCache(Source(numbered(1))).reader()
    next(reader)
    assert not reader.closed


USES: dict[str, Callable[[StreamCacheReader], Any]] = {
    "next": next,
    "list": list,
    "schema": lambda r: r.schema,
    "stream": lambda r: r.__arrow_c_stream__(),
    "c_schema": lambda r: r.__arrow_c_schema__(),
    "cast": lambda r: r.cast(SCHEMA),
    "read_next_batch": lambda r: r.read_next_batch(),
    "read_all": lambda r: r.read_all(),
}


@pytest.mark.parametrize(
    "use_up",
    [
        lambda r: r.__arrow_c_stream__(),
        lambda r: r.cast(SCHEMA),
        lambda r: r.__arrow_c_stream__(SCHEMA.__arrow_c_schema__()),
        pa.RecordBatchReader.from_stream,
        lambda r: r.__exit__(None, None, None),
        lambda r: r.close(),
    ],
    ids=["capsule", "cast", "requested", "pyarrow", "with", "close"],
)
def test_a_used_up_reader(
    use_up: Callable[[StreamCacheReader], Any], make_cache: MakeCache
) -> None:
    reader = make_cache(Source(numbered(2))).reader()
    kept = use_up(reader)
    for use in USES.values():
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            use(reader)
        assert type(caught.value) is ValueError
        assert str(caught.value) == USED
    assert reader.closed is True
    assert iter(reader) is reader
    del kept


def test_a_schema_capsule_uses_nothing_up() -> None:
    reader = StreamCache(Source(numbered(2))).reader()
    assert pa.schema(reader) == SCHEMA
    assert ids(reader) == list(range(8))


def test_a_partly_iterated_reader_streams_its_rest(make_cache: MakeCache) -> None:
    reader = make_cache(Source(numbered(3))).reader()
    next(reader)
    assert ids(pa.RecordBatchReader.from_stream(reader)) == list(range(4, 12))


def test_a_reader_keeps_the_recording_alive(tmp_path: Path) -> None:
    for cache in (
        StreamCache(Source(numbered(3))),
        on_disk(Source(numbered(3)), tmp_path),
    ):
        reader = cache.reader()
        other = cache.reader()
        capsule = cache.__arrow_c_stream__()
        view = cache.cast(SCHEMA)
        next(other)
        del cache
        gc.collect()
        assert reader.schema == SCHEMA
        assert ids(reader) == list(range(12))
        assert ids(other) == list(range(4, 12))
        stream = pa.RecordBatchReader._import_from_c_capsule(capsule)
        assert ids(stream) == list(range(12))
        assert ids(view) == list(range(12))


@pytest.mark.parametrize(
    "keep",
    [
        lambda c: c.reader(),
        lambda c: c.__arrow_c_stream__(),
        lambda c: pa.RecordBatchReader.from_stream(c),
        lambda c: c.cast(SCHEMA),
        lambda c: c.reader().cast(SCHEMA),
    ],
    ids=["reader", "capsule", "pyarrow", "view", "cast"],
)
def test_the_file_goes_with_its_last_user(
    keep: Callable[[StreamCache], Any], tmp_path: Path
) -> None:
    cache = on_disk(Source(numbered(3)), tmp_path)
    cache.ingest_all()
    file = cache_file(tmp_path)
    kept = keep(cache)
    batches = list(cache)
    del cache
    gc.collect()
    assert file.exists()
    del kept
    gc.collect()
    assert not file.parent.exists()
    assert ids(batches) == list(range(12)), "an exported batch changed"


@pytest.mark.parametrize(
    "use_up",
    [
        lambda r: r.__arrow_c_stream__(),
        lambda r: pa.table(r),
        lambda r: r.cast(SCHEMA).read_all(),
        lambda r: r.__exit__(None, None, None),
    ],
    ids=["capsule", "table", "cast", "with"],
)
def test_a_used_up_reader_keeps_nothing(
    use_up: Callable[[StreamCacheReader], Any], tmp_path: Path
) -> None:
    reader = on_disk(Source(numbered(3)), tmp_path).reader()
    next(reader)
    assert cache_file(tmp_path).exists()
    use_up(reader)
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert "id: int64" in repr(reader)
    with pytest.raises(ValueError, match=USED):
        next(reader)


AFTER_CLOSE: dict[str, Callable[[StreamCache], Any]] = {
    "reader": lambda c: c.reader(),
    "reader(False)": lambda c: c.reader(False),
    "iter": iter,
    "list": list,
    "stream": lambda c: c.__arrow_c_stream__(),
    "ingest_all": lambda c: c.ingest_all(),
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("batches", [0, 2, 4], ids=["none", "some", "all"])
def test_after_close(batches: int, make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(4)))
    early = cache.reader()
    stream = pa.RecordBatchReader.from_stream(cache)
    lead = cache.reader()
    kept = [next(lead) for _ in range(batches)]
    if batches == 4:
        cache.ingest_all()
    for _ in range(2):
        cache.close()
        for use in AFTER_CLOSE.values():
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                use(cache)
            assert type(caught.value) is ValueError
            assert str(caught.value) == CLOSED
        for reader in (early, lead):
            with pytest.raises(ValueError, match=CLOSED):
                next(reader)
        with pytest.raises(ValueError, match=CLOSED):
            stream.read_next_batch()
    assert cache.schema == SCHEMA
    assert cache.ingested_count == batches
    assert cache.upstream_exhausted is (batches == 4)
    assert pa.schema(cache) == SCHEMA
    assert early.schema == SCHEMA
    assert ids(kept) == list(range(4 * batches))


def test_close_in_the_middle_of_a_loop(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(4)))
    seen = []
    with pytest.raises(ValueError, match=CLOSED):  # noqa: PT012
        for one in cache:
            seen.append(one)
            if len(seen) == 2:
                cache.close()
    assert ids(seen) == list(range(8))


def test_close_gives_memory_back() -> None:
    before = pa.total_allocated_bytes()
    cache = StreamCache(
        pa.RecordBatchReader.from_batches(SCHEMA, (b for b in numbered(10, rows=10_000)))
    )
    assert len(list(cache)) == 10
    assert pa.total_allocated_bytes() - before >= 800_000
    cache.close()
    assert pa.total_allocated_bytes() - before < 80_000


def test_close_removes_only_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "cache.arrow").write_text("x")
    cache, other = (on_disk(Source(numbered(3)), tmp_path) for _ in range(2))
    cache.ingest_all()
    other.ingest_all()
    assert len(list(tmp_path.iterdir())) == 4
    cache.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert ids(other) == list(range(12))
    other.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache.arrow", "mine"]


def test_mapped_batches_outlive_close(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(50, rows=1000)), tmp_path)
    batches = list(cache)
    table = pa.table(cache)
    cache.close()
    del cache
    gc.collect()
    assert ids(batches) == list(range(50_000))
    assert table.column("id").to_pylist() == list(range(50_000))


def test_a_second_iteration_has_the_same_data(
    make_any_cache: MakeCache,
) -> None:
    """A second iteration returns the same data in the same order."""
    cache = make_any_cache(Source(numbered(20)))
    runs = [list(cache) for _ in range(3)]
    for run in runs:
        assert ids(run) == list(range(80))
    interleaved = list(zip(cache, cache, strict=True))
    assert all(a.equals(b) for a, b in interleaved)
