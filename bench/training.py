#!/usr/bin/env python3
"""
Compare how fast a PyTorch DataLoader reads a table, by the ways of several libraries.

    bench/training.py [--json FILE]
    bench/training.py --rows 50000 --images 10000 --rounds 1 --only recording

Two tables: 32 columns of float32, and images of 3,072 bytes. Both have a label. Files are
written into build/training-data once, and are in the page cache. An epoch begins before
the loader is made, and opens the files. It ends after the last batch. The loop makes one
tensor of the features of each batch, and adds up the labels.

Every epoch has a process of its own, as has every resumption. The ways take turns, and
the best epoch counts. An epoch that takes longer than the deadline is stopped: its rate
is the one of the rows until then. A slow epoch is not repeated.

Memory is private: Private_* in /proc/PID/smaps_rollup, of the largest worker, or of the
loop's process without workers. A resumption begins at 90 % of an epoch. Its time is the
one from making the loader to its first batch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import itertools
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from training_data import BATCH, Case, write
from training_report import name_of, print_report
from workers import machine

# A slower process is not repeated.
SLOW = 15.0
# Time for imports, for data in memory and for the end of the workers.
AROUND = 60.0
PACKAGES = ("torch", "datasets", "pylance", "webdataset", "pyarrow")


# ---- in the process of an epoch ----


def private(pid: int | str) -> int:
    """Return the private memory of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))


def memory(case: Case) -> int:
    """Return the private memory of the largest worker, or of this process."""
    if case.workers == 0:
        return private("self")
    pids = [child.pid for child in multiprocessing.active_children()]
    return max((private(pid) for pid in pids if pid), default=0)


