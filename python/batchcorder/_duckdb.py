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
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from . import _rows

if TYPE_CHECKING:
    from ._statistics import Statistics, Verdicts
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

# Predicates that a source remembers.
_MOST_KNOWN = 256

# Rows of an open source, at least, if it does not tell how many.
_ROWS_OF_OPEN = 1 << 20

# DuckDB counts rows in 64 bits.
_MOST_ROWS = (1 << 63) - 1

# Index of the first batch, index after the last one, whether all rows match.
_Range = tuple[int, int, bool]

# Number of the first row, and count of rows.
_Run = tuple[int, int]


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

    def __init__(
        self, schema: pa.Schema, names: Iterable[str], expression: pc.Expression
    ) -> None:
        self.columns = [schema.get_field_index(name) for name in names]
        self._schema = _rows.plain_schema(map(schema.field, self.columns))
        self._expression = expression

    def rows_of(self, columns: list[pa.Array]) -> pa.Array:
        """Return the numbers of the rows for which the expression is true."""
        plain = [_rows.as_plain(column) for column in columns]
        table = pa.Table.from_arrays(plain, schema=self._schema)
        # Its imports take longer than most queries, and most queries filter no batch.
        from ._scanner import values_of

        return pc.indices_nonzero(values_of(table, self._expression))


def _is_sliceable(kind: pa.DataType) -> bool:
    """Return whether DuckDB reads slices: it rejects some with structs in them."""
    t = pa.types
    return not _rows.has(
        kind, lambda part: t.is_nested(part) or t.is_run_end_encoded(part)
    )


def _run(numbers: pa.Array) -> _Run | None:
    """Return ascending numbers as the first one and their count; None: with gaps."""
    if len(numbers) == 0:
        return 0, 0
    first, last = numbers[0].as_py(), numbers[-1].as_py()
    return (first, len(numbers)) if last - first + 1 == len(numbers) else None


