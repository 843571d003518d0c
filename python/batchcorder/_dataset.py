"""
The recording as a pyarrow dataset: what engines push down, is done here.

Projections become readers of some columns. Filters are applied by pyarrow's scanner, or
by ours where pyarrow's would fail (`_scanner.py`), exactly. Before that, batches whose
minima and maxima exclude the filter are left out (`_statistics.py`).
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from . import _expression, _rows, _scanner, _served
from ._display import shortened
from ._random_access import row_numbers
from ._statistics import Statistics

if TYPE_CHECKING:
    from ._stream_cache import StreamCache

_Range = tuple[int, int | None]


def _needed(schema: pa.Schema, columns: Any, filter: Any) -> list[int] | None:
    """Return the numbers of the columns that a scan reads; None: all."""
    if columns is None:
        return None
    if isinstance(columns, dict):
        wanted = _expression.referenced(schema, list(columns.values()))
    else:
        # ".a.b" is a field of a.
        paths = [name for name in columns if name not in schema.names]
        wanted = {*columns, *(n for n in schema.names if any(n in p for p in paths))}
    if filter is not None:
        wanted |= _expression.referenced(schema, [filter])
    return [number for number, name in enumerate(schema.names) if name in wanted]


def _ranges(batches: list[int], open_end: int | None) -> list[_Range]:
    """Return ascending indices as ranges; the last is open if `open_end` is its start."""
    ranges: list[tuple[int, int | None]] = []
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


def _batches(
    cache: StreamCache, ranges: list[_Range], columns: list[int] | None
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of some batches."""
    for start, stop in ranges:
        yield from cache.reader(columns=columns, start=start, stop=stop)


def _read(
    cache: StreamCache, ranges: list[_Range], columns: list[int] | None
) -> pa.RecordBatchReader:
    """Return a stream of some columns of some batches."""
    if len(ranges) == 1:
        start, stop = ranges[0]
        reader = cache.reader(columns=columns, start=start, stop=stop)
        return pa.RecordBatchReader.from_stream(reader)
    schema = cache.schema
    if columns is not None:
        fields = [schema.field(number) for number in columns]
        schema = pa.schema(fields, metadata=schema.metadata)
    return pa.RecordBatchReader.from_batches(schema, _batches(cache, ranges, columns))


def _both(one: pc.Expression | None, other: pc.Expression | None) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _check_rows(numbers: pa.Array, count: int) -> None:
    """Raise IndexError where there is no such row."""
    bounds = pc.min_max(numbers)
    for row in (bounds["min"].as_py(), bounds["max"].as_py()):
        if row is not None and not 0 <= row < count:
            raise IndexError(f"row index {row} is out of range ({count} rows)")


def _plain(table: pa.Table) -> pa.Table:
    """Return a table with plain text in place of views, and runs written out."""
    columns = [
        pa.chunked_array(
            [_rows.as_plain(chunk) for chunk in column.chunks],
            _rows.written_out(column.type),
        )
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, names=table.column_names)


def _sort_keys(table: pa.Table) -> pa.Table:
    """Return columns that pyarrow sorts by, with values in place of dictionaries."""
    plain = _plain(table)
    columns = [
        column.cast(column.type.value_type)
        if pa.types.is_dictionary(column.type)
        else column
        for column in plain.columns
    ]
    return pa.Table.from_arrays(columns, names=plain.column_names)


def _is_simple(schema: pa.Schema) -> bool:
    return all(_rows.is_simple(field.type) for field in schema)


@contextlib.contextmanager
def _errors_of(cache: StreamCache) -> Iterator[None]:
    """Raise the source's exception, where pyarrow's scanner has made another of it."""
    try:
        yield
    except (pa.ArrowException, OSError):
        if cache.stats()["state"] == "failed":
            cache.ingest_all()
        raise


