#!/usr/bin/env python3
"""
Measure recordings in an object store with a latency.

    bench/object_stores.py [--rounds N] [--page docs/performance.md]

The server is nginx on this machine, behind a proxy that waits before each answer. The
client is pyarrow's for S3. The floor is the same client: 16 threads that read ranges of
8 MiB and use no byte. Rates are best of several, in turn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

import batchcorder
from marks import put

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/python/lib"))
from httpproxy import HttpProxy
from servers import nginx

BEGIN = "<!-- objects: written by bench/object_stores.py -->"
ROWS, COLUMNS = 65536, 12
BLOCK, THREADS = 8 << 20, 16
LATENCY = 0.02
# Bytes a second of a server with a limited bandwidth: 2 Gb/s.
BANDWIDTH = 250e6


def batches(count: int) -> Iterator[pa.RecordBatch]:
    draw = np.random.default_rng(0)
    for _ in range(count):
        yield pa.record_batch({f"c{i}": draw.random(ROWS) for i in range(COLUMNS)})


def serve_proxy(port: str, bandwidth: str) -> None:
    """Run the proxy, and answer each line with the counts since the last one."""
    with HttpProxy(int(port), LATENCY, float(bandwidth) or None) as proxy:
        print(proxy.port, flush=True)
        for _ in sys.stdin:
            print(json.dumps([sum(proxy.counts().values()), proxy.sent]), flush=True)
            proxy.forget()


class Proxy:
    """The proxy in a process of its own, so that it has a GIL of its own."""

    def __init__(self, port: int, bandwidth: float) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, __file__, "proxy", str(port), str(bandwidth)]
        self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())

    def counts(self) -> tuple[int, int]:
        """Return the requests and the bytes of bodies since the last call."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        requests, sent = json.loads(self._child.stdout.readline())
        return requests, sent

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


def seconds_of(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Store:
    """One recording in the store, and an Arrow file with the same batches."""

    def __init__(self, filesystem: Any, size: int, count: int) -> None:
        self.filesystem = filesystem
        self.size = size
        self.count = count

    def floor(self) -> None:
        file = self.filesystem.open_input_file("bucket/x.arrows")

        def read(offset: int) -> int:
            return len(file.read_at(min(BLOCK, self.size - offset), offset))

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(read, range(0, self.size, BLOCK))) == self.size

    def opened(self, columns: Any = None, local: Any = None) -> Any:
        return batchcorder.open(
            "bucket/x.arrows", columns, filesystem=self.filesystem, local=local
        )

    def all_columns(self, local: Any = None) -> None:
        with self.opened(local=local) as cache:
            assert sum(batch.num_rows for batch in cache) == ROWS * self.count

    def one_column(self) -> None:
        with self.opened(["c5"]) as cache:
            assert sum(batch.num_rows for batch in cache) == ROWS * self.count

    def opening(self) -> None:
        self.opened().close()

    def arrow_stream(self) -> None:
        with self.filesystem.open_input_stream("bucket/x.arrows") as stream:
            reader = pa.ipc.open_stream(stream)
            assert sum(batch.num_rows for batch in reader) == ROWS * self.count

    def arrow_file(self, columns: list[int] | None = None) -> None:
        options = pa.ipc.IpcReadOptions(included_fields=columns or [])
        with self.filesystem.open_input_file("bucket/x.arrow") as file:
            reader = pa.ipc.open_file(file, options=options)
            total = 0
            for i in range(reader.num_record_batches):
                total += reader.get_batch(i).num_rows
            assert total == ROWS * self.count