class _Some:
    """Some columns of single batches, and rows of these columns."""

    def __init__(self, cache: StreamCache, columns: list[int], kept: pa.Schema) -> None:
        self._cache, self._columns, self._kept = cache, columns, kept
        self._is_sliceable = all(map(_is_sliceable, kept.types))

    def read(self, number: int, more: list[int]) -> pa.RecordBatch:
        """Return the columns of a batch, and more columns after them."""
        columns = [*self._columns, *more]
        return next(self._cache.reader(columns=columns, start=number, stop=number + 1))

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch without the columns after them."""
        columns = batch.columns[: len(self._columns)]
        return pa.RecordBatch.from_arrays(columns, schema=self._kept)

    def slice(self, batch: pa.RecordBatch, run: _Run) -> pa.RecordBatch:
        """Return adjacent rows, not copied if DuckDB reads such a slice."""
        first, count = run
        if self._is_sliceable:
            return batch.slice(first, count)
        return _rows.of(batch, pa.array(range(first, first + count), pa.int64()))


class _Parts:
    """The batches of an exhausted cache that an expression and bounds leave."""

    def __init__(
        self,
        cache: StreamCache,
        names: frozenset[str],
        expression: pc.Expression,
        verdicts: Verdicts,
    ) -> None:
        self._cache, self._names, self._expression = cache, names, expression
        self._possible, self._certain = verdicts
        # By the index of a batch.
        self._runs: dict[int, _Run] = {}

    def both(self, other: _Parts) -> _Parts:
        """Return the parts for the conjunction of two expressions."""
        possible = pc.and_(self._possible, other._possible)
        certain = pc.and_(self._certain, other._certain)
        names = self._names | other._names
        both = self._expression & other._expression
        return _Parts(self._cache, names, both, (possible, certain))

    @functools.cached_property
    def _ranges(self) -> list[_Range]:
        codes = pc.add(self._possible.cast(pa.int8()), self._certain.cast(pa.int8()))
        runs = pc.run_end_encode(codes, run_end_type=pa.int64())
        ends, codes = runs.run_ends.to_pylist(), runs.values.to_pylist()
        ranges = zip([0, *ends], ends, codes, strict=False)
        return [(start, stop, code == 2) for start, stop, code in ranges if code > 0]

    @property
    def _is_one_reader(self) -> bool:
        return not self._ranges or (len(self._ranges) == 1 and self._ranges[0][2])

    def count(self, rows: pa.Array) -> None:
        """Count rows, by the number of rows of each batch."""

        def count(selected: pa.BooleanArray) -> int:
            return pc.sum(rows.filter(selected)).as_py() or 0

        self._total, self._left = pc.sum(rows).as_py() or 0, count(self._possible)
        self._cost = _FILTER_COST * (self._left - count(self._certain))
        if not self._is_one_reader:
            self._cost += _BATCH_COST * self._possible.true_count

    def pay(self, rows_of_joined: Iterable[int]) -> bool:
        """
        Return whether a query is faster if DuckDB drops the predicate.

        DuckDB estimates that its own predicates leave a fifth of the rows. A dropped
        predicate counts as if all rows matched. If the scan of another source has a
        number of rows between both, a join of the two may get a worse order.
        """
        total, left = self._total, self._left
        if total - left < self._cost:
            return False
        is_close = any(n <= 5 * total <= 25 * n for n in rows_of_joined)
        return 2 * left >= total or not is_close

    def read(self, columns: list[int]) -> Any:
        """Return a stream of some columns of the matching rows."""
        if self._is_one_reader:
            start, stop, _ = self._ranges[0] if self._ranges else (0, 0, True)
            return self._cache.reader(columns=columns, start=start, stop=stop)
        schema = self._cache.schema
        kept = pa.schema([schema.field(number) for number in columns], schema.metadata)
        batches = self._batches(columns, kept)
        return pa.RecordBatchReader.from_batches(kept, batches)

    def _batches(self, columns: list[int], kept: pa.Schema) -> Iterator[pa.RecordBatch]:
        some = _Some(self._cache, columns, kept)
        condition = _Condition(self._cache.schema, self._names, self._expression)
        for start, stop, is_whole in self._ranges:
            if is_whole:
                yield from self._cache.reader(columns=columns, start=start, stop=stop)
                continue
            for number in range(start, stop):
                batch = self._matching(number, some, condition)
                if batch.num_rows > 0:
                    yield batch

    def _matching(
        self, number: int, some: _Some, condition: _Condition
    ) -> pa.RecordBatch:
        """Return the matching rows of a batch, and keep their place if adjacent."""
        run = self._runs.get(number)
        if run is not None:
            return some.slice(some.read(number, []), run)
        read = some.read(number, condition.columns)
        numbers = condition.rows_of(read.columns[-len(condition.columns) :])
        run = _run(numbers)
        if run is None:
            return _rows.of(some.of(read), numbers)
        self._runs[number] = run
        return some.slice(some.of(read), run)


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
        # By predicate. An exhausted cache does not change.
        self._known: dict[Any, _Parts] = {}

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
        joined = _query.plan(self)
        if self.obj.max_readers is not None or not self.obj.upstream_exhausted:
            return False
        parts = self._parts(predicate)
        return parts is not None and parts.pay(joined)

    def stream(
        self, columns: Sequence[int] | None, filters: Sequence[Any]
    ) -> tuple[object, bool]:
        """Return a stream, and whether it has these columns only."""
        _Query.streams += 1
        if not filters:
            reader = self.obj.reader(columns=columns)
            return reader.__arrow_c_stream__(), columns is not None
        every = range(len(self.obj.schema))
        some = [self._parts(one) or self._all_parts(one) for one in filters]
        parts = functools.reduce(_Parts.both, some)
        stream = parts.read(list(every if columns is None else columns))
        return stream.__arrow_c_stream__(), True

    def _all_parts(self, predicate: Any) -> _Parts:
        """Return all batches, if statistics cannot be read since `accepts`."""
        names, _ = self._contents(predicate)
        expression = self._expression(predicate, names)
        batches = self.obj.ingested_count
        verdicts = pa.repeat(True, batches), pa.repeat(False, batches)
        return _Parts(self.obj, names, expression, verdicts)

    def _parts(self, predicate: Any) -> _Parts | None:
        """Return the parts for a predicate; None: it is left to DuckDB."""
        try:
            names, key = self._contents(predicate)
            parts = self._known.get(key)
        except (KeyError, TypeError):
            # A part of another kind, or a constant without a hash.
            return None
        if parts is not None:
            return parts
        cache, batches = self.obj, self.obj.ingested_count
        expression = self._expression(predicate, names)
        if expression is None:
            return None
        verdicts = self._statistics.verdicts(cache, expression, batches)
        if verdicts is None:
            return None
        parts = _Parts(cache, names, expression, verdicts)
        parts.count(self._statistics.row_counts(cache, batches))
        if len(self._known) >= _MOST_KNOWN:
            self._known = {}
        self._known[key] = parts
        return parts

    def _contents(self, predicate: Any) -> tuple[frozenset[str], Any]:
        """Return the columns of a predicate, and a key that no other predicate has."""
        nodes = self.nodes
        names, key, pending = set(), [], [predicate]
        while pending:
            match pending.pop():
                case nodes.Binary(op=op, left=left, right=right):
                    key.append(op)
                    pending += [right, left]
                case nodes.Unary(op=op, operand=operand):
                    key.append(op)
                    pending.append(operand)
                case nodes.Postfix(op=op, operand=operand):
                    key.append(op)
                    pending.append(operand)
                case nodes.In(operand=operand, values=values):
                    key.append(len(values))
                    pending += [*values, operand]
                case nodes.Col(parts=parts):
                    key.append(parts)
                    names.add(parts[0])
                case nodes.Lit(value=value, type=kind):
                    key.append((kind, value, None))
                case other:
                    raise KeyError(other)
        return frozenset(names), tuple(key)

    def _expression(self, predicate: Any, names: Iterable[str]) -> pc.Expression | None:
        """Return a predicate for pyarrow; None: pyarrow decides it differently."""
        schema = self.obj.schema
        # DuckDB translates no predicate if any column of the schema is a view.
        numbers = [schema.get_field_index(name) for name in names]
        fields = [schema.field(number) for number in numbers if number >= 0]
        try:
            return self.to_arrow.to_arrow(predicate, _rows.plain_schema(fields))
        except self.nodes.Untranslatable:
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
        # A dataset finds columns by name. A stream has every column.
        return cache
    if cache.max_readers is not None or not cache.upstream_exhausted:
        return cache.dataset()
    return cache.dataset() if cache.info()["compression"] else cache.to_table()
