"""
The columns of a pyarrow expression, and the expression as a predicate over statistics.

An expression has no members for that, and its text is ambiguous. Its pickled form is a
record batch of its literals, whose metadata has the calls in order:

    call greater, field_ref x, literal 0, end greater

If pyarrow cannot pickle an expression, or its form has other parts, the expression may
refer to every column. The statistics do not decide it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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


@dataclasses.dataclass(frozen=True)
class Contents:
    """The columns, by name, that an expression refers to."""

    columns: frozenset[str]


@dataclasses.dataclass(frozen=True)
class _Reference:
    """A reference to a column, or to a field inside structs."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Call:
    name: str
    arguments: list[Any]
    # The call's options, an array of one struct.
    options: pa.Array | None


def _metadata(schema: pa.Schema) -> Iterator[tuple[bytes, bytes]]:
    """Yield the metadata, also where keys stand in it several times."""
    # An ArrowSchema: `metadata` is its third pointer.
    exported = ctypes.create_string_buffer(128)
    schema._export_to_c(ctypes.addressof(exported))
    try:
        (at,) = struct.unpack_from("P", exported, 2 * struct.calcsize("P"))
        if not at:
            return

        def take(size: int) -> bytes:
            nonlocal at
            at += size
            return ctypes.string_at(at - size, size)

        (pairs,) = struct.unpack("i", take(4))
        for _ in range(pairs):
            key = take(*struct.unpack("i", take(4)))
            yield key, take(*struct.unpack("i", take(4)))
    finally:
        pa.Schema._import_from_c(ctypes.addressof(exported))


def _pickled(expression: pc.Expression) -> tuple[pa.RecordBatch, list[Any]]:
    """Return the literals and the parts of an expression's pickled form."""
    _, arguments = expression.__reduce__()
    file = pa.ipc.open_file(arguments[0])
    return file.get_batch(0), list(_metadata(file.schema))


def _columns(parts: list[tuple[bytes, bytes]]) -> frozenset[str] | None:
    columns = set()
    # The names of a nested reference that are still to come: of fields, but the first.
    inner = 0
    for key, value in parts:
        if key == b"nested_field_ref":
            inner = -int(value)
        elif key == b"field_ref":
            if inner <= 0:
                columns.add(value.decode())
            inner = abs(inner) - 1 if inner else 0
        elif key not in (b"call", b"literal", b"options", b"end"):
            return None
    return frozenset(columns)


def _translated(
    literals: pa.RecordBatch,
    parts: list[tuple[bytes, bytes]],
    predicate: Callable[[Any], Predicate],
) -> Predicate:
    """Return the expression as a predicate. `predicate` translates one call."""
    # The calls that are still open; the first one collects the expression. Inner calls
    # become predicates first: no recursion follows a long chain.
    calls = [_Call("", [], None)]
    names: list[str] = []
    inner = 0
    for key, value in parts:
        if key == b"call":
            calls.append(_Call(value.decode(), [], None))
        elif key == b"nested_field_ref":
            names, inner = [], int(value)
        elif key == b"field_ref":
            names.append(value.decode())
            inner -= 1
            if inner <= 0:
                calls[-1].arguments.append(_Reference(tuple(names)))
                names, inner = [], 0
        elif key == b"literal":
            calls[-1].arguments.append(literals.column(int(value)))
        elif key == b"options":
            calls[-1] = dataclasses.replace(
                calls[-1], options=literals.column(int(value))
            )
        elif key == b"end":
            call = calls.pop()
            calls[-1].arguments.append(predicate(call))
        else:
            raise ValueError(key)
    ((whole,),) = [call.arguments for call in calls]
    return predicate(whole)


# Errors of expressions that cannot be pickled, or have another form.
_ERRORS = (pa.ArrowException, ValueError, TypeError, KeyError, IndexError)


def contents(expression: pc.Expression) -> Contents | None:
    """Return the contents of an expression; None: unknown."""
    try:
        columns = _columns(_pickled(expression)[1])
    except _ERRORS:
        return None
    return None if columns is None else Contents(columns)


def referenced(schema: pa.Schema, expressions: Sequence[Any]) -> set[str]:
    """Return the names of the columns that expressions may refer to."""
    names = set(schema.names)
    found: set[str] = set()
    for expression in expressions:
        known = contents(expression)
        if known is None:
            return names
        found |= known.columns
    return found & names


def find(schema: pa.Schema, names: Sequence[str]) -> tuple[Path, pa.DataType] | None:
    """Return the path and the type of a field; None: there are several, or none."""
    fields = list(schema)
    path: Path = ()
    for name in names:
        numbers = [number for number, field in enumerate(fields) if field.name == name]
        if len(numbers) != 1:
            return None
        path += (numbers[0],)
        kind = fields[numbers[0]].type
        fields = (
            [kind.field(n) for n in range(kind.num_fields)] if _is_struct(kind) else []
        )
    return path, kind


