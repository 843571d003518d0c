"""
The rows of an epoch in their order, and the steps that they are cut into.

    the recorded batches     0 | 1 | 2 | 3    of all recordings, numbered as one.
    in the epoch's order     2 | 0 | 3 | 1    their places; those without rows left out.
    groups                   2   0 | 3   1    with a buffer, rows are mixed in a group.
    steps                    s0 s1 s2 s3 s4   rows of the sequence, batch_size each.

Ranks take turns at the steps, and the workers of a rank take turns at the rank's steps:
rank 1 of 2 has s1, s3, ... and its worker 0 of 2 has s1, s5, ... A loader therefore
returns the same items with any number of workers. To go on, it needs the number of steps
only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _core
from .._shuffle import group_seed, groups_of


class Order(NamedTuple):
    """How the rows of an epoch are ordered."""

    shuffle: bool
    buffer_size: int
    seed: int
    epoch: int


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return a permutation of n numbers."""
    return np.frombuffer(_core.permutation(seed, epoch, n), np.int64)


class Sequence:
    """
    The rows of an epoch as a sequence of units, each of which is read at once.

    A unit is a batch, or a group of batches. With a buffer, a group's rows are mixed.

    Parameters
    ----------
    lengths : numpy.ndarray
        Number of rows of each recorded batch.
    order : Order
        The order of the epoch.
    together : int, default 0
        Without a buffer, the number of rows that a group has at least; 0: no groups.
    """

    def __init__(self, lengths: np.ndarray, order: Order, together: int = 0) -> None:
        self.order, self._together = order, order.buffer_size or together
        if order.shuffle:
            batches = permutation(order.seed, order.epoch, len(lengths))
        else:
            batches = np.arange(len(lengths))
        # The batch at each place.
        self.batches = batches[lengths[batches] > 0]
        # The first row of each place, and the number of rows.
        in_order = lengths[self.batches]
        self.place_starts = np.concatenate([[0], np.cumsum(in_order)])
        # The first row of each unit, and the number of rows.
        self.unit_starts = self.place_starts
        if self._together > 0:
            groups = groups_of(in_order.tolist(), self._together)
            self.unit_starts = self.place_starts[[0, *(end for _, end in groups)]]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.place_starts[-1])

    @property
    def is_copied(self) -> bool:
        """Whether the rows of a unit are copied from its batches."""
        return self._together > 0

    def rows_of(self, unit: int) -> np.ndarray:
        """Return the rows of a unit in their order, counted from its first."""
        rows = int(self.unit_starts[unit + 1] - self.unit_starts[unit])
        if self.order.buffer_size == 0:
            return np.arange(rows)
        seed = group_seed(self.order.seed, unit + 1)
        return permutation(seed, self.order.epoch, rows)

    def located(self, unit: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of rows of a unit, and their numbers in their batches."""
        rows = rows + self.unit_starts[unit]
        places = np.searchsorted(self.place_starts, rows, "right") - 1
        return places, rows - self.place_starts[places]


class Cut(NamedTuple):
    """How the rows of an epoch are cut into steps, and the steps shared among ranks."""

    batch_size: int  # 0: the recorded batches
    drop_last: bool
    uneven: str
    world_size: int

    def steps(self, rows: int, places: int) -> int:
        """Return the number of steps of all ranks."""
        if self.batch_size == 0:
            return places
        whole, rest = divmod(rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def rank_steps(self, steps: int, rank: int) -> int:
        """Return the number of steps of a rank."""
        if self.uneven == "drop":
            return steps // self.world_size
        if self.uneven == "pad":
            return -(-steps // self.world_size)
        return len(range(rank, steps, self.world_size))

    def rows(
        self, sequence: Sequence, rank: int, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first row of steps of a rank, and the row after their last."""
        steps = self.steps(sequence.rows, len(sequence.batches))
        # With "pad", a rank that lacks a step repeats one of the first.
        of_all = (numbers * self.world_size + rank) % max(steps, 1)
        if self.batch_size == 0:
            starts = sequence.place_starts
            return starts[of_all], starts[of_all + 1]
        first = of_all * self.batch_size
        return first, np.minimum(first + self.batch_size, sequence.rows)


class Visits(NamedTuple):
    """The units that steps read, in this order."""

    units: np.ndarray
    first: np.ndarray  # of each step: its first visit
    count: np.ndarray  # of each step: its number of visits

    @classmethod
    def of(cls, sequence: Sequence, first: np.ndarray, end: np.ndarray) -> Visits:
        """Return the visits of steps that have the rows from `first` to `end`."""
        starts = sequence.unit_starts
        low = np.searchsorted(starts, first, "right") - 1
        high = np.searchsorted(starts, end, "left") - 1
        count = high - low + 1
        ends = np.cumsum(count)
        units = np.repeat(low - (ends - count), count) + np.arange(int(ends[-1]))
        # The unit of the step before is still there, unless the steps begin again.
        again = np.zeros(len(units), bool)
        again[(ends - count)[1:]] = (low[1:] == high[:-1]) & (first[1:] >= end[:-1])
        number = np.cumsum(~again) - 1
        return cls(units[~again], number[ends - count], count)
