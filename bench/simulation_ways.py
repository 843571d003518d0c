"""The ways to read a recording, as resources with bytes a second.

The arguments `m` are measured figures, and `n` are the numbers of scaling_simulation.py.
"""

from __future__ import annotations

from epoch import Way
from simulation_figures import Numbers


def server_rate(m: Numbers, batch: float, cores: float) -> float:
    """Return the bytes a second that the processors of a server allow."""
    return cores / m["cores"] * batch / (m["batch_seconds"] + batch / m["batch_rate"])


def divided(n: Numbers, rate: float, workers: int) -> float:
    """Return one worker's part of a machine's rate."""
    return rate / min(workers, n["workers_a_machine"])


def one_machine(m: Numbers, n: Numbers, size: float, first: bool) -> Way:
    processors = {"processors": n["cores"] * m["sum_column"]}
    each = {"one reader": m["first_pass" if first else "sum_column"]}
    name = "one machine, " + ("first epoch" if first else "next epochs")
    if size > n["disk"]:
        return Way(name, {"disk space": 0.0}, each)
    if not first and size <= n["memory"]:
        return Way(name, processors | {"memory": n["memory_rate"]}, each)
    return Way(name, processors | {"disks": n["disk_read"]}, each)


def flight(m: Numbers, n: Numbers, workers: int, replicas: int) -> Way:
    shared = {
        "servers' network": n["network"],
        "servers' disks": n["disk_read"],
        "servers' processors": server_rate(m, n["batch"], n["cores"]),
    }
    each = {
        "workers' network": divided(n, n["network"], workers),
        "one stream": server_rate(m, n["batch"], m["cores"]),
    }
    name = "one Flight server" if replicas == 1 else f"{replicas} Flight servers"
    return Way(name, shared, each, pools=replicas)


def store_limits(n: Numbers, workers: int) -> tuple[Numbers, Numbers]:
    seconds = n["first_byte"] + n["request"] / n["connection"]
    shared = {
        "store's bandwidth": n["store"],
        "store's requests": n["requests"] * n["prefixes"] * n["request"],
    }
    each = {
        "requests in flight": n["store_part"] * n["in_flight"] * n["request"] / seconds,
        "workers' network": n["store_part"] * divided(n, n["network"], workers),
    }
    return shared, each


def object_store(n: Numbers, workers: int, column: bool = False) -> Way:
    shared, each = store_limits(n, workers)
    name = "object store" + (", one column of 12" if column else "")
    read = n["column"] / 12 if column else 1.0
    return Way(name, shared, each, opening=n["opening"] * n["first_byte"], read=read)


def first_copy(n: Numbers, workers: int) -> Way:
    shared, each = store_limits(n, workers)
    each["disks, writing"] = divided(n, n["disk_write"], workers)
    opening = n["opening"] * n["first_byte"]
    return Way("local copies, first epoch", shared, each, opening=opening)


def local_copies(m: Numbers, n: Numbers, workers: int, size: float) -> Way:
    machines = -(-workers // n["workers_a_machine"])
    name = "local copies, next epochs"
    if size / machines > n["disk"]:
        return Way(name, {}, {"disk space": 0.0})
    rate = divided(n, n["disk_read"], workers)
    shared, each = store_limits(n, workers)
    fetch = min(min(shared.values()), min(each.values()) * n["workers_a_machine"])
    return Way(
        name,
        {},
        {"disks": rate, "one reader": m["sum_column"]},
        refetch=size / machines / fetch,
    )


def changed_shares(m: Numbers, n: Numbers, workers: int, size: float) -> Way:
    """The second epoch, if a worker's new share has nothing to do with its first one."""
    machines = -(-workers // int(n["workers_a_machine"]))
    missing = 1 - 1 / machines
    local = local_copies(m, n, workers, size)
    name = "local copies, shares change"
    if machines == 1:
        return Way(name, local.shared, local.each)
    shared, each = store_limits(n, workers)
    each["disks, writing"] = divided(n, n["disk_write"], workers)
    return Way(
        name,
        {key: rate / missing for key, rate in shared.items()},
        {key: rate / missing for key, rate in each.items()},
        opening=n["opening"] * n["first_byte"],
    )


def ways(m: Numbers, n: Numbers, workers: int, size: float) -> list[Way]:
    return [
        one_machine(m, n, size, first=True),
        one_machine(m, n, size, first=False),
        flight(m, n, workers, 1),
        flight(m, n, workers, int(n["replicas"])),
        object_store(n, workers),
        object_store(n, workers, column=True),
        first_copy(n, workers),
        local_copies(m, n, workers, size),
        changed_shares(m, n, workers, size),
    ]
