"""
Predicates of DuckDB, for the bounds of batches and for rows.

DuckDB offers a predicate as a tree. Its nodes, of `duckdb._sources.nodes`, are

    Binary(op, Col, Lit)      =  !=  <  <=  >  >=
    Binary(op, left, right)   AND  OR
    Unary("NOT", operand)
    Postfix(op, Col)          IS NULL  IS NOT NULL
    In(Col, [Lit, ...])

A column is the names of a field and of the fields inside it. A literal has the type of
its column, in DuckDB's words. Each node becomes a condition. A node that pyarrow would
decide differently than DuckDB has none, and so has the tree around it.

DuckDB orders NaN above all numbers. A comparison with a literal NaN is left to it.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .. import _literals, _rows
from .._expression import find
from .._predicate import And, Compare, IsIn, IsNull, Not, Or, Path, Predicate

_COMPARISONS = {
    "=": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_JOINED = {"AND": (And, pc.and_kleene), "OR": (Or, pc.or_kleene)}

# Microseconds of each unit that DuckDB converts without loss.
_STEPS = {"s": 1_000_000, "ms": 1000, "us": 1}
_NAIVE = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP"}
_WITH_ZONE = "TIMESTAMP WITH TIME ZONE"
_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_DAY = _EPOCH.toordinal()

_TYPES: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_int8, "TINYINT"),
    (pa.types.is_int16, "SMALLINT"),
    (pa.types.is_int32, "INTEGER"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_uint8, "UTINYINT"),
    (pa.types.is_uint16, "USMALLINT"),
    (pa.types.is_uint32, "UINTEGER"),
    (pa.types.is_uint64, "UBIGINT"),
    (pa.types.is_float32, "FLOAT"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_string, "VARCHAR"),
    (pa.types.is_large_string, "VARCHAR"),
    (pa.types.is_binary, "BLOB"),
    (pa.types.is_large_binary, "BLOB"),
    # DuckDB cuts off the time of a date64; pyarrow compares it.
    (pa.types.is_date32, "DATE"),
]


class UntranslatableError(Exception):
    """pyarrow cannot decide a predicate as DuckDB does."""


def _type_name(kind: pa.DataType) -> str:
    """Return DuckDB's name for a type of plain values."""
    t = pa.types
    for is_kind, name in _TYPES:
        if is_kind(kind):
            return name
    if t.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if t.is_time(kind) and kind.unit in _STEPS:
        return "TIME"
    if t.is_timestamp(kind) and kind.unit in _STEPS:
        return _WITH_ZONE if kind.tz is not None else _NAIVE[kind.unit]
    raise UntranslatableError


def _microseconds(value: datetime.datetime | datetime.time) -> int:
    """Return the microseconds since the epoch, or since midnight."""
    if isinstance(value, datetime.time):
        value = datetime.datetime.combine(_EPOCH, value)
    return (value - _EPOCH) // datetime.timedelta(microseconds=1)


def _digits(value: decimal.Decimal, scale: int) -> int:
    """Return a decimal as an integer of its last digit."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < -scale:
        raise UntranslatableError
    number: int = int("".join(map(str, digits))) * 10 ** (exponent + scale)
    return -number if sign else number


def _stored(literal: Any, kind: pa.DataType) -> Any:
    """Return a literal as its type stores it, or as a count of microseconds."""
    value = literal.value
    if literal.type != _type_name(kind):
        raise UntranslatableError
    match value:
        case bool() | int() | bytes():
            return value
        case float() if not math.isnan(value):
            return value
        case str():
            return value.encode()
        case decimal.Decimal():
            return _digits(value, kind.scale)
        case datetime.datetime() | datetime.time() if value.tzinfo is None:
            return _microseconds(value)
        case datetime.date():
            return value.toordinal() - _FIRST_DAY
    raise UntranslatableError


def _scalar(literal: Any, kind: pa.DataType) -> pa.Scalar:
    """Return a literal for comparisons with values of a type, which may be coarser."""
    if pa.types.is_time(kind):
        kind = pa.time64("us")
    elif pa.types.is_timestamp(kind):
        kind = pa.timestamp("us", kind.tz)
    return _literals.scalar(_stored(literal, kind), kind)


def _set(literals: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return the literals that are values of a type."""
    values = [_stored(literal, kind) for literal in literals]
    if pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        step = _STEPS[kind.unit]
        values = [value // step for value in values if value % step == 0]
    if pa.types.is_floating(kind) and 0.0 in values:
        # pyarrow looks up floats by their bits.
        values += [0.0, -0.0]
    return _literals.array(values, kind)


class Columns:
    """The columns of a batch, by their index in the schema."""

    def __init__(self, columns: dict[int, pa.Array]) -> None:
        self._fields: dict[Path, pa.Array] = {(n,): columns[n] for n in columns}
        self._plain: dict[Path, pa.Array] = {}

    def _field(self, path: Path) -> pa.Array:
        if path not in self._fields:
            parent = self._field(path[:-1])
            self._fields[path] = pc.struct_field(parent, [path[-1]])
        return self._fields[path]

    def plain(self, path: Path) -> pa.Array:
        """Return a field's values as a type that pyarrow compares."""
        if path not in self._plain:
            self._plain[path] = _plain(self._field(path))
        return self._plain[path]


def _plain(column: pa.Array) -> pa.Array:
    column = _rows.as_plain(column)
    if pa.types.is_dictionary(column.type):
        column = _rows.as_plain(column.dictionary_decode())
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.large_binary())
    return column


