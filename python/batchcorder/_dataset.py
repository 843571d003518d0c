"""
The recording as a pyarrow dataset: what engines push down, is done here.

Projections become readers of some columns. Filters are applied by pyarrow's scanner,
exactly; before that, batches whose minima and maxima exclude the filter are left out,
which pyarrow decides too, as it does for partitions of files.
"""

from __future__ import annotations

import bisect
import functools
import operator
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow import fs

if TYPE_CHECKING:
    from ._cache import StreamCache

# What C++ code meets that takes the dataset for one of its own: a file that is not there.
_TRAP = "this dataset is scanned from Python only; use its to_table() there"

_Range = tuple[int, int | None]


def _paths(
    schema: pa.Schema, paths: list[str], guarantees: list[pc.Expression] | None = None
) -> pads.FileSystemDataset:
    """Return a dataset of files that nobody opens, with what is known of each."""
    return pads.FileSystemDataset.from_paths(
        paths,
        schema=schema,
        format=pads.IpcFileFormat(),
        filesystem=fs.LocalFileSystem(),
        partitions=guarantees,
    )


def _is_ordered(kind: pa.DataType) -> bool:
    """Return whether pyarrow finds minima of the type, and compares with them."""
    t = pa.types
    numbers = (t.is_integer, t.is_float32, t.is_float64, t.is_boolean)
    others = (t.is_decimal128, t.is_decimal256, t.is_date, t.is_time, t.is_timestamp)
    texts = (t.is_string, t.is_large_string, t.is_binary, t.is_large_binary)
    return any(test(kind) for test in numbers + others + texts)


def _guarantee(name: str, values: pa.Array) -> pc.Expression:
    """Return what holds for every value of a column of one batch."""
    field = pc.field(name)
    if len(values) == 0:
        return pc.scalar(False)
    if values.null_count == len(values):
        return field.is_null()
    is_float = pa.types.is_floating(values.type)
    if is_float and pc.any(pc.is_nan(values)).as_py():
        return pc.scalar(True)
    bounds = pc.min_max(values)
    # An equality lets the column stand for its value, which tells 0.0 from -0.0.
    if bounds["min"] == bounds["max"] and values.null_count == 0 and not is_float:
        return field == bounds["min"]
    low, high = field >= bounds["min"], field <= bounds["max"]
    if values.null_count > 0:
        low, high = low | field.is_null(), high | field.is_null()
    return low & high


class Statistics:
    """
    What is known of the columns of a cache's batches; gathered when asked for.

    The cache keeps it, so it does not keep the cache.
    """

    def __init__(self) -> None:
        # Replaced, never changed: threads that gather the same need no lock.
        self._guarantees: dict[str, list[pc.Expression]] = {}
        self._datasets: dict[tuple[str, ...], pads.FileSystemDataset] = {}

    def _gather(self, cache: StreamCache, name: str, batches: int) -> list[pc.Expression]:
        known = self._guarantees.get(name, [])
        if len(known) < batches:
            reader = cache.reader(columns=[name], start=len(known), stop=batches)
            known = known + [_guarantee(name, batch.column(0)) for batch in reader]
            self._guarantees[name] = known
        return known[:batches]

    def _dataset(
        self, cache: StreamCache, names: tuple[str, ...], batches: int
    ) -> pads.FileSystemDataset:
        dataset = self._datasets.get(names)
        if dataset is None or len(dataset.files) != batches:
            columns = [self._gather(cache, name, batches) for name in names]
            guarantees = [
                functools.reduce(operator.and_, ones)
                for ones in zip(*columns, strict=True)
            ]
            paths = [str(number) for number in range(batches)]
            dataset = _paths(cache.schema, paths, guarantees)
            self._datasets[names] = dataset
        return dataset

    def survivors(
        self, cache: StreamCache, filter: pc.Expression, batches: int
    ) -> list[int]:
        """Return the numbers of those of the first batches that may have rows to give."""
        schema = cache.schema
        names = tuple(
            name
            for name in _referenced(schema, [filter])
            if schema.names.count(name) == 1 and _is_ordered(schema.field(name).type)
        )
        # Bounds say nothing of what is compared with NaN.
        if not names or re.search(r"\bnan\b", str(filter)):
            return list(range(batches))
        dataset = self._dataset(cache, names, batches)
        try:
            return sorted(int(part.path) for part in dataset.get_fragments(filter))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # What the filter makes of the bounds; of the rows, the scanner decides.
            return list(range(batches))


