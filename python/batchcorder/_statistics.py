"""
Batches without matching rows, and batches with nothing but matching rows.

The statistics of a column become arrays with one value for each batch (`Leaf`). A
predicate is evaluated for all batches at once (`_predicate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from . import _expression
from ._literals import FALSE, TRUE, ZERO, array
from ._predicate import Constant, Leaf, Path, Predicate, comparable_type, evaluated
from ._random_access import RowIndex

if TYPE_CHECKING:
    from ._stream_cache import StreamCache

Verdicts = tuple[pa.BooleanArray, pa.BooleanArray]
# The first batch, and the batch after the last one; None: the end of the stream.
Range = tuple[int, int | None]


def ranges_of(batches: Sequence[int], open_end: int | None) -> list[Range]:
    """Return ascending indices as ranges; the last is open if `open_end` is its start."""
    ranges: list[Range] = []
    for index in batches:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    if open_end is not None:
        if ranges and ranges[-1][1] == open_end:
            ranges[-1] = (ranges[-1][0], None)
        else:
            ranges.append((open_end, None))
    return ranges


def _aligned(table: pa.Table, batches: int) -> pa.Table:
    """Return a row for each batch from 0 on; evicted batches have nulls."""
    known = table["batch"]
    last = known[len(known) - 1].as_py() if len(known) > 0 else -1
    batches = max(batches, last + 1)
    if len(known) == batches:
        return table
    numbers = array(range(batches), pa.int64())
    return table.take(pc.index_in(numbers, value_set=known))


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _kind(column: pa.DataType, path: Path) -> pa.DataType:
    """Return the type of a field; `path`: its own, of which the column is the first."""
    kind = _storage(column)
    for number in path[1:]:
        kind = _storage(kind.field(number).type)
    return kind


def _leaf(rows: pa.Array, statistics: pa.StructArray, is_dictionary: bool) -> Leaf:
    """Return the statistics of a leaf; `rows`: the row count of each batch."""
    names = [field.name for field in statistics.type]
    part = dict(zip(names, statistics.flatten(), strict=True))
    kind = comparable_type(part["min"].type)
    nulls, nans = part["null_count"], part.get("nan_count")
    has_nan = pa.repeat(FALSE, len(rows))
    absent = nulls
    if nans is not None:
        has_nan = pc.fill_null(pc.greater(nans, ZERO), TRUE)
        absent = pc.add(nulls, nans)
    # Of a batch whose counts are null, nothing is known.
    return Leaf(
        minimum=part["min"].cast(kind),
        maximum=part["max"].cast(kind),
        has_null=pc.fill_null(pc.greater(nulls, ZERO), TRUE),
        has_nan=has_nan,
        has_value=pc.fill_null(pc.less(absent, rows), TRUE),
        is_dictionary=is_dictionary,
    )


class _Column:
    """The leaves of a column, for the batches below a number."""

    def __init__(self, schema: pa.Schema, table: pa.Table, batches: int) -> None:
        table = _aligned(table, batches).combine_chunks()
        rows = table["row_count"]
        # The row count of each batch; null: unknown.
        self.rows: pa.Array = rows.chunk(0) if rows.num_chunks else pa.nulls(0, rows.type)
        self.leaves: dict[Path, Leaf] = {}
        for field, column in zip(table.schema, table.columns, strict=True):
            if pa.types.is_struct(field.type) and column.num_chunks:
                text = field.metadata[b"batchcorder.path"].decode()
                path = tuple(map(int, text.split(".")))
                kind = _kind(schema.field(path[0]).type, path)
                is_dictionary = bool(pa.types.is_dictionary(kind))
                self.leaves[path] = _leaf(self.rows, column.chunk(0), is_dictionary)


class Statistics:
    """
    The statistics of a cache's batches, as filters use them.

    The cache keeps the object, so the object does not keep the cache.
    """

    def __init__(self) -> None:
        # By the index of the column; -1: row counts only. Replaced, never changed:
        # threads that ask for the same column need no lock.
        self._columns: dict[int, _Column] = {}
        self._index = RowIndex()

    def _column(self, cache: StreamCache, number: int, batches: int) -> _Column:
        column = self._columns.get(number)
        if column is None or len(column.rows) < batches:
            names = [] if number < 0 else [number]
            column = _Column(cache.schema, cache.statistics(names), batches)
            self._columns[number] = column
        return column

    def row_counts(self, cache: StreamCache, batches: int) -> pa.Array:
        """Return the row counts of the first `batches` batches; null: evicted."""
        return self._column(cache, -1, batches).rows[:batches]

    def starts(self, cache: StreamCache) -> memoryview:
        """Return the first row of each recorded batch, and the number of rows."""
        return self._index.starts(cache)

    def verdicts(
        self, cache: StreamCache, filter: pc.Expression | Predicate, batches: int
    ) -> Verdicts | None:
        """
        Return which of the first `batches` batches may have rows for a filter.

        Returns
        -------
        tuple of pyarrow.BooleanArray or None
            For each batch, whether some row may satisfy the filter, and whether every
            row satisfies it (false for a batch without rows). Neither has nulls. None:
            the statistics decide nothing.
        """
        if not isinstance(filter, Predicate):
            filter = _expression.predicate(cache.schema, filter)
        leaves: dict[Path, Leaf] = {}
        try:
            for number in {path[0] for path in filter.paths()}:
                for path, leaf in self._column(cache, number, batches).leaves.items():
                    leaves[path] = leaf.first(batches)
            # No column, or none with an order, and no constant.
            if not leaves and not isinstance(filter, Constant):
                return None
            rows = self.row_counts(cache, batches)
        except (ValueError, OSError):
            # There are no statistics, or they are damaged. The scan reads the batches.
            return None
        outcomes = evaluated(filter, leaves)
        has_rows = pc.fill_null(pc.greater(rows, ZERO), TRUE)
        possible = pc.and_(has_rows, outcomes.true)
        otherwise = pc.or_(outcomes.false, outcomes.null)
        return possible, pc.and_(possible, pc.invert(otherwise))

    def remaining_batches(
        self, cache: StreamCache, filter: pc.Expression | Predicate, batches: int
    ) -> list[int]:
        """Return the indices below `batches` of the batches that may have such rows."""
        verdicts = self.verdicts(cache, filter, batches)
        if verdicts is None:
            return list(range(batches))
        remaining: list[int] = pc.indices_nonzero(verdicts[0]).to_pylist()
        return remaining

    def ranges(
        self, cache: StreamCache, filter: pc.Expression | Predicate | None
    ) -> list[Range]:
        """Return the ranges of batches that a scan must read."""
        ended = cache.upstream_exhausted
        known = cache.ingested_count
        # Each range is a reader.
        if filter is None or known == 0 or cache.max_readers is not None:
            return [(0, None)]
        remaining = self.remaining_batches(cache, filter, known)
        return ranges_of(remaining, None if ended else known)
