#!/usr/bin/env python3
"""
Simulate epochs of up to 1,000 workers over a recording of up to 10 TB.

    bench/scaling_simulation.py [--json FILE] [--page docs/scaling.md]

Nothing here was measured on a cluster. The figures of docs/performance.md come from one
machine, and ASSUMED has all other numbers. `--set NAME=VALUE` changes one.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from epoch import Epoch, Trouble, Way, simulate
from marks import put
from simulation_figures import BATCHES, FOLLOWERS, LARGE, PAUSE, Numbers, measured
from simulation_report import section
from simulation_ways import flight, local_copies, object_store, server_rate, ways

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- simulation: written by bench/scaling_simulation.py -->"
WORKERS = (1, 8, 64, 256, 1000)
SIZES = (100e9, 1e12, 10e12)
SEEDS = 20

# ---- numbers ----


class Given(NamedTuple):
    value: float
    unit: str
    about: str
    source: str


# A machine is Amazon's i3en.6xlarge: a public type with a fast network and fast disks.
_I3EN = "Amazon EC2, i3en.6xlarge"
_S3 = "Amazon S3, performance guidelines"
_NONE = "no source"
ASSUMED = {
    "workers_a_machine": Given(8, "", "workers of a machine, an equal part each", _NONE),
    "cores": Given(24, "", "processors of a machine", _I3EN),
    "memory": Given(192 * 2**30, "B", "memory of a machine", _I3EN),
    "memory_rate": Given(100e9, "B/s", "memory bandwidth of a machine", _NONE),
    "network": Given(25e9 / 8, "B/s", "network of a machine", _I3EN),
    "disk": Given(15e12, "B", "disks of a machine", _I3EN),
    "disk_read": Given(4e9, "B/s", "reading from the disks of a machine", _I3EN),
    "disk_write": Given(2e9, "B/s", "writing to the disks of a machine", _NONE),
    "replicas": Given(8, "", "Flight servers with a copy of the recording", _NONE),
    "batch": Given(4 * 2**20, "B", "a batch", "bench/flight.py"),
    "store": Given(
        200e9 / 8, "B/s", "the store's bandwidth for a project", "Cloud Storage, quotas"
    ),
    "prefixes": Given(1, "", "prefixes of the recording's objects", _NONE),
    "requests": Given(5500, "1/s", "requests of a prefix", _S3),
    "first_byte": Given(0.1, "s", "time until the first byte of a request", _S3),
    "connection": Given(85e6, "B/s", "bandwidth of a connection", _S3),
    "request": Given(8 * 2**20, "B", "a request", "the reader of this project"),
    "in_flight": Given(16, "", "requests in flight of a worker", "the same"),
    "mtbf": Given(
        54 * 86400 * 16384 / 8 / 419,
        "s",
        "time between two failures of a machine of 8 GPUs",
        "The Llama 3 Herd of Models",
    ),
    "mtbf_spot": Given(
        86400, "s", "the same, of a machine that may be taken away", _NONE
    ),
    "restart": Given(60, "s", "time until the workers of a failed machine run", _NONE),
    "slow": Given(0.01, "", "part of the machines that are slow", _NONE),
    "slowdown": Given(2, "", "times slower", _NONE),
}

# Figures of bench/object_stores.py.
STORES = {
    "store_part": "part of a bandwidth that a worker reaches",
    "opening": "requests to open a recording",
    "column": "fetched bytes of one column of 12, of its bytes",
}

# ---- runs ----


def epochs(m: Numbers, n: Numbers) -> list[dict[str, Any]]:
    """Return an epoch of each way, number of workers and size, without trouble."""
    found = []
    for workers in WORKERS:
        for size in SIZES:
            for way in ways(m, n, workers, size):
                capacities = way.capacities(workers)
                first, *rest = sorted(capacities, key=lambda one: capacities[one])
                row: dict[str, Any] = {
                    "way": way.name,
                    "workers": workers,
                    "size": size,
                    "first": first,
                }
                if capacities[first] > 0:
                    machine = int(n["workers_a_machine"])
                    done = simulate(way, workers, size * way.read, machine=machine)
                    row |= asdict(done) | {"rate": done.delivered / done.seconds}
                    row["second"] = rest[0]
                    row["second_used"] = row["rate"] / capacities[rest[0]]
                found.append(row)
    return found


def troubles(m: Numbers, n: Numbers) -> list[dict[str, Any]]:
    """Return the largest epoch with slow machines and with failures."""
    workers, size = WORKERS[-1], SIZES[-1]
    slow = Trouble(restart=n["restart"], slow=n["slow"], slowdown=n["slowdown"])
    machines = -(-workers // int(n["workers_a_machine"]))
    cases = {
        "none": (Trouble(), False),
        "slow machines": (slow, False),
        "slow machines, one queue": (slow, True),
        "failures": (Trouble(n["mtbf"], n["restart"]), False),
        "failures of spot machines": (Trouble(n["mtbf_spot"], n["restart"]), False),
    }
    found = []
    for way in (
        flight(m, n, workers, 1),
        flight(m, n, workers, int(n["replicas"])),
        object_store(n, workers),
        local_copies(m, n, workers, size),
    ):
        if min(way.capacities(workers).values()) <= 0:
            continue
        calm = size / min(way.capacities(workers).values())
        often = Trouble(machines * calm, n["restart"])
        for name, (trouble, queue) in (
            cases | {"one failure an epoch, on average": (often, False)}
        ).items():
            if queue and way.name.startswith("local"):
                continue  # A copy belongs to its machine.
            seeds = SEEDS if trouble.mtbf < float("inf") else 1
            runs: list[Epoch] = [
                simulate(
                    way,
                    workers,
                    size,
                    machine=int(n["workers_a_machine"]),
                    trouble=trouble,
                    queue=queue,
                    seed=seed,
                )
                for seed in range(seeds)
            ]
            found.append(
                {
                    "way": way.name,
                    "trouble": name,
                    "seconds": sum(run.seconds for run in runs) / seeds,
                    "seconds_most": max(run.seconds for run in runs),
                    "failures": sum(run.failures for run in runs) / seeds,
                    "lost": sum(run.lost for run in runs) / seeds,
                }
            )
    return found


def batch_sizes(m: Numbers, n: Numbers) -> list[dict[str, float]]:
    """Return the bytes a second of a Flight server's processors by size of batch."""
    return [
        {"batch": size, "rate": server_rate(m, size, n["cores"]), "network": n["network"]}
        for size in (1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6)
    ]


