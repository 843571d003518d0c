"""Rows of a recording by their indices."""

from __future__ import annotations

import struct
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


def _in_order(
    cache: StreamCache, index: RowIndex, rows: pa.Array, columns: list[int]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of the rows with these indices, which ascend."""
    parts = list(_rows.by_part(rows, index.starts(cache)))
    numbers = [number for number, _ in parts]
    batches: Iterator[pa.RecordBatch]
    if cache.max_readers is None:
        order = struct.pack(f"{len(numbers)}Q", *numbers)
        last = (1 << 64) - 1
        batches = _core.open_reader(cache, 0, last, 1, tuple(columns), order)
    else:
        # A reader would be one of the maximum.
        batches = (cache[number].select(columns) for number in numbers)
    for (_, within), batch in zip(parts, batches, strict=True):
        yield from _rows.batches_of(batch, within)


def _has_fixed_width(kind: pa.DataType) -> bool:
    """Return whether the core copies rows of the type."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _has_fixed_width(kind.storage_type)
    if t.is_struct(kind) or t.is_fixed_size_list(kind):
        return all(map(_has_fixed_width, _rows.children(kind)))
    is_fixed = t.is_primitive(kind) or t.is_decimal(kind) or t.is_fixed_size_binary(kind)
    return bool(is_fixed or t.is_null(kind))


def _taken_by_pyarrow(
    cache: StreamCache, index: RowIndex, numbers: pa.Array, columns: list[int]
) -> pa.Table:
    order = pc.sort_indices(numbers)
    batches = list(_in_order(cache, index, numbers.take(order), columns))
    return _rows.of(pa.Table.from_batches(batches), pc.sort_indices(order))


def take(
    cache: StreamCache,
    index: RowIndex,
    indices: Any,
    columns: tuple[int, ...] | None,
) -> pa.Table:
    """Return the rows with these indices, as :meth:`StreamCache.take` has it."""
    numbers = row_numbers(indices, "indices")
    if cache.stats()["state"] == "closed":
        raise ValueError("Dataset has been closed")
    schema = cache.schema
    chosen = range(len(schema)) if columns is None else columns
    schema = pa.schema(map(schema.field, chosen), schema.metadata)
    if len(numbers) == 0:
        return pa.Table.from_batches([], schema)
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
    fixed = [place for place, kind in enumerate(schema.types) if _has_fixed_width(kind)]
    others = [place for place in range(len(schema)) if place not in fixed]
    found: dict[int, Any] = {}
    if others:
        some = [chosen[place] for place in others]
        table = _taken_by_pyarrow(cache, index, numbers, some)
        found |= zip(others, table.columns, strict=True)
    if fixed or not others:
        data = memoryview(numbers.buffers()[1])[8 * numbers.offset :][: 8 * len(numbers)]
        batch = _core.take(cache, data, tuple(chosen[place] for place in fixed))
        if not others:
            return pa.Table.from_batches([batch.replace_schema_metadata(schema.metadata)])
        found |= zip(fixed, batch.columns, strict=True)
    return pa.Table.from_arrays([found[place] for place in sorted(found)], schema=schema)
