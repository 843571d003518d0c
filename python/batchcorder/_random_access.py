"""Rows of a recording by their indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from . import _core, _rows

if TYPE_CHECKING:
    from ._stream_cache import StreamCache


def row_numbers(rows: Any, name: str) -> pa.Array:
    """Return row indices as 64-bit integers; `name` is the argument that has them."""
    try:
        numbers = rows if isinstance(rows, pa.Array | pa.ChunkedArray) else pa.array(rows)
    except OverflowError:
        raise IndexError(f"argument {name!r}: a row index that no stream has") from None
    except (pa.ArrowException, TypeError) as error:
        raise TypeError(f"argument {name!r}: expected row indices: {error}") from None
    if isinstance(numbers, pa.ChunkedArray):
        numbers = numbers.combine_chunks()
    if len(numbers) == 0:
        return pa.array([], pa.int64())
    if not pa.types.is_integer(numbers.type) or numbers.null_count > 0:
        nulls = " with nulls" if numbers.null_count > 0 else ""
        raise TypeError(
            f"argument {name!r}: expected row indices, got {numbers.type}{nulls}"
        )
    try:
        return numbers.cast(pa.int64())
    except pa.ArrowInvalid:
        raise IndexError(
            f"argument {name!r}: row {pc.max(numbers)}, which no stream has"
        ) from None


class RowIndex:
    """
    The first row of each recorded batch, and the number of rows; each is read once.

    The cache keeps the index, so the index does not keep the cache.
    """

    def __init__(self) -> None:
        # 64-bit numbers. Replaced, never changed: threads that read the same numbers
        # need no lock.
        self._known = b""

    def starts(self, cache: StreamCache) -> memoryview:
        """Return the first rows of the batches that are recorded now."""
        known = self._known
        complete = max(len(known) // 8 - 1, 0)
        while not known or complete < cache.ingested_count:
            first = max(complete, cache.stats()["evicted"])
            try:
                fresh = _core.row_starts(cache, first)
            except ValueError:
                if cache.stats()["evicted"] > first:
                    continue  # evicted meanwhile
                raise
            # A row of an evicted batch is searched in the last of these, and not found.
            gap = (known[8 * complete :] or bytes(8)) * (first - complete)
            known = known[: 8 * complete] + gap + fresh
            self._known = known
            break
        return memoryview(known).cast("Q")


def _ask_for(cache: StreamCache, row: int) -> None:
    """Ask the source until it has given this row, or ends."""
    while cache.stats()["rows"] <= row and not cache.upstream_exhausted:
        if _core.get_batch(cache, cache.ingested_count) is None:
            return


def _batch(cache: StreamCache, number: int, columns: list[int] | None) -> pa.RecordBatch:
    if columns is None:
        return cache[number]
    return next(cache.reader(columns=columns, start=number, stop=number + 1))


def _in_order(
    cache: StreamCache, index: RowIndex, rows: pa.Array, columns: list[int] | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows with these indices, which ascend."""
    for number, within in _rows.by_part(rows, index.starts(cache)):
        yield from _rows.batches_of(_batch(cache, number, columns), within)


def take(
    cache: StreamCache, index: RowIndex, indices: Any, columns: list[int] | None
) -> pa.Table:
    """Return the rows with these indices, as :meth:`StreamCache.take` has it."""
    numbers = row_numbers(indices, "indices")
    if cache.stats()["state"] == "closed":
        raise ValueError("Dataset has been closed")
    if len(numbers) == 0:
        return pa.Table.from_batches([], cache.schema)
    bounds = pc.min_max(numbers)
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    if lowest < 0:
        cache.ingest_all()
    _ask_for(cache, highest)
    count = cache.stats()["rows"]
    if lowest < -count or highest >= count:
        wrong = lowest if lowest < -count else highest
        raise IndexError(f"row index {wrong} is out of range ({count} rows)")
    if lowest < 0:
        numbers = pc.if_else(pc.less(numbers, 0), pc.add(numbers, count), numbers)
    order = pc.sort_indices(numbers)
    table = pa.Table.from_batches(
        _in_order(cache, index, numbers.take(order), columns), cache.schema
    )
    return _rows.of(table, pc.sort_indices(order))
