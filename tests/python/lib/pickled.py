"""Functions and classes that other processes import by the name of their module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from batchcorder import StreamCache


class Named(StreamCache):
    """A subclass whose instances have attributes."""

    label = "none"


def sum_of(task: tuple[StreamCache, int]) -> int:
    cache, number = task
    return int(pc.sum(cache[number]["id"]).as_py())


# Objects that a worker gets when it starts.
KEPT: list[Any] = []


def keep(thing: Any) -> None:
    KEPT.append(thing)


def kept_sum(number: int) -> int:
    return sum_of((KEPT[0], number))


def private_bytes() -> int:
    """Return the private memory of this process, in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return (
        sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) << 10
    )


def scan(cache: StreamCache) -> tuple[int, int]:
    """Return a sum over the whole cache, and the growth of private memory in bytes."""
    before = private_bytes()
    total = sum(int(pc.sum(one["x"]).as_py()) for one in cache)
    KEPT[0].wait(120)
    grown = private_bytes() - before
    KEPT[0].wait(120)
    return total, grown
