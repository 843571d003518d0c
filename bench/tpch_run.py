#!/usr/bin/env python3
"""
Compare the 22 queries of TPC-H on caches with pyarrow tables and the Rust 0.1.3.

Every table is a StreamCache of a single-use stream, in memory or on a warm disk with
memory_capacity=1. DuckDB reads the cache in two ways: as it is, and after
`cache.register(connection, name)`, which tells DuckDB the number of rows and takes its
predicates.

The bases are pyarrow tables of the same batches, and DuckDB on the Parquet files. All
answers must equal those of the Parquet files. For each query, the implementations take
turns, each in its own process (tpch_worker.py). The best time of each counts. The queries
are the standard's (tpch/queries.py). Q6 and Q14 also run over `lineitem` in the order of
its `l_shipdate`, which both filter by.

    bench/tpch_run.py --rust build/rust-0.1.3 [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from report import Cell, Row, Target, evaluate, print_figures, print_table
from tpch.queries import NUMBERS, Answer, compare, generate, load
from workers import Worker, machine

HERE = Path(__file__).resolve().parent
TABLES: Cell = ("bare", "tables")
PARQUET: Cell = ("bare", "parquet")

# The sums over the queries, with their targets.
SUMS = (
    Row(
        "in memory, registered",
        "register.memory",
        TABLES,
        "pyarrow tables",
        {"tpch": (Target("within", 1.02),)},
        compared=False,
    ),
    Row(
        "from disk, registered",
        "register.disk",
        TABLES,
        "pyarrow tables",
        {"tpch": (Target("within", 1.05),)},
        compared=False,
    ),
    Row("in memory, as they are", "memory", TABLES, "pyarrow tables"),
    Row(
        "from disk, as they are",
        "disk",
        TABLES,
        "pyarrow tables",
        {"tpch": (Target("faster", 3),)},
    ),
)
# A query over registered caches takes at most so many times the time over tables.
WORST = 1.3
# Queries that filter by `l_shipdate`, and how many times faster a cache in this order is.
SORTED, SORTED_TARGET = (6, 14), 3
SORTED_TABLES: Cell = ("bare", "sorted")
TIERS = {"memory": "in memory", "disk": "from disk"}


def rows_of(workers: dict[str, Worker]) -> list[Row]:
    """Return the sums whose mode the package's worker has."""
    return [row for row in SUMS if row.scenario in workers["ours"].about["modes"]]


def measure(
    workers: dict[str, Worker],
    cells: list[Cell],
    numbers: Sequence[int],
    scale: float,
    rounds: int,
    burst: int = 1,
) -> dict[Cell, dict[int, list[float]]]:
    """
    Run the queries on all cells `rounds` times, in alternating order.

    `burst`: how often a cell runs at a time, so that its data stays in the processor's
    caches if it fits there.

    Every answer must equal that of the first cell.
    """
    queries = load(scale)
    times: dict[Cell, dict[int, list[float]]] = {
        cell: {number: [] for number in numbers} for cell in cells
    }
    wanted: dict[int, Answer] = {}
    for turn in range(rounds):
        for number in numbers:
            ordered = cells if turn % 2 == 0 else cells[::-1]
            for kind, mode in [cell for cell in ordered for _ in range(burst)]:
                found = workers[kind].ask(f"{mode} {number}")
                answer = Answer(found["names"], found["rows"])
                try:
                    compare(queries[number], wanted.setdefault(number, answer), answer)
                except AssertionError as error:
                    raise SystemExit(f"{kind}, {mode}: {error}") from None
                times[kind, mode][number].append(found["seconds"])
    return times


def least_of(times: dict[Cell, dict[int, list[float]]]) -> dict[Cell, dict[int, float]]:
    return {
        cell: {number: min(every) for number, every in queries.items()}
        for cell, queries in times.items()
    }


def worst_figures(least: dict[Cell, dict[int, float]]) -> list[dict[str, Any]]:
    """Return the slowest of the registered queries, compared with tables."""
    figures = []
    for tier, words in TIERS.items():
        cell = ("ours", f"register.{tier}")
        if cell not in least:
            continue
        ratios = {n: least[cell][n] / least[TABLES][n] for n in least[cell]}
        worst = max(ratios, key=lambda number: ratios[number])
        figures.append(
            {
                "label": f"TPC-H {words}, registered: the slowest query of the 22, "
                "against pyarrow tables",
                "figure": f"{ratios[worst]:.2f}x the time (Q{worst})",
                "target": f"at most {WORST:g}x",
                "reached": ratios[worst] <= WORST,
            }
        )
    return figures


def sorted_figures(least: dict[Cell, dict[int, float]]) -> list[dict[str, Any]]:
    """Return the queries over `lineitem` in the order of `l_shipdate`."""
    figures = []
    for tier, words in TIERS.items():
        for number in SORTED:
            ours = least["ours", f"sorted.{tier}"][number]
            base = least[SORTED_TABLES][number]
            figures.append(
                {
                    "label": f"TPC-H Q{number} {words}, registered, lineitem ordered by "
                    "l_shipdate, against such a pyarrow table",
                    "figure": f"{base / ours:.1f}x faster ({ours * 1e3:.1f} ms)",
                    "target": f"{SORTED_TARGET}x faster",
                    "reached": base >= SORTED_TARGET * ours,
                }
            )
    return figures


