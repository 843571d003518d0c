"""
Scanners over streams that pyarrow's own scanner refuses.

pyarrow's scanner refuses columns of one name. For batches with views of text or runs, it
refuses filters and most functions. This module filters the rows of such a stream batch by
batch, and computes expressions over plain text. pyarrow's scanner gets the result:

    stream ─▶ columns get names of their own ─▶ filter ─▶ computed columns ─▶ Scanner
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc
import pyarrow.dataset as pads

from . import _expression, _rows


class _Pairs(dict[str, pc.Expression]):
    """Columns to project, of which several may have the same name."""

    def __init__(self, names: list[str], expressions: list[pc.Expression]) -> None:
        super().__init__(zip(names, expressions, strict=True))
        self._names, self._expressions = names, expressions

    def keys(self) -> Any:
        return self._names

    def values(self) -> Any:
        return self._expressions


def _distinct(names: list[str]) -> list[str]:
    """Return the names, with new names in place of repeated ones."""
    taken = Counter(names)
    distinct = []
    for number, name in enumerate(names):
        if taken[name] > 1:
            name = f"{name} [{number}]"
            while name in taken:
                name += "'"
            taken[name] = 1
        distinct.append(name)
    return distinct


def _check_names(schema: pa.Schema, columns: Any, expressions: list[Any]) -> None:
    """Refuse references to columns with a repeated name."""
    asked = list(columns) if isinstance(columns, list) else []
    for expression in expressions:
        known = _expression.contents(expression)
        asked += known.columns if known is not None else []
    for name in asked:
        if schema.names.count(name) > 1:
            raise pa.ArrowInvalid(
                f"Multiple matches for FieldRef.Name({name}) in {schema}"
            )


def _plain_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [_rows.as_plain(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def values_of(table: pa.Table, expression: pc.Expression) -> pa.ChunkedArray:
    """
    Return an expression's values for the rows of a table.

    They are computed in the calling thread. pyarrow calls this in the threads of its
    pools: a scan that needed another of these threads could wait for ever.
    """
    source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
    options = acero.ProjectNodeOptions([expression], [""])
    project = acero.Declaration("project", options, [source])
    return project.to_table(use_threads=False).column(0)


class _Computed:
    """An expression over the batches of a stream; over plain text where it must be."""

    def __init__(self, schema: pa.Schema, expression: pc.Expression) -> None:
        self._expression = expression
        self._schema, self.is_plain = schema, False
        try:
            self.type = self._bind(schema)
        except (pa.ArrowNotImplementedError, TypeError):
            self._schema, self.is_plain = _rows.plain_schema(schema), True
            self.type = self._bind(self._schema)

    def _bind(self, schema: pa.Schema) -> pa.DataType:
        """Return the expression's type; raises where pyarrow cannot compute it."""
        return values_of(pa.Table.from_batches([], schema), self._expression).type

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the values for the rows of a batch."""
        if self.is_plain:
            batch = _plain_batch(batch, self._schema)
        values = values_of(pa.Table.from_batches([batch]), self._expression)
        return pa.concat_arrays(values.chunks or [pa.nulls(0, self.type)])


def _filtered(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    condition: _Computed | None,
    kept: list[int],
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of the rows for which the condition is true."""
    for batch in batches:
        if schema.names != batch.schema.names:
            batch = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        if condition is None:
            yield batch
            continue
        numbers = pc.indices_nonzero(condition(batch))
        some = batch.select(kept) if len(kept) < len(schema) else batch
        if len(numbers) < batch.num_rows or not kept:
            some = _rows.of(some, numbers)
        if some.num_rows > 0:
            yield some


def _condition(schema: pa.Schema, filter: pc.Expression) -> _Computed:
    condition = _Computed(schema, filter)
    if not pa.types.is_boolean(condition.type):
        raise pa.ArrowTypeError(
            f"Filter expression must evaluate to bool, but this is {condition.type}"
        )
    return condition


def _named(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns have names of their own."""
    names = _distinct(schema.names)
    fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return pa.schema(fields, metadata=schema.metadata)


def filtered(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], filter: pc.Expression | None
) -> pa.Table:
    """Return the rows for which a filter is true, computed in the calling thread."""
    if filter is None:
        return pa.Table.from_batches(batches, schema)
    _check_names(schema, None, [filter])
    named = _named(schema)
    every = list(range(len(schema)))
    rows = _filtered(batches, named, _condition(named, filter), every)
    return pa.Table.from_batches(rows, named).rename_columns(schema.names)


def _with_computed(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, computed: list[_Computed]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = [*batch.columns, *(one(batch) for one in computed)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_odd(schema: pa.Schema, columns: Any, filter: pc.Expression | None) -> bool:
    """Return whether pyarrow's own scanner would fail."""
    if len(set(schema.names)) < len(schema):
        return True
    if filter is None and not isinstance(columns, dict):
        return False
    return not all(_rows.is_simple(field.type) for field in schema)


def scanner(
    stream: pa.RecordBatchReader,
    columns: Any,
    filter: pc.Expression | None,
    options: dict[str, Any],
) -> pads.Scanner:
    """Return a scanner of a stream, as :meth:`pyarrow.dataset.Scanner.from_batches`."""
    make = pads.Scanner.from_batches
    given = stream.schema
    if not _is_odd(given, columns, filter):
        return make(stream, columns=columns, filter=filter, **options)
    expressions = list(columns.values()) if isinstance(columns, dict) else []
    wanted = expressions if filter is None else [*expressions, filter]
    _check_names(given, columns, wanted)
    schema = _named(given)
    names = schema.names
    condition = None if filter is None else _condition(schema, filter)
    kept = list(range(len(schema)))
    if filter is not None and isinstance(columns, list) and {*columns} <= {*names}:
        kept = [number for number in kept if names[number] in columns]
    batches = _filtered(stream, schema, condition, kept)
    schema = pa.schema([schema.field(number) for number in kept], schema.metadata)
    if isinstance(columns, dict):
        ones = {name: _Computed(schema, one) for name, one in columns.items()}
        # Of those that pyarrow cannot compute of these types, the values are columns.
        plain = {name: one for name, one in ones.items() if one.is_plain}
        places = _distinct([*schema.names, *plain])[len(schema) :]
        for place, (name, one) in zip(places, plain.items(), strict=True):
            schema = schema.append(pa.field(place, one.type))
            columns = {**columns, name: pc.field(place)}
        if plain:
            batches = _with_computed(batches, schema, list(plain.values()))
    elif columns is None and names != given.names:
        columns = _Pairs(given.names, [pc.field(name) for name in names])
    stream = pa.RecordBatchReader.from_batches(schema, batches)
    return make(stream, columns=columns, **options)
