"""The figures of docs/performance.md on which the simulation depends."""

from __future__ import annotations

import re

Numbers = dict[str, float]
# The table, the followers and the pause of bench/flight.py.
LARGE, BATCHES = 65536 * 8 * 8, 160
FOLLOWERS, PAUSE = 1000, 0.5
# The smallest batch of bench/flight_batches.py.
SMALL = 1024


def _cell(page: str, section: str, row: str, column: int = 1) -> float:
    """Return a number in a table of docs/performance.md."""
    text = page.split(f"### {section}", 1)[1].split("\n#", 1)[0]
    line = next(one for one in text.splitlines() if one.startswith(f"| {row} |"))
    word = line.strip("|").split("|")[column].strip()
    return float(word.split(" ")[0].rstrip(":").replace(",", ""))


def measured(page: str) -> Numbers:
    """Return the figures of docs/performance.md on which the simulation depends.

    The server's time for a batch is `batch_seconds + bytes / batch_rate`. It follows from
    one client, with batches of 4 MiB and of 1 KiB. It includes the time of the client,
    because both share the two processors. A follower waits for each batch, so a batch for
    a follower takes longer: `follower_seconds`.
    """
    scaling = page.split("## Beyond one machine", 1)[1]
    machine = re.search(r"^Machine: .*?, (\d+) cores", page, re.M)
    assert machine is not None
    cores = int(machine[1])
    live = "Flight, followers of one growing recording"
    one = 1e9 * _cell(scaling, "Flight, a table", "our server, our client")
    many = 1e9 * _cell(scaling, "Flight, a table", "our server, 32 of our clients")
    batches, lag, middle, last, seconds = (
        _cell(scaling, live, row)
        for row in (
            "batches",
            "lag, 99 %, ms",
            "lag, median, ms",
            "lag, most, ms",
            "seconds",
        )
    )
    by_size = "Flight, by the size of a batch"
    small_seconds = _cell(scaling, by_size, f"{SMALL:,}", 2) / 1e6
    rate = (LARGE - SMALL) / (LARGE / one - small_seconds)
    sizes = {
        f"{name}, {label}": 1e9 * _cell(scaling, by_size, label, column)
        for label in ("64,000", "256,000", "1,024,000")
        for name, column in (("one client", 1), ("8 clients", 3))
    }
    wide = "12 float64 columns, 403 MB, from disk"
    images = "Training, 200,000 rows, images of 3,072 bytes, sequential"
    store = "Object stores"
    whole = _cell(scaling, store, "all columns", 3)
    return {
        # Of a server with a limited bandwidth, which is the first table.
        "store_part": _cell(scaling, store, "floor")
        / _cell(scaling, store, "all columns"),
        "opening": _cell(scaling, store, "opening", 2),
        "column": _cell(scaling, store, "one column", 3) / (whole / 12),
        "cores": cores,
        "one_client": one,
        "clients_32": many,
        "rounds": batches / FOLLOWERS,
        "lag_median": middle / 1e3,
        "lag_99": lag / 1e3,
        "lag_most": last / 1e3,
        "live_seconds": seconds,
        # 99 % of the followers have the batch after this time.
        "follower_seconds": lag / 1e3 / (0.99 * FOLLOWERS),
        "batch_seconds": small_seconds - SMALL / rate,
        "batch_rate": rate,
        "first_pass": 403e6 / (_cell(page, wide, "first pass") / 1e3),
        "sum_column": 403e6 / 12 / (_cell(page, wide, "sum one column") / 1e3),
        "loader": 3072 * _cell(page, images, "`RecordingDataset` [1]", 2),
        **sizes,
    }