@dataclasses.dataclass(frozen=True)
class Condition:
    """A predicate of DuckDB."""

    # The indices of the columns that it reads.
    columns: frozenset[int]
    # The same condition on statistics.
    bounds: Predicate
    # Returns its values, which are null like DuckDB's, for the rows of a batch.
    values: Callable[[Columns], pa.BooleanArray]


def both(conditions: Sequence[Condition]) -> Condition:
    """Return the conjunction of conditions."""
    return _joined("AND", conditions)


def _joined(op: str, parts: Sequence[Condition]) -> Condition:
    kind, function = _JOINED[op]
    return Condition(
        frozenset().union(*(part.columns for part in parts)),
        kind(tuple(part.bounds for part in parts)),
        lambda columns: functools.reduce(function, (p.values(columns) for p in parts)),
    )


class Translator:
    """Translates predicates on the columns of a schema."""

    def __init__(self, nodes: Any, schema: pa.Schema) -> None:
        # DuckDB's module of nodes.
        self._nodes = nodes
        self._schema = schema

    def condition(self, predicate: Any) -> Condition | None:
        """Return a predicate's condition; None: pyarrow decides it differently."""
        try:
            condition = self._condition(predicate)
            empty = {
                n: pa.nulls(0, self._schema.field(n).type) for n in condition.columns
            }
            condition.values(Columns(empty))
        except (UntranslatableError, RecursionError, OverflowError, pa.ArrowException):
            return None
        return condition

    def _condition(self, node: Any) -> Condition:
        nodes = self._nodes
        match node:
            case nodes.Binary(op="AND" | "OR" as op):
                return _joined(op, list(map(self._condition, self._operands(node, op))))
            case nodes.Binary(
                op=op, left=nodes.Col() as left, right=nodes.Lit() as right
            ):
                return self._comparison(op, left, right)
            case nodes.Unary(op="NOT", operand=operand):
                part = self._condition(operand)
                values = part.values
                return Condition(
                    part.columns, Not(part.bounds), lambda c: pc.invert(values(c))
                )
            case nodes.Postfix(op=op, operand=nodes.Col() as operand):
                return self._null(op, operand)
            case nodes.In(operand=nodes.Col() as operand, values=values):
                return self._membership(operand, values)
        raise UntranslatableError

    def _operands(self, node: Any, op: str) -> list[Any]:
        """Return the operands of a chain, which may be long."""
        operands, pending = [], [node]
        while pending:
            part = pending.pop()
            if isinstance(part, self._nodes.Binary) and part.op == op:
                pending += [part.right, part.left]
            else:
                operands.append(part)
        return operands

    def _field(self, column: Any) -> tuple[Path, pa.DataType]:
        """Return the path of a field, and the type of its plain values."""
        found = find(self._schema, column.parts)
        # A union has no nulls of its own.
        if found is None or pa.types.is_union(found[1]):
            raise UntranslatableError
        path, kind = found
        return path, _plain(pa.nulls(0, kind)).type

    def _comparison(self, op: str, column: Any, literal: Any) -> Condition:
        path, kind = self._field(column)
        if op not in _COMPARISONS:
            raise UntranslatableError
        name, value = _COMPARISONS[op], _scalar(literal, kind)
        compare = getattr(pc, name)

        def values(columns: Columns) -> pa.BooleanArray:
            plain = columns.plain(path)
            mask = compare(plain, value)
            if pa.types.is_floating(kind) and name in ("greater", "greater_equal"):
                mask = pc.or_(mask, pc.is_nan(plain))
            return mask

        return Condition(frozenset(path[:1]), Compare(path, name, value), values)

    def _null(self, op: str, column: Any) -> Condition:
        path, _ = self._field(column)
        columns = frozenset(path[:1])
        if op == "IS NULL":
            return Condition(columns, IsNull(path), lambda c: c.plain(path).is_null())
        if op == "IS NOT NULL":
            valid = Not(IsNull(path))
            return Condition(columns, valid, lambda c: c.plain(path).is_valid())
        raise UntranslatableError

    def _membership(self, column: Any, literals: Sequence[Any]) -> Condition:
        path, kind = self._field(column)
        if not all(isinstance(literal, self._nodes.Lit) for literal in literals):
            raise UntranslatableError
        value_set = _set(literals, kind)

        def values(columns: Columns) -> pa.BooleanArray:
            plain = columns.plain(path)
            member = pc.is_in(plain, value_set=value_set)
            return pc.if_else(plain.is_valid(), member, _literals.NULL)

        return Condition(frozenset(path[:1]), IsIn(path, value_set, None, False), values)
