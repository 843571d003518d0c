"""Polars and DataFusion, as sources and as consumers."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


DAYS = [dt.timedelta(n) for n in range(1000)]
SORTED = pa.table(
    {
        "i": range(1000),
        "small": pa.array([n // 10 for n in range(1000)], pa.int8()),
        "f": [float(n) for n in range(1000)],
        "g": pa.array([n / 2 for n in range(1000)], pa.float32()),
        "s": [f"{n:05}" for n in range(1000)],
        "y": [f"{n:05}".encode() for n in range(1000)],
        "d": [dt.date(2024, 1, 1) + day for day in DAYS],
        "t": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + day for day in DAYS],
        "b": [n >= 900 for n in range(1000)],
        "m": [decimal.Decimal(n) / 4 for n in range(1000)],
        "k": pa.array([f"k{n // 100}" for n in range(1000)]).dictionary_encode(),
        "p": [{"a": n} for n in range(1000)],
        "o": [None if n < 500 else n for n in range(1000)],
    }
)
c = polars.col
JULY = dt.datetime(2026, 7, 31)
# Predicates, and the number of batches of 100 rows that they do not exclude.
PREDICATES: list[tuple[Any, int]] = [
    (c("i") > 950, 1),
    (polars.lit(950) < c("i"), 1),
    (c("small") > 95, 1),
    (c("small") > 300, 0),
    (c("f") < 10, 1),
    (c("g") > 450.1, 1),
    (c("i") > 950.5, 1),
    (c("s") == "00055", 1),
    (c("y") <= b"00055", 1),
    (c("d") >= JULY.date(), 1),
    (c("d") >= JULY, 1),
    (c("t") > JULY.replace(tzinfo=dt.UTC), 1),
    (c("b"), 1),
    (~c("b"), 9),
    (c("m") > decimal.Decimal("240.001"), 1),
    (c("k") == "k3", 1),
    (c("p").struct.field("a") > 950, 1),
    (c("i").is_in([1, 2, None]), 1),
    (c("s").is_in(["00001", "00999"]), 2),
    (c("o").is_null(), 5),
    (c("o").is_not_null(), 5),
    (c("i").is_between(1, 100, closed="none"), 1),
    (c("i").is_between(1, 100), 2),
    ((c("i") > 950) & (c("f") < 970) | (c("s") == "00055"), 2),
    (c("f").is_nan(), 0),
    (c("i").eq_missing(5), 1),
    (c("o").eq_missing(None), 5),
    (c("o").ne_missing(None), 5),
    ((c("i") > 950) & (c("i") + 1 > 3), 1),
    (polars.when(c("o") > 950).then(False).otherwise(c("i") < 100), 1),
    (c("i") + 1 > 950, 10),
    (c("k").cast(polars.String) > "k8", 10),
]


@pytest.mark.parametrize(("predicate", "batches"), PREDICATES, ids=str)
def test_polars_skips_batches(predicate: Any, batches: int) -> None:
    cache = StreamCache(SORTED.to_reader(max_chunksize=100))
    frame = cache.scan_polars().filter(predicate)
    wanted = polars.from_arrow(SORTED).filter(predicate)
    assert frame.collect().equals(wanted), "while it is recorded"
    before = cache.stats()["memory_hits"]
    assert frame.collect().equals(wanted)
    assert cache.stats()["memory_hits"] - before == batches


def test_polars_limits_rows_of_skipped_batches() -> None:
    """The limit counts the rows of a batch that the predicate excludes."""
    cache = StreamCache(SORTED.to_reader(max_chunksize=100))
    cache.ingest_all()
    for limit, low, rows, batches in (
        (350, 320, 29, 1),
        (350, 920, 0, 0),
        (1000, 920, 79, 1),
        (950, 920, 29, 1),
        (0, 5, 0, 0),
    ):
        frame = cache.scan_polars().head(limit).filter(c("i") > low)
        before = cache.stats()["memory_hits"]
        assert frame.collect().height == rows
        assert cache.stats()["memory_hits"] - before == batches


NUMBERS = st.sampled_from([None, -math.inf, -1.0, -0.0, 0.0, 2.0, math.inf, math.nan])
WORDS = st.sampled_from([None, "", "a", "a" * 40, "b", "\U0010ffff" * 9])
TESTS = ["lt", "le", "gt", "ge", "eq", "ne", "eq_missing", "ne_missing"]


@st.composite
def predicates(draw: st.DrawFn) -> Any:
    name, values = draw(st.sampled_from([("n", NUMBERS), ("w", WORDS)]))
    column, value = c(name), draw(values)
    kinds: list[Callable[[], Any]] = [
        lambda: getattr(column, draw(st.sampled_from(TESTS)))(value),
        lambda: column.is_in([*draw(st.lists(values, max_size=3)), value]),
        lambda: column.is_null(),
    ]
    if name == "n":
        kinds.append(lambda: column.is_nan())
    return draw(st.sampled_from(kinds))()


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda one: ~one),
        st.tuples(inner, inner).map(lambda two: two[0] & two[1]),
        st.tuples(inner, inner).map(lambda two: two[0] | two[1]),
        st.tuples(inner, inner, inner).map(
            lambda three: polars.when(three[0]).then(three[1]).otherwise(three[2])
        ),
    )


@pytest.mark.filterwarnings("ignore:Comparisons with None")
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, WORDS), max_size=12),
    predicate=st.recursive(predicates(), combined, max_leaves=4),
)
def test_polars_finds_the_same_rows_by_statistics(
    rows: list[Any], predicate: Any
) -> None:
    table = pa.table(
        {
            "n": pa.array([n for n, _ in rows], pa.float64()),
            "w": pa.array([w for _, w in rows], pa.string()),
        }
    )
    cache = StreamCache(table.to_reader(max_chunksize=2))
    cache.ingest_all()
    wanted = polars.from_arrow(table).filter(predicate)
    assert cache.scan_polars().filter(predicate).collect().equals(wanted)


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


CLAUSES = [
    "n < 1",
    "n >= 0.0",
    "n = 0",
    "n <> 2",
    "n is null",
    "w = 'a'",
    "w > 'a'",
    "w is not null",
    "w in ('a', 'b')",
    "not n < 2",
    "n between -1 and 0",
]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, WORDS), max_size=12),
    clauses=st.lists(st.sampled_from(CLAUSES), min_size=1, max_size=3),
    word=st.sampled_from([" and ", " or "]),
)
def test_datafusion_finds_the_same_rows_by_statistics(
    rows: list[Any], clauses: list[str], word: str
) -> None:
    datafusion = pytest.importorskip("datafusion")
    table = pa.table(
        {
            "r": range(len(rows)),
            "n": pa.array([n for n, _ in rows], pa.float64()),
            "w": pa.array([w for _, w in rows], pa.string()),
        }
    )
    found = []
    for statistics in (None, False):
        cache = StreamCache(table.to_reader(max_chunksize=2), statistics=statistics)
        cache.ingest_all()
        context = datafusion.SessionContext()
        context.register_dataset("d", cache.dataset())
        query = f"select r from d where {word.join(clauses)} order by r"
        found.append(context.sql(query).to_pydict())
    assert found[0] == found[1]
