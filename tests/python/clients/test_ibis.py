"""Ibis with DuckDB, as source and as consumer. `make test-duckdb1` runs this too."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from helpers import ROWS, TABLE, orders, recorded
from tiers import MakeCache

duckdb = pytest.importorskip("duckdb")
ibis = pytest.importorskip("ibis")

DUCKDB = int(duckdb.__version__.split(".")[0])
# Ibis calls deprecated functions.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def raw() -> Any:
    connection = duckdb.connect()
    yield connection
    connection.close()


def test_a_registered_cache(raw: Any, make_cache: MakeCache) -> None:
    source = orders()
    raw.register("c", make_cache(source))
    c = ibis.duckdb.from_connection(raw).table("c")
    for _ in range(2):
        assert c.id.sum().execute() == sum(range(ROWS))
        assert c.join(c.view(), "id").count().execute() == ROWS
        step = c.v - c.v.lag().over(order_by=c.id)
        assert c.mutate(step=step).step.sum().execute() == (ROWS - 1) / 2
        assert c.order_by("id").to_pyarrow().cast(TABLE.schema).equals(TABLE)
    assert (source.given, source.streams) == (10, 1)


def test_memtables_and_tables(make_cache: MakeCache) -> None:
    """Ibis reads the stream at the call."""
    source = orders()
    cache = make_cache(source)
    connection = ibis.duckdb.connect()
    for name in ("one", "two"):
        rows = ibis.memtable(cache)
        assert connection.to_pyarrow(rows.filter(rows.grp == 1).count()).as_py() == 400
        stored = connection.create_table(name, cache)
        assert stored.count().execute() == ROWS
    assert (source.given, source.streams) == (10, 1)


def expression() -> Any:
    connection = ibis.duckdb.connect()
    return connection.create_table("t", TABLE).filter(lambda t: t.grp == 1).order_by("id")


WANTED = TABLE.filter(pa.compute.field("grp") == 1)


def test_an_expression_as_a_source(make_cache: MakeCache) -> None:
    recorded(make_cache(expression()), WANTED)


@pytest.mark.skipif(DUCKDB > 1, reason="Ibis 12 calls functions that DuckDB 2 lacks")
def test_batches_as_a_source(make_cache: MakeCache) -> None:
    recorded(make_cache(expression().to_pyarrow_batches(chunk_size=100)), WANTED)
