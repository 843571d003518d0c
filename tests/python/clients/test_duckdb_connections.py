"""
DuckDB's connections while a cache records their result: a connection has one open result.

`make test-duckdb1` runs this with DuckDB 1 too.
"""

from __future__ import annotations

import pytest

from helpers import check_python
from tiers import Tier

duckdb = pytest.importorskip("duckdb")

DUCKDB = int(duckdb.__version__.split(".")[0])

LAZY = """
    import duckdb
    from tiers import maker_here
    from helpers import *

    N = 1_000_000
    make = maker_here()
    SQL = f"select i as id from range({N}) t(i)"
    WANTED = [(N * (N - 1) // 2,)]

    def read_by_name(con, cache):
        return con.sql("select sum(id) from cache").fetchall()

    def read_registered(con, cache):
        con.register("c", cache)
        return con.execute("select sum(id) from c").fetchall()

    def read_from_arrow(con, cache):
        return con.from_arrow(cache).aggregate("sum(id)").fetchall()

    def read_in_a_thread(con, cache):
        return Task(read_by_name, con, cache).result()

    READS = [read_by_name, read_registered, read_from_arrow, read_in_a_thread]

    def lazy(**options):
        con = duckdb.connect()
        return con, make(con.sql(SQL).to_arrow_reader(1000), **options)
"""


def test_a_lazy_result_and_other_cursors(tier: Tier) -> None:
    """Every DuckDB can use another cursor, or a cache that was fully recorded first."""
    check_python(
        LAZY
        + """
    for read in READS:
        for prefetch in (None, 4):
            con, cache = lazy(prefetch=prefetch)
            assert read(con.cursor(), cache) == WANTED
            assert read(con, cache) == WANTED

        con, cache = lazy()
        next(iter(cache))
        cache.ingest_all()
        assert read(con, cache) == WANTED
    """,
        **tier,
    )


@pytest.mark.skipif(DUCKDB < 2, reason="DuckDB 1 ends the result, or waits for itself")
def test_a_lazy_result_and_its_own_connection(tier: Tier) -> None:
    """DuckDB refuses the query at once with advice, and the recording continues."""
    check_python(
        LAZY
        + """
    for read in READS:
        for recorded in (0, 2):
            con, cache = lazy()
            reader = cache.reader()
            for _ in range(recorded):
                next(reader)
            try:
                read(con, cache)
            except duckdb.Error as error:
                assert "open result; drain or destroy it" in str(error), error
            else:
                raise AssertionError("not refused")
            assert read(con.cursor(), cache) == WANTED
            assert read(con, cache) == WANTED

    # After close(), the connection is free for other queries.
    con, cache = lazy()
    next(iter(cache))
    cache.close()
    assert con.sql("select 1").fetchall() == [(1,)]
    """,
        **tier,
    )


@pytest.mark.skipif(DUCKDB < 2, reason="DuckDB 1 ends the result, or waits for itself")
def test_queries_while_another_thread_records_from_their_connection(tier: Tier) -> None:
    """DuckDB refuses the query or fails the recording. A recording never ends early."""
    check_python(
        LAZY
        + """
    for _ in range(5):
        con, cache = lazy()
        recording = Task(cache.ingest_all)
        while recording.is_alive():
            try:
                assert read_by_name(con, cache) == WANTED
            except duckdb.Error as error:
                assert "open result; drain" in str(error) or "cursor()" in str(error)
        try:
            recording.result()
        except OSError as refused:
            assert "use a separate connection from cursor()" in str(refused)
            for read in (cache.ingest_all, lambda: pa.table(cache)):
                try:
                    read()
                except OSError as error:
                    assert "use a separate connection from cursor()" in str(error)
                else:
                    raise AssertionError("a short recording")
        else:
            assert read_by_name(con, cache) == WANTED
    """,
        **tier,
    )


def test_a_python_source_that_queries_its_consumers_connection(tier: Tier) -> None:
    """The source works with its own cursor.

    With the same connection, DuckDB refuses it.
    """
    check_python(
        LAZY
        + """
    def source(con):
        def generate():
            for i in range(3):
                yield from con.sql(f"select {i}::bigint id").to_arrow_table().to_batches()
        return make(pa.RecordBatchReader.from_batches(SCHEMA, generate()))

    con = duckdb.connect()
    cache = source(con.cursor())
    for _ in range(2):
        assert read_registered(con, cache) == [(3,)]

    if duckdb.__version__ >= "2":
        cache = source(con)
        for _ in range(2):
            try:
                read_registered(con, cache)
            except duckdb.Error as error:
                assert "use a separate connection from cursor()" in str(error), error
            else:
                raise AssertionError("not refused")
    """,
        **tier,
    )


def test_a_process_that_ends_while_it_records(tier: Tier) -> None:
    check_python(
        LAZY
        + """
    con, cache = lazy()
    next(iter(cache))
    cursor = con.cursor()
    rest = cursor.sql("from cache").to_arrow_reader(100)
    rest.read_next_batch()
    """,
        **tier,
    )
