"""The real consumers, over a cache as it is."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from conftest import MakeCache
from helpers import Source, Task, ids

ROWS = 2000


def orders() -> Source:
    """Return a source of ten batches: id, grp (five groups), v, txt."""
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


@pytest.fixture
def duck() -> Any:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    yield connection
    connection.close()


def test_duckdb_joins_a_cache_with_itself(duck: Any, make_cache: MakeCache) -> None:
    source = orders()
    cache = make_cache(source)
    duck.register("c", cache)
    query = "select count(*), sum(a.v) from c a join c b on a.id = b.id + 1"
    for _ in range(3):
        assert duck.sql(query).fetchall() == [(1999, sum(i / 2 for i in range(1, ROWS)))]
    assert (source.given, source.streams) == (10, 1)


def test_duckdb_finds_a_cache_by_its_name(duck: Any, make_cache: MakeCache) -> None:
    cache = make_cache(orders())
    query = """
        with w as (select *, lag(v) over (order by id) p from cache)
        select count(*), sum(w.v - w.p), count(t.txt)
        from w left join (select * from cache where grp = 3) t using (id)
    """
    assert duck.sql(query).fetchall() == [(ROWS, (ROWS - 1) / 2, 343)]
    assert duck.sql("select count(*) from cache where grp = 1").fetchall() == [(400,)]
    del cache


def test_duckdb_asof_join(duck: Any) -> None:
    cache = StreamCache(orders())
    query = "select sum(b.id) from cache a asof join cache b on a.v >= b.v + 0.25"
    assert duck.sql(query).fetchall() == [(sum(range(ROWS - 1)),)]
    del cache


def test_duckdb_from_several_threads(duck: Any, make_cache: MakeCache) -> None:
    cache = make_cache(orders())
    duck.register("c", cache)
    start = threading.Barrier(4)

    def query() -> Any:
        cursor = duck.cursor()
        cursor.register("c", cache)
        start.wait(10)
        return cursor.sql("select sum(id) from c join c d using (id)").fetchall()

    for task in [Task(query) for _ in range(4)]:
        assert task.result(20) == [(sum(range(ROWS)),)]


def test_a_duckdb_result_as_a_source(duck: Any, make_cache: MakeCache) -> None:
    result = duck.sql("select i as id, i % 3 as g from range(10000) t(i)")
    cache = make_cache(result.to_arrow_reader(1000))
    other = duck.cursor()
    other.register("c", cache)
    for _ in range(2):
        assert other.sql("select sum(id) from c").fetchall() == [(49995000,)]
    assert len(cache) == cache.ingest_all()


def test_duckdb_passes_errors_on(duck: Any) -> None:
    source = orders()
    source.fail_at, source.error = 5, ValueError("boom")
    cache = StreamCache(source)
    duck.register("c", cache)
    for _ in range(2):
        with pytest.raises(Exception, match="boom"):
            duck.sql("select sum(id) from c").fetchall()


def test_polars(make_cache: MakeCache) -> None:
    polars = pytest.importorskip("polars")
    source = orders()
    cache = make_cache(source)
    for _ in range(2):
        frame = polars.DataFrame(cache)
        assert frame.to_arrow().cast(TABLE.schema).equals(TABLE)
    assert frame.join(polars.DataFrame(cache), on="id").height == ROWS
    assert source.given == 10


def test_polars_as_a_source() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"id": [1, 2, 3], "s": ["x", None, "a longer text than that"]}
    )
    cache = StreamCache(frame)
    for _ in range(2):
        assert polars.DataFrame(cache).equals(frame)


def test_pandas(make_cache: MakeCache) -> None:
    pandas = pytest.importorskip("pandas")
    cache = make_cache(orders())
    wanted = TABLE.to_pandas()
    for _ in range(2):
        frame = pa.table(cache).to_pandas()
        pandas.testing.assert_frame_equal(frame, wanted)
    got = pandas.DataFrame.from_arrow(cache)
    assert got["id"].tolist() == list(range(ROWS))
    again = StreamCache(wanted)
    assert pa.table(again).to_pandas().equals(wanted)
    assert b"pandas" in again.schema.metadata


def test_nanoarrow(make_cache: MakeCache) -> None:
    nanoarrow = pytest.importorskip("nanoarrow")
    cache = make_cache(orders())
    for _ in range(2):
        assert len(nanoarrow.Array(cache)) == ROWS
        with nanoarrow.ArrayStream(cache) as stream:
            assert ids(pa.RecordBatchReader.from_stream(stream)) == list(range(ROWS))
    assert nanoarrow.Schema(cache).n_fields == 4


def test_arro3(make_cache: MakeCache) -> None:
    core = pytest.importorskip("arro3.core")
    cache = make_cache(orders())
    for _ in range(2):
        assert pa.table(core.Table.from_arrow(cache)).equals(TABLE)
    again = StreamCache(core.Table.from_arrow(cache))
    assert pa.table(again).equals(TABLE)


def test_pyarrow(make_cache: MakeCache) -> None:
    cache = make_cache(orders())
    assert pa.table(cache).equals(TABLE)
    assert pa.RecordBatchReader.from_stream(cache).read_all().equals(TABLE)
    assert pa.schema(cache) == TABLE.schema
    assert pa.chunked_array(cache).type == pa.struct(list(TABLE.schema))
    assert len(pa.chunked_array(cache)) == ROWS


def test_a_dataset_scanner_as_a_source() -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    scanner = dataset.dataset(TABLE).scanner(columns=["id"], batch_size=100)
    cache = StreamCache(scanner.to_reader())
    for _ in range(2):
        assert ids(cache) == list(range(ROWS))


def test_caches_of_caches(make_cache: MakeCache) -> None:
    source = orders()
    inner = make_cache(source)
    outer = make_cache(make_cache(inner.cast(TABLE.schema)).reader())
    for _ in range(2):
        assert pa.table(outer).equals(TABLE)
    assert source.given == 10
    inner.close()
    assert pa.table(outer).equals(TABLE)
