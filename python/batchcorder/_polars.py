"""A LazyFrame over a cache: Polars asks it for the columns of a query."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import _polars_expression, _rows

if TYPE_CHECKING:
    from ._statistics import Range, Statistics
    from ._stream_cache import StreamCache


def _has_fixed_lists(kind: pa.DataType) -> bool:
    """Polars reads slices of such lists wrongly."""
    return _rows.has(kind, pa.types.is_fixed_size_list)


def _wide(leaf: pa.DataType) -> pa.DataType:
    """Return the type that Polars reads: of smaller ones it reads other numbers."""
    import polars as pl

    if pa.types.is_decimal32(leaf) or pa.types.is_decimal64(leaf):
        return pa.decimal128(leaf.precision, leaf.scale)
    if pa.types.is_float16(leaf) and not hasattr(pl, "Float16"):
        return pa.float32()
    return leaf


def _readable(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the column as Polars reads it: of this type, with no slices of lists."""
    if column.type != kind:
        column = column.cast(kind)
    return _rows.without_slices(column) if _has_fixed_lists(kind) else column


class _Stream:
    """An Arrow stream only: Polars before 1.18 reads known types by other ways."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._stream.__arrow_c_stream__()


def frame(stream: Any, schema: pa.Schema) -> Any:
    """
    Return a polars.DataFrame of a stream.

    As a stream, since Polars gives columns without a name another one in tables, and
    loses the rows of batches without columns.
    """
    import polars as pl

    repeated = [name for name, times in Counter(schema.names).items() if times > 1]
    if repeated:
        # If the stream has no batches, Polars panics.
        raise pl.exceptions.DuplicateError(
            f"Polars has no frames with several columns of one name: {repeated[0]!r}; "
            "to_polars(columns=[...]) takes columns by their numbers"
        )
    wide = pa.schema(
        [field.with_type(_rows.replaced(field.type, _wide)) for field in schema],
        schema.metadata,
    )
    if wide != schema or any(_has_fixed_lists(field.type) for field in wide):
        read = (
            pa.RecordBatch.from_arrays(
                [*map(_readable, batch.columns, wide.types)], schema=wide
            )
            for batch in pa.RecordBatchReader.from_stream(stream)
        )
        stream = pa.RecordBatchReader.from_batches(wide, read)
    try:
        made = pl.DataFrame(_Stream(stream))
    except BaseException as error:
        # Which is no Exception, and would end the interpreter.
        if type(error).__name__ != "PanicException":
            raise
        raise NotImplementedError(f"Polars cannot read this stream: {error}") from None
    return made


def check_height(made: Any, rows: int | None) -> None:
    """Refuse a frame without columns if it lost its rows."""
    if made.height != rows:
        raise NotImplementedError("rows without columns need a later version of Polars")


def _of_batch(batch: pa.RecordBatch) -> Any:
    made = frame(pa.RecordBatchReader.from_batches(batch.schema, [batch]), batch.schema)
    check_height(made, batch.num_rows)
    return made


def _batches(
    cache: StreamCache,
    statistics: Statistics,
    columns: list[int],
    predicate: Any,
    n_rows: int | None,
) -> Iterator[pa.RecordBatch]:
    """Yield batches that may have rows; `n_rows` counts rows before the predicate."""
    ranges: list[Range] = [(0, None)]
    if predicate is not None:
        condition = _polars_expression.predicate(cache.schema, predicate)
        ranges = statistics.ranges(cache, condition)
    last = 0
    for start, stop in ranges:
        if n_rows is not None and start > last:
            starts = statistics.starts(cache)
            n_rows -= starts[start] - starts[last]
        if n_rows is not None and n_rows <= 0 and start > 0:
            return
        for batch in cache.reader(columns=columns, start=start, stop=stop):
            if n_rows is not None:
                batch = batch.slice(0, n_rows)
                n_rows -= batch.num_rows
            yield batch
            if n_rows == 0:
                return
        last = stop or 0


def scan(cache: StreamCache, statistics: Statistics) -> Any:
    """Return a polars.LazyFrame; see :meth:`StreamCache.scan_polars`."""
    try:
        from polars.io.plugins import register_io_source
    except ModuleNotFoundError as error:
        raise ImportError(f"scan_polars() needs Polars 1.24 or later: {error}") from None

    schema = cache.schema
    empty = frame(pa.RecordBatchReader.from_batches(schema, []), schema)
    number_of = {name: number for number, name in enumerate(empty.columns)}

    def generate(
        with_columns: list[str] | None,
        predicate: Any,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[Any]:
        """Yield the batches' rows that satisfy the predicate."""
        names = empty.columns if with_columns is None else with_columns
        columns = [number_of[name] for name in names]
        for batch in _batches(cache, statistics, columns, predicate, n_rows):
            some = _of_batch(batch)
            yield some if predicate is None else some.filter(predicate)
        # Polars before 1.25 fails where it gets no frame.
        yield empty.select(names)

    options: dict[str, Any] = {"schema": empty.schema}
    if "is_pure" in inspect.signature(register_io_source).parameters:
        options["is_pure"] = True
    return register_io_source(generate, **options)
