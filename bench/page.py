#!/usr/bin/env python3
"""
Write the results of a run into docs/performance.md, and its charts beside it.

    bench/page.py RESULTS.json docs/performance.md [--tpch TPCH.json]
    bench/page.py docs/performance.md --training TRAINING.json
    bench/page.py docs/performance.md --flight FLIGHT.json --ray RAY.json

training.py has a section of its own, and so have flight.py and ray_data.py together. The
other results keep these sections.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from marks import put
from scaling_report import scaling_text
from training_report import pairs, section

BEGIN = "<!-- results: written by bench/page.py -->"
TRAINING = "<!-- training: written by bench/page.py -->"
SCALING = "<!-- scaling: written by bench/page.py -->"
SHAPES = {
    "one-row": "50,000 one-row batches",
    "strings": "strings, dictionaries, lists",
    "wide": "12 float64 columns, 403 MB",
}
CHARTS = {
    "memory": [
        ("memory.ingest", "ingest"),
        ("memory.iterate", "iterate, first time"),
        ("memory.again", "iterate again"),
        ("memory.consume", "bare C consumer"),
    ],
    "disk": [
        ("disk.ingest", "ingest"),
        ("disk.first", "first pass"),
        ("disk.iterate", "iterate"),
        ("disk.sum", "sum one column"),
        ("disk.consume", "bare C consumer"),
    ],
}


def time_text(seconds: float | None, batches: int, per_batch: bool) -> str:
    if seconds is None:
        return ""
    return f"{seconds / batches * 1e6 if per_batch else seconds * 1e3:.3g}"


def verdict(target: dict[str, Any]) -> str:
    if target["reached"] is None:
        return f"{target['target']}: not measured"
    if target["reached"]:
        return f"{target['target']}: reached"
    return f"{target['target']}: **missed**, {target['figure']:.3g}"


def table(title: str, result: dict[str, Any]) -> list[str]:
    """Return the rows of one group on one shape as a Markdown table."""
    batches, rows = result["batches"], result["rows"]
    per_batch = max(row["ours_seconds"] for row in rows) / batches < 50e-6
    unit = "microseconds a batch" if per_batch else "milliseconds in all"
    lines = [
        f"### {title}: {unit}",
        "",
        "| | ours | 0.1.3 | faster | base | of the base | targets |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, rust, base = (
            time_text(row[f"{who}_seconds"], batches, per_batch)
            for who in ("ours", "rust", "base")
        )
        faster = f"{row['times_faster']:.1f}x" if row["times_faster"] else ""
        lines.append(
            f"| {row['label']} | {ours} | {rust} | {faster} "
            f"| {base}: {row['base_label']} | {row['times_base']:.2f}x "
            f"| {'; '.join(map(verdict, row['targets']))} |"
        )
    for label, seconds in result["beside"].items():
        alone = time_text(seconds, batches, per_batch)
        lines.append(f"| beside: {label} | | | | {alone} | | |")
    return [*lines, ""]


def figure_table(title: str, rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"### {title}", "", "| | | target |", "|---|---|---|"]
    for row in rows:
        word = "reached" if row["reached"] else "**missed**"
        lines.append(f"| {row['label']} | {row['figure']} | {row['target']}: {word} |")
    return [*lines, ""]


def tpch_tables(report: dict[str, Any]) -> list[str]:
    """Return the queries of TPC-H as Markdown tables: the sums, then each query."""
    head, *lines = report["queries"]
    rows = [head, ["---", *["--:"] * (len(head) - 1)], *lines]
    return [
        *table(f"{report['title']}, the 22 in sum", report),
        *figure_table("Single queries of TPC-H", report["figures"]),
        "Each query in milliseconds:",
        "",
        *["| " + " | ".join(row) + " |" for row in rows],
        "",
    ]


def results_text(report: dict[str, Any], tpch: dict[str, Any] | None) -> str:
    """Return the whole section with the machine, the tables and the charts."""
    about = report["machine"]
    lines = [
        f"Machine: {about['cpu']}, {about['cores']} cores, {about['system']}, Python "
        f"{about['python']}, pyarrow {about['pyarrow']}.",
        "",
        *[f"![Times faster than 0.1.3, {name}](images/{name}.svg)" for name in CHARTS],
        "",
    ]
    tiers = {"memory": "in memory", "disk": "from disk"}
    for result in report["results"]:
        title = f"{SHAPES[result['shape']]}, {tiers[result['group']]}"
        lines += table(title, result)
    if report["large"]:
        lines += figure_table("Large and long recordings, and engines", report["large"])
    if tpch is not None:
        lines += tpch_tables(tpch)
    return "\n".join(lines)


def times_text(value: float) -> str:
    return f"{value:,.0f}x" if value >= 100 else f"{value:.3g}x"


def draw(report: dict[str, Any], group: str, path: Path) -> None:
    """Draw how many times faster than 0.1.3 each scenario is, on a logarithmic scale."""
    found = {
        (result["shape"], row["scenario"]): row["times_faster"]
        for result in report["results"]
        for row in result["rows"]
    }
    scenarios = CHARTS[group]
    shapes = [name for name in SHAPES if (name, scenarios[0][0]) in found]
    figure, axes = plt.subplots(figsize=(8, 0.7 * len(scenarios) + 1.2))
    height = 0.8 / len(shapes)
    for number, shape in enumerate(shapes):
        values = [found[shape, scenario] for scenario, _ in scenarios]
        shift = (number - (len(shapes) - 1) / 2) * height
        places = [i + shift for i in range(len(values))]
        bars = axes.barh(places, values, height * 0.9, label=SHAPES[shape])
        axes.bar_label(
            bars, [times_text(value) for value in values], padding=3, fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(x for x in found.values() if x) * 4)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(scenarios)), [label for _, label in scenarios])
    axes.invert_yaxis()
    axes.set_xlabel("times faster than batchcorder 0.1.3 (logarithmic)")
    axes.set_title({"memory": "In memory", "disk": "From disk, memory_capacity=1"}[group])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="upper right", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def training_text(report: dict[str, Any]) -> str:
    """Return the section of training.py: its pairs with targets, then its tables."""
    targets = figure_table("Training: ours and a peer", pairs(report["results"]))
    about, blank, *tables = section(report)
    return "\n".join([about, blank, *targets, *tables])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?", help="results of run.py")
    parser.add_argument("page", type=Path)
    parser.add_argument("--tpch", type=Path, help="results of tpch_run.py")
    parser.add_argument("--training", type=Path, help="results of training.py")
    parser.add_argument("--flight", type=Path, help="results of flight.py")
    parser.add_argument("--ray", type=Path, help="results of ray_data.py")
    args = parser.parse_args()
    if args.results is not None:
        report = json.loads(args.results.read_text())
        tpch = None if args.tpch is None else json.loads(args.tpch.read_text())
        mpl.rcParams["svg.hashsalt"] = "batchcorder"
        images = args.page.parent / "images"
        images.mkdir(exist_ok=True)
        for group in CHARTS:
            draw(report, group, images / f"{group}.svg")
        put(args.page, BEGIN, results_text(report, tpch))
    if args.training is not None:
        put(args.page, TRAINING, training_text(json.loads(args.training.read_text())))
    if args.flight is not None and args.ray is not None:
        reports = (json.loads(path.read_text()) for path in (args.flight, args.ray))
        put(args.page, SCALING, scaling_text(*reports))


if __name__ == "__main__":
    main()