def _is_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind))


class _Translation:
    """Translates calls into predicates on the fields of a schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def _path(self, part: Any) -> Path | None:
        if not isinstance(part, _Reference):
            return None
        found = find(self._schema, part.names)
        return None if found is None else found[0]

    def predicate(self, part: Any) -> Predicate:
        """Return the predicate of a part that is boolean; its calls are translated."""
        if isinstance(part, Predicate):
            return part
        if isinstance(part, _Call):
            make = _CALLS.get(part.name)
            made = None if make is None else make(self, part)
            return Unknown() if made is None else made
        if isinstance(part, _Reference):
            found = find(self._schema, part.names)
            if found is not None and pa.types.is_boolean(found[1]):
                return Compare(found[0], "equal", TRUE)
            return Unknown()
        value = part[0]
        if not value.is_valid:
            return Constant(None)
        return Constant(value.as_py()) if pa.types.is_boolean(part.type) else Unknown()

    def compound(self, call: _Call, kind: type[And] | type[Or]) -> Predicate:
        strict = not call.name.endswith("_kleene")
        parts: list[Predicate] = []
        for argument in call.arguments:
            part = self.predicate(argument)
            # Chains become flat: a deep tree would exceed the recursion limit.
            if isinstance(part, kind) and part.strict == strict:
                parts += part.parts
            else:
                parts.append(part)
        return kind(tuple(parts), strict)

    def choice(self, call: _Call) -> Predicate:
        return If(tuple(map(self.predicate, call.arguments)))

    def inverted(self, call: _Call) -> Predicate:
        return Not(self.predicate(call.arguments[0]))

    def comparison(self, call: _Call) -> Predicate | None:
        op, (left, right) = call.name, call.arguments
        if isinstance(left, pa.Array):
            op, left, right = FLIPPED[op], right, left
        path = self._path(left)
        if path is None:
            return None
        if isinstance(right, pa.Array):
            value = right[0]
            if isinstance(value, pa.DictionaryScalar):
                value = value.value
            return Compare(path, op, value)
        # DuckDB compares a field with itself to find NaN.
        if self._path(right) == path and op in ("equal", "not_equal"):
            return IsNan(path) if op == "not_equal" else Not(IsNan(path))
        return None

    def null(self, call: _Call) -> Predicate | None:
        path = self._path(call.arguments[0])
        options = _options(call)
        if path is None or call.name == "is_valid":
            return None if path is None else Not(IsNull(path))
        return IsNull(path, bool(options.get("nan_is_null", False)))

    def nan(self, call: _Call) -> Predicate | None:
        path = self._path(call.arguments[0])
        return None if path is None else IsNan(path)

    def membership(self, call: _Call) -> Predicate | None:
        path = self._path(call.arguments[0])
        if path is None or call.options is None:
            return None
        options = call.options
        values = options.field("value_set")[0].values
        behaviour = options.field("null_matching_behavior")[0].as_py()
        return _membership(path, values, behaviour)


def _options(call: _Call) -> dict[str, Any]:
    return {} if call.options is None else dict(call.options[0].as_py())


def _membership(path: Path, values: pa.Array, behaviour: int) -> Predicate | None:
    """Return a membership; `behaviour`: arrow::compute::SetLookupOptions."""
    if isinstance(values, pa.DictionaryArray):
        values = values.cast(values.type.value_type)
    has_null = values.null_count > 0
    # Match, skip, emit null, inconclusive.
    of_null: bool | None = None
    of_absent: bool | None = False
    if behaviour == 0:
        of_null = has_null
    elif behaviour == 1:
        of_null = False
    elif behaviour == 3:
        of_absent = None if has_null else False
    elif behaviour != 2:
        return None
    return IsIn(path, values.drop_null(), of_null, of_absent)


_CALLS: dict[str, Callable[[_Translation, _Call], Predicate | None]] = {
    "and_kleene": lambda self, call: self.compound(call, And),
    "or_kleene": lambda self, call: self.compound(call, Or),
    "and": lambda self, call: self.compound(call, And),
    "or": lambda self, call: self.compound(call, Or),
    "invert": _Translation.inverted,
    "if_else": _Translation.choice,
    "is_null": _Translation.null,
    "is_valid": _Translation.null,
    "is_nan": _Translation.nan,
    "is_in": _Translation.membership,
    **dict.fromkeys(FLIPPED, _Translation.comparison),
}


def predicate(schema: pa.Schema, expression: pc.Expression) -> Predicate:
    """Return an expression as a predicate on the leaves of a schema."""
    try:
        return _translated(*_pickled(expression), _Translation(schema).predicate)
    except (*_ERRORS, RecursionError):
        return Unknown()
