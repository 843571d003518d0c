"""
The place of a dataset in its epochs, in memory that all its copies share.

A loader copies the dataset into each worker. The numbers:

    epoch         set by set_epoch().
    loads         the number of calls of load_state_dict().
    resumed       epoch and step of the latest load.
    running       epoch and first step of the latest iteration, and its workers.
    taken         for each worker, the latest load from which it has resumed.

A process that is no worker has numbers of its own. The ranks of ``mp.spawn`` get copies
of one dataset, and each rank resumes for itself.

The first iteration of each worker after a load resumes. Later iterations begin with step
0, in restarted workers too.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

# A loader may have so many workers.
_WORKERS_MAX = 1024
_EPOCH, _LOADS, _RESUMED_EPOCH, _RESUMED_STEP = 0, 1, 2, 3
_EPOCH_NOW, _STEP_NOW, _WORKERS_NOW = 4, 5, 6
_TAKEN = 7


class Start(NamedTuple):
    """An epoch, and the first step of an iteration."""

    epoch: int
    step: int


class Progress:
    """The place of a dataset in its epochs."""

    def __init__(self) -> None:
        self._cell = torch.zeros(_TAKEN + _WORKERS_MAX, dtype=torch.int64)
        self._cell.share_memory_()
        self._process = os.getpid()

    def own(self) -> Progress:
        """Return this object, in a process that is no worker."""
        if self._process != os.getpid() or not self._cell.is_shared():
            self._cell = self._cell.clone().share_memory_()
            self._process = os.getpid()
        return self

    def _get(self, place: int) -> int:
        return int(self._cell[place])

    def _is_taken(self, worker: int) -> bool:
        loads = self._get(_LOADS)
        return loads == 0 or self._get(_TAKEN + worker) == loads

    @property
    def is_resuming(self) -> bool:
        """Whether the next iteration goes on from a loaded state."""
        return not self._is_taken(0)

    @property
    def resumed(self) -> Start:
        """The epoch and step of the loaded state."""
        return Start(self._get(_RESUMED_EPOCH), self._get(_RESUMED_STEP))

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._get(_RESUMED_EPOCH if self.is_resuming else _EPOCH)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. A loaded state stays if it is of this epoch."""
        if self.is_resuming and self._get(_RESUMED_EPOCH) != epoch:
            self._cell[_TAKEN:] = self._cell[_LOADS]
        self._cell[_EPOCH] = epoch
        if self.running.epoch != epoch:
            self.announce(Start(epoch, 0), 0)

    def load(self, start: Start) -> None:
        """Let the next iteration begin there."""
        self._cell[_RESUMED_EPOCH], self._cell[_RESUMED_STEP] = start
        self._cell[_LOADS] += 1

    def begin(self, worker: int, workers: int, is_worker: bool) -> Start:
        """Return where an iteration of a worker begins, which begins now."""
        if worker >= _WORKERS_MAX:
            raise ValueError(f"a loader may have {_WORKERS_MAX} workers at most")
        start = Start(self._get(_EPOCH), 0)
        if not self._is_taken(worker):
            start = self.resumed
            loads = self._cell[_LOADS]
            if is_worker:
                self._cell[_TAKEN + worker] = loads
            else:
                self._cell[_TAKEN:] = loads
        self.announce(start, workers if is_worker else 0)
        return start

    def announce(self, start: Start, workers: int) -> None:
        """Tell the loop's process which iteration runs."""
        self._cell[_EPOCH_NOW], self._cell[_STEP_NOW] = start
        self._cell[_WORKERS_NOW] = workers

    @property
    def running(self) -> Start:
        """The epoch and first step of the latest iteration."""
        return Start(self._get(_EPOCH_NOW), self._get(_STEP_NOW))

    @property
    def workers(self) -> int:
        """The number of worker processes of the latest iteration."""
        return self._get(_WORKERS_NOW)
