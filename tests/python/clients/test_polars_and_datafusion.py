"""Polars and DataFusion, as sources and as consumers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from batchcorder import StreamCache
from helpers import ROWS, TABLE, Source, check_python, orders, recorded
from tiers import MakeCache

polars = pytest.importorskip("polars")


def same(frame: Any) -> bool:
    return frame.to_arrow().cast(TABLE.schema).equals(TABLE)


def test_polars(make_cache: MakeCache) -> None:
    source = orders()
    cache = make_cache(source)
    for _ in range(2):
        frame = polars.DataFrame(cache)
        assert same(frame)
        assert frame.join(polars.DataFrame(cache), on="id").height == ROWS
        # Polars makes a Series of a stream of structs, as of any stream.
        assert same(polars.from_arrow(cache).struct.unnest())
    assert (source.given, source.streams) == (10, 1)


def test_polars_lazily_from_a_frame(make_cache: MakeCache) -> None:
    """LazyFrame reads the stream when it is made, so each collect works."""
    frame = polars.LazyFrame(make_cache(orders()))
    for _ in range(2):
        assert same(frame.collect())
        assert frame.join(frame, on="id").collect().height == ROWS
        assert frame.filter(polars.col("grp") == 1).collect(engine="streaming").height


def test_polars_stream_scan(make_cache: MakeCache) -> None:
    """By Polars' design, a scan permits one collect. Each scan reads a fresh stream."""
    source = orders()
    cache = make_cache(source)
    scan = polars.scan_arrow_c_stream(cache)
    assert source.given == 0
    assert same(scan.collect())
    assert scan.collect().height == 0
    for _ in range(2):
        one, other = (polars.scan_arrow_c_stream(cache) for _ in range(2))
        assert one.join(other, on="id").collect(engine="streaming").height == ROWS
    assert (source.given, source.streams) == (10, 1)


def test_polars_scan_that_may_be_collected_again(make_cache: MakeCache) -> None:
    source = orders()
    cache = make_cache(source)
    scan = cache.scan_polars()
    assert same(scan.head(300).collect().vstack(scan.tail(ROWS - 300).collect()))
    for engine in ("in-memory", "streaming", "streaming"):
        joined = scan.join(scan, on="id", how="left", maintain_order="left")
        assert joined.select("id").collect(engine=engine)["id"].sum() == sum(range(ROWS))
        some = scan.filter(polars.col("grp") == 1).select("txt").collect(engine=engine)
        assert some.shape == (ROWS // 5, 1)
        head = scan.head(300).filter(polars.col("grp") == 1).collect(engine=engine)
        assert head["id"].to_list() == list(range(1, 300, 5))
        both = polars.concat([scan, scan]).collect(engine=engine)
        assert both.height == 2 * ROWS
        assert all(same(one) for one in polars.collect_all([scan, scan], engine=engine))
    assert (source.given, source.streams) == (10, 1)


def test_polars_over_a_dataset(make_cache: MakeCache) -> None:
    source = orders()
    scan = polars.scan_pyarrow_dataset(make_cache(source).dataset())
    for _ in range(2):
        some = scan.filter(polars.col("grp") == 1).select("id").collect()
        assert some["id"].to_list() == list(range(1, ROWS, 5))
        assert scan.join(scan, on="id").collect().height == ROWS
    assert (source.given, source.streams) == (10, 1)


def test_polars_as_a_source(make_cache: MakeCache) -> None:
    frame = polars.DataFrame(TABLE)
    recorded(make_cache(frame), TABLE)
    again = make_cache(frame)
    for _ in range(2):
        assert polars.DataFrame(again).equals(frame)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_polars_query_as_a_source(lazy: bool, make_cache: MakeCache) -> None:
    query = polars.LazyFrame(TABLE).filter(polars.col("id") % 2 == 0)
    cache = make_cache(query.collect_batches(lazy=lazy, chunk_size=100))
    wanted = query.collect()
    for _ in range(2):
        assert polars.DataFrame(cache).equals(wanted)


def test_a_lazy_frame_is_not_a_stream() -> None:
    with pytest.raises(TypeError, match="LazyFrame"):
        StreamCache(polars.LazyFrame(TABLE))


def test_polars_passes_errors_on() -> None:
    cache = StreamCache(Source(orders().batches, 5, ValueError("boom")))
    reads: list[Callable[[], Any]] = [
        lambda: polars.DataFrame(cache),
        lambda: polars.LazyFrame(cache),
        lambda: polars.scan_arrow_c_stream(cache).collect(),
        lambda: cache.scan_polars().collect(),
    ]
    for read in reads:
        for _ in range(2):
            with pytest.raises(Exception, match="boom"):
                read()


def test_polars_scans_in_its_own_threads() -> None:
    """Polars requests batches with the GIL held, in threads of its shared pool."""
    check_python(
        """
        import polars
        from helpers import *

        for _ in range(5):
            cache = StreamCache(orders())

            def read():
                scans = [polars.scan_arrow_c_stream(cache) for _ in range(4)]
                frames = polars.collect_all(scans, engine="streaming")
                return [frame["id"].sum() for frame in frames]

            for task in [Task(read) for _ in range(4)]:
                assert task.result() == [sum(range(ROWS))] * 4
        """
    )


@pytest.fixture
def fusion() -> Any:
    return pytest.importorskip("datafusion").SessionContext()


def test_datafusion(fusion: Any, make_cache: MakeCache) -> None:
    """DataFusion reads the stream at the call and queries its own copy."""
    source = orders()
    cache = make_cache(source)
    for name in ("c", "d"):
        fusion.from_arrow(cache, name=name)
    assert (source.given, source.streams) == (10, 1)
    query = """
        with w as (select id, v - lag(v) over (order by id) as step from c)
        select count(*) as n, sum(step) as s, count(d.txt) as t
        from w join d using (id) join c using (id)
    """
    texts = TABLE["txt"].drop_null()
    for _ in range(2):
        wanted = {"n": [ROWS], "s": [(ROWS - 1) / 2], "t": [len(texts)]}
        assert fusion.sql(query).to_pydict() == wanted
    assert fusion.table("c").sort("id").to_arrow_table().cast(TABLE.schema) == TABLE


@pytest.mark.parametrize("kind", ["cache", "pyarrow"])
def test_datafusion_over_a_dataset(kind: str, fusion: Any, make_cache: MakeCache) -> None:
    """DataFusion reads the dataset when a query runs, as far as the query needs."""
    cache = make_cache(orders())
    dataset = cache.dataset() if kind == "cache" else ds.dataset(pa.table(cache))
    fusion.register_dataset("c", dataset)
    query = "select sum(a.id) as s from c a join c b using (id) where a.grp = 1"
    for _ in range(2):
        assert fusion.sql(query).to_pydict() == {"s": [sum(range(1, ROWS, 5))]}


def test_datafusion_as_a_source(fusion: Any, make_cache: MakeCache) -> None:
    fusion.from_arrow(TABLE, name="t")
    frame = fusion.sql("select * from t order by id")
    recorded(make_cache(frame), TABLE)
    batches = (batch.to_pyarrow() for batch in frame.execute_stream())
    recorded(
        make_cache(pa.RecordBatchReader.from_batches(frame.schema(), batches)), TABLE
    )


def test_datafusion_passes_errors_on(fusion: Any) -> None:
    cache = StreamCache(Source(orders().batches, 5, ValueError("boom")))
    for _ in range(2):
        with pytest.raises(Exception, match="boom"):
            fusion.from_arrow(cache)
