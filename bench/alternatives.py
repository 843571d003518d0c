#!/usr/bin/env python3
"""
Compare the ways to scan the result of a query several times, as a Markdown table.

    bench/alternatives.py               all ways, each in a process
    bench/alternatives.py WAY           one way, as JSON
    bench/alternatives.py WAY FOLDER    a pass over its file

The query joins two Parquet files of TPC-H at scale factor 1, and keeps the four most
expensive lines of each order. Each pass groups the result by one column. The time
includes the query and all passes. Memory is the largest growth of the process's anonymous
memory: pages of a mapped file belong to the system. The time of a pass by another process
includes the opening of the file, but no imports.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

import batchcorder
from batchcorder import StreamCache
from tpch.queries import connect_parquet, generate

DATA = Path(__file__).parent.parent / "build" / "tpch-sf1"
QUERY = (
    "select lineitem.*, o_custkey, o_orderdate from lineitem join orders "
    "on l_orderkey = o_orderkey where o_orderdate < date '1996-01-01' qualify "
    "rank() over (partition by l_orderkey order by l_extendedprice desc) <= 4"
)
PASS = (
    "select l_returnflag, count(*), sum(l_quantity), max(l_extendedprice) from {} "
    "group by all order by all"
)
PASSES = (1, 2, 10)

Answer = list[tuple[Any, ...]]
# Makes the result scannable, and yields the answer of each pass.
Way = Callable[[duckdb.DuckDBPyConnection, str], Iterator[Answer]]


def stream(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    return connection.sql(QUERY).to_arrow_reader(1 << 16)


def answers(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[Answer]:
    while True:
        yield connection.execute(PASS.format(name)).fetchall()


def again(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    return answers(connection, f"({QUERY})")


def read_all(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    connection.register("result", stream(connection).read_all())
    return answers(connection, "result")


def temporary(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    connection.execute(f"create temporary table result as {QUERY}")
    return answers(connection, "result")


def parquet(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    connection.execute(f"copy ({QUERY}) to '{folder}/result.parquet'")
    return answers(connection, f"read_parquet('{folder}/result.parquet')")


def teed(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    reader = stream(connection.cursor())
    for batches in itertools.tee(reader, max(PASSES)):
        connection.register(
            "result", pa.RecordBatchReader.from_batches(reader.schema, batches)
        )
        yield connection.execute(PASS.format("result")).fetchall()


def cached(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    cache = StreamCache(stream(connection.cursor()))
    cache.ingest_all()
    cache.register(connection, "result")
    return answers(connection, "result")


def on_disk(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    cache = StreamCache(stream(connection.cursor()), "64MB", folder, 1 << 40)
    cache.ingest_all()
    cache.register(connection, "result")
    return answers(connection, "result")


def recorded(connection: duckdb.DuckDBPyConnection, folder: str) -> Iterator[Answer]:
    cache = batchcorder.record(stream(connection.cursor()), f"{folder}/result.arrows")
    cache.register(connection, "result")
    return answers(connection, "result")


WAYS: dict[str, tuple[str, Way]] = {
    "again": ("run the query again", again),
    "read_all": ("`read_all()`, a pyarrow table", read_all),
    "temporary": ("a temporary table of DuckDB", temporary),
    "parquet": ("a Parquet file", parquet),
    "teed": ("`itertools.tee` over batches", teed),
    "cached": ("`StreamCache(stream)`, in memory", cached),
    "on_disk": ('`StreamCache(stream, "64MB", folder, ...)`', on_disk),
    "recorded": ("`record(stream, path)`", recorded),
}


def open_parquet(connection: duckdb.DuckDBPyConnection, folder: str) -> Answer:
    return next(answers(connection, f"read_parquet('{folder}/result.parquet')"))


def open_recording(connection: duckdb.DuckDBPyConnection, folder: str) -> Answer:
    with batchcorder.open(f"{folder}/result.arrows") as cache:
        cache.register(connection, "result")
        return next(answers(connection, "result"))


# The ways with a file that outlives the process.
OPEN = {"parquet": open_parquet, "recorded": open_recording}


def anonymous() -> int:
    """Return the process's anonymous resident memory, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) << 10
    raise SystemExit("/proc/self/status has no RssAnon")


class Peak(threading.Thread):
    """Samples the process's memory until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._before = self._most = anonymous()
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.005):
            self._most = max(self._most, anonymous())

    def stop(self) -> int:
        self._stopped.set()
        self.join()
        return self._most - self._before


def ask(*words: str) -> dict[str, Any]:
    """Run this script, and return its answer."""
    command = [sys.executable, __file__, *words]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def measure_another(name: str, folder: str) -> dict[str, Any]:
    """Return the seconds of the first pass over a file."""
    connection = duckdb.connect()
    began = time.perf_counter()
    answer = OPEN[name](connection, folder)
    return {"another": time.perf_counter() - began, "rows": sum(row[1] for row in answer)}


def measure(name: str) -> dict[str, Any]:
    """Return the seconds until each number of passes, memory and sizes of files."""
    way = WAYS[name][1]
    seconds = {}
    another: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="batchcorder-bench-") as folder:
        connection = connect_parquet(DATA)
        connection.execute("from lineitem limit 1").fetchall()
        peak = Peak()
        peak.start()
        began = time.perf_counter()
        found = []
        for number, answer in enumerate(itertools.islice(way(connection, folder), 10), 1):
            found.append(answer)
            if number in PASSES:
                seconds[str(number)] = time.perf_counter() - began
        grown = peak.stop()
        assert all(answer == found[0] for answer in found)
        rows = sum(row[1] for row in found[0])
        if name in OPEN:
            another = ask(name, folder)
            another["file"] = sum(path.stat().st_size for path in Path(folder).iterdir())
            assert another["rows"] == rows
    return {"seconds": seconds, "memory": grown, **another, "rows": rows}


def main() -> None:
    if len(sys.argv) > 1:
        answer = (measure if len(sys.argv) == 2 else measure_another)(*sys.argv[1:])
        print(json.dumps(answer))
        return
    generate(DATA, 1)
    heads = [f"{n} pass{'es' if n > 1 else ''}" for n in PASSES]
    print(f"| | {' | '.join(heads)} | another process | memory | file |")
    print("|---|" + "--:|" * (len(PASSES) + 3))
    for name, (words, _) in WAYS.items():
        runs = [ask(name) for _ in range(3)]
        best = [min(run["seconds"][str(n)] for run in runs) for n in PASSES]
        cells = [f"{seconds:.2f} s" for seconds in best]
        is_file = name in OPEN
        cells.append(f"{min(run['another'] for run in runs):.2f} s" if is_file else "")
        cells.append(f"{min(run['memory'] for run in runs) / 1e6:,.0f} MB")
        cells.append(f"{runs[0]['file'] / 1e6:,.0f} MB" if is_file else "")
        print(f"| {words} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