def run_epoch(name: str, case: Case, deadline: float) -> dict[str, Any]:
    """Read an epoch until the deadline. Return its rate, first batch and memory."""
    from training_loaders import CONTESTANTS, touch

    rows = labels = most = 0
    first = sampling = 0.0
    samples = {case.steps // 4, case.steps // 2, case.steps * 3 // 4}
    began = time.perf_counter()
    elapsed = 0.0
    for number, batch in enumerate(CONTESTANTS[name].load(case, 0)):
        _, y = touch(batch)
        rows += len(y)
        labels += int(y.sum())
        elapsed = time.perf_counter() - began - sampling
        if number == 0:
            first = elapsed
        if number in samples or elapsed > deadline:
            before = time.perf_counter()
            most = max(most, memory(case))
            sampling += time.perf_counter() - before
        if elapsed > deadline:
            break
    else:
        if (rows, labels) != (case.rows, case.rows * (case.rows - 1) // 2):
            raise SystemExit(f"an epoch gave {rows:,} of {case.rows:,} rows")
    stopped = rows < case.rows
    return {
        "rate": rows / elapsed,
        "seconds": elapsed,
        "first": first,
        "memory": most,
        "stopped": rows / case.rows if stopped else None,
    }


def run_resumption(name: str, case: Case, deadline: float) -> dict[str, Any]:
    """Return the time until the first batch at 90 % of an epoch."""
    from training_loaders import BY_READING, CONTESTANTS, touch

    contestant = CONTESTANTS[name]
    skip = case.steps * 9 // 10
    state = skip if contestant.state is None else contestant.state(case, skip)
    began = time.perf_counter()
    if contestant.resumes == BY_READING:
        loader = itertools.islice(contestant.load(case, 0), skip, None)
    else:
        loader = iter(contestant.load(case, state))
    batch = next(loader, None)
    if batch is None:
        raise SystemExit("no rows are left after its state")
    touch(batch)
    return {"resume": time.perf_counter() - began}


def run_one(words: list[str]) -> None:
    """Run an epoch or a resumption, and print its answer."""
    kind, name, table, rows, workers, shuffled, deadline = words
    case = Case(table, int(rows), int(workers), shuffled == "True")
    if kind == "write":
        write(case)
        answer: dict[str, Any] = {}
    else:
        import torch

        from training_loaders import CONTESTANTS

        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        torch.set_num_threads(1)
        contestant = CONTESTANTS[name]
        importlib.import_module(contestant.module)
        contestant.prepare(case)
        run = run_epoch if kind == "epoch" else run_resumption
        answer = run(name, case, float(deadline))
    print(json.dumps(answer), flush=True)
    # Workers of a stopped epoch must not keep this process, or its pipes.
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


# ---- in the process that compares ----


def ask(
    kind: str, name: str, case: Case, deadline: float, limit: float
) -> dict[str, Any]:
    """Run this script for an epoch or a resumption. Return its answer, or its failure."""
    words = [kind, name, *map(str, (*case, deadline))]
    # Workers that were left end with the group.
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"gave nothing within {limit:.0f} s"}
    finally:
        kill_group(process)
    if process.returncode != 0 or not out.strip():
        last = (errors.strip().splitlines() or ["it died"])[-1]
        return {"failed": last[:200]}
    answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return answer


def kill_group(process: subprocess.Popen[str]) -> None:
    """End the processes of a group, also those that its leader left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def summary(
    epochs: list[dict[str, Any]], resumptions: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the best of the epochs and resumptions of one way, and its notes."""
    good = [epoch for epoch in epochs if "rate" in epoch]
    found: dict[str, Any] = {"notes": {}}
    if good:
        best = max(good, key=lambda epoch: epoch["rate"])
        found |= {
            "rate": best["rate"],
            "first": min(epoch["first"] for epoch in good),
            "memory": max(epoch["memory"] for epoch in good),
        }
        if best["stopped"] is not None:
            share = math.floor(best["stopped"] * 100)
            found["notes"]["rate"] = (
                f"stopped at the deadline, after {share} % of the rows"
            )
    elif epochs:
        found["notes"]["rate"] = epochs[0]["failed"]
    times = [each["resume"] for each in resumptions if "resume" in each]
    if times:
        found["resume"] = min(times)
    elif resumptions:
        found["notes"]["resume"] = resumptions[0]["failed"]
    return found


def compare(
    case: Case, names: list[str], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure a case with each way in turn."""
    from training_loaders import CONTESTANTS

    missing = {name: CONTESTANTS[name].missing(case) for name in names}
    able = [name for name in names if not missing[name]]
    answers: dict[str, dict[str, list[dict[str, Any]]]] = {
        name: {"epoch": [], "resume": []} for name in able
    }
    slow = set()
    for turn in range(args.rounds):
        for name in able if turn % 2 == 0 else reversed(able):
            for kind, done in answers[name].items():
                if (kind, name) in slow:
                    continue
                began = time.monotonic()
                done.append(ask(kind, name, case, args.deadline, args.deadline + AROUND))
                if time.monotonic() - began > SLOW:
                    slow.add((kind, name))
    rows = []
    for name in names:
        row: dict[str, Any] = {"notes": {"rate": missing[name]}}
        if name in able:
            row = summary(answers[name]["epoch"], answers[name]["resume"])
        contestant = CONTESTANTS[name]
        row |= {"name": name, "words": contestant.words, "resumes": contestant.resumes}
        rows.append({**case._asdict(), **row})
    return rows


def main() -> None:
    from training_loaders import CONTESTANTS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2, help="epochs of each way")
    parser.add_argument("--deadline", type=float, default=8, help="seconds of an epoch")
    parser.add_argument("--only", action="append", choices=CONTESTANTS)
    parser.add_argument("--table", action="append", choices=["rows", "images"])
    parser.add_argument("--json", type=Path, help="all results, in a file")
    args = parser.parse_args()
    began = time.monotonic()
    results: list[dict[str, Any]] = []
    for table, rows in (("rows", args.rows), ("images", args.images)):
        if args.table and table not in args.table:
            continue
        written = ask("write", "", Case(table, rows, 0, False), 0, 1800)
        if written:
            raise SystemExit(f"the files of a table: {written['failed']}")
        for shuffled, workers in itertools.product((False, True), (0, 2)):
            case = Case(table, rows, workers, shuffled)
            results += compare(case, args.only or list(CONTESTANTS), args)
            print(
                f"{name_of(case._asdict())}: {time.monotonic() - began:.0f} s", flush=True
            )
    report = {
        "machine": machine(rust=False),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "batch": BATCH,
        "deadline": args.deadline,
        "rounds": args.rounds,
        "results": results,
    }
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print_report(report)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2:])
    else:
        main()
