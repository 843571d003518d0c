#!/usr/bin/env python3
"""Measure a Flight server with batches of several sizes, and write docs/performance.md.

    bench/flight_batches.py [--rounds N] [--page docs/performance.md]

The server and the clients run on this machine. Rates are best of several.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import batchcorder
import flight as servers
from batchcorder import flight
from marks import put

BEGIN = "<!-- batches: written by bench/flight_batches.py -->"
COLUMNS = 8
ROWS = (16, 64, 250, 1000, 4000, 16000, 65536)
CLIENTS = (1, 8)
BATCHES_MAX, BYTES_MAX = 8000, 300_000_000


def write(folder: str, rows: int) -> int:
    """Record equal batches of float64 columns. Return the bytes of their values."""
    draw = np.random.default_rng(0)
    batch = pa.record_batch({f"c{i}": draw.random(rows) for i in range(COLUMNS)})
    nbytes = 8 * COLUMNS * rows
    count = min(BATCHES_MAX, BYTES_MAX // nbytes)
    stream = pa.RecordBatchReader.from_batches(batch.schema, [batch] * count)
    batchcorder.record(stream, os.path.join(folder, f"{rows}.arrows")).close()
    return count * nbytes


def rate(location: str, rows: int, total: int, clients: int) -> float:
    """Return the bytes a second of all clients together."""
    connected = [flight.connect(location) for _ in range(clients)]
    for client in connected:
        client.list()
    read: list[int] = []

    def one(client: flight.Client) -> None:
        stream = client.stream(f"{rows}.arrows")
        read.append(sum(batch.num_rows for batch in stream))

    threads = [threading.Thread(target=one, args=(client,)) for client in connected]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for client in connected:
        client.close()
    assert read == [total // (8 * COLUMNS)] * clients
    return clients * total / seconds


def lines_of(rates: dict[int, list[float]]) -> list[str]:
    """Return the table of the page."""
    lines = ["### Flight, by the size of a batch", ""]
    names = ["one client" if n == 1 else f"{n} clients" for n in CLIENTS]
    heads = [f"{name}, {unit}" for name in names for unit in ("GB/s", "µs a batch")]
    lines += [f"| bytes of a batch | {' | '.join(heads)} |"]
    lines += ["|--:|" + "--:|" * len(heads)]
    for rows, found in rates.items():
        nbytes = 8 * COLUMNS * rows
        cells = [f"{one / 1e9:.3g} | {nbytes / one * 1e6:.3g}" for one in found]
        lines.append(f"| {nbytes:,} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    best = {rows: [0.0] * len(CLIENTS) for rows in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        totals = {rows: write(folder, rows) for rows in ROWS}
        with servers.process("ours", folder) as ours:
            location = servers.line_of(ours)
            for _ in range(options.rounds):
                for rows, total in totals.items():
                    for number, clients in enumerate(CLIENTS):
                        found = rate(location, rows, total, clients)
                        best[rows][number] = max(best[rows][number], found)
    text = "\n".join(lines_of(best))
    if options.page is not None:
        put(options.page, BEGIN, text)
    print(text)


if __name__ == "__main__":
    main()
