"""
A cache as an object that DuckDB scans: row counts, projections and predicates.

DuckDB 2 scans each Arrow object through a class of the private package `duckdb._sources`.
A source of this module is such a class. DuckDB calls three methods:

    bind        rows()
    planning    accepts(predicate); DuckDB drops an accepted predicate
    execution   stream(columns, predicates) of the matching rows

One source serves several scans at once, so it remembers nothing between the calls.

An accepted predicate divides the batches by their bounds (`_statistics.py`). Batches
without a matching row are not read. Batches with matching rows only are passed whole. The
rows of the other batches are filtered by pyarrow, in one thread at a time. DuckDB filters
in several threads, so few batches may be of this kind.

If `duckdb._sources` is missing or differs, DuckDB gets a pyarrow table or a dataset.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc

from . import _core, _rows

if TYPE_CHECKING:
    from ._statistics import Statistics
    from ._stream_cache import StreamCache

# The known interface of `duckdb._sources`: methods and their parameters, attributes, and
# the nodes of predicates with their fields.
_METHODS = {
    "__init__": ["self", "obj"],
    "rows": ["self"],
    "accepts": ["self", "predicate"],
    "stream": ["self", "columns", "filters"],
}
_FLAGS = ("one_shot", "schema_is_stable", "pull_under_gil")
_NODES = {
    "Binary": ("op", "left", "right"),
    "Col": ("parts",),
    "In": ("operand", "values"),
    "Lit": ("value", "type"),
    "Postfix": ("op", "operand"),
    "Unary": ("op", "operand"),
}

# Cost of filtering one row here, and of passing one batch through Python. The unit is the
# time in which DuckDB scans a row.
_FILTER_COST = 2
_BATCH_COST = 4096

# Rows of an open source, at least, if it does not tell how many.
_ROWS_OF_OPEN = 1 << 20

# DuckDB counts rows in 64 bits.
_MOST_ROWS = (1 << 63) - 1

# Indices of the first batch and after the last one; whether all of their rows match.
_Range = tuple[int, int, bool]


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def _is_known(package: Any, nodes: Any, to_arrow: Any) -> bool:
    """Return whether the interface of DuckDB's sources is the known one."""
    base = package.ArrowScanSource
    return (
        all(_parameters(getattr(base, name)) == _METHODS[name] for name in _METHODS)
        and all(getattr(base, name) is False for name in _FLAGS)
        and all(getattr(nodes, name).__match_args__ == _NODES[name] for name in _NODES)
        and issubclass(base, package.Source)
        and issubclass(nodes.Untranslatable, ValueError)
        and _parameters(to_arrow.to_arrow) == ["node", "schema"]
        and _parameters(package.adapt) == ["obj"]
    )


class _Condition:
    """An expression over batches of the columns that it refers to."""

    def __init__(self, schema: pa.Schema, expression: pc.Expression) -> None:
        fields = [field.with_type(_rows.written_out(field.type)) for field in schema]
        self._schema = pa.schema(fields)
        self._options = acero.ProjectNodeOptions([expression], [""])

    def rows_of(self, columns: list[pa.Array]) -> pa.Array:
        """Return the numbers of the rows for which the expression is true."""
        plain = [_rows.as_plain(column) for column in columns]
        table = pa.Table.from_arrays(plain, schema=self._schema)
        source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
        project = acero.Declaration("project", self._options, [source])
        # In this thread: a thread of a pool could wait for the thread that calls.
        matches = project.to_table(use_threads=False).column(0)
        return pc.indices_nonzero(matches)


def _is_sliceable(kind: pa.DataType) -> bool:
    """Return whether DuckDB reads slices: it rejects some with structs in them."""
    t = pa.types
    return not _rows.has(
        kind, lambda part: t.is_nested(part) or t.is_run_end_encoded(part)
    )


def _some(batch: pa.RecordBatch, numbers: pa.Array) -> pa.RecordBatch:
    """Return the rows of ascending numbers: a slice, if the rows are adjacent."""
    first = numbers[0].as_py()
    is_run = numbers[-1].as_py() - first + 1 == len(numbers)
    if is_run and all(map(_is_sliceable, batch.schema.types)):
        return batch.slice(first, len(numbers))
    return _rows.of(batch, numbers)