def validation(m: Numbers) -> list[dict[str, Any]]:
    """Return predictions for this machine, beside the measurements."""
    total = LARGE * BATCHES
    shared = {"processors": server_rate(m, LARGE, m["cores"])}
    way = Way("one machine", shared, {"one stream": m["one_client"]})
    one, many = (simulate(way, count, total * count, task=total) for count in (1, 32))
    # The server sends a batch of a growing recording to one follower after the other.
    burst = m["follower_seconds"] * FOLLOWERS
    sizes = [
        (
            f"{clients}, batches of {size // 1000} kB, GB/s",
            server_rate(m, size, m["cores"]) / 1e9,
            m[f"{clients}, {size:,}"] / 1e9,
            False,
        )
        for clients in ("one client", "8 clients")
        for size in (64_000, 256_000, 1_024_000)
    ]
    rows = [
        ("one client, GB/s", total / one.seconds / 1e9, m["one_client"] / 1e9, True),
        (
            "32 clients, GB/s",
            32 * total / many.seconds / 1e9,
            m["clients_32"] / 1e9,
            False,
        ),
        *sizes,
        ("1,000 followers, lag of 99 %, ms", 0.99 * burst * 1e3, m["lag_99"] * 1e3, True),
        ("1,000 followers, median lag, ms", burst * 500, m["lag_median"] * 1e3, False),
        ("1,000 followers, largest lag, ms", burst * 1e3, m["lag_most"] * 1e3, False),
        (
            "1,000 followers, 30 batches, s",
            m["rounds"] * PAUSE + burst,
            m["live_seconds"],
            False,
        ),
    ]
    return [
        {"point": point, "predicted": guess, "measured": real, "calibrated": fitted}
        for point, guess, real, fitted in rows
    ]


def report(performance: Path, changes: Numbers) -> dict[str, Any]:
    """Return everything that the pages show."""
    m = measured(performance.read_text())
    given = ASSUMED | {
        name: Given(round(m[name], 3), "", about, "measured")
        for name, about in STORES.items()
    }
    unknown = changes.keys() - given.keys()
    if unknown:
        raise SystemExit(f"--set: no such number: {', '.join(sorted(unknown))}")
    n = {name: one.value for name, one in given.items()} | changes
    return {
        "measured": m,
        "given": {
            name: one._replace(value=n[name])._asdict() for name, one in given.items()
        },
        "validation": validation(m),
        "epochs": epochs(m, n),
        "troubles": troubles(m, n),
        "batches": batch_sizes(m, n),
    }


def text_of(found: dict[str, Any]) -> str:
    """Return the section of docs/scaling.md."""
    return "\n".join(section(found))


def _change(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="write the section of this page")
    parser.add_argument("--performance", type=Path, default=ROOT / "docs/performance.md")
    parser.add_argument(
        "--set", type=_change, action="append", default=[], metavar="NAME=VALUE"
    )
    options = parser.parse_args()
    found = report(options.performance, dict(options.set))
    text = text_of(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    if options.page is not None:
        put(options.page, BEGIN, text)
    print(text)


if __name__ == "__main__":
    main()
