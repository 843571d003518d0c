#!/usr/bin/env python3
"""Compare recordings with Parquet and Arrow files as sources of Ray Data.

A table like TPC-H's lineitem is written as recordings, Parquet files and Arrow IPC files.
Batches and row groups have the same rows. Each dataset is iterated over, and mapped to a
row a batch. Ray has no reader of Arrow IPC files: from_arrow() gets mapped tables.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

import batchcorder
from batchcorder.ray import read_recordings

BATCH = 100_000


def table_of(rows: int, seed: int) -> pa.Table:
    """Return rows of about 90 bytes: numbers, dates, flags and texts."""
    random = np.random.default_rng(seed)
    flags = pa.array(["A", "N", "R"]).take(pa.array(random.integers(0, 3, rows)))
    words = np.array(["carefully", "regular", "deposits", "sleep", "furiously", "even"])
    picked = words[random.integers(0, len(words), (3, rows))]
    comments = np.char.add(np.char.add(picked[0], " "), picked[1])
    return pa.table(
        {
            "l_orderkey": random.integers(0, 6_000_000, rows),
            "l_partkey": random.integers(0, 200_000, rows),
            "l_linenumber": random.integers(1, 8, rows).astype(np.int32),
            "l_quantity": random.integers(1, 51, rows).astype(np.float64),
            "l_extendedprice": random.integers(90_000, 10_000_000, rows) / 100,
            "l_discount": random.integers(0, 11, rows) / 100,
            "l_shipdate": pa.array(random.integers(8_000, 10_500, rows), pa.int32()).cast(
                pa.date32()
            ),
            "l_returnflag": flags,
            "l_shipmode": picked[2].tolist(),
            "l_comment": comments.tolist(),
        }
    )


def write(folder: Path, files: int, rows: int) -> int:
    """Write the files of each format. Return the bytes in memory."""
    nbytes = 0
    for kind in ("recording", "parquet", "arrow"):
        (folder / kind).mkdir()
    for number in range(files):
        table = table_of(rows, number)
        nbytes += table.nbytes
        path = folder / "recording" / f"{number}.arrows"
        batchcorder.record(table.to_reader(max_chunksize=BATCH), path).close()
        pq.write_table(
            table, folder / "parquet" / f"{number}.parquet", row_group_size=BATCH
        )
        path = folder / "arrow" / f"{number}.arrow"
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=BATCH)
    return nbytes


def mapped_tables(folder: Path) -> list[pa.Table]:
    """Return the tables of Arrow IPC files, as mapped pages."""
    paths = sorted(folder.glob("*.arrow"))
    return [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths]


def iterate(dataset: Any) -> int:
    """Return the number of rows that an iteration has."""
    batches = dataset.iter_batches(batch_format="pyarrow", batch_size=None)
    return sum(batch.num_rows for batch in batches)


def one_row(table: pa.Table) -> pa.Table:
    total = float(np.sum(table["l_quantity"].to_numpy()))
    return pa.table({"rows": [table.num_rows], "total": [total]})


def reduce(dataset: Any) -> int:
    """Return the number of rows that map_batches() has seen."""
    small = dataset.map_batches(one_row, batch_format="pyarrow", batch_size=None)
    return sum(row["rows"] for row in small.take_all())


def best(make: Callable[[], Any], use: Callable[[Any], int], runs: int) -> float:
    """Return the rows a second of the fastest run, from the files on."""
    rates = []
    for _ in range(runs):
        start = time.perf_counter()
        rows = use(make())
        rates.append(rows / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of a file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--store", type=int, default=500, help="object store in MB")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    ray.init(
        num_cpus=options.cpus,
        object_store_memory=options.store << 20,
        include_dashboard=False,
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nbytes = write(folder, options.files, options.rows)
        ways: dict[str, Callable[[], Any]] = {
            "read_recordings": lambda: read_recordings(folder / "recording"),
            "read_parquet": lambda: ray.data.read_parquet(str(folder / "parquet")),
            "from_arrow, mapped": lambda: ray.data.from_arrow(
                mapped_tables(folder / "arrow")
            ),
            "read_recordings, Arrow files": lambda: read_recordings(
                folder / "arrow" / "*.arrow"
            ),
        }
        columns = ["l_quantity", "l_shipdate"]
        ways["read_recordings, 2 columns"] = lambda: read_recordings(
            folder / "recording", columns=columns
        )
        ways["read_parquet, 2 columns"] = lambda: ray.data.read_parquet(
            str(folder / "parquet")
        ).select_columns(columns)
        results = {}
        print(f"{options.files * options.rows:,} rows, {nbytes / 1e6:.0f} MB in memory")
        print(f"{'':<30}{'iter_batches':>16}{'map_batches':>16}  rows/s")
        for way, make in ways.items():
            rates = [best(make, use, options.runs) for use in (iterate, reduce)]
            results[way] = dict(zip(("iter_batches", "map_batches"), rates, strict=True))
            print(f"{way:<30}{rates[0]:>16,.0f}{rates[1]:>16,.0f}")
    ray.shutdown()
    if options.json is not None:
        report = {"options": {k: str(v) for k, v in vars(options).items()}}
        report |= {"bytes": nbytes, "results": results}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
