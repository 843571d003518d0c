"""
The interpreter ends with status 0 while threads and C code are at work.

BC_EXIT_RUNS and BC_EXIT_SEED set the number of runs and the seed (`make exits`).
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import run_python
from tiers import TIERS

RUNS = int(os.environ.get("BC_EXIT_RUNS", 20))
SEED = int(os.environ.get("BC_EXIT_SEED", 1))

PRELUDE = """
    import ctypes, itertools, os, sys, threading
    from tiers import maker_here
    from cstream import stream_in
    from helpers import *
    from python_sources import CONSUMERS
    make = maker_here()

    def endless(reached, stuck_at=1 << 60, enough=50):
        # Uses no globals: the module may be gone before the source.
        def generate(reached=reached, batch=batch, count=itertools.count, never=never):
            for i in count():
                if i == stuck_at:
                    reached.set()
                    never.wait()
                if i == enough:
                    reached.set()
                yield batch(4 * i)
        return pa.RecordBatchReader.from_batches(SCHEMA, generate())

    never = threading.Event()
    reached = threading.Event()

    def leave():
        os.write(1, b"leaving\\n")
        sys.exit(0)
"""

# The source is stuck or endless. The draw selects `prefetch` and the tier.
THREADS = """
    # Imported here: some abort if the interpreter ends while a thread imports them.
    import arro3.core, datafusion, nanoarrow, polars
    cache = make(endless(reached, {stuck_at}), prefetch={prefetch}, {room})
    names = {names}
    readers = [cache.reader() for _ in names]
    def read(name, reader):
        if name == "shared":
            return list(readers[0])
        return [None for _ in reader] if name == "own" else CONSUMERS[name](reader)
    tasks = [Task(read, *both) for both in zip(names, readers)]
    assert reached.wait(120)
    leave()
"""
# All tasks are in a call, and a task or the prefetch thread calls the source.
KEPT = """
    keeper = ctypes.CDLL({library!r})
    if {before}:
        keeper.keeper_begin()
    caches = [
        make(Source(numbered(5)), prefetch={prefetch}),
        make(pa.table({{"id": list(range(20))}}).to_reader(4), prefetch={prefetch}),
        make(endless(reached, enough=3), prefetch={prefetch}),
    ]
    if not {before}:
        keeper.keeper_begin()
    for how in range(4):
        for cache in caches:
            capsule = cache.reader().__arrow_c_stream__()
            stream = ctypes.byref(stream_in(capsule))
            assert keeper.keeper_keep(stream, how, 2) == 0
    {drop}
    leave()
"""


def threads(draw: random.Random) -> str:
    """Return a script that exits while threads are in calls."""
    kinds = ["own", "shared", "iteration", "pyarrow", "nanoarrow", "arro3", "polars"]
    kinds += ["polars scan", "datafusion"]
    # DuckDB is left out: its threads abort if they take the GIL of an interpreter that
    # ends.
    stuck = draw.random() < 0.4
    names = [draw.choice(kinds) for _ in range(draw.randint(1, 6))]
    return THREADS.format(
        stuck_at=draw.randrange(3) if stuck else 1 << 60,
        prefetch=draw.choice((None, None, 3, 1 << 40)),
        # With `max_readers`, batches are evicted once they are read.
        room="" if stuck or draw.random() < 0.5 else f"max_readers={len(names)}",
        names=names,
    )


def kept(draw: random.Random, ccode: Path) -> str:
    """Return a script that leaves streams to C code at its exit."""
    return KEPT.format(
        library=str(ccode),
        before=draw.random() < 0.5,
        prefetch=draw.choice((None, 1, 1 << 40)),
        drop=draw.choice(("del cache, caches", "pass")),
    )


def check_exit(code: str, tier: str, path: Path) -> str:
    """Run a script that exits. Check its status 0, and that no file remains."""
    path.mkdir()
    run = run_python(PRELUDE + code, timeout=300, TIER=tier, TIER_PATH=str(path))
    words = f"rc {run.returncode}\n{code}\n{tier}\n{run.stdout}\n{run.stderr}"
    assert run.returncode == 0, words
    assert "leaving" in run.stdout.splitlines(), words
    assert list(path.iterdir()) == [], words
    return run.stdout


def check_kept(out: str) -> None:
    lines = out.splitlines()
    assert lines[-1] == "let go of 12", out
    reads = [line for line in lines if line.startswith("kept: ")]
    assert len(reads) == 9, out
    for line in reads:
        whole = line == "kept: 3 batches, 0 "
        assert whole or "125 The caller is shutting down" in line, out


@pytest.mark.parametrize(
    "numbers", [range(4), pytest.param(range(4, RUNS), marks=pytest.mark.long)]
)
def test_exits(numbers: range, ccode: Path, tmp_path: Path) -> None:
    """Two scripts run at a time, since they mostly wait."""

    def run(number: int) -> None:
        draw = random.Random(f"{SEED} {number}")
        tier = draw.choice(list(TIERS))
        path = tmp_path / str(number)
        if number % 2:
            check_kept(check_exit(kept(draw, ccode), tier, path))
        else:
            check_exit(threads(draw), tier, path)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, number) for number in numbers]:
            done.result()
