"""DuckDB, as source and as consumer. `make test-duckdb1` runs this with DuckDB 1 too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from helpers import ROWS, TABLE, Task, check_python, orders, recorded
from tiers import MakeCache

duckdb = pytest.importorskip("duckdb")

TOTAL = sum(range(ROWS))


@pytest.fixture
def duck() -> Iterator[Any]:
    connection = duckdb.connect()
    yield connection
    connection.close()


QUERIES: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "scan": ("select sum(id), count(txt) from c", [(TOTAL, ROWS - 286)]),
    "self-join": (
        "select count(*), sum(a.v) from c a join c b on a.id = b.id + 1",
        [(ROWS - 1, TOTAL / 2)],
    ),
    "asof join": (
        "select sum(b.id) from c a asof join c b on a.v >= b.v + 0.25",
        [(TOTAL - ROWS + 1,)],
    ),
    "cte read twice": (
        """
        with w as (select id, grp from c where grp < 2)
        select count(*), (select max(id) from w) from w a join w b on b.id = a.id + 1
        """,
        [(ROWS // 5, ROWS - 4)],
    ),
    "materialized cte": (
        "with w as materialized (from c) select count(*) from w a, w b where a.id = b.id",
        [(ROWS,)],
    ),
    "window": (
        """
        select sum(step), max(place) from (
            select v - lag(v) over (order by id) as step,
                   row_number() over (partition by grp order by id) as place
            from c
        )
        """,
        [((ROWS - 1) / 2, ROWS // 5)],
    ),
    "union": (
        "select count(*), count(distinct id) from (from c union all from c)",
        [(2 * ROWS, ROWS)],
    ),
    "subquery": (
        "select count(*) from c where id > (select avg(id) from c)",
        [(ROWS // 2,)],
    ),
    "limit": ("select id from c limit 3", [(0,), (1,), (2,)]),
}


@pytest.mark.parametrize("name", QUERIES)
def test_queries(name: str, duck: Any, make_cache: MakeCache) -> None:
    """The first query records, and the next ones replay, registered or by name."""
    query, wanted = QUERIES[name]
    source = orders()
    c = make_cache(source)
    assert duck.sql(query).fetchall() == wanted
    assert source.given > 0
    duck.register("registered", c)
    for _ in range(2):
        again = query.replace("from c", "from registered")
        assert duck.sql(again.replace("join c", "join registered")).fetchall() == wanted
        assert duck.execute(query).fetchall() == wanted
    assert source.given <= 10
    assert source.streams == 1


def test_many_queries_on_one_registered_cache(duck: Any, make_cache: MakeCache) -> None:
    source = orders()
    duck.register("c", make_cache(source))
    for grp in range(5):
        query = f"select count(*), sum(grp) from c where grp = {grp}"
        assert duck.sql(query).fetchall() == [(ROWS // 5, grp * ROWS // 5)]
    duck.execute("create table t as select c.* from c join c d using (id) order by id")
    assert duck.sql("from t").to_arrow_table().cast(TABLE.schema).equals(TABLE)
    assert source.given == 10


def test_from_arrow_and_a_cast(duck: Any, make_cache: MakeCache) -> None:
    cache = make_cache(orders())
    wide = pa.schema([("id", pa.float64()), *list(TABLE.schema)[1:]])
    duck.register("view", cache.cast(wide))
    for _ in range(2):
        low = duck.from_arrow(cache).filter("id < 3")
        assert low.aggregate("sum(id)").fetchall() == [(3,)]
        assert duck.sql("select max(id) from view").fetchall() == [(ROWS - 1.0,)]


def test_a_dataset_of_the_cache(duck: Any, make_cache: MakeCache) -> None:
    """DuckDB passes a dataset the columns and the rows that it needs."""
    source = orders()
    duck.register("c", make_cache(source).dataset())
    for _ in range(2):
        query = "select count(*), sum(a.id) from c a join c b using (id) where a.grp = 1"
        assert duck.sql(query).fetchall() == [(ROWS // 5, sum(range(1, ROWS, 5)))]
    assert (source.given, source.streams) == (10, 1)


def test_several_threads_and_cursors(duck: Any, make_cache: MakeCache) -> None:
    source = orders()
    cache = make_cache(source)
    start = threading.Barrier(4)

    def query() -> Any:
        cursor = duck.cursor()
        cursor.register("c", cache)
        start.wait(120)
        first = cursor.sql("select sum(id) from c join c d using (id)").fetchall()
        return first + cursor.sql("select sum(id) from cache").fetchall()

    for task in [Task(query) for _ in range(4)]:
        assert task.result() == [(TOTAL,)] * 2
    assert (source.given, source.streams) == (10, 1)


def test_results_that_are_read_in_turns(duck: Any, make_cache: MakeCache) -> None:
    """Each of DuckDB's open results has its own reader."""
    cache = make_cache(orders())
    cursors = [duck.cursor() for _ in range(3)]
    for cursor in cursors:
        cursor.register("c", cache)
    results = [cursor.sql("from c").to_arrow_reader(100) for cursor in cursors]
    rows = [0, 0, 0]
    for _ in range(ROWS // 100):
        for i, result in enumerate(results):
            rows[i] += result.read_next_batch().num_rows
    rows = [n + r.read_all().num_rows for n, r in zip(rows, results, strict=True)]
    assert rows == [ROWS] * 3


SOURCES: dict[str, Callable[[Any], Any]] = {
    "relation": lambda relation: relation,
    "to_arrow_reader": lambda relation: relation.to_arrow_reader(1000),
    "fetch_record_batch": lambda relation: relation.fetch_record_batch(1000),
    "to_arrow_table": lambda relation: relation.to_arrow_table(),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_result_as_a_source(
    make: Callable[[Any], Any], duck: Any, make_cache: MakeCache
) -> None:
    result = duck.sql("select i as id, 'text ' || i as txt from range(10000) t(i)")
    cache = make_cache(make(result))
    other = duck.cursor()
    other.register("c", cache)
    for _ in range(2):
        query = "select sum(a.id), max(b.txt) from c a join c b using (id)"
        assert other.sql(query).fetchall() == [(49995000, "text 9999")]
    assert len(cache) == cache.ingest_all()
    # Once its result is fully recorded, the connection is free for other queries.
    assert duck.sql("select sum(id) from cache").fetchall() == [(49995000,)]


def test_a_connection_dropped_while_its_result_is_recorded(make_cache: MakeCache) -> None:
    connection = duckdb.connect()
    connection.register("t", TABLE)
    cache = make_cache(connection.sql("from t").to_arrow_reader(100))
    reader = iter(cache)
    next(reader)
    del connection
    recorded(cache, TABLE)


def test_errors_pass_through(duck: Any, make_cache: MakeCache) -> None:
    source = orders()
    source.fail_at, source.error = 5, ValueError("boom")
    duck.register("c", make_cache(source))
    for _ in range(2):
        with pytest.raises(duckdb.Error, match="boom"):
            duck.sql("select sum(id) from c").fetchall()
    # A query that fails while it runs is a source here.
    failing = duck.sql(
        "select case i when 9000000 then error('bang') else i end as id "
        "from range(10000000) t(i)"
    )
    cache = make_cache(failing.to_arrow_reader(1000))
    for _ in range(2):
        with pytest.raises(OSError, match="bang"):
            list(cache)


def test_python_sources_from_many_threads() -> None:
    """DuckDB's threads call a source that needs the GIL, also through a second cache."""
    check_python(
        """
        import duckdb
        from helpers import *

        for _ in range(5):
            cache = StreamCache(orders())
            con = duckdb.connect()

            def query():
                cursor = con.cursor()
                result = StreamCache(cursor.sql("from cache").to_arrow_reader(100))
                other = con.cursor()
                query = "select sum(a.id) from result a join cache using (id)"
                return other.sql(query).fetchall()

            for task in [Task(query) for _ in range(4)]:
                assert task.result() == [(sum(range(ROWS)),)]
        """
    )
