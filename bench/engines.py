#!/usr/bin/env python3
"""
Measure queries of DuckDB over caches and recordings, compared with tables and files.

    engines.py asof                      an ASOF join of 20,000 and 200,000 rows.
    engines.py --megabytes 4000 filter   one row in a hundred of a recording.

`filter` opens a file anew for each query. The three ways are a recording, the pyarrow
table of its mapping, and a Parquet file of the same data by DuckDB. The ways take turns,
each in a new process, which measures its first query and later ones. The best time of
each counts. Each command prints a line of JSON. run.py starts it in a separate process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import batchcorder
from batchcorder import StreamCache

COLUMNS, ROWS = 12, 1 << 16
ROUNDS = 5

Ways = dict[str, Callable[[], Any]]


def register(
    connection: duckdb.DuckDBPyConnection, name: str, cache: StreamCache
) -> None:
    """Register a cache; packages before `register` pass it as it is."""
    if hasattr(cache, "register"):
        cache.register(connection, name)
    else:
        connection.register(name, cache)


def measure(ways: Ways, rounds: int) -> dict[str, float]:
    """Return the least time of each way. All answers are equal."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = []
    for turn in range(rounds):
        for name in ways if turn % 2 == 0 else reversed(ways):
            began = time.perf_counter()
            answers.append(ways[name]())
            seconds[name].append(time.perf_counter() - began)
    assert all(answer == answers[0] for answer in answers)
    return {name: min(times) for name, times in seconds.items()}


def asof() -> dict[str, float]:
    """Join 20,000 trades with the latest of 200,000 quotes."""
    random = np.random.default_rng(1)

    def table(rows: int, value: str) -> pa.Table:
        when = np.sort(random.integers(0, 10**9, rows))
        symbol = random.integers(0, 100, rows)
        return pa.table({"t": when, "symbol": symbol, value: random.random(rows)})

    tables = {"trades": table(20_000, "price"), "quotes": table(200_000, "bid")}
    caches = {name: StreamCache(t.to_reader(10_000)) for name, t in tables.items()}
    over_tables, over_caches = duckdb.connect(), duckdb.connect()
    for name in tables:
        over_tables.register(name, tables[name])
        caches[name].ingest_all()
        register(over_caches, name, caches[name])
    query = (
        "select count(*), count(bid), min(bid), max(bid) from trades "
        "asof left join quotes on trades.symbol = quotes.symbol and trades.t >= quotes.t"
    )
    ways: Ways = {
        "ours": lambda: over_caches.execute(query).fetchall(),
        "tables": lambda: over_tables.execute(query).fetchall(),
    }
    return measure(ways, 4 * ROUNDS)


def batches(n: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of integers, of which the first column rises."""
    for number in range(n):
        values = np.arange(ROWS) + number * ROWS
        columns = [values, *[values + i for i in range(1, COLUMNS)]]
        yield pa.record_batch(columns, names=[f"c{i}" for i in range(COLUMNS)])


def files(folder: str) -> tuple[str, str]:
    """Return the paths of the recording and of the Parquet file."""
    recording, parquet = (str(Path(folder) / f"large.{end}") for end in ("arrows", "pq"))
    return recording, parquet


def query(way: str, folder: str, low: int) -> None:
    """Print the seconds of queries over newly opened files, and their answer."""
    recording, parquet = files(folder)
    sums = ", ".join(f"sum(c{i})" for i in range(1, COLUMNS))
    text = f"select count(*), {sums} from t where c0 >= {low}"

    def ours() -> Any:
        with duckdb.connect() as connection, batchcorder.open(recording) as cache:
            register(connection, "t", cache)
            return connection.execute(text).fetchall()

    def mapped() -> Any:
        with duckdb.connect() as connection, pa.memory_map(recording) as file:
            connection.register("t", pa.ipc.open_stream(file).read_all())
            return connection.execute(text).fetchall()

    def from_parquet() -> Any:
        with duckdb.connect() as connection:
            connection.execute(f"create view t as from read_parquet('{parquet}')")
            return connection.execute(text).fetchall()

    ask = {"ours": ours, "mapped": mapped, "parquet": from_parquet}[way]
    seconds, answers = [], []
    for _ in range(3):
        began = time.perf_counter()
        answers.append(ask())
        seconds.append(time.perf_counter() - began)
    assert all(answer == answers[0] for answer in answers)
    print(json.dumps({"seconds": seconds, "answer": repr(answers[0])}))


def filtered(megabytes: int, folder: str) -> dict[str, float]:
    """Sum the columns of one row in a hundred."""
    n = max(100, megabytes * 1_000_000 // (COLUMNS * ROWS * 8))
    recording, parquet = files(folder)
    schema = next(batches(1)).schema
    source = pa.RecordBatchReader.from_batches(schema, batches(n))
    batchcorder.record(source, recording).close()
    with duckdb.connect() as connection, pa.memory_map(recording) as file:
        connection.register("t", pa.ipc.open_stream(file).read_all())
        connection.execute(f"copy t to '{parquet}' (format parquet)")
    ways = ("ours", "mapped", "parquet")
    first: dict[str, list[float]] = {way: [] for way in ways}
    later: dict[str, list[float]] = {way: [] for way in ways}
    answers = set()
    words = ["--disk-path", folder, "--low", str(n * ROWS * 99 // 100)]
    for turn in range(ROUNDS):
        for way in ways if turn % 2 == 0 else reversed(ways):
            command = [sys.executable, __file__, *words, way]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            answer = json.loads(run.stdout)
            first[way].append(answer["seconds"][0])
            later[way] += answer["seconds"][1:]
            answers.add(answer["answer"])
    assert len(answers) == 1
    least = {way: min(later[way]) for way in ways}
    least |= {f"{way}_first": min(first[way]) for way in ways}
    return least | {"bytes": float(Path(recording).stat().st_size)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ways = ["ours", "mapped", "parquet"]
    parser.add_argument("what", choices=["asof", "filter", *ways])
    parser.add_argument("--megabytes", type=int, default=4000)
    parser.add_argument("--disk-path", default=None)
    parser.add_argument("--low", type=int, default=0, help="for a way of `filter`")
    args = parser.parse_args()
    if args.what in ways:
        query(args.what, args.disk_path, args.low)
        return
    with tempfile.TemporaryDirectory(
        prefix="batchcorder-bench-", dir=args.disk_path
    ) as folder:
        answer = asof() if args.what == "asof" else filtered(args.megabytes, folder)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