def _referenced(schema: pa.Schema, expressions: Sequence[Any]) -> list[str]:
    """
    Return the names of the columns that expressions may refer to.

    An expression does not tell, but its text has the names of all; a name that stands in
    it by chance costs no more than reading that column too.
    """
    texts = [str(expression) for expression in expressions]
    if any("FieldPath(" in text for text in texts):
        return list(schema.names)
    return [name for name in schema.names if any(name in text for text in texts)]


def _needed(schema: pa.Schema, columns: Any, filter: Any) -> list[str] | None:
    """Return the names of the columns that a scan reads; None: all."""
    if columns is None or len(set(schema.names)) != len(schema):
        return None
    wanted: set[str] = set()
    if isinstance(columns, dict):
        wanted.update(_referenced(schema, list(columns.values())))
    else:
        wanted.update(name for name in columns if name in schema.names)
        # "a.b" is a field of a.
        others = [name for name in columns if name not in schema.names]
        wanted.update(_referenced(schema, others))
    if filter is not None:
        wanted.update(_referenced(schema, [filter]))
    return [name for name in schema.names if name in wanted]


def _runs(numbers: list[int], open_end: int | None) -> list[_Range]:
    """Return the numbers as ranges; from `open_end` on, all there will be."""
    runs: list[tuple[int, int | None]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    if open_end is not None:
        if runs and runs[-1][1] == open_end:
            runs[-1] = (runs[-1][0], None)
        else:
            runs.append((open_end, None))
    return runs


def _read(
    cache: StreamCache, runs: list[_Range], columns: list[str] | None
) -> pa.RecordBatchReader:
    """Return a stream of some columns of some batches."""
    if len(runs) == 1:
        start, stop = runs[0]
        reader = cache.reader(columns=columns, start=start, stop=stop)
        return pa.RecordBatchReader.from_stream(reader)
    schema = cache.schema
    if columns is not None:
        fields = [schema.field(name) for name in columns]
        schema = pa.schema(fields, metadata=schema.metadata)

    def generate() -> Iterator[pa.RecordBatch]:
        for start, stop in runs:
            yield from cache.reader(columns=columns, start=start, stop=stop)

    return pa.RecordBatchReader.from_batches(schema, generate())


def _both(one: pc.Expression | None, other: pc.Expression | None) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one & other


class _Scan:
    """What datasets and fragments have in common: they make scanners."""

    _cache: StreamCache

    def _runs(self, filter: pc.Expression | None) -> list[_Range]:
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
            Others of :meth:`pyarrow.dataset.Scanner.from_batches`.

        """
        both = self._filters(filter)
        needed = _needed(self._cache.schema, columns, both)
        stream = _read(self._cache, self._runs(both), needed)
        return pads.Scanner.from_batches(stream, columns=columns, filter=both, **options)

    def to_batches(self, columns: Any = None, filter: Any = None, **options: Any) -> Any:
        """Return an iterator of record batches; see :meth:`scanner`."""
        return self.scanner(columns=columns, filter=filter, **options).to_batches()

    def to_table(self, columns: Any = None, filter: Any = None, **options: Any) -> Any:
        """Return a pyarrow.Table; see :meth:`scanner`."""
        return self.scanner(columns=columns, filter=filter, **options).to_table()

    def take(
        self, indices: Any, columns: Any = None, filter: Any = None, **options: Any
    ) -> pa.Table:
        """Return the rows of these numbers; see :meth:`scanner`."""
        table = self.scanner(columns=columns, filter=filter, **options).to_table()
        return table.take(pa.array(indices, pa.int64()))

    def head(
        self, num_rows: int, columns: Any = None, filter: Any = None, **options: Any
    ) -> pa.Table:
        """Return the first rows; see :meth:`scanner`."""
        scanner = self.scanner(columns=columns, filter=filter, **options)
        return scanner.head(num_rows)

    def count_rows(self, filter: Any = None, **options: Any) -> int:
        """Return the number of rows; without a filter, none of them is read."""
        return int(self.scanner(columns=[], filter=filter, **options).count_rows())


class CacheFragment(_Scan):
    """Some of the batches of a cache, for an engine that scans several at once."""

    def __init__(
        self, cache: StreamCache, runs: list[_Range], filter: pc.Expression | None
    ) -> None:
        self._cache = cache
        self._batches = runs
        self._filter = filter

    def _runs(self, filter: pc.Expression | None) -> list[_Range]:
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
        return f"<CacheFragment batches={self._batches}>"


class CacheDataset(_Scan, pads.UnionDataset):  # type: ignore[misc]
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

    def __init__(self, cache: StreamCache, filter: pc.Expression | None = None) -> None:
        super().__init__(cache.schema, [_paths(cache.schema, [_TRAP])])
        self._cache = cache
        self._filter = filter
        statistics = cache.__dict__.setdefault("_statistics", Statistics())
        self._statistics: Statistics = statistics

    def _survivors(self, filter: pc.Expression | None, batches: int) -> list[int]:
        """Return the numbers of those of the first batches that must be read."""
        if filter is None or self._cache.max_readers is not None:
            return list(range(batches))
        return self._statistics.survivors(self._cache, filter, batches)

    def _runs(self, filter: pc.Expression | None) -> list[_Range]:
        ended = self._cache.upstream_exhausted
        known = self._cache.ingested_count
        if filter is None or known == 0:
            return [(0, None)]
        return _runs(self._survivors(filter, known), None if ended else known)

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
        return self._take(pa.array(indices, pa.int64()).to_pylist(), columns, options)

    def _take(self, rows: list[int], columns: Any, options: dict[str, Any]) -> pa.Table:
        starts = [0]
        for batch in _read(self._cache, self._runs(None), []):
            starts.append(starts[-1] + batch.num_rows)
        if rows and not 0 <= min(rows) <= max(rows) < starts[-1]:
            wrong = min(rows) if min(rows) < 0 else max(rows)
            raise IndexError(f"row {wrong} of {starts[-1]}")
        batch_of = {row: bisect.bisect_right(starts, row) - 1 for row in rows}
        batches = sorted(set(batch_of.values()))
        # What leads from a row's number to its place in what is read.
        steps, count = {}, 0
        for number in batches:
            steps[number] = count - starts[number]
            count += starts[number + 1] - starts[number]
        names = _needed(self._cache.schema, columns, None)
        read = _read(self._cache, _runs(batches, None), names)
        table = pads.Scanner.from_batches(read, columns=columns, **options).to_table()
        places = [row + steps[batch_of[row]] for row in rows]
        return table.take(pa.array(places, pa.int64()))

    def filter(self, expression: pc.Expression) -> CacheDataset:
        """Return the dataset of the rows for which the expression is true too."""
        return CacheDataset(self._cache, _both(self._filter, expression))

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[Any]:
        """Yield parts to scan side by side, as many as there are processors at most."""
        batches = self._cache.ingest_all()
        numbers = self._survivors(self._filters(filter), batches)
        most = 1 if self._cache.max_readers is not None else os.cpu_count() or 1
        parts = max(1, min(len(numbers), most))
        for part in range(parts):
            first, end = (len(numbers) * i // parts for i in (part, part + 1))
            runs = _runs(numbers[first:end], None)
            yield CacheFragment(self._cache, runs, self._filter)

    def _in_memory(self) -> pads.InMemoryDataset:
        return pads.InMemoryDataset(self.to_table())

    def sort_by(self, sorting: Any, **options: Any) -> pads.InMemoryDataset:
        """Return the rows in another order, as a dataset in memory."""
        return self._in_memory().sort_by(sorting, **options)

    def join(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
        """Return a join with another dataset, as a dataset in memory."""
        if isinstance(right_dataset, CacheDataset):
            right_dataset = right_dataset._in_memory()
        return self._in_memory().join(right_dataset, *args, **options)

    def join_asof(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
        """Return an as-of join with another dataset, as a dataset in memory."""
        if isinstance(right_dataset, CacheDataset):
            right_dataset = right_dataset._in_memory()
        return self._in_memory().join_asof(right_dataset, *args, **options)

    def replace_schema(self, schema: pa.Schema) -> Any:
        """Not there: `StreamCache.cast` makes a view of other types."""
        raise NotImplementedError("cast the cache instead: cache.cast(schema)")

    def __reduce__(self) -> Any:
        """Pickle as the cache does: by its path."""
        return type(self), (self._cache, self._filter)

    def __repr__(self) -> str:
        return f"<CacheDataset of {self._cache!r}>"
