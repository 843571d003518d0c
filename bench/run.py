#!/usr/bin/env python3
"""
Compare batchcorder with the Rust 0.1.3 and with the least time of the same work.

Each figure is a ratio from one run. Ours, 0.1.3 and the floors run in turn, several
times, in separate worker processes (worker.py). The best time of each counts. The base
of a figure is the time of the same consumer or writer without a recording.

    bench/run.py --rust build/rust-0.1.3 --build build/bench [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report import GROUPS, Cell, Group, evaluate, print_figures, print_table
from shapes import SHAPES
from workers import Worker, machine

HERE = Path(__file__).resolve().parent


def start(kind: str, shape: str, args: argparse.Namespace) -> Worker:
    """Start a worker for one implementation and one shape of data."""
    command = [str(HERE / "worker.py"), kind, "--shape", shape]
    command += ["--build", str(args.build)]
    if args.quick:
        command.append("--quick")
    if args.disk_path:
        command += ["--disk-path", args.disk_path]
    return Worker(kind, command, args.rust)


def measure(
    workers: dict[str, Worker], group: Group, rounds: int
) -> dict[Cell, list[float]]:
    """Run all cells of a group `rounds` times, in alternating order."""
    cells = group.cells()
    times: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for number in range(rounds):
        for kind, scenario in cells if number % 2 == 0 else reversed(cells):
            times[kind, scenario].append(workers[kind].run(scenario))
    return times


def run_shape(
    name: str, groups: list[Group], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure all groups on one shape, print their tables and return their results."""
    shape = SHAPES[name]
    results = []
    with (
        start("ours", name, args) as ours,
        start("bare", name, args) as bare,
        start("rust", name, args) as rust,
    ):
        workers = {"ours": ours, "rust": rust, "bare": bare}
        batches = ours.about["batches"]
        megabytes = ours.about["bytes"] / 1e6
        for group in groups:
            times = measure(workers, group, args.rounds)
            least = {cell: min(seconds) for cell, seconds in times.items()}
            rows = [evaluate(row, name, least, batches) for row in group.rows]
            beside = {label: least[cell] for label, cell in group.beside}
            title = f"{batches:,} {shape.title} ({megabytes:,.1f} MB), {group.title}"
            print_table(title, rows, beside, batches)
            results.append(
                {
                    "shape": name,
                    "group": group.name,
                    "batches": batches,
                    "bytes": ours.about["bytes"],
                    "rows": rows,
                    "beside": beside,
                    "seconds": {" ".join(cell): times[cell] for cell in times},
                }
            )
    return results


def ask_script(args: argparse.Namespace, name: str, *words: str) -> dict[str, float]:
    """Run a script of this folder. Return the answer that it prints."""
    command = [sys.executable, str(HERE / name), *words]
    if args.disk_path:
        command += ["--disk-path", args.disk_path]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(run.stdout)
    return answer


