"""Rows and batches of a recording in any order."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from . import _core, _rows

if TYPE_CHECKING:
    from ._cache import StreamCache


def row_numbers(rows: Any, name: str) -> pa.Array:
    """Return 64-bit integers from row numbers, which are the argument of this name."""
    try:
        numbers = rows if isinstance(rows, pa.Array | pa.ChunkedArray) else pa.array(rows)
    except OverflowError:
        raise IndexError(f"argument {name!r}: a row number that no stream has") from None
    except (pa.ArrowException, TypeError) as error:
        raise TypeError(f"argument {name!r}: expected row numbers: {error}") from None
    if isinstance(numbers, pa.ChunkedArray):
        numbers = numbers.combine_chunks()
    if len(numbers) == 0:
        return pa.array([], pa.int64())
    if not pa.types.is_integer(numbers.type) or numbers.null_count > 0:
        raise TypeError(
            f"argument {name!r}: expected row numbers, got {numbers.type} with "
            f"{numbers.null_count} nulls"
        )
    try:
        return numbers.cast(pa.int64())
    except pa.ArrowInvalid:
        raise IndexError(
            f"argument {name!r}: row {pc.max(numbers)}, which no stream has"
        ) from None


def _starts(cache: StreamCache) -> memoryview:
    """Return the first row of each batch, and the rows in all; each is read once."""
    known = cache._known_starts
    complete = max(len(known) // 8 - 1, 0)
    while not known or complete < cache.ingested_count:
        first = max(complete, cache.stats()["evicted"])
        try:
            fresh = cache._row_starts(first)
        except ValueError:
            if cache.stats()["evicted"] > first:
                continue  # evicted meanwhile
            raise
        # The rows of evicted batches are looked for in the last of these, and not found.
        gap = (known[8 * complete :] or bytes(8)) * (first - complete)
        # Other threads may do the same; whose answer stays does not matter.
        known = known[: 8 * complete] + gap + fresh
        cache._known_starts = known
        break
    return memoryview(known).cast("Q")


def _ask_for(cache: StreamCache, row: int) -> None:
    """Ask the source until it has given this row, or ends."""
    while cache.stats()["rows"] <= row and not cache.upstream_exhausted:
        if cache._get(cache.ingested_count) is None:
            return


def _in_order(cache: StreamCache, rows: pa.Array) -> Iterator[pa.RecordBatch]:
    """Yield the rows of these numbers, which ascend."""
    for batch, within in _rows.by_part(rows, _starts(cache)):
        yield from _rows.batches_of(cache[batch], within)


def take(cache: StreamCache, indices: Any) -> pa.Table:
    """Return the rows of these numbers, as :meth:`StreamCache.take` has it."""
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
        raise IndexError(f"row {wrong} of {count} rows")
    if lowest < 0:
        numbers = pc.if_else(pc.less(numbers, 0), pc.add(numbers, count), numbers)
    order = pc.sort_indices(numbers)
    table = pa.Table.from_batches(_in_order(cache, numbers.take(order)), cache.schema)
    return _rows.of(table, pc.sort_indices(order))


def _windows(cache: StreamCache, order: memoryview, window: int) -> Iterator[list[int]]:
    """Yield the batches in their new order, as many at a time as have enough rows."""
    starts = _starts(cache)
    some: list[int] = []
    rows = 0
    for number in order:
        some.append(number)
        rows += starts[number + 1] - starts[number]
        if rows >= window:
            yield some
            some, rows = [], 0
    if some:
        yield some


def _in_lengths(
    table: pa.Table, numbers: pa.Array, batches: list[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of these numbers as batches of the lengths of others."""
    try:
        rows: pa.Table | None = _rows.of(table, numbers).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        rows = None  # one dictionary cannot hold the values of all
    first = 0
    for batch in batches:
        length = batch.num_rows
        if rows is not None:
            some = rows.slice(first, length)
        else:
            some = _rows.of(table, numbers.slice(first, length))
        yield from some.to_batches() or [batch]
        first += length


def _batches(
    cache: StreamCache, seed: int, epoch: int, window: int
) -> Iterator[pa.RecordBatch]:
    order = memoryview(_core.permutation(seed, epoch, len(cache))).cast("Q")
    if window <= 0:
        for number in order:
            yield cache[number]
        return
    for place, numbers in enumerate(_windows(cache, order, window)):
        batches = [cache[number] for number in numbers]
        table = pa.Table.from_batches(batches, cache.schema)
        # Not the order of the batches again: each window has a seed of its own.
        own_seed = (seed + 0x9E3779B97F4A7C15 * (place + 1)) % (1 << 64)
        mixed = _core.permutation(own_seed, epoch, table.num_rows)
        indices = pa.Array.from_buffers(
            pa.uint64(), table.num_rows, [None, pa.py_buffer(mixed)]
        )
        yield from _in_lengths(table, indices, batches)


def shuffle(
    cache: StreamCache, seed: int, epoch: int, buffer_size: int | None
) -> pa.RecordBatchReader:
    """Return the stream in another order, as :meth:`StreamCache.shuffle` has it."""
    _core.permutation(seed, epoch, 0)  # raises what the numbers ask for
    seed, epoch = operator.index(seed), operator.index(epoch)
    size = 0 if buffer_size is None else buffer_size
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise TypeError(
            f"argument 'buffer_size': expected a number of rows, got {buffer_size!r}"
        )
    size = operator.index(size)
    if size < 0:
        raise OverflowError(f"argument 'buffer_size': {size} is negative")
    cache.ingest_all()
    return pa.RecordBatchReader.from_batches(
        cache.schema, _batches(cache, seed, epoch, size)
    )
