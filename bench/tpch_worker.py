"""
Run the queries of TPC-H on one implementation.

    tpch_worker.py --data build/tpch-sf1 --scale-factor 1 ours

The worker reads lines such as `memory 7` (a mode, a query) from stdin. For each line, it
prints a line of JSON with DuckDB's seconds and the answer. `ours` and `rust` query
StreamCaches of single-use streams, with the batchcorder on PYTHONPATH. `bare` queries
pyarrow tables, or DuckDB on the Parquet files. In the modes `sorted`, the rows of
`lineitem` are in the order of `l_shipdate`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tpch.queries import (
    BATCH_ROWS,
    TABLES,
    as_answer,
    connect,
    connect_parquet,
    load,
    stream,
)

DISK_BYTES = 1 << 40

Connections = dict[str, duckdb.DuckDBPyConnection]


def sorted_lines(folder: Path) -> pa.RecordBatchReader:
    """Return `lineitem` in the order of `l_shipdate` as a single-use stream."""
    connection = connect_parquet(folder)
    lines = connection.sql("from lineitem order by l_shipdate")
    return lines.to_arrow_table().combine_chunks().to_reader(max_chunksize=BATCH_ROWS)


def caches(streams: dict[str, pa.RecordBatchReader], *tiers: Any) -> dict[str, Any]:
    """Record every table and read it once. On disk, that verifies checksums."""
    from batchcorder import StreamCache

    made = {name: StreamCache(source, *tiers) for name, source in streams.items()}
    for cache in made.values():
        batches = cache.ingest_all()
        assert sum(1 for _ in cache) == batches
    return made


def registered(made: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Return a new database with caches that have registered themselves."""
    connection = duckdb.connect()
    for name, cache in made.items():
        cache.register(connection, name)
    return connection


def connect_caches(folder: Path, disk_path: str) -> Connections:
    """Return the databases of the modes of the implementation."""
    places: dict[str, tuple[Any, ...]] = {
        "memory": (),
        "disk": (1, disk_path, DISK_BYTES),
    }
    modes = {}
    for tier, place in places.items():
        made = caches({name: stream(folder, name) for name in TABLES}, *place)
        modes[tier] = connect(made)
        if all(hasattr(cache, "register") for cache in made.values()):
            modes[f"register.{tier}"] = registered(made)
            lines = caches({"lineitem": sorted_lines(folder)}, *place)
            modes[f"sorted.{tier}"] = registered(made | lines)
    return modes


def connect_bare(folder: Path) -> tuple[Connections, dict[str, int]]:
    """Return the databases to compare with, and the size of their data."""
    tables = {table: stream(folder, table).read_all() for table in TABLES}
    size = {
        "rows": sum(table.num_rows for table in tables.values()),
        "batches": sum(len(table.to_batches()) for table in tables.values()),
        "bytes": sum(table.nbytes for table in tables.values()),
    }
    lines = sorted_lines(folder).read_all()
    return {
        "tables": connect(tables),
        "sorted": connect(tables | {"lineitem": lines}),
        "parquet": connect_parquet(folder),
    }, size


def where() -> str:
    """Return the path of batchcorder, which the parent process checks."""
    import batchcorder

    return str(Path(batchcorder.__file__).resolve().parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["ours", "rust", "bare"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scale-factor", type=float, required=True)
    parser.add_argument("--disk-path", default=None)
    args = parser.parse_args()
    queries = load(args.scale_factor)
    with contextlib.ExitStack() as stack:
        disk_path = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="batchcorder-bench-", dir=args.disk_path)
        )
        about: dict[str, Any] = {"batchcorder": None}
        if args.kind == "bare":
            modes, about["size"] = connect_bare(args.data)
        else:
            about["batchcorder"] = where()
            modes = connect_caches(args.data, disk_path)
        about["modes"] = list(modes)
        print(json.dumps(about), flush=True)
        gc.disable()
        for line in sys.stdin:
            mode, number = line.split()
            connection, text = modes[mode], queries[int(number)].text
            start = time.perf_counter()
            rows = connection.execute(text).fetchall()
            seconds = time.perf_counter() - start
            answer = as_answer(connection, rows)
            found = {"seconds": seconds, "names": answer.names, "rows": answer.rows}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