def run_recordings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure recordings (recordings.py): rows of a label and a figure."""
    scale = 20 if args.quick else 1
    n_batches = 100_000 // scale
    build = str(args.build)
    random = ask_script(
        args,
        "recordings.py",
        *("random", "--build", build, "--batches", str(n_batches)),
    )
    workers = ask_script(
        args, "recordings.py", "workers", "--megabytes", str(2000 // scale)
    )
    record = ask_script(args, "recordings.py", "record", "--megabytes", str(500 // scale))
    size, grown = workers["bytes"] / 1e9, workers["grown"] / 1e6
    return [
        {
            "label": f"opening a recording of {n_batches:,} batches",
            "figure": f"{random['open'] / 1e3:.2f} ms",
            "target": "under 5 ms",
            "reached": random["open"] < 5000,
        },
        {
            "label": f"{n_batches:,} reads of batches at random, from C",
            "figure": f"{random['again']:.2f} us each; {random['first']:.2f} us the "
            "first time, with checksums and page faults",
            "target": "at most 2 us",
            "reached": random["first"] <= 2,
        },
        {
            "label": f"4 processes that scan one recording of {size:.1f} GB, pickled: "
            "their private memory grows by, in sum",
            "figure": f"{grown:.0f} MB",
            "target": "at most 100 MB",
            "reached": grown <= 100,
        },
        {
            "label": "record(), wide batches, against pyarrow's stream writer",
            "figure": f"{record['ours'] / record['pyarrow']:.2f}x the time",
            "target": "at most 1x",
            "reached": record["ours"] <= record["pyarrow"],
        },
        {
            "label": "record(), wide batches, against `statistics=False`",
            "figure": f"{record['ours'] / record['bare']:.2f}x the time",
            "target": "at most 1.10x",
            "reached": record["ours"] <= record["bare"] * 1.1,
        },
    ]


def run_engines(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure queries of DuckDB (engines.py): rows of a label and a figure."""
    megabytes = "200" if args.quick else "4000"
    asof = ask_script(args, "engines.py", "asof")
    few = ask_script(args, "engines.py", "--megabytes", megabytes, "filter")
    label = (
        f"DuckDB, a filter for 1 % of {few['bytes'] / 1e9:.1f} GB: a recording, opened "
        "and registered, against"
    )
    peers = [
        ("mapped", "its mapped pyarrow table", 5),
        ("parquet", "DuckDB's Parquet file of the same data", 2),
    ]
    rows = [
        {
            "label": f"{label} {peer}",
            "figure": f"{few[way] / few['ours']:.1f}x faster "
            f"({few['ours'] * 1e3:.0f} ms); in a new process "
            f"{few[f'{way}_first'] / few['ours_first']:.1f}x",
            "target": f"{times}x faster",
            "reached": few[way] >= few["ours"] * times,
        }
        for way, peer, times in peers
    ]
    return [
        *rows,
        {
            "label": "DuckDB, ASOF join of 20,000 and 200,000 rows: registered caches "
            "against pyarrow tables",
            "figure": f"{asof['ours'] / asof['tables']:.2f}x the time "
            f"({asof['ours'] * 1e3:.0f} ms)",
            "target": "at most 1.2x",
            "reached": asof["ours"] <= asof["tables"] * 1.2,
        },
    ]


def run_large(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure several passes (large.py): rows of a label and a figure."""

    def ask(*words: str) -> dict[str, float]:
        return ask_script(args, "large.py", *words)

    scale = 20 if args.quick else 1
    memory = ask("memory", "--megabytes", str(4000 // scale))
    grown = memory["grown"] / 1e6
    few = ask("passing", "--batches", str(8000 // scale))["seconds"]
    many = ask("passing", "--batches", str(80_000 // scale))["seconds"]
    size = memory["file_bytes"] / 1e9
    rows: list[dict[str, Any]] = [
        {
            "label": f"recording of {size:.1f} GB, memory_capacity='64MB': "
            "anonymous memory grows by",
            "figure": f"{grown:.0f} MB",
            "target": "at most 100 MB",
            "reached": grown <= 100,
        },
        {
            "label": f"{80_000 // scale:,} one-row batches through max_readers=1, "
            f"against {8000 // scale:,}",
            "figure": f"{many / few:.1f}x the time",
            "target": "at most 10x",
            "reached": many / few <= 10,
        },
    ]
    rows += run_recordings(args) + run_engines(args)
    print("\nlarge and long recordings")
    print_figures(rows)
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rust", type=Path, required=True, help="folder with batchcorder 0.1.3"
    )
    parser.add_argument(
        "--build", type=Path, required=True, help="build folder, made with -Dbench=true"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: less data")
    parser.add_argument("--rounds", type=int, help="how often all is measured")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this one")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only this one")
    parser.add_argument("--disk-path", help="where the files go (default: temporary)")
    parser.add_argument("--json", type=Path, help="all results, in a file")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    return args


def main() -> None:
    args = parse_arguments()
    began = time.monotonic()
    about = machine(rust=True)
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    groups = [GROUPS[name] for name in args.group or GROUPS]
    results = []
    for name in args.shape or SHAPES:
        results += run_shape(name, groups, args)
    large = [] if args.shape or args.group else run_large(args)
    targets = [t for result in results for row in result["rows"] for t in row["targets"]]
    targets += large
    reached = sum(target["reached"] is True for target in targets)
    seconds = time.monotonic() - began
    print(f"\n{reached} of {len(targets)} targets reached; {seconds:.0f} s")
    if args.json is not None:
        report = {"machine": about, "results": results, "large": large}
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
