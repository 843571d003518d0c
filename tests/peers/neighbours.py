"""
Results of other libraries for the package's objects, as a Markdown table.

Usage: neighbours.py MODULE CALL prints the cells of one row; each row is a process, since
these libraries have threads and runtimes of their own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa

import batchcorder
from batchcorder import StreamCache

# pyarrow's reader of a cache, for calls that take no other object.
HEAD = ("call", "cache", "recording", "cast", "reader", "dataset", "`from_stream`")

ROWS = 100
TABLE = pa.table(
    {
        "id": range(ROWS),
        "text": [f"v{i % 7}" for i in range(ROWS)],
        "vector": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
    }
)
FOLDER = tempfile.mkdtemp()


def fresh(name: str) -> str:
    """Return an unused file name in the folder."""
    return os.path.join(tempfile.mkdtemp(dir=FOLDER), name)


def cache() -> StreamCache:
    return StreamCache(TABLE.to_reader(max_chunksize=30))


def recording() -> StreamCache:
    path = fresh("x.arrows")
    batchcorder.record(cache(), path).close()
    return batchcorder.open(path)


OBJECTS: tuple[Callable[[], Any], ...] = (
    cache,
    recording,
    lambda: cache().cast(TABLE.schema),
    lambda: cache().reader(),
    lambda: cache().dataset(),
    lambda: pa.RecordBatchReader.from_stream(cache()),
)


def lancedb(data: Any) -> int:
    import lancedb

    return lancedb.connect(fresh("db")).create_table("t", data).count_rows()


def lance(data: Any) -> int:
    import lance

    return lance.write_dataset(data, fresh("x.lance")).count_rows()


def vortex(data: Any) -> int:
    import vortex

    path = fresh("x.vortex")
    vortex.io.write(data, path)
    return vortex.open(path).to_arrow().read_all().num_rows


def daft(data: Any) -> int:
    import daft

    return daft.from_arrow(data).count_rows()


def chdb(data: Any) -> int:
    import chdb

    return int(chdb.query("select count(*) from Python(data)").bytes())


def narwhals(data: Any) -> int:
    import narwhals

    return len(narwhals.from_arrow(data, backend="pyarrow"))


def deltalake(data: Any) -> int:
    from deltalake import DeltaTable, write_deltalake

    path = fresh("delta")
    write_deltalake(path, data)
    return DeltaTable(path).to_pyarrow_dataset().count_rows()


def ibis(data: Any) -> int:
    import ibis

    return int(ibis.memtable(data).count().execute())


def datafusion(data: Any) -> int:
    from datafusion import SessionContext

    return SessionContext().from_arrow(data).count()


def duckdb(data: Any) -> int:
    import duckdb

    return duckdb.connect().from_arrow(data).count("*").fetchall()[0][0]


def polars(data: Any) -> int:
    import polars

    return polars.DataFrame(data).height


def pandas(data: Any) -> int:
    import pandas

    return len(pandas.DataFrame.from_arrow(data))


# The module, and the call as the table shows it.
CALLS: dict[Callable[[Any], int], str] = {
    chdb: "chdb: `from Python(x)`",
    daft: "Daft: `from_arrow(x)`",
    datafusion: "DataFusion: `from_arrow(x)`",
    deltalake: "deltalake: `write_deltalake(path, x)`",
    duckdb: "DuckDB: `from_arrow(x)`",
    ibis: "Ibis: `memtable(x)`",
    lance: "Lance: `write_dataset(x, path)`",
    lancedb: "LanceDB: `create_table(name, x)`",
    narwhals: "Narwhals: `from_arrow(x)`",
    pandas: "pandas: `DataFrame.from_arrow(x)`",
    polars: "Polars: `DataFrame(x)`",
    vortex: "Vortex: `io.write(x, path)`",
}


def cell(call: Callable[[Any], int], data: Any) -> str:
    """Return how often a call gets all rows of one object."""
    for times, word in enumerate(("no", "once")):
        try:
            rows = call(data)
        except BaseException as error:  # Rust panics too
            print(f"{call.__name__} {times}: {error!r}", file=sys.stderr)
            return word
        if rows != ROWS:
            return word
    return "again"


def main() -> None:
    call = next(call for call in CALLS if call.__name__ == sys.argv[1])
    cells = [cell(call, make()) for make in OBJECTS]
    print(f"| {CALLS[call]} | {' | '.join(cells)} |", flush=True)
    os._exit(0)  # these libraries leave threads behind


if __name__ == "__main__":
    main()