class _Scannable:
    """What datasets and fragments have in common: they make scanners."""

    _cache: StreamCache

    def _ranges(self, filter: pc.Expression | None) -> list[_Range]:
        raise NotImplementedError

    def _filters(self, filter: pc.Expression | None) -> pc.Expression | None:
        raise NotImplementedError

    def scanner(
        self,
        schema: pa.Schema | None = None,
        columns: Any = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pads.Scanner:
        """
        Return a scanner, to be used once.

        Parameters
        ----------
        schema : pyarrow.Schema, optional
            That of the dataset, which fragments are given again.
        columns : list of str or dict of str to Expression, optional
            As :meth:`pyarrow.dataset.Dataset.scanner` takes them.
        filter : pyarrow.compute.Expression, optional
            Rows for which it is not true are not given.
        **options
            Others of :meth:`pyarrow.dataset.Scanner.from_batches`. As there,
            `batch_size` has no effect: each batch has rows of one recorded batch.

        """
        both = self._filters(filter)
        needed = _needed(self._cache.schema, columns, both)
        stream = _read(self._cache, self._ranges(both), needed)
        return _scanner.scanner(stream, columns, both, options)

    def to_batches(self, columns: Any = None, filter: Any = None, **options: Any) -> Any:
        """Return an iterator of record batches; see :meth:`scanner`."""
        scanner = self.scanner(columns=columns, filter=filter, **options)

        def generate() -> Iterator[pa.RecordBatch]:
            with _errors_of(self._cache):
                yield from scanner.to_batches()

        return generate()

    def to_table(self, columns: Any = None, filter: Any = None, **options: Any) -> Any:
        """Return a pyarrow.Table; see :meth:`scanner`."""
        scanner = self.scanner(columns=columns, filter=filter, **options)
        with _errors_of(self._cache):
            return scanner.to_table()

    def take(
        self, indices: Any, columns: Any = None, filter: Any = None, **options: Any
    ) -> pa.Table:
        """Return the rows of these numbers; see :meth:`scanner`."""
        rows = row_numbers(indices, "indices")
        table = self.to_table(columns, filter, **options)
        _check_rows(rows, table.num_rows)
        return _rows.of(table, rows)

    def head(
        self, num_rows: int, columns: Any = None, filter: Any = None, **options: Any
    ) -> pa.Table:
        """Return the first rows; see :meth:`scanner`."""
        scanner = self.scanner(columns=columns, filter=filter, **options)
        with _errors_of(self._cache):
            return scanner.head(num_rows)

    def count_rows(self, filter: Any = None, **options: Any) -> int:
        """Return the number of rows; without a filter, none of them is read."""
        scanner = self.scanner(columns=[], filter=filter, **options)
        with _errors_of(self._cache):
            return int(scanner.count_rows())


def _remaining(
    cache: StreamCache,
    statistics: Statistics,
    filter: pc.Expression | None,
    batches: int,
) -> list[int]:
    """Return the indices below `batches` of the batches that a scan must read."""
    if filter is None or cache.max_readers is not None:
        return list(range(batches))
    return statistics.remaining_batches(cache, filter, batches)


def _ranges_of(
    cache: StreamCache, statistics: Statistics, filter: pc.Expression | None
) -> list[_Range]:
    """Return the ranges of batches that a scan must read."""
    ended = cache.upstream_exhausted
    known = cache.ingested_count
    if filter is None or known == 0:
        return [(0, None)]
    remaining = _remaining(cache, statistics, filter, known)
    return _ranges(remaining, None if ended else known)


def _all_rows(
    cache: StreamCache, filter: pc.Expression | None, statistics: Statistics
) -> pa.Table:
    """Return all rows, without a scan: pyarrow calls this in threads of its pools."""
    batches = _batches(cache, _ranges_of(cache, statistics, filter), None)
    return _scanner.filtered(cache.schema, batches, filter)


def _unpickled(cache: StreamCache, filter: pc.Expression | None) -> CacheDataset:
    dataset = cache.dataset()
    return dataset if filter is None else dataset.filter(filter)


class CacheFragment(_Scannable):
    """Some of the batches of a cache, for an engine that scans several at once."""

    def __init__(
        self, cache: StreamCache, ranges: list[_Range], filter: pc.Expression | None
    ) -> None:
        self._cache = cache
        self._batches = ranges
        self._filter = filter

    def _ranges(self, filter: pc.Expression | None) -> list[_Range]:
        return self._batches

    def _filters(self, filter: pc.Expression | None) -> pc.Expression | None:
        return _both(self._filter, filter)

    @property
    def physical_schema(self) -> pa.Schema:
        """pyarrow.Schema of the batches."""
        return self._cache.schema

    @property
    def partition_expression(self) -> pc.Expression:
        """What is true of all rows: nothing."""
        return pc.scalar(True)

    def __repr__(self) -> str:
        return f"<CacheFragment batches={shortened(str(self._batches), 200)}>"


class CacheDataset(_Scannable, pads.UnionDataset):  # type: ignore[misc]
    """
    A StreamCache as a pyarrow.dataset.Dataset; made by :meth:`StreamCache.dataset`.

    Each scan makes a reader of the cache, which counts where the cache has
    `max_readers`. What is not recorded yet is read from the source by the scan.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.compute as pc
    >>> from batchcorder import StreamCache
    >>> table = pa.table({"x": range(100)})
    >>> cache = StreamCache(table.to_reader(max_chunksize=10))
    >>> dataset = cache.dataset().filter(pc.field("x") >= 95)
    >>> dataset.count_rows(), cache.ingest_all()
    (5, 10)
    >>> dataset.to_table().num_rows  # one batch of ten may have such rows
    5

    """

    __module__ = "batchcorder"

    def __init__(
        self, cache: StreamCache, filter: pc.Expression | None, statistics: Statistics
    ) -> None:
        self._cache = cache
        self._filter = filter
        self._statistics = statistics
        super().__init__(cache.schema, [self._served(cache.schema)])

    def _served(self, schema: pa.Schema) -> pads.FileSystemDataset:
        """Return the dataset for C++ code; it keeps the cache, but not this object."""
        cache, filter, statistics = self._cache, self._filter, self._statistics
        return _served.dataset(schema, lambda: _all_rows(cache, filter, statistics))

    def _remaining(self, filter: pc.Expression | None, batches: int) -> list[int]:
        return _remaining(self._cache, self._statistics, filter, batches)

    def _ranges(self, filter: pc.Expression | None) -> list[_Range]:
        return _ranges_of(self._cache, self._statistics, filter)

    def _filters(self, filter: pc.Expression | None) -> pc.Expression | None:
        return _both(self._filter, filter)

    @property
    def schema(self) -> pa.Schema:
        """pyarrow.Schema of the stream."""
        return self._cache.schema

    @property
    def partition_expression(self) -> pc.Expression:
        """What is true of all rows: nothing."""
        return pc.scalar(True)

    @property
    def children(self) -> list[pads.Dataset]:
        """Other datasets that it is made of: none."""
        return []

    def count_rows(self, filter: Any = None, **options: Any) -> int:
        """Return the number of rows; without a filter, none of them is read again."""
        if self._filters(filter) is None:
            self._cache.ingest_all()
            return self._cache.stats()["rows"]
        return super().count_rows(filter, **options)

    def take(
        self, indices: Any, columns: Any = None, filter: Any = None, **options: Any
    ) -> pa.Table:
        """
        Return the rows of these numbers, counted after the filter; see :meth:`scanner`.

        Without a filter, only batches that have such rows are read, by several readers
        where the cache does not count them.
        """
        if self._filters(filter) is not None or self._cache.max_readers is not None:
            return super().take(indices, columns, filter, **options)
        return self._take(row_numbers(indices, "indices"), columns, options)

    def _take(self, numbers: pa.Array, columns: Any, options: dict[str, Any]) -> pa.Table:
        starts = [0]
        for batch in _batches(self._cache, self._ranges(None), []):
            starts.append(starts[-1] + batch.num_rows)
        _check_rows(numbers, starts[-1])
        rows = numbers.to_pylist()
        batch_of = {row: bisect.bisect_right(starts, row) - 1 for row in rows}
        batches = sorted(set(batch_of.values()))
        # What leads from a row's number to its place in what is read.
        steps, count = {}, 0
        for number in batches:
            steps[number] = count - starts[number]
            count += starts[number + 1] - starts[number]
        needed = _needed(self._cache.schema, columns, None)
        read = _read(self._cache, _ranges(batches, None), needed)
        table = _scanner.scanner(read, columns, None, options).to_table()
        places = [row + steps[batch_of[row]] for row in rows]
        return _rows.of(table, pa.array(places, pa.int64()))

    def filter(self, expression: pc.Expression) -> CacheDataset:
        """Return the dataset of the rows for which the expression is true too."""
        both = _both(self._filter, expression)
        return CacheDataset(self._cache, both, self._statistics)

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[Any]:
        """Yield parts to scan side by side, as many as there are processors at most."""
        batches = self._cache.ingest_all()
        numbers = self._remaining(self._filters(filter), batches)
        most = 1 if self._cache.max_readers is not None else os.cpu_count() or 1
        parts = max(1, min(len(numbers), most))
        for part in range(parts):
            first, end = (len(numbers) * i // parts for i in (part, part + 1))
            ranges = _ranges(numbers[first:end], None)
            yield CacheFragment(self._cache, ranges, self._filter)

    def sort_by(self, sorting: Any, **options: Any) -> pads.Dataset:
        """Return the rows in another order, as a dataset in memory."""
        table = self.to_table()
        if _is_simple(table.schema):
            try:
                # A dataset's own sort crashes for unions of extension types.
                return pads.InMemoryDataset(table.sort_by(sorting, **options))
            except pa.ArrowException:
                pass  # dictionaries that differ, or do not fit one
        from ._stream_cache import StreamCache

        by = [(sorting, "ascending")] if isinstance(sorting, str) else sorting
        keys = _sort_keys(table.select([name for name, _ in by]))
        order = pc.sort_indices(keys, sort_keys=by, **options)
        return StreamCache(_rows.of(table, order)).dataset()

    def join(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
        """
        Return a join with another dataset, as a dataset in memory.

        pyarrow joins no views of text and no runs: they come as plain text, and values.
        """
        left, right = _to_join(self), _to_join(right_dataset)
        return left.join(right, *args, **options)

    def join_asof(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
        """Return an as-of join with another dataset, as a dataset in memory."""
        left, right = _to_join(self), _to_join(right_dataset)
        return left.join_asof(right, *args, **options)

    def replace_schema(self, schema: pa.Schema) -> pads.Dataset:
        """
        Return a dataset of pyarrow's with these columns, whose scans copy all rows.

        Those that the stream does not have are null.

        Raises
        ------
        NotImplementedError
            The type of a column differs; ``cache.cast(schema)`` casts the cache.

        """
        own = self.schema
        shared = [field.name for field in schema if own.names.count(field.name) == 1]
        if any(schema.field(name).type != own.field(name).type for name in shared):
            raise NotImplementedError("cast the cache instead: cache.cast(schema)")
        return self._served(schema)

    def __reduce__(self) -> Any:
        """Pickle as the cache does: by its path."""
        return _unpickled, (self._cache, self._filter)

    def __repr__(self) -> str:
        return f"<CacheDataset of {shortened(repr(self._cache), 280)}>"


def _to_join(dataset: Any) -> Any:
    """Return a dataset that pyarrow joins."""
    is_ours = isinstance(dataset, CacheDataset)
    if not is_ours and _is_simple(dataset.schema):
        return dataset
    table = dataset.to_table()
    return pads.InMemoryDataset(table if _is_simple(table.schema) else _plain(table))