class _Parts:
    """The batches of an exhausted cache that an expression and bounds leave."""

    def __init__(
        self, cache: StreamCache, statistics: Statistics, expression: pc.Expression
    ) -> None:
        self._cache, self._expression = cache, expression
        batches = cache.ingested_count
        possible = statistics.remaining_batches(cache, expression, batches)
        certain: list[int] = []
        whole = set(certain)
        self._ranges: list[_Range] = []
        for number in possible:
            self._append(number, number in whole)

    def _append(self, number: int, is_whole: bool) -> None:
        """Add a batch; its range continues the last one if both are whole."""
        if self._ranges and is_whole:
            start, stop, last_is_whole = self._ranges[-1]
            if last_is_whole and stop == number:
                self._ranges[-1] = start, number + 1, True
                return
        self._ranges.append((number, number + 1, is_whole))

    def _is_one_reader(self) -> bool:
        return not self._ranges or (len(self._ranges) == 1 and self._ranges[0][2])

    def pay(self, rows_of_joined: Iterable[int]) -> bool:
        """
        Return whether a query is faster if DuckDB drops the predicate.

        DuckDB estimates that its own predicates leave a fifth of the rows. A dropped
        predicate counts as if all rows matched. If the scan of another source has a
        number of rows between both, a join of the two may get a worse order.
        """
        starts = memoryview(_core.row_starts(self._cache, 0)).cast("Q")
        left = cost = batches = 0
        for start, stop, is_whole in self._ranges:
            rows = starts[stop] - starts[start]
            left += rows
            batches += stop - start
            cost += 0 if is_whole else _FILTER_COST * rows
        if not self._is_one_reader():
            cost += _BATCH_COST * batches
        rows = starts[-1]
        if rows - left < cost:
            return False
        return 2 * left >= rows or not any(
            n <= 5 * rows <= 25 * n for n in rows_of_joined
        )

    def read(self, columns: list[int], names: set[str]) -> Any:
        """Return a stream of some columns of the matching rows."""
        if self._is_one_reader():
            start, stop, _ = self._ranges[0] if self._ranges else (0, 0, True)
            return self._cache.reader(columns=columns, start=start, stop=stop)
        schema = self._cache.schema
        kept = pa.schema([schema.field(number) for number in columns], schema.metadata)
        batches = self._batches(columns, names, kept)
        return pa.RecordBatchReader.from_batches(kept, batches)

    def _batches(
        self, columns: list[int], names: set[str], kept: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        schema = self._cache.schema
        tested = [schema.get_field_index(name) for name in names]
        fields = pa.schema([schema.field(number) for number in tested])
        condition = _Condition(fields, self._expression)
        needed = [*columns, *tested]
        for start, stop, is_whole in self._ranges:
            if is_whole:
                yield from self._cache.reader(columns=columns, start=start, stop=stop)
                continue
            for batch in self._cache.reader(columns=needed, start=start, stop=stop):
                numbers = condition.rows_of(batch.columns[len(columns) :])
                if len(numbers) == 0:
                    continue
                some = batch.columns[: len(columns)]
                yield _some(pa.RecordBatch.from_arrays(some, schema=kept), numbers)


class _Query(threading.local):
    """
    The sources in the query that DuckDB binds or plans in this thread.

    DuckDB binds all scans of a query before it plans them. It calls `rows` for each scan,
    and each time from the frame that called DuckDB. The query ends when DuckDB plans a
    scan or reads a stream. A wrong guess can make a query slower, but not wrong.
    """

    # Number of streams that DuckDB read, in all threads.
    streams = 0

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._of: Any = None

    def bind(self, source: object, rows: int) -> None:
        """Add a source to the query."""
        frame = inspect.currentframe()
        for _ in range(2):
            frame = frame and frame.f_back
        of = id(frame), frame and (frame.f_code, frame.f_lasti), _Query.streams
        if of != self._of:
            self._rows, self._of = {}, of
        self._rows[id(source)] = rows

    def plan(self, source: object) -> list[int]:
        """Return the numbers of rows of the other sources in the query."""
        self._of = None
        return [rows for key, rows in self._rows.items() if key != id(source)]


_query = _Query()


class _Source:
    """The methods of a source, without DuckDB's base class."""

    # DuckDB's modules of nodes, and of their translation to pyarrow.
    nodes: Any
    to_arrow: Any

    schema_is_stable = True

    def __init__(
        self, cache: StreamCache, statistics: Statistics, source_rows: int | None
    ) -> None:
        self.obj = cache
        self._statistics = statistics
        self._source_rows = source_rows

    def __arrow_c_stream__(self, requested_schema: Any = None) -> object:
        """Return a stream of all rows. By this method DuckDB recognises a variable."""
        return self.obj.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.obj.__arrow_c_schema__()

    def rows(self) -> int:
        """
        Return the number of rows, by which DuckDB plans; it changes no answer.

        If it is not known yet, it is a guess: DuckDB takes None for one row, and joins
        in loops over all pairs of rows.
        """
        rows = self.obj.stats()["rows"]
        if not self.obj.upstream_exhausted:
            known = self._source_rows
            rows = max(rows, _ROWS_OF_OPEN if known is None else known)
        rows = min(rows, _MOST_ROWS)
        _query.bind(self, rows)
        return rows

    def accepts(self, predicate: Any) -> bool:
        """Return whether streams will have only rows for which a predicate is true."""
        cache = self.obj
        if cache.max_readers is not None or not cache.upstream_exhausted:
            return False
        expression = self._expression(predicate)
        joined = _query.plan(self)
        return expression is not None and self._parts(expression).pay(joined)

    def stream(
        self, columns: Sequence[int] | None, filters: Sequence[Any]
    ) -> tuple[object, bool]:
        """Return a stream, and whether it has these columns only."""
        _Query.streams += 1
        cache = self.obj
        if not filters:
            reader = cache.reader(columns=columns)
            return reader.__arrow_c_stream__(), columns is not None
        wanted = range(len(cache.schema)) if columns is None else columns
        expressions = [self._expression(one) for one in filters]
        parts = self._parts(functools.reduce(operator.and_, expressions))
        names = set().union(*map(self._names, filters))
        return parts.read(list(wanted), names).__arrow_c_stream__(), True

    def _parts(self, expression: pc.Expression) -> _Parts:
        return _Parts(self.obj, self._statistics, expression)

    def _names(self, predicate: Any) -> set[str]:
        """Return the columns of a predicate; KeyError: it has a part of another kind."""
        nodes = self.nodes
        names, pending = set(), [predicate]
        while pending:
            match pending.pop():
                case nodes.Binary(left=left, right=right):
                    pending += [left, right]
                case nodes.Unary(operand=operand) | nodes.Postfix(operand=operand):
                    pending.append(operand)
                case nodes.In(operand=operand, values=values):
                    pending += [operand, *values]
                case nodes.Col(parts=parts):
                    names.add(parts[0])
                case nodes.Lit():
                    pass
                case other:
                    raise KeyError(other)
        return names

    def _expression(self, predicate: Any) -> pc.Expression | None:
        """Return a predicate for pyarrow; None: pyarrow decides it differently."""
        schema = self.obj.schema
        try:
            # DuckDB translates no predicate if any column of the schema is a view.
            numbers = [schema.get_field_index(name) for name in self._names(predicate)]
            fields = [schema.field(number) for number in numbers if number >= 0]
            plain = [field.with_type(_rows.written_out(field.type)) for field in fields]
            return self.to_arrow.to_arrow(predicate, pa.schema(plain))
        except (KeyError, self.nodes.Untranslatable):
            return None


@functools.cache
def _source_type() -> Any:
    """Return the class of sources; None: DuckDB lacks the known interface."""
    try:
        package = importlib.import_module("duckdb._sources")
        nodes = importlib.import_module("duckdb._sources.nodes")
        to_arrow = importlib.import_module("duckdb._sources.to_arrow")
        if not _is_known(package, nodes, to_arrow):
            return None
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    members = {"nodes": nodes, "to_arrow": to_arrow, "__module__": "batchcorder"}
    return type("CacheSource", (_Source, package.ArrowScanSource), members)


def scanned(cache: StreamCache, statistics: Statistics, source_rows: int | None) -> Any:
    """Return the object that DuckDB scans for a cache, any number of times."""
    kind = _source_type()
    if kind is not None:
        return kind(cache, statistics, source_rows)
    names = cache.schema.names
    if len(set(names)) < len(names):
        # A dataset finds columns by name, but a stream has all of them.
        return cache
    if cache.max_readers is not None or not cache.upstream_exhausted:
        return cache.dataset()
    return cache.dataset() if cache.info()["compression"] else cache.to_table()