def measure(
    ways: dict[str, Callable[[], None]], proxy: Proxy, rounds: int
) -> dict[str, dict[str, float]]:
    """Return the best seconds of each way, with its requests and bytes."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            proxy.counts()
            seconds = seconds_of(way)
            requests, sent = proxy.counts()
            if name not in best or seconds < best[name]["seconds"]:
                best[name] = {"seconds": seconds, "requests": requests, "bytes": sent}
    return best


def record(folder: Path, count: int) -> int:
    """Make a recording and an Arrow file of the same batches; return the size."""
    path = folder / "x.arrows"
    schema = next(batches(1)).schema
    reader = pa.RecordBatchReader.from_batches(schema, batches(count))
    with (
        batchcorder.record(reader, path) as cache,
        pa.ipc.new_file(str(folder / "x.arrow"), schema) as writer,
    ):
        for batch in cache:
            writer.write_batch(batch)
    return path.stat().st_size


def measured(port: int, size: int, scratch: Path, options: Any) -> dict[str, Any]:
    """Measure all ways through a proxy with a bandwidth, and some without a limit."""
    found = {}
    for name, bandwidth in (("limited", BANDWIDTH), ("unlimited", 0.0)):
        proxy = Proxy(port, bandwidth)
        filesystem = fs.S3FileSystem(
            access_key="key",
            secret_key="not-a-secret",
            endpoint_override=f"127.0.0.1:{proxy.port}",
            scheme="http",
            region="us-east-1",
        )
        store = Store(filesystem, size, options.batches)
        copies = scratch / f"copies {name}"
        ways: dict[str, Callable[[], None]] = {
            "floor": store.floor,
            "all columns": store.all_columns,
            "pyarrow: stream": store.arrow_stream,
            "pyarrow: file": store.arrow_file,
            "one column": store.one_column,
            "pyarrow: one column": lambda store=store: store.arrow_file([5]),
            "opening": store.opening,
        }
        found[name] = measure(ways, proxy, options.rounds)
        epochs: dict[str, Callable[[], None]] = {
            "first epoch": lambda store=store, at=copies: store.all_columns(at),
            "next epoch": lambda store=store, at=copies: store.all_columns(at),
        }
        found[name] |= measure(epochs, proxy, 1)
        proxy.close()
    return found


def page_of(size: int, column: int, best: dict[str, Any]) -> str:
    """Return the tables of the page."""
    lines = [
        f"### Object stores, a recording of {size / 1e6:,.0f} MB, {COLUMNS} columns",
        "",
    ]
    for kind, words in (
        ("limited", f"A server of {BANDWIDTH / 1e6:.0f} MB/s"),
        ("unlimited", "A server on the same two processors, without a limit"),
    ):
        rows = best[kind]
        lines += [
            f"{words}, which waits {1e3 * LATENCY:.0f} ms before each answer:",
            "",
            "| reading | seconds | requests | MB | MB/s |",
            "|---|--:|--:|--:|--:|",
        ]
        for name, row in rows.items():
            rate = row["bytes"] / row["seconds"] / 1e6
            lines.append(
                f"| {name} | {row['seconds']:.2f} | {row['requests']:.0f} | "
                f"{row['bytes'] / 1e6:,.1f} | {rate:,.0f} |"
            )
        ours = rows["all columns"]["seconds"]
        one = rows["one column"]
        stream, file = (
            rows[f"pyarrow: {name}"]["seconds"] for name in ("stream", "file")
        )
        lines += [
            "",
            f"All columns have {rows['floor']['seconds'] / ours:.2f} of the floor's "
            "rate. "
            f"They are read {stream / ours:.1f}x as fast as by pyarrow's reader of this "
            f"object, {file / ours:.1f}x as fast as by its reader of files. One column "
            f"fetches {one['bytes'] / column:.3f} of its bytes, "
            f"{rows['pyarrow: one column']['seconds'] / one['seconds']:.1f}x as fast as "
            "pyarrow's reader of an Arrow file.",
            "",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["proxy"]:
        serve_proxy(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--batches", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with nginx(folder) as server:
            (folder / "root/bucket").mkdir()
            size = record(folder / "root/bucket", options.batches)
            best = measured(server.port, size, folder, options)
    text = page_of(size, 8 * ROWS * options.batches, best)
    print(text)
    if options.page is not None:
        put(options.page, BEGIN, text)


if __name__ == "__main__":
    main()
