"""
The columns and calls of a pyarrow expression, and whether bounds decide it.

An expression has no members for that, and its text is ambiguous. Its pickled form is a
record batch of its literals, whose metadata has the calls in order:

    call greater, field_ref x, literal 0, end greater

If pyarrow cannot pickle an expression, or its form has other parts, the expression may
refer to every column, and bounds do not decide it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Calls that pyarrow decides by bounds as it does by rows, unless NaN is compared. Other
# calls may return NaN for numbers that are not NaN.
_CERTAIN = {
    "and_kleene",
    "or_kleene",
    "and",
    "or",
    "invert",
    "if_else",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "is_null",
    "is_valid",
    "is_in",
}


@dataclasses.dataclass(frozen=True)
class Contents:
    """The columns, by name, that an expression refers to, its calls and its values."""

    columns: frozenset[str]
    calls: frozenset[str]
    values: tuple[pa.Array, ...]


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


def _read(pickled: pa.Buffer) -> Contents | None:
    file = pa.ipc.open_file(pickled)
    values = file.get_batch(0)
    columns, calls = set(), set()
    # The names of a nested reference that are still to come: of fields, but the first.
    inner = 0
    for key, value in list(_metadata(file.schema)):
        if key == b"nested_field_ref":
            inner = -int(value)
        elif key == b"field_ref":
            if inner <= 0:
                columns.add(value.decode())
            inner = abs(inner) - 1 if inner else 0
        elif key == b"call":
            calls.add(value.decode())
        elif key not in (b"literal", b"options", b"end"):
            return None
    return Contents(frozenset(columns), frozenset(calls), tuple(values.columns))


def contents(expression: pc.Expression) -> Contents | None:
    """Return the contents of an expression; None: unknown."""
    try:
        _, arguments = expression.__reduce__()
        return _read(arguments[0])
    except (pa.ArrowException, ValueError, TypeError, KeyError, IndexError):
        return None


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


def _has_nan(value: pa.Array) -> bool:
    """Return whether there may be a NaN in a literal, or in the options of a call."""
    kind = value.type
    if pa.types.is_floating(kind):
        return bool(pc.any(pc.is_nan(value.cast(pa.float64()))).as_py())
    if pa.types.is_struct(kind):
        return any(_has_nan(part) for part in value.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _has_nan(value.flatten())
    # Of these, nothing is known.
    is_nested = pa.types.is_nested(kind) or pa.types.is_dictionary(kind)
    return is_nested or isinstance(kind, pa.BaseExtensionType)


def is_certain(expression: pc.Expression) -> bool:
    """Return whether bounds of columns decide the expression as the rows do."""
    known = contents(expression)
    if known is None or not known.calls <= _CERTAIN:
        return False
    return not any(_has_nan(value) for value in known.values)