def query_table(least: dict[Cell, dict[int, float]], rows: list[Row]) -> list[list[str]]:
    """Return the best times of each query, in milliseconds, with their ratios."""
    head = ["", "pyarrow tables", "Parquet"]
    for row in rows:
        head += [row.label, "of tables"]
        head += ["0.1.3", "faster"] if row.compared else []
    lines = [head]
    every = {f"Q{number}": (number,) for number in NUMBERS} | {"sum": tuple(NUMBERS)}
    for name, numbers in every.items():
        seconds = {
            cell: sum(times[number] for number in numbers)
            for cell, times in least.items()
        }
        line = [name, *(f"{seconds[cell] * 1e3:.1f}" for cell in (TABLES, PARQUET))]
        for row in rows:
            ours, rust = seconds["ours", row.scenario], ("rust", row.scenario)
            line += [f"{ours * 1e3:.1f}", f"{ours / seconds[TABLES]:.2f}x"]
            if row.compared:
                line += [f"{seconds[rust] * 1e3:.1f}", f"{seconds[rust] / ours:.1f}x"]
        lines.append(line)
    return lines


def print_queries(lines: list[list[str]]) -> None:
    """Print the table. The lines of each column's title are stacked."""
    head, *rows = lines
    widths = [
        max(map(len, [*text.split(), *(row[column] for row in rows)]))
        for column, text in enumerate(head)
    ]
    words = [textwrap.wrap(text, width) for text, width in zip(head, widths, strict=True)]
    tallest = max(map(len, words))
    heads = [[""] * (tallest - len(some)) + some for some in words]
    for line in [*zip(*heads, strict=True), *rows]:
        cells = [text.rjust(width) for text, width in zip(line, widths, strict=True)]
        print("  " + "  ".join(cells))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rust", type=Path, required=True, help="folder with batchcorder 0.1.3"
    )
    parser.add_argument("--scale-factor", type=float, help="of the data (default: 1)")
    parser.add_argument("--data", type=Path, help="folder of the tables, made if missing")
    parser.add_argument("--quick", action="store_true", help="a smoke run: scale 0.1")
    parser.add_argument("--rounds", type=int, help="how often all is measured")
    parser.add_argument("--disk-path", help="where the files go (default: temporary)")
    parser.add_argument("--json", type=Path, help="all results, in a file")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 1 if args.quick else 3
    if args.scale_factor is None:
        args.scale_factor = 0.1 if args.quick else 1
    if args.data is None:
        args.data = HERE.parent / "build" / f"tpch-sf{args.scale_factor:g}"
    return args


def start(kind: str, args: argparse.Namespace) -> Worker:
    """Start a worker for one implementation. The worker records the tables first."""
    command = [str(HERE / "tpch_worker.py"), kind, "--data", str(args.data)]
    command += ["--scale-factor", f"{args.scale_factor:g}"]
    if args.disk_path:
        command += ["--disk-path", args.disk_path]
    return Worker(kind, command, args.rust)


def main() -> None:
    args = parse_arguments()
    began = time.monotonic()
    about = machine(rust=True) | {"duckdb": duckdb.__version__}
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    generate(args.data, args.scale_factor)
    with (
        start("bare", args) as bare,
        start("ours", args) as ours,
        start("rust", args) as rust,
    ):
        workers = {"ours": ours, "rust": rust, "bare": bare}
        rows = rows_of(workers)
        cells = [cell for row in rows for cell in row.cells()]
        cells = list(dict.fromkeys([PARQUET, *cells]))
        times = measure(workers, cells, NUMBERS, args.scale_factor, args.rounds)
        figures = []
        if "sorted.memory" in ours.about["modes"]:
            ways = [SORTED_TABLES, *[("ours", f"sorted.{tier}") for tier in TIERS]]
            least_sorted = least_of(
                measure(workers, ways, SORTED, args.scale_factor, args.rounds, 8)
            )
            figures = sorted_figures(least_sorted)
    size: dict[str, Any] = bare.about["size"]
    least = least_of(times)
    figures = worst_figures(least) + figures
    sums = {cell: sum(queries.values()) for cell, queries in least.items()}
    title = (
        f"TPC-H at scale factor {args.scale_factor:g}, DuckDB {duckdb.__version__} "
        f"({size['rows']:,} rows in {size['batches']} batches, "
        f"{size['bytes'] / 1e6:,.1f} MB)"
    )
    print(f"\n{title}, each query (ms)")
    table = query_table(least, rows)
    print_queries(table)
    results = [evaluate(row, "tpch", sums, size["batches"]) for row in rows]
    beside = {"DuckDB on the Parquet files": sums[PARQUET]}
    print_table(f"{title}, the 22 in sum", results, beside, size["batches"])
    print_figures(figures)
    targets: list[dict[str, Any]] = [t for row in results for t in row["targets"]]
    targets += figures
    reached = sum(target["reached"] is True for target in targets)
    seconds = time.monotonic() - began
    print(f"\n{reached} of {len(targets)} targets reached; {seconds:.0f} s")
    if args.json is not None:
        report = {
            "machine": about,
            "title": title,
            "queries": table,
            "batches": size["batches"],
            "rows": results,
            "beside": beside,
            "figures": figures,
            "seconds": {" ".join(cell): times[cell] for cell in times},
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
