"""
Measure large recordings: memory, and the time of several passes.

    large.py --megabytes 4000 memory     anonymous memory of a recording to disk.
    large.py --batches 80000 passing     seconds for one-row batches, in and out.

Each command prints a line of JSON. run.py starts it in a separate process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from batchcorder import StreamCache

COLUMNS, ROWS = 12, 1 << 16
DISK_BYTES = 1 << 40


def anonymous() -> int:
    """Return the process's anonymous resident memory, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) << 10
    raise SystemExit("/proc/self/status has no RssAnon")


def wide(n_batches: int) -> pa.RecordBatchReader:
    """Return a stream of fresh batches. Only the consumer keeps them."""
    schema = pa.schema([(f"c{i}", pa.float64()) for i in range(COLUMNS)])

    def generate() -> Iterator[pa.RecordBatch]:
        for number in range(n_batches):
            values = np.arange(COLUMNS * ROWS, dtype=np.float64) + number
            yield pa.record_batch(list(values.reshape(COLUMNS, ROWS)), schema=schema)

    return pa.RecordBatchReader.from_batches(schema, generate())


def memory(megabytes: int, folder: str) -> dict[str, float]:
    """Record, replay twice and sum. Return the peak growth of anonymous memory."""
    n_batches = max(2, megabytes * 1_000_000 // (COLUMNS * ROWS * 8))
    for batch in wide(2):
        batch.column(0)
    before = anonymous()
    most = before
    began = time.perf_counter()
    cache = StreamCache(wide(n_batches), "64MB", folder, DISK_BYTES)
    for _ in range(3):
        total = 0.0
        for number, batch in enumerate(cache):
            total += batch.column(5)[0].as_py()
            if number % 16 == 0:
                most = max(most, anonymous())
        assert total == sum(5 * ROWS + n for n in range(n_batches))
    most = max(most, anonymous())
    seconds = time.perf_counter() - began
    file_bytes = cache.stats()["disk_bytes"]
    return {"grown": most - before, "file_bytes": file_bytes, "seconds": seconds}


def passing(n_batches: int, folder: str) -> dict[str, float]:
    """Return the least time in which one-row batches pass a cache with one reader."""
    times = []
    for _ in range(3):
        one = pa.record_batch({"id": pa.array([1]), "value": pa.array([0.5])})
        source = pa.RecordBatchReader.from_batches(one.schema, [one] * n_batches)
        cache = StreamCache(source, 1, folder, DISK_BYTES, max_readers=1)
        began = time.perf_counter()
        count = sum(1 for _ in cache)
        times.append(time.perf_counter() - began)
        assert count == n_batches
        cache.close()
    return {"seconds": min(times)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "passing"])
    parser.add_argument("--megabytes", type=int, default=4000)
    parser.add_argument("--batches", type=int, default=80_000)
    parser.add_argument("--disk-path", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="batchcorder-bench-", dir=args.disk_path
    ) as folder:
        if args.what == "memory":
            answer = memory(args.megabytes, folder)
        else:
            answer = passing(args.batches, folder)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
