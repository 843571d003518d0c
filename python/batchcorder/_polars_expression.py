"""
Expressions of Polars as predicates over statistics, from their JSON.

Polars writes an expression as JSON with one key for each node:

    {"BinaryExpr": {"left": {"Column": "x"}, "op": "Gt", "right": {"Literal": ...}}}

The form differs between versions. A node of another form is `Unknown`, and a translation
that raises excludes no batch.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa

from ._expression import find
from ._literals import TRUE
from ._predicate import (
    FLIPPED,
    And,
    Compare,
    Constant,
    If,
    IsIn,
    IsNan,
    IsNull,
    Not,
    Or,
    Path,
    Predicate,
    Unknown,
)

_COMPARISONS = {
    "Lt": "less",
    "LtEq": "less_equal",
    "Gt": "greater",
    "GtEq": "greater_equal",
    "Eq": "equal",
    "NotEq": "not_equal",
}
# The comparisons of a lower and an upper bound.
_BETWEEN = {
    "Both": ("greater_equal", "less_equal"),
    "Left": ("greater_equal", "less"),
    "Right": ("greater", "less_equal"),
    "None": ("greater", "less"),
}


class _UntranslatableError(Exception):
    """A node has a form that has no translation."""


def _only(node: Any) -> tuple[str, Any]:
    """Return the key and the value of an object with one key; of a text, the text."""
    if isinstance(node, str):
        return node, None
    if not isinstance(node, dict) or len(node) != 1:
        raise _UntranslatableError
    ((key, value),) = node.items()
    return key, value


def _evaluated(node: Any) -> pa.Array:
    """Return the value of a literal, computed by Polars, as an array of length 1."""
    import polars as pl

    if _only(node)[0] != "Literal":
        raise _UntranslatableError
    text = json.dumps(node).encode()
    try:
        expression = pl.Expr.deserialize(io.BytesIO(text), format="json")
    except pl.exceptions.PolarsError:  # JSON has no infinity
        raise _UntranslatableError from None
    values = pl.select(expression).to_series().to_arrow()
    if len(values) != 1:  # a literal of several rows
        raise _UntranslatableError
    return values


def _is_kept(kind: pa.DataType, cast: str, is_date: bool) -> bool:
    """Return whether a cast of Polars keeps the order of a column's values."""
    t = pa.types
    if t.is_integer(kind):
        if cast == "Float64":
            return True
        kinds = {f"Int{bits}": bits for bits in (16, 32, 64)}
        has_sign = t.is_signed_integer(kind)
        return bool(kind.bit_width + (not has_sign) <= kinds.get(cast, 0))
    if t.is_float32(kind):
        return cast == "Float64"
    return bool(is_date and t.is_date32(kind))


