"""Flight, ADBC and fsspec, as sources and as consumers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from helpers import ROWS, TABLE, check_python, orders, recorded
from tiers import MakeCache, Tier

FLIGHT = """
    import pyarrow.flight as flight
    from tiers import maker_here
    from helpers import *

    class Server(flight.FlightServerBase):
        def __init__(self, served):
            super().__init__("grpc://127.0.0.1:0")
            self.served = served
            self.got = None

        def do_get(self, context, ticket):
            stream = pa.RecordBatchReader.from_stream(self.served[ticket.ticket])
            return flight.RecordBatchStream(stream)

        def do_put(self, context, descriptor, reader, writer):
            self.got = reader.to_reader().read_all()

    def get(client, name):
        return client.do_get(flight.Ticket(name)).to_reader()

    make = maker_here()
"""


def test_flight(tier: Tier) -> None:
    """A cache is served several times, and a cache records the stream of a client."""
    check_python(
        FLIGHT
        + """
    source = orders()
    with Server({b"cache": make(source)}) as server:
        def client(i):
            with flight.connect(f"grpc://127.0.0.1:{server.port}") as connection:
                cache = make(get(connection, b"cache"))
                recorded(cache, TABLE)
                writer, _ = connection.do_put(
                    flight.FlightDescriptor.for_path("put"), cache.schema
                )
                for batch in cache:
                    writer.write_batch(batch)
                writer.close()

        for task in [Task(client, i) for i in range(4)]:
            task.result()
        assert server.got.equals(TABLE)
    assert (source.given, source.streams) == (10, 1)
    """,
        **tier,
    )


def test_flight_errors(tier: Tier) -> None:
    """The served cache's source fails, or the server is gone."""
    check_python(
        FLIGHT
        + """
    def refuse(call, words):
        for _ in range(2):
            try:
                call()
            except (OSError, ValueError, pa.ArrowException) as error:
                assert words in str(error), error
            else:
                raise AssertionError("no error")

    failing = make(Source(orders().batches, 5, ValueError("boom")))
    endless = (batch(0, 1000) for _ in iter(int, 1))
    endless = make(pa.RecordBatchReader.from_batches(SCHEMA, endless), max_readers=1)
    with Server({b"fails": failing, b"endless": endless}) as server:
        connection = flight.connect(f"grpc://127.0.0.1:{server.port}")
        cache = make(get(connection, b"fails"))
        refuse(lambda: list(cache), "boom")
        refuse(lambda: pa.table(cache), "boom")
        assert cache.ingested_count == 5

        cut = make(get(connection, b"endless"))
        reader = cut.reader()
        next(reader)
        endless.close()
    refuse(cut.ingest_all, "Dataset has been closed")
    assert cut.ingested_count > 0 and not cut.upstream_exhausted
    """,
        **tier,
    )


@pytest.fixture
def sqlite() -> Iterator[Any]:
    dbapi = pytest.importorskip("adbc_driver_sqlite.dbapi")
    with dbapi.connect() as connection:
        yield connection


def test_adbc(sqlite: Any, make_cache: MakeCache) -> None:
    source = orders()
    cache = make_cache(source)
    with sqlite.cursor() as cursor:
        for mode in ("create", "append", "replace"):
            assert cursor.adbc_ingest("t", cache, mode=mode) == ROWS
        cursor.executemany("insert into t values (?, ?, ?, ?)", cache)
        cursor.execute("select count(*), sum(id), count(txt) from t")
        texts = len(TABLE["txt"].drop_null())
        assert cursor.fetchall() == [(2 * ROWS, 2 * sum(range(ROWS)), 2 * texts)]
    assert (source.given, source.streams) == (10, 1)


@pytest.mark.parametrize("fetch", ["fetch_arrow", "fetch_record_batch"])
def test_adbc_as_a_source(fetch: str, sqlite: Any, make_cache: MakeCache) -> None:
    with sqlite.cursor() as cursor:
        cursor.adbc_ingest("t", TABLE)
        cursor.execute("select * from t where grp < 2 order by id")
        cache = make_cache(getattr(cursor, fetch)())
        # The recording may go into the database that its source is in.
        with sqlite.cursor() as other:
            wanted = TABLE.filter(pa.compute.field("grp") < 2)
            next(iter(cache))
            assert other.adbc_ingest("u", cache) == wanted.num_rows
        recorded(cache, wanted)
        cursor.execute("select 1")
        recorded(cache, wanted)


def test_an_adbc_cursor_that_continues_while_its_result_is_recorded(
    sqlite: Any, make_cache: MakeCache
) -> None:
    """A cursor closes its DBAPI readers: the recording fails and never ends early."""
    with sqlite.cursor() as cursor:
        cursor.adbc_ingest("t", TABLE)
        cursor.execute("select * from t")
        cache = make_cache(cursor.fetch_record_batch())
        reader = iter(cache)
        next(reader)
        cursor.execute("select 1")
    for _ in range(2):
        with pytest.raises(ValueError, match="already been closed"):
            cache.ingest_all()
        with pytest.raises(ValueError, match="already been closed"):
            pa.table(cache)


@pytest.fixture
def memory_files() -> Iterator[Any]:
    files = pytest.importorskip("fsspec").filesystem("memory")
    files.makedirs("/data")
    yield files
    files.rm("/data", recursive=True)


@pytest.mark.parametrize("format_", ["parquet", "ipc", "csv"])
def test_fsspec(format_: str, memory_files: Any, make_cache: MakeCache) -> None:
    """A dataset whose files Python reads is written from a cache and recorded again."""
    cache = make_cache(orders())
    for name in ("a", "b"):
        ds.write_dataset(
            pa.RecordBatchReader.from_stream(cache),
            f"/data/{name}",
            filesystem=memory_files,
            format=format_,
            max_rows_per_file=500,
            max_rows_per_group=500,
        )
    dataset = ds.dataset("/data", TABLE.schema, format_, filesystem=memory_files)
    some = dataset.scanner(columns=["id"], filter=ds.field("grp") == 1, batch_size=100)
    again = make_cache(some.to_reader())
    for _ in range(2):
        rows = sorted(pa.table(again)["id"].to_pylist())
        assert rows == sorted(2 * list(range(1, ROWS, 5)))
