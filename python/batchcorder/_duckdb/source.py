"""
A cache as an object that DuckDB scans: row counts, projections and predicates.

DuckDB 2 scans each Arrow object through a class of the private package `duckdb._sources`.
A source of this module is such a class. DuckDB calls three methods:

    bind        rows()
    planning    accepts(predicate); DuckDB drops an accepted predicate
    execution   stream(columns, predicates) of the matching rows

One source serves several scans at once, so it remembers nothing between the calls.

If `duckdb._sources` is missing or differs, DuckDB gets a pyarrow table or a dataset.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .._literals import FALSE, TRUE
from .parts import Parts, as_scanned
from .predicates import Condition, Translator
from .query import Query, query

if TYPE_CHECKING:
    from .._statistics import Statistics
    from .._stream_cache import StreamCache

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

# Predicates that a source remembers.
_MOST_KNOWN = 256

# Rows of an open source, at least, if it does not tell how many.
_ROWS_OF_OPEN = 1 << 20

# DuckDB counts rows in 64 bits.
_MOST_ROWS = (1 << 63) - 1


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def _is_known(package: Any, nodes: Any) -> bool:
    """Return whether the interface of DuckDB's sources is the known one."""
    base = package.ArrowScanSource
    return (
        all(_parameters(getattr(base, name)) == _METHODS[name] for name in _METHODS)
        and all(getattr(base, name) is False for name in _FLAGS)
        and all(getattr(nodes, name).__match_args__ == _NODES[name] for name in _NODES)
        and issubclass(base, package.Source)
        and _parameters(nodes.Node.fragment) == ["self"]
        and _parameters(package.adapt) == ["obj"]
    )


class _Source:
    """The methods of a source, without DuckDB's base class."""

    # DuckDB's module of nodes.
    nodes: Any

    schema_is_stable = True

    def __init__(
        self, cache: StreamCache, statistics: Statistics, source_rows: int | None
    ) -> None:
        self.obj = cache
        self._statistics = statistics
        self._source_rows = source_rows
        # By the text of a predicate. An exhausted cache does not change.
        self._known: dict[str, Parts] = {}

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
        query.bind(self, rows)
        return rows

    def accepts(self, predicate: Any) -> bool:
        """Return whether streams will have only rows for which a predicate is true."""
        joined = query.plan(self)
        if self.obj.max_readers is not None or not self.obj.upstream_exhausted:
            return False
        parts = self._parts(predicate)
        return parts is not None and parts.pay(joined)

    def stream(
        self, columns: Sequence[int] | None, filters: Sequence[Any]
    ) -> tuple[object, bool]:
        """Return a stream, and whether it has these columns only."""
        Query.streams += 1
        if not filters:
            reader = as_scanned(self.obj.reader(columns=columns))
            return reader.__arrow_c_stream__(), columns is not None
        every = range(len(self.obj.schema))
        some = [self._parts(one) or self._all_parts(one) for one in filters]
        parts = functools.reduce(Parts.both, some)
        stream = as_scanned(parts.read(list(every if columns is None else columns)))
        return stream.__arrow_c_stream__(), True

    def _all_parts(self, predicate: Any) -> Parts:
        """Return all batches, if statistics cannot be read since `accepts`."""
        condition = self._condition(predicate)
        assert condition is not None  # because it was accepted
        batches = self.obj.ingested_count
        verdicts = pa.repeat(TRUE, batches), pa.repeat(FALSE, batches)
        return Parts(self.obj, condition, verdicts)

    def _condition(self, predicate: Any) -> Condition | None:
        return Translator(self.nodes, self.obj.schema).condition(predicate)

    def _parts(self, predicate: Any) -> Parts | None:
        """Return the parts for a predicate; None: it is left to DuckDB."""
        try:
            text = predicate.fragment()
        except (ValueError, OverflowError):
            return None
        parts = self._known.get(text)
        if parts is not None:
            return parts
        condition = self._condition(predicate)
        if condition is None:
            return None
        cache, batches = self.obj, self.obj.ingested_count
        verdicts = self._statistics.verdicts(cache, condition.bounds, batches)
        if verdicts is None:
            return None
        parts = Parts(cache, condition, verdicts)
        parts.count(self._statistics.row_counts(cache, batches))
        if len(self._known) >= _MOST_KNOWN:
            self._known = {}
        self._known[text] = parts
        return parts


@functools.cache
def _source_type() -> Any:
    """Return the class of sources; None: DuckDB lacks the known interface."""
    try:
        package = importlib.import_module("duckdb._sources")
        nodes = importlib.import_module("duckdb._sources.nodes")
        if not _is_known(package, nodes):
            return None
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    members = {"nodes": nodes, "__module__": "batchcorder"}
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
