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
from .._arguments import UNLIMITED
from ._columns import Columns
from ._epoch import Cut, Sequence, Visits
from ._recordings import Recordings, joined

# Steps that are planned together: the first ones, and at most.
_FIRST_WINDOW, _WINDOW = 1 << 8, 1 << 14
# Bytes that are copied by one call. More take fresh pages, and fewer find less of their
# neighbours in the processor's caches.
_COPIED_BYTES = 1 << 23
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
        self._columns, self._copied = columns, arrays or {}
        self._arrays: dict[str, Any] | None = None

    def _prepared(self) -> dict[str, Any]:
        """Return all columns of numbers as arrays, converted once."""
        if self._arrays is None:
            self._arrays = self._copied | self._columns.arrays(self.batch)
            # All other columns become lists, when their rows are known.
            names = self._columns.names
            self._lists = [name for name in names if name not in self._arrays]
        return self._arrays

    def all(self) -> Any:
        """Return all rows as an item."""
        if self._columns.kind == "arrow":
            return self.batch
        return self._item(dict(self._prepared()), 0, self.batch.num_rows)

    def rows(self, first: int, end: int) -> Any:
        """Return some rows as an item."""
        if self._columns.kind == "arrow":
            return self.batch.slice(first, end - first)
        arrays = self._prepared()
        item = {name: values[first:end] for name, values in arrays.items()}
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


# A block, and the rows of it that belong to a step.
_Piece = tuple[Block, int, int]
_Pieces = Iterator[_Piece]


def _joined(pieces: list[_Piece], columns: Columns) -> Any:
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
        is_copied = self._sequence.is_copied
        pieces = (self._copied if is_copied else self._read)(visits, first, end)
        for count in visits.count.tolist():
            some = list(itertools.islice(pieces, count))
            if count > 1:
                yield _joined(some, self._columns)
                continue
            ((block, a, b),) = some
            is_whole = a == 0 and b == block.batch.num_rows and block.is_batch
            yield block.all() if is_whole else block.rows(a, b)

    def _parts(
        self, visits: Visits, first: np.ndarray, end: np.ndarray
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield for each visit the rows of the unit that the steps have."""
        starts = self._sequence.unit_starts[visits.units].tolist()
        ends = self._sequence.unit_starts[visits.units + 1].tolist()
        numbers = np.arange(len(visits.units))
        last = visits.first + visits.count - 1
        lows = np.searchsorted(last, numbers).tolist()
        highs = np.searchsorted(visits.first, numbers, "right").tolist()
        steps = list(zip(first.tolist(), end.tolist(), strict=True))
        for start, stop, low, high in zip(starts, ends, lows, highs, strict=True):
            yield [
                (max(a, start) - start, min(b, stop) - start) for a, b in steps[low:high]
            ]

    def _read(self, visits: Visits, first: np.ndarray, end: np.ndarray) -> _Pieces:
        """Yield the pieces of all steps, from batches."""
        recordings = self._recordings
        batches = self._sequence.batches[visits.units]
        of = np.searchsorted(recordings.first_batches, batches, "right") - 1
        readers: dict[int, Any] = {}
        for number in set(of.tolist()):
            order = batches[of == number] - recordings.first_batches[number]
            cache = recordings.own(number)
            all_columns = tuple(range(len(recordings.schema)))
            readers[number] = _core.open_reader(
                cache, 0, UNLIMITED, 1, all_columns, order.astype(np.uint64).tobytes()
            )
        parts = self._parts(visits, first, end)
        for number, some in zip(of.tolist(), parts, strict=True):
            block = Block(self._columns, next(readers[number]))
            for a, b in some:
                yield block, a, b

    def _copied(self, visits: Visits, first: np.ndarray, end: np.ndarray) -> _Pieces:
        """Yield the pieces of all steps, from copies of their rows."""
        recordings, sequence = self._recordings, self._sequence
        # Rows of the recordings before each batch.
        row_starts = np.concatenate([[0], np.cumsum(recordings.lengths)])
        most = self._rows_at_once()
        parts = self._parts(visits, first, end)
        for unit, some in zip(visits.units.tolist(), parts, strict=True):
            rows = sequence.rows_of(unit)
            for chunk in _chunks(some, most):
                chosen = np.concatenate([rows[a:b] for a, b in chunk])
                places, within = sequence.located(unit, chosen)
                numbers = row_starts[sequence.batches[places]] + within
                block = Block.taken(recordings, self._columns, numbers)
                given = 0
                for a, b in chunk:
                    yield block, given, given + b - a
                    given += b - a

    def _rows_at_once(self) -> int:
        """Return how many rows are copied by one call."""
        columns = self._columns
        if not columns.are_plain or self._recordings.is_compressed:
            return 1 << 62  # each call would read all batches of the unit again
        return _COPIED_BYTES * 8 // max(sum(columns.plain_bits), 1)


def _chunks(parts: list[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """Yield parts together that have about so many rows."""
    chunk, rows = [], 0
    for a, b in parts:
        chunk.append((a, b))
        rows += b - a
        if rows >= most:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk
