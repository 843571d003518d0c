"""
The steps of one reader: units are read, converted once, and cut into items.

Steps are planned in windows. In a window all units are known, so that readers of the
recordings return exactly these, in this order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .. import _core
from ._columns import Columns
from ._epoch import Cut, Sequence, Visits
from ._recordings import Recordings, joined

_MASK = (1 << 64) - 1
# Steps that are planned together: the first ones, and at most.
_FIRST_WINDOW, _WINDOW = 1 << 8, 1 << 14
_NOTHING = pa.RecordBatch.from_arrays([], [])


class Block:
    """
    Rows that were read together, and their columns once they are needed.

    Parameters
    ----------
    columns : Columns
        Converts the columns.
    batch : pyarrow.RecordBatch
        The rows as they were read: all columns, or those that `arrays` lacks.
    arrays : dict, optional
        Columns of numbers, by name.
    """

    def __init__(
        self,
        columns: Columns,
        batch: pa.RecordBatch,
        arrays: dict[str, Any] | None = None,
    ) -> None:
        self.batch, self.is_batch = batch, arrays is None
        self._columns, self._arrays = columns, arrays
        self._is_ready = False

    def _prepare(self) -> dict[str, Any]:
        """Convert the columns."""
        if self._arrays is None:
            self._arrays = self._columns.arrays(self.batch)
        elif self.batch.num_columns > 0:
            self._arrays |= self._columns.arrays(self.batch)
        # All other columns become lists, when their rows are known.
        self._lists = [name for name in self._columns.names if name not in self._arrays]
        self._is_ready = True
        return self._arrays

    def all(self) -> Any:
        """Return all rows as an item."""
        if self._columns.kind == "arrow":
            return self.batch
        arrays = self._arrays if self._is_ready else self._prepare()
        return self._item(dict(arrays or {}), 0, self.batch.num_rows)

    def rows(self, first: int, end: int) -> Any:
        """Return some rows as an item."""
        if self._columns.kind == "arrow":
            return self.batch.slice(first, end - first)
        arrays = self._arrays if self._is_ready else self._prepare()
        item = {name: values[first:end] for name, values in (arrays or {}).items()}
        return self._item(item, first, end)

    def _item(self, item: dict[str, Any], first: int, end: int) -> dict[str, Any]:
        """Add the columns that become lists, in the order of all columns."""
        if not self._lists and self.is_batch:
            return item
        for name in self._lists:
            item[name] = self.batch[name].slice(first, end - first).to_pylist()
        return {name: item[name] for name in self._columns.names}

    @classmethod
    def taken(cls, recordings: Recordings, columns: Columns, rows: np.ndarray) -> Block:
        """Return copies of rows of the recordings."""
        plain = columns.plain
        values = recordings.take_values(rows, plain, columns.plain_bits)
        if values is None:
            return cls(columns, recordings.take(rows))
        others = [n for n in range(len(columns.names)) if n not in plain]
        batch = recordings.take(rows, others) if others else _NOTHING
        return cls(columns, batch, columns.plain_arrays(values, len(rows)))


def _joined(pieces: list[tuple[Block, int, int]], columns: Columns) -> Any:
    """Return rows of several blocks as one item."""
    if all(block.is_batch for block, _, _ in pieces):
        batches = [block.batch.slice(a, b - a) for block, a, b in pieces]
        return Block(columns, joined(batches)).all()
    items = [block.rows(a, b) for block, a, b in pieces]
    return {name: _concatenated([item[name] for item in items]) for name in items[0]}


def _concatenated(values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return list(itertools.chain.from_iterable(values))
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return torch.cat(values)


class Steps:
    """
    The items of one worker of one rank in one epoch.

    Parameters
    ----------
    recordings : Recordings
        The files, opened in this process.
    sequence : Sequence
        The rows of the epoch.
    cut : Cut
        How the rows are cut into steps.
    columns : Columns
        Converts the columns.
    """

    def __init__(
        self, recordings: Recordings, sequence: Sequence, cut: Cut, columns: Columns
    ) -> None:
        self._recordings, self._sequence = recordings, sequence
        self._cut, self._columns = cut, columns

    def items(self, rank: int, numbers: range) -> Iterator[Any]:
        """Yield the items of these steps of a rank."""
        size = _FIRST_WINDOW
        while len(numbers) > 0:
            window, numbers = numbers[:size], numbers[size:]
            yield from self._window(
                rank, np.arange(window.start, window.stop, window.step)
            )
            size = min(2 * size, _WINDOW)

    def _window(self, rank: int, numbers: np.ndarray) -> Iterator[Any]:
        first, end = self._cut.rows(self._sequence, rank, numbers)
        visits = Visits.of(self._sequence, first, end)
        starts = self._sequence.unit_starts[visits.units]
        ends = self._sequence.unit_starts[visits.units + 1]
        is_copied = self._sequence.is_copied
        blocks = self._copy(visits, first, end) if is_copied else self._read(visits)
        block, number = next(blocks), 0
        plan = zip(
            *(part.tolist() for part in (first, end, visits.first, visits.count)),
            strict=True,
        )
        bounds = list(zip(starts.tolist(), ends.tolist(), strict=True))
        # Of a copied unit, the block has only the rows of these steps.
        given = 0
        for low, high, visit, count in plan:
            pieces = []
            for wanted in range(visit, visit + count):
                if wanted != number:
                    block, number, given = next(blocks), wanted, 0
                start, stop = bounds[wanted]
                a, b = max(low, start) - start, min(high, stop) - start
                if is_copied:
                    a, b = given, given + b - a
                    given = b
                pieces.append((block, a, b))
            if count > 1:
                yield _joined(pieces, self._columns)
            elif b - a == stop - start and not is_copied:
                yield block.all()
            else:
                yield block.rows(a, b)

    def _read(self, visits: Visits) -> Iterator[Block]:
        """Yield the batches of the visits."""
        recordings = self._recordings
        batches = self._sequence.batches[visits.units]
        of = np.searchsorted(recordings.first_batches, batches, "right") - 1
        readers: dict[int, Any] = {}
        for number in np.unique(of).tolist():
            order = batches[of == number] - recordings.first_batches[number]
            cache = recordings.own(number)
            all_columns = tuple(range(len(recordings.schema)))
            readers[number] = _core.open_reader(
                cache, 0, _MASK, 1, all_columns, order.astype(np.uint64).tobytes()
            )
        for number in of.tolist():
            yield Block(self._columns, next(readers[number]))

    def _copy(
        self, visits: Visits, first: np.ndarray, end: np.ndarray
    ) -> Iterator[Block]:
        """Yield the rows that the steps have of each group, in their order."""
        recordings, sequence = self._recordings, self._sequence
        # Rows of the recordings before each batch.
        row_starts = np.concatenate([[0], np.cumsum(recordings.lengths)])
        last = visits.first + visits.count - 1
        for number, unit in enumerate(visits.units.tolist()):
            steps = slice(
                int(np.searchsorted(last, number)),
                int(np.searchsorted(visits.first, number, "right")),
            )
            start, stop = sequence.unit_starts[unit : unit + 2].tolist()
            rows = sequence.rows_of(unit)
            parts = [
                rows[max(a, start) - start : min(b, stop) - start]
                for a, b in zip(first[steps].tolist(), end[steps].tolist(), strict=True)
            ]
            places, within = sequence.located(unit, np.concatenate(parts))
            numbers = row_starts[sequence.batches[places]] + within
            yield Block.taken(recordings, self._columns, numbers)