class _Translation:
    """Translates nodes into predicates on the fields of a schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def _names(self, node: Any) -> list[str]:
        key, value = _only(node)
        if key == "Column" and isinstance(value, str):
            return [value]
        if key == "Function":
            (inner,) = value["input"]
            kind, function = _only(value["function"])
            field, name = _only(function)
            if kind == "StructExpr" and field == "FieldByName":
                return [*self._names(inner), name]
        raise _UntranslatableError

    def _field(self, node: Any) -> tuple[Path, pa.DataType]:
        """Return the path and the type of a column or of a field inside structs."""
        if _only(node)[0] == "Cast":
            cast = node["Cast"]
            path, kind = self._field(cast["expr"])
            name = cast["dtype"]
            name, is_date = name.get("Literal", name), False
            if isinstance(name, dict):
                name, (_, zone) = _only(name)
                is_date = name == "Datetime" and zone is None
            if not _is_kept(kind, name, is_date):
                raise _UntranslatableError
            return path, kind
        found = find(self._schema, self._names(node))
        if found is None or isinstance(found[1], pa.BaseExtensionType):
            raise _UntranslatableError
        return found

    def predicate(self, node: Any) -> Predicate:
        """Return the predicate of a boolean node; `Unknown`, if it has none."""
        try:
            return self._predicate(node)
        except (_UntranslatableError, LookupError, TypeError, ValueError):
            return Unknown()

    def _predicate(self, node: Any) -> Predicate:
        key, value = _only(node)
        if key == "Literal":
            (outcome,) = _evaluated(node).to_pylist()
            return Constant(outcome) if outcome in (True, False, None) else Unknown()
        if key == "BinaryExpr":
            return self._binary(value["op"], value["left"], value["right"])
        if key == "Ternary":
            names = ("predicate", "truthy", "falsy")
            parts = [self.predicate(value[name]) for name in names]
            return If(tuple(parts), null_is_false=True)
        if key == "Function":
            kind, function = _only(value["function"])
            if kind == "Boolean":
                return self._boolean(function, value["input"])
            if kind != "StructExpr":
                return Unknown()
        path, type_ = self._field(node)
        if pa.types.is_boolean(type_):
            return Compare(path, "equal", TRUE)
        return Unknown()

    def _binary(self, op: str, left: Any, right: Any) -> Predicate:
        if op in ("And", "LogicalAnd"):
            return And((self.predicate(left), self.predicate(right)))
        if op in ("Or", "LogicalOr"):
            return Or((self.predicate(left), self.predicate(right)))
        if op in ("EqValidity", "NotEqValidity"):
            equal = self._equal_or_both_null(left, right)
            return equal if op == "EqValidity" else Not(equal)
        if op not in _COMPARISONS:
            return Unknown()
        name = _COMPARISONS[op]
        if _only(left)[0] == "Literal":
            return self._compare(FLIPPED[name], right, left)
        return self._compare(name, left, right)

    def _equal_or_both_null(self, left: Any, right: Any) -> Predicate:
        """Return the comparison in which null equals null."""
        compare = self._compare("equal", left, right)
        if not isinstance(compare, Compare):
            return Unknown()
        is_null = IsNull(compare.path)
        return And((Not(is_null), compare)) if compare.value.is_valid else is_null

    def _compare(self, op: str, node: Any, literal: Any) -> Predicate:
        path, kind = self._field(node)
        # Polars may order categories by their numbers.
        if pa.types.is_dictionary(kind) and op not in ("equal", "not_equal"):
            return Unknown()
        value = _evaluated(literal)[0]
        # Without a type, the literal gets that of the column, and is rounded.
        is_single = pa.types.is_float32(kind) or pa.types.is_float16(kind)
        if is_single and pa.types.is_float64(value.type) and "Cast" not in node:
            return Unknown()
        if isinstance(value, pa.DictionaryScalar):
            value = value.value
        return Compare(path, op, value)

    def _boolean(self, function: Any, inputs: list[Any]) -> Predicate:
        name, options = _only(function)
        if name == "Not":
            return Not(self.predicate(inputs[0]))
        if name in ("AllHorizontal", "AnyHorizontal"):
            parts = tuple(map(self.predicate, inputs))
            return And(parts) if name == "AllHorizontal" else Or(parts)
        if name == "IsBetween":
            pairs = zip(_BETWEEN[options["closed"]], inputs[1:], strict=True)
            return And(tuple(self._compare(op, inputs[0], node) for op, node in pairs))
        if name == "IsIn":
            return self._membership(options, *inputs)
        path, kind = self._field(inputs[0])
        if pa.types.is_floating(kind) and name in ("IsNan", "IsNotNan"):
            return IsNan(path) if name == "IsNan" else Not(IsNan(path))
        if name in ("IsNull", "IsNotNull"):
            return IsNull(path) if name == "IsNull" else Not(IsNull(path))
        return Unknown()

    def _membership(self, options: Any, node: Any, values: Any) -> Predicate:
        if not isinstance(options, dict) or options.get("nulls_equal") is not False:
            return Unknown()
        path, _ = self._field(node)
        given = _evaluated(values)
        if not (pa.types.is_list(given.type) or pa.types.is_large_list(given.type)):
            return Unknown()
        some = given[0].values
        if some is None:
            return Unknown()
        if pa.types.is_dictionary(some.type):
            some = some.cast(some.type.value_type)
        return IsIn(path, some.drop_null())


def predicate(schema: pa.Schema, expression: Any) -> Predicate:
    """Return an expression of Polars as a predicate on the leaves of a schema."""
    try:
        node = json.loads(expression.meta.serialize(format="json"))
        return _Translation(schema).predicate(node)
    except Exception:  # no batch is excluded
        return Unknown()
