"""
Ranges of an object's bytes: sets, and the requests that fetch them.

A range is its start and its end. The end is excluded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator

Range = tuple[int, int]

# A gap of this many bytes takes less time than another request.
_GAP_MAX = 8 << 10
# The wanted bytes of a request for each byte of its gaps. One column of many has small
# buffers, and must not fetch its neighbours.
_WANTED_MIN = 10
# A larger request is split, so that several are in flight for one batch.
_PIECE_MAX = 8 << 20
# Splits are at multiples of it.
_STEP = 4 << 10


class Ranges:
    """A set of bytes as sorted ranges, of which no two overlap or touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add a range that is not empty."""
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def has(self, start: int, end: int) -> bool:
        """Return whether the set has all bytes of a range."""
        i = bisect_right(self._starts, start)
        return start >= end or (i > 0 and end <= self._ends[i - 1])

    def missing(self, start: int, end: int) -> list[Range]:
        """Return the ranges between start and end that the set lacks."""
        holes = []
        i = bisect_right(self._ends, start)
        while start < end:
            if i == len(self._starts) or self._starts[i] >= end:
                holes.append((start, end))
                break
            if self._starts[i] > start:
                holes.append((start, self._starts[i]))
            start = self._ends[i]
            i += 1
        return holes


def joined(
    wanted: Iterable[Range], is_free: Callable[[int, int], bool]
) -> list[tuple[int, int, int]]:
    """
    Join ranges over small gaps, up to the size of a piece.

    Return start, end and the count of wanted bytes of each request. A gap is joined only
    if `is_free(start, end)` is true for it.
    """
    requests: list[tuple[int, int, int]] = []
    for start, end in sorted(wanted):
        if requests:
            first, last, count = requests[-1]
            if end <= last:
                continue
            start = max(start, last)
            more = end - start
            gaps = start - first - count
            is_small = start - last <= _GAP_MAX and gaps * _WANTED_MIN <= count + more
            # A range in two pieces has to be copied, so no range is joined in part.
            if is_small and end - first <= _PIECE_MAX and is_free(last, start):
                requests[-1] = (first, end, count + more)
                continue
        requests.append((start, end, end - start))
    return requests


def split(start: int, end: int, wanted: int) -> Iterator[tuple[int, int, int]]:
    """Split a request into equal ones, each with its part of the wanted bytes."""
    size = end - start
    step = -(-size // -(-size // _PIECE_MAX))
    step = -(-step // _STEP) * _STEP
    for first in range(start, end, step):
        last = min(first + step, end)
        yield first, last, max((last - first) * wanted // size, 1)


__all__ = ["Range", "Ranges", "joined", "split"]
