"""Sources that need the GIL, and a function for each kind of consumer."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds

from batchcorder import StreamCache
from helpers import SCHEMA, Task, ids, numbered

COUNT = 2000


def csv_text() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([["id"], *([i] for i in range(COUNT))])
    return text.getvalue().encode()


def python_file() -> Any:
    """Return a CSV reader over a Python file object."""
    file = pa.PythonFile(io.BytesIO(csv_text()), mode="r")
    return pa.csv.open_csv(file, read_options=pa.csv.ReadOptions(block_size=512))


def generator() -> Any:
    def generate() -> Iterator[pa.RecordBatch]:
        lock = threading.Lock()
        for one in numbered(COUNT // 4):
            with lock:
                yield one

    return pa.RecordBatchReader.from_batches(SCHEMA, generate())


def fsspec_dataset() -> Any:
    """Return a scan of files that Python reads, for use by Arrow's threads."""
    import fsspec

    files = fsspec.filesystem("memory")
    for part in range(2):
        rows = b"\r\n".join(csv_text().splitlines()[1 + 1000 * part : 1001 + 1000 * part])
        files.pipe(f"/csv/{part}.csv", b"id\r\n" + rows + b"\r\n")
    dataset = ds.dataset("/csv", format="csv", filesystem=files)
    return dataset.scanner(batch_size=100).to_reader()


SOURCES = (python_file, generator, fsspec_dataset)


def with_nanoarrow(cache: StreamCache) -> list[int]:
    import nanoarrow

    with nanoarrow.ArrayStream(cache) as stream:
        return [row[0] for chunk in stream for row in chunk.iter_tuples()]


def with_arro3(cache: StreamCache) -> list[int]:
    from arro3.core import RecordBatchReader

    return ids([pa.record_batch(one) for one in RecordBatchReader.from_arrow(cache)])


def with_polars(cache: StreamCache) -> list[int]:
    import polars

    return polars.DataFrame(cache)["id"].to_list()


def with_a_polars_scan(cache: StreamCache) -> list[int]:
    import polars

    return polars.scan_arrow_c_stream(cache).collect()["id"].to_list()


def with_pandas(cache: StreamCache) -> list[int]:
    import pandas

    return pandas.DataFrame.from_arrow(cache)["id"].to_list()


def with_duckdb(cache: StreamCache) -> list[int]:
    import duckdb

    query = "select a.id from cache a join cache b using (id) order by id"
    return [row[0] for row in duckdb.connect().sql(query).fetchall()]


def with_datafusion(cache: StreamCache) -> list[int]:
    from datafusion import SessionContext

    return SessionContext().from_arrow(cache).sort("id").to_pydict()["id"]


def with_adbc(cache: StreamCache) -> list[int]:
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(":memory:") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", cache)
        cursor.execute("select id from t order by id")
        return [row[0] for row in cursor.fetchall()]


CONSUMERS: dict[str, Callable[[StreamCache], list[int]]] = {
    "iteration": lambda c: ids(list(c)),
    "pyarrow": lambda c: ids(pa.RecordBatchReader.from_stream(c)),
    "cast": lambda c: ids(c.reader().cast(SCHEMA)),
    "scanner": lambda c: ids(ds.Scanner.from_batches(c).to_reader()),
    "nanoarrow": with_nanoarrow,
    "arro3": with_arro3,
    "polars": with_polars,
    "polars scan": with_a_polars_scan,
    "pandas": with_pandas,
    "duckdb": with_duckdb,
    "datafusion": with_datafusion,
    "adbc": with_adbc,
}


def read_with(names: list[str], make: Callable[[Any], StreamCache], source: Any) -> None:
    """Record the source while each consumer reads in a thread.

    Each must get all batches.
    """
    cache = make(source())
    start = threading.Barrier(len(names))

    def read(name: str) -> list[int]:
        start.wait(120)
        return CONSUMERS[name](cache)

    for task in [Task(read, name) for name in names]:
        assert task.result() == list(range(COUNT))
    assert cache.upstream_exhausted
