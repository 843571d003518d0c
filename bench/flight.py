#!/usr/bin/env python3
"""Measure batchcorder.flight against a bare pyarrow Flight server; prints and saves JSON.

All servers and clients run on this machine, in processes of their own. The bare server
has the table in memory. Rates are best of several; both servers take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl

import batchcorder
from batchcorder import flight

ROWS, BATCHES, COLUMNS = 65536, 160, 8
CLIENTS = 32
FOLLOWERS, FOLLOWED, PROCESSES = 1000, 30, 4
LIVE_ROWS = 1000


def batches() -> Iterator[pa.RecordBatch]:
    draw = np.random.default_rng(0)
    for _ in range(BATCHES):
        yield pa.record_batch({f"c{i}": draw.random(ROWS) for i in range(COLUMNS)})


def size_of_table() -> int:
    return 8 * ROWS * COLUMNS * BATCHES


# ---- roles of processes ----


def serve_bare(path: str) -> None:
    mapped = batchcorder.open(path).to_table()
    # Copied, so that the table is in memory as a user's is.
    table = pa.Table.from_batches(
        [
            pa.record_batch([np.array(column) for column in batch], schema=batch.schema)
            for batch in mapped.to_batches()
        ]
    )

    class Bare(fl.FlightServerBase):
        def do_get(self, context: Any, ticket: Any) -> Any:
            return fl.RecordBatchStream(table)

    server = Bare("grpc://127.0.0.1:0")
    print(f"grpc://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


def serve_ours(path: str) -> None:
    server = flight.serve(path)
    print(server.location, flush=True)
    sys.stdin.read()
    server.close(timeout=1)


def write_live(path: str) -> None:
    """Record a batch with its time whenever a line comes on standard input."""
    schema = pa.schema({"sent": pa.int64(), "value": pa.float64()})

    def live() -> Iterator[pa.RecordBatch]:
        values = pa.array(np.zeros(LIVE_ROWS))
        for _ in sys.stdin:
            sent = pa.array(np.full(LIVE_ROWS, time.monotonic_ns()))
            yield pa.record_batch([sent, values], schema=schema)

    print("ready", flush=True)
    batchcorder.record(pa.RecordBatchReader.from_batches(schema, live()), path).close()


def follow(location: str, name: str, count: int) -> None:
    """Follow in `count` streams; print the lags of all batches in milliseconds."""
    lags: list[float] = []
    ready = threading.Barrier(count + 1)

    def one() -> None:
        client = flight.connect(location)
        stream = client.stream(name, follow=True)
        stream.read_next_batch()
        ready.wait()
        for batch in stream:
            lags.append((time.monotonic_ns() - batch[0][0].as_py()) / 1e6)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(lags), flush=True)


ROLES = {"bare": serve_bare, "ours": serve_ours, "live": write_live}


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def memory_of(child: subprocess.Popen[str]) -> int:
    """Return the bytes of a process that are its own, without mapped files."""
    for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


# ---- measurements ----


class Plain:
    """pyarrow's client, with a connection of its own."""

    def __init__(self, location: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._client = fl.FlightClient(location, generic_options=options)
        # Many handshakes at once would pass their deadlines on a busy machine.
        self._client.wait_for_available(60)

    def read(self, name: str) -> int:
        ticket = fl.Ticket(json.dumps({"name": name}).encode())
        return sum(batch.num_rows for batch in self._client.do_get(ticket).to_reader())


class Ours:
    """Our client."""

    def __init__(self, location: str) -> None:
        self._client = flight.connect(location)
        self._client.list()

    def read(self, name: str) -> int:
        return sum(batch.num_rows for batch in self._client.stream(name))


def rate(kind: type[Plain] | type[Ours], location: str, name: str, clients: int) -> float:
    """Return GB/s of all clients together, in threads of this process."""
    rows: list[int] = []
    threads = [
        threading.Thread(
            target=lambda client: rows.append(client.read(name)), args=(one,)
        )
        for one in [kind(location) for _ in range(clients)]
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    assert rows == [ROWS * BATCHES] * clients
    return clients * size_of_table() / seconds / 1e9


def throughput(path: str, rounds: int) -> dict[str, float]:
    name = os.path.basename(path)
    found: dict[str, list[float]] = {}
    with process("bare", path) as bare, process("ours", path) as ours:
        at_bare, at_ours = line_of(bare), line_of(ours)
        for _ in range(rounds):
            for key, kind, at, clients in (
                ("bare server, pyarrow's client", Plain, at_bare, 1),
                ("our server, pyarrow's client", Plain, at_ours, 1),
                ("our server, our client", Ours, at_ours, 1),
                (f"bare server, {CLIENTS} clients", Plain, at_bare, CLIENTS),
                (f"our server, {CLIENTS} clients", Plain, at_ours, CLIENTS),
                (f"our server, {CLIENTS} of our clients", Ours, at_ours, CLIENTS),
            ):
                found.setdefault(key, []).append(rate(kind, at, name, clients))
        memory = memory_of(ours) / 1e6
    return {key: max(values) for key, values in found.items()} | {"memory, MB": memory}


def growth(path: str) -> list[float]:
    """Return the memory of a server in MB, after 1, 10 and 100 streams."""
    name = os.path.basename(path)
    sizes = []
    with process("ours", path) as ours:
        at = line_of(ours)
        for count in (1, 9, 90):
            for _ in range(count):
                Plain(at).read(name)
            sizes.append(memory_of(ours) / 1e6)
    return sizes


def followers(folder: str) -> dict[str, float]:
    path = os.path.join(folder, "live.arrows")
    each = FOLLOWERS // PROCESSES
    with process("live", path) as writer, process("ours", folder) as server:
        assert writer.stdin is not None
        line_of(writer)
        location = line_of(server)
        before = memory_of(server)
        _say(writer)
        while not os.path.exists(path):
            time.sleep(0.01)
        follow = [process("follow", location, "live.arrows", str(each))
                  for _ in range(PROCESSES)]  # fmt: skip
        children = [one.__enter__() for one in follow]
        for child in children:
            line_of(child)
        memory = memory_of(server)
        start = time.perf_counter()
        for _ in range(FOLLOWED):
            _say(writer)
            time.sleep(0.5)
        writer.stdin.close()
        lags = [lag for child in children for lag in json.loads(line_of(child))]
        seconds = time.perf_counter() - start
        after = memory_of(server)
        for one in follow:
            one.__exit__(None, None, None)
    assert len(lags) == FOLLOWERS * FOLLOWED
    lags.sort()
    return {
        "followers": FOLLOWERS,
        "batches": len(lags),
        "MB": len(lags) * LIVE_ROWS * 16 / 1e6,
        "seconds": seconds,
        "lag, median, ms": statistics.median(lags),
        "lag, 99 %, ms": lags[len(lags) * 99 // 100],
        "lag, most, ms": lags[-1],
        "memory for a follower, KB": (memory - before) / FOLLOWERS / 1e3,
        "memory at the end, MB": after / 1e6,
    }


def _say(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](sys.argv[2])
        return
    if len(sys.argv) > 1 and sys.argv[1] == "follow":
        follow(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.json.parent) as folder:
        live = followers(folder)
        path = os.path.join(folder, "table.arrows")
        stream = pa.RecordBatchReader.from_batches(next(batches()).schema, batches())
        batchcorder.record(stream, path).close()
        found = {
            "throughput": throughput(path, options.rounds),
            "memory": growth(path),
            "followers": live,
        }
    options.json.write_text(json.dumps(found, indent=1))
    print(options.json.read_text())


if __name__ == "__main__":
    main()
