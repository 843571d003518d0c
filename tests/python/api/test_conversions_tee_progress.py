"""Tables and frames, tee, and the progress bar of a recording."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache, StreamCacheReader, tee
from helpers import SCHEMA, Source, cache_files, ids, numbered
from tiers import MakeCache

TABLE = pa.table({"x": range(10), "y": [f"t{i}" for i in range(10)]})


def test_to_table(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(TABLE.to_reader(max_chunksize=3))
    assert cache.to_table().equals(TABLE)
    assert cache.to_table().column(0).num_chunks == 4
    assert cache.to_table(["y"]).equals(TABLE.select(["y"]))
    assert cache.to_table([]).num_rows == 10
    assert cache.to_table(["x"]).schema.metadata == TABLE.schema.metadata
    empty = make_any_cache(SCHEMA.empty_table())
    assert empty.to_table().equals(SCHEMA.empty_table())
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        cache.to_table()


def test_to_table_copies_nothing() -> None:
    cache = StreamCache(TABLE)
    buffers = [cache.to_table().column(0).chunk(0).buffers()[1].address for _ in "ab"]
    assert buffers == [TABLE.column(0).chunk(0).buffers()[1].address] * 2


def test_to_pandas(make_cache: MakeCache) -> None:
    pandas = pytest.importorskip("pandas")
    cache = make_cache(TABLE.to_reader(max_chunksize=3))
    assert cache.to_pandas()["x"].sum() == 45
    typed = cache.to_pandas(["y"], types_mapper=pandas.ArrowDtype)
    assert isinstance(typed.dtypes["y"], pandas.ArrowDtype)


def test_to_polars(make_cache: MakeCache) -> None:
    polars = pytest.importorskip("polars")
    cache = make_cache(TABLE.to_reader(max_chunksize=3))
    assert isinstance(cache.to_polars(), polars.DataFrame)
    assert cache.to_polars(["x"])["x"].to_list() == list(range(10))


def test_errors_of_the_source_are_its_own() -> None:
    class MyError(Exception):
        pass

    for call in ("to_table", "to_pandas", "to_polars"):
        cache = StreamCache(Source(numbered(3), 2, MyError("boom")))
        with pytest.raises(MyError, match="boom"):
            getattr(cache, call)()


def test_tee_gives_each_all() -> None:
    source = Source(numbered(20))
    readers = tee(source, 3)
    assert all(type(reader) is StreamCacheReader for reader in readers)
    assert source.given == 0
    assert [ids(reader) for reader in readers] == [list(range(80))] * 3
    assert (source.given, source.streams) == (20, 1)
    assert len(tee(Source(numbered(1)))) == 2


def test_tee_keeps_the_batches_between_its_readers(tmp_path: Path) -> None:
    """Five batches fit into memory. The batches after them are in the file."""
    slow, fast = tee(Source(numbered(50)), memory_capacity=5 * 32, disk_path=tmp_path)
    (file,) = cache_files(tmp_path)
    for _ in range(5):
        next(fast)
    assert file.stat().st_size == 0
    assert ids(fast) == list(range(20, 200))
    assert file.stat().st_size > 0
    assert ids(slow) == list(range(200))
    del slow, fast
    gc.collect()
    assert cache_files(tmp_path) == []


def test_tee_in_step_needs_little(tmp_path: Path) -> None:
    one, two = tee(
        Source(numbered(100)),
        memory_capacity=2 * 32,
        disk_path=tmp_path,
        disk_capacity=0,
    )
    for a, b in zip(one, two, strict=True):
        assert a.equals(b)


def test_tee_with_a_limit(tmp_path: Path) -> None:
    fast, slow = tee(
        Source(numbered(10)), memory_capacity=64, disk_path=tmp_path, disk_capacity=0
    )
    assert ids([next(fast), next(fast)]) == list(range(8))
    with pytest.raises(MemoryError, match="Disk cache capacity"):
        next(fast)
    assert ids([next(slow)]) == list(range(4))
    assert ids([next(fast)]) == list(range(8, 12))
    del slow
    assert ids(fast) == list(range(12, 40))


def test_tee_prefetches() -> None:
    one, two = tee(Source(numbered(30)), prefetch=3)
    assert ids(one) == ids(two) == list(range(120))


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError)]
)
def test_tee_of_none(n: Any, error: type[Exception]) -> None:
    source = Source(numbered(1))
    with pytest.raises(error):
        tee(source, n)
    assert source.streams == 0


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"x": range(50_000)})
    cache = StreamCache(table)
    assert cache.ingest_all(progress=True) == 1
    shown = capsys.readouterr().err
    assert "recording" in shown
    assert "100%" in shown
    assert "50.0k/50.0k" in shown
    assert "batches=1" in shown
    assert "bytes=400 kB" in shown


def test_progress_without_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    cache = StreamCache(Source(numbered(300)))
    next(iter(cache))
    assert cache.ingest_all(progress=True) == 300
    assert cache.ingest_all(progress=True) == 300, "idempotent"
    shown = capsys.readouterr().err
    assert "%" not in shown
    assert "batches=300" in shown


def test_progress_of_a_source_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    cache = StreamCache(Source(numbered(10), 5, KeyError("boom")))
    with pytest.raises(KeyError, match="boom"):
        cache.ingest_all(progress=True)
    assert cache.ingested_count == 5
    budget = StreamCache(Source(numbered(10)), 100)
    with pytest.raises(MemoryError):
        budget.ingest_all(progress=True)
    assert budget.ingested_count == 3
    capsys.readouterr()


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_progress_is_a_bool(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="progress"):
        StreamCache(Source(numbered(1))).ingest_all(progress=value)
    with pytest.raises(TypeError, match="progress"):
        batchcorder.record(Source(numbered(1)), tmp_path / "x", progress=value)
    assert not os.listdir(tmp_path)


def test_totals_that_sources_know(capsys: pytest.CaptureFixture[str]) -> None:
    polars = pytest.importorskip("polars")
    first = StreamCache(TABLE)
    first.ingest_all()
    for source in (TABLE, TABLE.to_batches()[0], polars.DataFrame(TABLE), first):
        StreamCache(source).ingest_all(progress=True)
        assert "10.0/10.0" in capsys.readouterr().err
    StreamCache(StreamCache(TABLE)).ingest_all(progress=True)
    assert "%" not in capsys.readouterr().err
