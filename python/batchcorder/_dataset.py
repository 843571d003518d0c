"""
The recording as a pyarrow dataset, to which engines push projections and filters.

A projection becomes a reader of some columns. pyarrow's scanner applies the filter; for
types that it refuses, `_scanner.py` does. Batches whose minima and maxima exclude the
filter are not read (`_statistics.py`).
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from . import _expression, _rows, _scanner, _served
from ._display import shortened
from ._random_access import row_numbers
from ._statistics import Range, Statistics, ranges_of
from ._types import Indices

if TYPE_CHECKING:
    from ._stream_cache import StreamCache

Columns = list[str] | dict[str, pc.Expression]


# pyarrow's scanner adds these columns to the columns of a dataset.
_ADDED = {"__fragment_index", "__batch_index", "__last_in_fragment", "__filename"}


def _no_match(schema: pa.Schema, name: str) -> Exception:
    error: Exception = pa.ArrowInvalid(f"No match for FieldRef.Name({name}) in {schema}")
    return error


def _check_exist(schema: pa.Schema, expressions: list[Any]) -> None:
    """Refuse references to columns that do not exist: pyarrow's error lists its own."""
    for expression in expressions:
        known = _expression.contents(expression)
        for name in sorted(known.columns) if known is not None else []:
            if name not in schema.names and name not in _ADDED:
                raise _no_match(schema, name)


def _needed(schema: pa.Schema, columns: Any, filter: Any) -> list[int] | None:
    """Return the numbers of the columns that a scan reads; None: all."""
    expressions = list(columns.values()) if isinstance(columns, dict) else []
    _check_exist(schema, expressions if filter is None else [*expressions, filter])
    if columns is None:
        return None
    if isinstance(columns, dict):
        wanted = _expression.referenced(schema, list(columns.values()))
    else:
        # ".a.b" is a field of a.
        paths = [name for name in columns if name not in schema.names]
        for path in paths:
            if path not in _ADDED and not any(name in path for name in schema.names):
                raise _no_match(schema, path)
        wanted = {*columns, *(n for n in schema.names if any(n in p for p in paths))}
    if filter is not None:
        wanted |= _expression.referenced(schema, [filter])
    return [number for number, name in enumerate(schema.names) if name in wanted]


