"""
Measure recordings.

    recordings.py --build BUILD --batches 100000 random   opening, reading at random.
    recordings.py --megabytes 2000 workers                memory of 4 readers of one file.
    recordings.py --megabytes 500 record                  writing, against pyarrow.

Each command prints a line of JSON. run.py starts it in a separate process.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import math
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import batchcorder
from large import wide

WORKERS = 4


def random(build: Path, n_batches: int, folder: str) -> dict[str, float]:
    """Open a recording of many small batches, and read them at random, in C."""
    batch = pa.record_batch({"id": np.arange(100), "value": np.arange(100) * 0.5})
    source = pa.RecordBatchReader.from_batches(
        batch.schema, (batch for _ in range(n_batches))
    )
    path = os.path.join(folder, "many.arrows")
    batchcorder.record(source, path).close()
    run = subprocess.run(
        [str(build / "bench" / "bench_random"), path, str(n_batches)],
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, float] = json.loads(run.stdout)
    return answer


def private_bytes() -> int:
    """Return the private memory of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))


def sum_all(cache: batchcorder.StreamCache) -> float:
    return sum(c.to_numpy().sum() for batch in cache for c in batch.columns)


def scan(cache: batchcorder.StreamCache, answers: Connection) -> None:
    """Read all bytes of an unpickled recording, and send the growth of memory."""
    sum_all(batchcorder.StreamCache(wide(1)))  # load all imports first
    before = private_bytes()
    total = sum_all(cache)
    # While only one process has a page mapped, the page counts as private.
    answers.send(total)
    answers.recv()
    answers.send(private_bytes() - before)
    answers.recv()


def workers(megabytes: int, folder: str) -> dict[str, float]:
    """Scan one recording in processes. Return the growth of their private memory."""
    path = os.path.join(folder, "large.arrows")
    n_batches = max(2, megabytes * 1_000_000 // (12 * (1 << 16) * 8))
    cache = batchcorder.record(wide(n_batches), path)
    context = multiprocessing.get_context("spawn")
    running: list[tuple[Any, Connection]] = []
    began = time.perf_counter()
    for _ in range(WORKERS):
        ours, theirs = context.Pipe()
        process = context.Process(target=scan, args=(cache, theirs))
        process.start()
        running.append((process, ours))
    assert len({ours.recv() for _, ours in running}) == 1
    for _, ours in running:
        ours.send(None)
    grown = [ours.recv() for _, ours in running]
    for process, ours in running:
        ours.send(None)
        process.join()
    return {
        "grown": float(sum(grown)),
        "bytes": float(os.path.getsize(path)),
        "seconds": time.perf_counter() - began,
    }


def record(megabytes: int, folder: str) -> dict[str, float]:
    """
    Return the least times of writing ready batches.

    With the package, with the package but without statistics, and with pyarrow.
    """
    path = os.path.join(folder, "written.arrows")
    batches = list(wide(max(2, megabytes * 1_000_000 // (12 * (1 << 16) * 8))))
    schema = batches[0].schema
    options = inspect.signature(batchcorder.record).parameters
    without: dict[str, Any] = {"statistics": False} if "statistics" in options else {}
    # Its replay costs nothing, so that the writing alone is measured.
    source = batchcorder.StreamCache(pa.RecordBatchReader.from_batches(schema, batches))
    source.ingest_all()

    def by_pyarrow() -> None:
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, schema) as out:
            for batch in batches:
                out.write_batch(batch)

    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: batchcorder.record(source, path).close(),
        "bare": lambda: batchcorder.record(source, path, **without).close(),
        "pyarrow": by_pyarrow,
    }
    least = dict.fromkeys(ways, math.inf)
    # Each way follows each other way: the system still works on the file before.
    for order in 2 * list(itertools.permutations(ways)):
        for name in order:
            began = time.perf_counter()
            ways[name]()
            least[name] = min(least[name], time.perf_counter() - began)
            os.unlink(path)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["random", "workers", "record"])
    parser.add_argument("--build", type=Path)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--disk-path", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="batchcorder-bench-", dir=args.disk_path
    ) as folder:
        if args.what == "random":
            answer = random(args.build, args.batches, folder)
        elif args.what == "workers":
            answer = workers(args.megabytes, folder)
        else:
            answer = record(args.megabytes, folder)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
