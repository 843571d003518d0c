"""The results of scaling_simulation.py as Markdown tables."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]


def _table(head: list[str], rows: list[list[str]], right: str = "") -> list[str]:
    """Return a table. `right` has an `r` for each column that is aligned right."""
    right = right or "-" + "r" * (len(head) - 1)
    return [
        f"| {' | '.join(head)} |",
        "|" + "".join("--:|" if side == "r" else "---|" for side in right),
        *[f"| {' | '.join(row)} |" for row in rows],
        "",
    ]


def time_text(seconds: float) -> str:
    for limit, unit, divisor in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"


def size_text(nbytes: float) -> str:
    return f"{nbytes / 1e12:g} TB" if nbytes >= 1e12 else f"{nbytes / 1e9:g} GB"


def number_text(value: float, unit: str) -> str:
    """Return a number with its unit, in the largest unit that fits."""
    if unit in ("B", "B/s"):
        for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= factor:
                return f"{value / factor:.3g} {prefix}{unit}"
    if unit == "s" and value >= 3600:
        return f"{value / 3600:,.0f} h"
    return f"{value:,g} {unit}".rstrip().replace("1/s", "a second")


def validation_lines(rows: Rows) -> list[str]:
    cells = []
    for row in rows:
        guess, real = row["predicted"], row["measured"]
        ratio = "calibrated" if row["calibrated"] else f"{guess / real:.2f}x"
        cells.append([row["point"], f"{guess:.3g}", f"{real:.3g}", ratio])
    head = ["on one machine", "predicted", "measured", "ratio"]
    return ["### Predicted and measured", "", *_table(head, cells)]


MEASURED = {
    "one_client": ("B/s", "one stream of a Flight server"),
    "batch_seconds": ("s", "a Flight server's time for each batch, on all processors"),
    "follower_seconds": ("s", "the same, of a batch for a waiting follower"),
    "batch_rate": ("B/s", "a Flight server's bytes beside this time, on all processors"),
    "cores": ("", "processors of the measured machine"),
    "first_pass": ("B/s", "first pass of one reader, with checksums"),
    "sum_column": ("B/s", "sum of a column by one reader, in the page cache"),
}


def assumptions_lines(given: dict[str, Any], figures: dict[str, float]) -> list[str]:
    cells = []
    for name, (unit, about) in MEASURED.items():
        value = figures[name]
        text = f"{value * 1e6:.3g} µs" if unit == "s" else number_text(value, unit)
        cells.append([about, text, "measured"])
    for one in given.values():
        source = one["source"]
        kind = source if source == "measured" else f"assumed: {source}"
        cells.append([one["about"], number_text(one["value"], one["unit"]), kind])
    return ["### Numbers", "", *_table(["number", "value", "source"], cells, "-r-")]


def epochs_lines(rows: Rows) -> list[str]:
    sizes = sorted({row["size"] for row in rows})
    groups: dict[tuple[str, int], Rows] = {}
    for row in rows:
        groups.setdefault((row["way"], row["workers"]), []).append(row)
    names = list(dict.fromkeys(row["way"] for row in rows))
    cells = []
    for (way, workers), group in sorted(
        groups.items(), key=lambda item: (names.index(item[0][0]), item[0][1])
    ):
        times = [time_text(row["seconds"]) if "rate" in row else "" for row in group]
        last = group[-1]
        rate = f"{last['rate'] / 1e9:,.3g}" if "rate" in last else ""
        second = f"{last['second']} ({last['second_used']:.0%})" if "rate" in last else ""
        second = second.replace("%", " %")
        cells.append([way, f"{workers:,}", *times, rate, last["first"], second])
    largest = size_text(sizes[-1])
    head = ["way", "workers", *map(size_text, sizes), f"GB/s, {largest}"]
    head += [f"saturated first, {largest}", "second, and its use"]
    return ["### Time of an epoch", "", *_table(head, cells, "-rrrrr--")]


def trouble_lines(rows: Rows) -> list[str]:
    names = list(dict.fromkeys(row["trouble"] for row in rows))
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        text = time_text(row["seconds"])
        if time_text(row["seconds_most"]) != text:
            text += f", at most {time_text(row['seconds_most'])}"
        found.setdefault(row["way"], {})[row["trouble"]] = text
    cells = [
        [way, *[texts.get(name, "") for name in names]] for way, texts in found.items()
    ]
    head = ["10 TB, 1,000 workers", *names]
    return ["### Failures and slow machines", "", *_table(head, cells)]


def batch_lines(rows: Rows) -> list[str]:
    cells = []
    for row in rows:
        rate, network = row["rate"], row["network"]
        first = "processors" if rate < network else "network"
        cells.append(
            [
                number_text(row["batch"], "B"),
                number_text(rate, "B/s"),
                number_text(min(rate, network), "B/s"),
                first,
            ]
        )
    head = ["batch", "processors allow", "the server sends", "saturated first"]
    return [
        "### A Flight server by the size of a batch",
        "",
        *_table(head, cells, "rrr-"),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """Return the lines of all tables."""
    return [
        *validation_lines(found["validation"]),
        *assumptions_lines(found["given"], found["measured"]),
        *epochs_lines(found["epochs"]),
        *batch_lines(found["batches"]),
        *trouble_lines(found["troubles"]),
    ]