def _batches(
    cache: StreamCache, ranges: list[Range], columns: list[int] | None
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of some batches."""
    for start, stop in ranges:
        yield from cache.reader(columns=columns, start=start, stop=stop)


def _read(
    cache: StreamCache, ranges: list[Range], columns: list[int] | None
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
    """Raise the source's own exception if pyarrow's scanner raised another for it."""
    try:
        yield
    except (pa.ArrowException, OSError):
        if cache.stats()["state"] == "failed":
            cache.ingest_all()
        raise


class _Scannable:
    """The scans of datasets and fragments."""

    _cache: StreamCache
    _statistics: Statistics
    _filter: pc.Expression | None

    def _ranges(self, filter: pc.Expression | None) -> list[Range]:
        """Return the ranges of batches that a scan must read."""
        raise NotImplementedError

    def _counted(self, filter: pc.Expression | None) -> tuple[int, list[Range]]:
        """Return a number of matching rows, and ranges that a scan counts besides."""
        raise NotImplementedError

    def _decided(
        self, batches: Sequence[int], filter: pc.Expression | None
    ) -> tuple[int, list[Range]]:
        """Return `_counted` for some batches."""
        cache, statistics = self._cache, self._statistics
        if not batches:
            return 0, []
        certain, left = list(batches), []
        if filter is not None:
            verdicts = statistics.verdicts(cache, filter, batches[-1] + 1)
            if verdicts is None:
                return 0, ranges_of(batches, None)
            possible, whole = (mask.take(pa.array(batches)) for mask in verdicts)
            certain = [batches[i] for i in pc.indices_nonzero(whole).to_pylist()]
            undecided = pc.and_not(possible, whole)
            left = [batches[i] for i in pc.indices_nonzero(undecided).to_pylist()]
        starts = statistics.starts(cache)
        rows = sum(starts[number + 1] - starts[number] for number in certain)
        return rows, ranges_of(left, None)

    def _filters(self, filter: pc.Expression | None) -> pc.Expression | None:
        """Return a filter together with the own one."""
        return _both(self._filter, filter)

    def scanner(
        self,
        schema: pa.Schema | None = None,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pads.Scanner:
        """
        Return a scanner, to be used once.

        Parameters
        ----------
        schema : pyarrow.Schema, optional
            Ignored. Engines pass the schema of the dataset to its fragments.
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Return only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`pyarrow.dataset.Scanner.from_batches`. As there,
            `batch_size` has no effect: each batch has rows of one recorded batch.

        Returns
        -------
        pyarrow.dataset.Scanner
            A scanner over a new reader of the cache.

        Raises
        ------
        ValueError
            The cache is closed, or no reader is left of `max_readers`.
        pyarrow.lib.ArrowInvalid
            A column does not exist, or its name is repeated.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2], "y": [3, 4]})).dataset()
        >>> dataset.scanner(columns=["y"]).to_table().to_pydict()
        {'y': [3, 4]}
        """
        both = self._filters(filter)
        return self._scan(self._ranges(both), columns, both, options)

    def _scan(
        self,
        ranges: list[Range],
        columns: Columns | None,
        filter: pc.Expression | None,
        options: dict[str, Any],
    ) -> pads.Scanner:
        needed = _needed(self._cache.schema, columns, filter)
        stream = _read(self._cache, ranges, needed)
        return _scanner.scanner(stream, columns, filter, options)

    def to_batches(
        self,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """
        Return an iterator of the batches of a scan.

        Parameters
        ----------
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Return only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        iterator of pyarrow.RecordBatch
            Batches with rows of one recorded batch each.

        Raises
        ------
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2]})).dataset()
        >>> [batch.num_rows for batch in dataset.to_batches()]
        [2]
        """
        scanner = self.scanner(columns=columns, filter=filter, **options)

        def generate() -> Iterator[pa.RecordBatch]:
            with _errors_of(self._cache):
                yield from scanner.to_batches()

        return generate()

    def to_table(
        self,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """
        Return the rows of a scan as a table.

        Parameters
        ----------
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Return only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        pyarrow.Table
            The rows, in the order of the stream.

        Raises
        ------
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2], "y": [3, 4]})).dataset()
        >>> dataset.to_table(columns={"z": pc.field("y") + 1}).to_pydict()
        {'z': [4, 5]}
        """
        scanner = self.scanner(columns=columns, filter=filter, **options)
        with _errors_of(self._cache):
            return scanner.to_table()

    def take(
        self,
        indices: Indices,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """
        Return the rows with the given indices, counted after the filter.

        Parameters
        ----------
        indices : sequence of int, numpy.ndarray or pyarrow.Array
            Indices from 0, of shape (n,). An index may be repeated.
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Count only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        pyarrow.Table
            A copy of the n rows.

        Raises
        ------
        IndexError
            There is no such row.
        TypeError
            `indices` are not integers.
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).dataset().take([1]).to_pydict()
        {'x': [2]}
        """
        rows = row_numbers(indices, "indices")
        table = self.to_table(columns, filter, **options)
        _check_rows(rows, table.num_rows)
        return _rows.of(table, rows)

    def head(
        self,
        num_rows: int,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """
        Return the first rows of a scan.

        Parameters
        ----------
        num_rows : int
            Number of rows to return at most.
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Return only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        pyarrow.Table
            The rows. Later batches may not be read.

        Raises
        ------
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).dataset().head(1).to_pydict()
        {'x': [1]}
        """
        scanner = self.scanner(columns=columns, filter=filter, **options)
        with _errors_of(self._cache):
            return scanner.head(num_rows)

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """
        Return the number of rows.

        Without a filter, no batch is read. With a filter, batches are read if their
        statistics do not decide it.

        Parameters
        ----------
        filter : pyarrow.compute.Expression, optional
            Count only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        int
            Number of rows.

        Raises
        ------
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).dataset().count_rows()
        2
        """
        both = self._filters(filter)
        rows, ranges = self._counted(both)
        if both is None and not ranges:
            return rows
        scanner = self._scan(ranges, [], both, options)
        with _errors_of(self._cache):
            return rows + int(scanner.count_rows())


def _all_rows(
    cache: StreamCache, filter: pc.Expression | None, statistics: Statistics
) -> pa.Table:
    """Return all rows, without a scan: pyarrow calls this in threads of its pools."""
    batches = _batches(cache, statistics.ranges(cache, filter), None)
    return _scanner.filtered(cache.schema, batches, filter)


def _unpickled(cache: StreamCache, filter: pc.Expression | None) -> CacheDataset:
    dataset = cache.dataset()
    return dataset if filter is None else dataset.filter(filter)


class CacheFragment(_Scannable):
    """Some batches of a cache, for an engine that scans several fragments at once."""

    def __init__(
        self,
        cache: StreamCache,
        batches: list[int],
        filter: pc.Expression | None,
        statistics: Statistics,
    ) -> None:
        self._cache = cache
        self._batches = batches
        self._filter = filter
        self._statistics = statistics

    def _remaining(self, filter: pc.Expression) -> list[int]:
        """Return the indices of the batches that a scan must read."""
        if self._cache.max_readers is not None or not self._batches:
            return self._batches
        batches = self._batches[-1] + 1
        remaining = self._statistics.remaining_batches(self._cache, filter, batches)
        return sorted({*remaining}.intersection(self._batches))

    def _ranges(self, filter: pc.Expression | None) -> list[Range]:
        batches = self._batches if filter is None else self._remaining(filter)
        return ranges_of(batches, None)

    def _counted(self, filter: pc.Expression | None) -> tuple[int, list[Range]]:
        if self._cache.max_readers is not None:
            return 0, ranges_of(self._batches, None)
        return self._decided(self._batches, filter)

    @property
    def physical_schema(self) -> pa.Schema:
        """Schema of the batches."""
        return self._cache.schema

    @property
    def partition_expression(self) -> pc.Expression:
        """The literal true: no partition restricts the rows."""
        return pc.scalar(True)

    def __repr__(self) -> str:
        ranges = ranges_of(self._batches, None)
        return f"<CacheFragment batches={shortened(str(ranges), 200)}>"


if TYPE_CHECKING:
    # pyarrow has no types: a class derived from an unknown one is unknown itself, and so
    # is all that returns it. CacheDataset has every member of pyarrow's class.
    class _UnionDataset:
        def __init__(self, schema: pa.Schema, children: list[Any]) -> None: ...

else:
    _UnionDataset = pads.UnionDataset


class CacheDataset(_Scannable, _UnionDataset):
    """
    A StreamCache as a pyarrow.dataset.Dataset; made by :meth:`StreamCache.dataset`.

    Each scan is a reader of the cache, which counts towards `max_readers`. A scan reads
    batches that are not recorded yet from the source.

    Parameters
    ----------
    cache : StreamCache
        The cache, which the dataset keeps.
    filter : pyarrow.compute.Expression or None
        Condition of the rows. None: all rows.
    statistics : Statistics
        Minima and maxima of columns, which the datasets of one cache share.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.compute as pc
    >>> from batchcorder import StreamCache
    >>> table = pa.table({"x": range(100)})
    >>> cache = StreamCache(table.to_reader(max_chunksize=10))
    >>> dataset = cache.dataset().filter(pc.field("x") >= 95)
    >>> dataset.count_rows(), cache.ingest_all()
    (5, 10)
    >>> dataset.to_table().num_rows  # the bounds exclude nine of the ten batches
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

    def _ranges(self, filter: pc.Expression | None) -> list[Range]:
        return self._statistics.ranges(self._cache, filter)

    def _counted(self, filter: pc.Expression | None) -> tuple[int, list[Range]]:
        cache = self._cache
        if filter is None:
            cache.ingest_all()
            return cache.stats()["rows"], []
        ended = cache.upstream_exhausted
        known = cache.ingested_count
        if known == 0 or cache.max_readers is not None:
            return 0, [(0, None)]
        rows, ranges = self._decided(range(known), filter)
        return rows, ranges if ended else [*ranges, (known, None)]

    @property
    def schema(self) -> pa.Schema:
        """
        Schema of the stream.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).dataset().schema
        x: int64
        """
        return self._cache.schema

    @property
    def partition_expression(self) -> pc.Expression:
        """
        The literal true: no partition restricts the rows.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).dataset().partition_expression
        <pyarrow.compute.Expression true>
        """
        return pc.scalar(True)

    @property
    def children(self) -> list[pads.Dataset]:
        """
        Datasets that this one unites: none.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).dataset().children
        []
        """
        return []

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """
        Return the number of rows.

        Without a filter, no batch is read again. With a filter, batches are read if their
        statistics do not decide it.

        Parameters
        ----------
        filter : pyarrow.compute.Expression, optional
            Count only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        int
            Number of rows. The source is read to its end.

        Raises
        ------
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2]})).dataset()
        >>> dataset.count_rows(), dataset.count_rows(pc.field("x") > 1)
        (2, 1)
        """
        return super().count_rows(filter, **options)

    def take(
        self,
        indices: Indices,
        columns: Columns | None = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """
        Return the rows with the given indices, counted after the filter.

        Without a filter, only batches with such rows are read. If the cache has no
        `max_readers`, each range of batches has its own reader.

        Parameters
        ----------
        indices : sequence of int, numpy.ndarray or pyarrow.Array
            Indices from 0, of shape (n,). An index may be repeated.
        columns : list of str or dict of str to pyarrow.compute.Expression, optional
            Names of the columns, or expressions by name. None (default): all columns.
        filter : pyarrow.compute.Expression, optional
            Count only rows for which it is true. None (default): all rows.
        **options : Any
            Other options of :meth:`scanner`.

        Returns
        -------
        pyarrow.Table
            A copy of the n rows.

        Raises
        ------
        IndexError
            There is no such row.
        TypeError
            `indices` are not integers.
        Exception
            The error of the source, or an error of :meth:`scanner`.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).dataset().take([1, 1]).to_pydict()
        {'x': [2, 2]}
        """
        if self._filters(filter) is not None or self._cache.max_readers is not None:
            return super().take(indices, columns, filter, **options)
        return self._take(row_numbers(indices, "indices"), columns, options)

    def _take(
        self, numbers: pa.Array, columns: Columns | None, options: dict[str, Any]
    ) -> pa.Table:
        self._cache.ingest_all()
        starts = self._statistics.starts(self._cache)
        _check_rows(numbers, starts[-1])
        rows = numbers.to_pylist()
        batch_of = {row: bisect.bisect_right(starts, row) - 1 for row in rows}
        batches = sorted(set(batch_of.values()))
        # From a row's index in the stream to its index in the batches that are read.
        steps, count = {}, 0
        for number in batches:
            steps[number] = count - starts[number]
            count += starts[number + 1] - starts[number]
        needed = _needed(self._cache.schema, columns, None)
        read = _read(self._cache, ranges_of(batches, None), needed)
        table = _scanner.scanner(read, columns, None, options).to_table()
        places = [row + steps[batch_of[row]] for row in rows]
        return _rows.of(table, pa.array(places, pa.int64()))

    def filter(self, expression: pc.Expression) -> CacheDataset:
        """
        Return a dataset of the rows for which an expression is true.

        Parameters
        ----------
        expression : pyarrow.compute.Expression
            A condition, in addition to the dataset's own filter.

        Returns
        -------
        CacheDataset
            A dataset over the same cache.

        Examples
        --------
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2]})).dataset()
        >>> dataset.filter(pc.field("x") > 1).to_table().to_pydict()
        {'x': [2]}
        """
        both = _both(self._filter, expression)
        return CacheDataset(self._cache, both, self._statistics)

    def get_fragments(
        self, filter: pc.Expression | None = None
    ) -> Iterator[CacheFragment]:
        """
        Yield parts of the dataset that an engine can scan in parallel.

        Parameters
        ----------
        filter : pyarrow.compute.Expression, optional
            Leave out batches whose bounds exclude it. None (default): all batches.

        Yields
        ------
        CacheFragment
            At most one for each processor. With `max_readers`, one fragment.

        Raises
        ------
        Exception
            As :meth:`StreamCache.ingest_all` does: the source is read to its end.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2]})).dataset()
        >>> sum(fragment.count_rows() for fragment in dataset.get_fragments())
        2
        """
        cache = self._cache
        numbers = list(range(cache.ingest_all()))
        both, most = self._filters(filter), 1
        if cache.max_readers is None:
            most = os.cpu_count() or 1
            if both is not None:
                numbers = self._statistics.remaining_batches(cache, both, len(numbers))
        parts = max(1, min(len(numbers), most))
        for part in range(parts):
            first, end = (len(numbers) * i // parts for i in (part, part + 1))
            some = numbers[first:end]
            yield CacheFragment(cache, some, self._filter, self._statistics)

    def sort_by(
        self, sorting: str | list[tuple[str, str]], **options: Any
    ) -> pads.Dataset:
        """
        Return the rows in another order, as a dataset in memory.

        Parameters
        ----------
        sorting : str or list of tuple
            Name of a column, in ascending order. Or pairs of a column's name and
            "ascending" or "descending".
        **options : Any
            Other options of :class:`pyarrow.compute.SortOptions`.

        Returns
        -------
        pyarrow.dataset.Dataset
            A dataset with a sorted copy of all rows.

        Raises
        ------
        Exception
            As :meth:`to_table` does, or an error of pyarrow's sort.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [2, 1]})).dataset()
        >>> dataset.sort_by("x").to_table().to_pydict()
        {'x': [1, 2]}
        """
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

    def join(
        self, right_dataset: pads.Dataset, *args: Any, **options: Any
    ) -> pads.InMemoryDataset:
        """
        Return a join with another dataset, as a dataset in memory.

        pyarrow cannot join views of text and run-end encoding. The join has plain text
        and plain values in their place.

        Parameters
        ----------
        right_dataset : pyarrow.dataset.Dataset
            The right side of the join.
        *args : Any
            Other arguments of :meth:`pyarrow.dataset.Dataset.join`.
        **options : Any
            Other options of :meth:`pyarrow.dataset.Dataset.join`.

        Returns
        -------
        pyarrow.dataset.InMemoryDataset
            The joined rows.

        Raises
        ------
        Exception
            As :meth:`to_table` does, or an error of pyarrow's join.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> one = StreamCache(pa.table({"k": [1, 2], "x": [3, 4]})).dataset()
        >>> other = StreamCache(pa.table({"k": [2], "y": [5]})).dataset()
        >>> one.join(other, "k", join_type="inner").to_table().to_pydict()
        {'k': [2], 'x': [4], 'y': [5]}
        """
        left, right = _to_join(self), _to_join(right_dataset)
        return left.join(right, *args, **options)

    def join_asof(
        self, right_dataset: pads.Dataset, *args: Any, **options: Any
    ) -> pads.InMemoryDataset:
        """
        Return an as-of join with another dataset, as a dataset in memory.

        Parameters
        ----------
        right_dataset : pyarrow.dataset.Dataset
            The right side of the join.
        *args : Any
            Other arguments of :meth:`pyarrow.dataset.Dataset.join_asof`.
        **options : Any
            Other options of :meth:`pyarrow.dataset.Dataset.join_asof`.

        Returns
        -------
        pyarrow.dataset.InMemoryDataset
            The joined rows.

        Raises
        ------
        Exception
            As :meth:`to_table` does, or an error of pyarrow's join.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> one = StreamCache(pa.table({"t": [1, 5], "k": [0, 0]})).dataset()
        >>> other = StreamCache(pa.table({"t": [2], "k": [0], "y": [7]})).dataset()
        >>> joined = one.join_asof(other, on="t", by="k", tolerance=9)
        >>> joined.to_table()["y"].to_pylist()
        [7, None]
        """
        left, right = _to_join(self), _to_join(right_dataset)
        return left.join_asof(right, *args, **options)

    def replace_schema(self, schema: pa.Schema) -> pads.Dataset:
        """
        Return a dataset of pyarrow's with other columns, whose scans copy all rows.

        Parameters
        ----------
        schema : pyarrow.Schema
            Columns of the stream, with the same types. Columns that the stream does not
            have are null.

        Returns
        -------
        pyarrow.dataset.Dataset
            A dataset over the same cache.

        Raises
        ------
        NotImplementedError
            The type of a column differs; ``cache.cast(schema)`` casts the cache.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1], "y": [2]})).dataset()
        >>> schema = pa.schema({"y": pa.int64(), "z": pa.int8()})
        >>> dataset.replace_schema(schema).to_table().to_pydict()
        {'y': [2], 'z': [None]}
        """
        own = self.schema
        shared = [field.name for field in schema if own.names.count(field.name) == 1]
        if any(schema.field(name).type != own.field(name).type for name in shared):
            raise NotImplementedError("cast the cache instead: cache.cast(schema)")
        return self._served(schema)

    def __reduce__(self) -> tuple[Any, ...]:
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
