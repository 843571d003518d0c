"""The results of flight.py and ray_data.py as Markdown tables."""

from __future__ import annotations

from typing import Any

Report = dict[str, Any]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|---|" + "--:|" * (len(head) - 1),
        *[f"| {' | '.join(row)} |" for row in rows],
        "",
    ]


def flight_lines(report: Report) -> list[str]:
    """Return the tables of a report of flight.py."""
    rates = dict(report["throughput"])
    memory = rates.pop("memory, MB")
    bare = rates["bare server, pyarrow's client"]
    one = rates["our server, pyarrow's client"]
    rows = [
        [key, f"{rate:.2f}", f"{rate / (one if '32' in key else bare):.2f}x"]
        for key, rate in rates.items()
    ]
    first, *_, last = report["memory"]
    lines = ["### Flight, a table of 671 MB", ""]
    lines += _table(["server and clients", "GB/s", "of one client"], rows)
    lines += [
        "The last column compares one client with the bare server's one client, and 32 "
        "clients together with our server's one client.",
        "",
        f"Memory of our server: {memory:.0f} MB after all of these streams, "
        f"{first:.1f} MB after one stream, {last:.1f} MB after 100 streams one by one.",
        "",
        "### Flight, followers of one growing recording",
        "",
    ]
    live = report["followers"]
    names = [name for name in live if name != "followers"]
    lines += _table(
        ["", f"{live['followers']:,} followers"],
        [[name, f"{live[name]:,.1f}".removesuffix(".0")] for name in names],
    )
    return lines


def ray_lines(report: Report) -> list[str]:
    """Return the table of a report of ray_data.py."""
    rows = [
        [way, *(f"{rate / 1e6:,.1f}" for rate in rates.values())]
        for way, rates in report["results"].items()
    ]
    options = report["options"]
    count = int(options["files"]) * int(options["rows"])
    head = ["way", "iter_batches", "map_batches"]
    return [
        f"### Ray Data, {count:,} rows, {report['bytes'] / 1e6:.0f} MB, million rows/s",
        "",
        *_table(head, rows),
    ]


def scaling_text(flight: Report | None, ray: Report | None) -> str:
    """Return the section of both reports."""
    lines = [] if flight is None else flight_lines(flight)
    lines += [] if ray is None else ray_lines(ray)
    return "\n".join(lines)
