"""
The statistics of batches, in plain Python from the bytes of their buffers.

The values of a leaf are integers, floats or bytes. A decimal or a timestamp is the
integer that its buffer has.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Value = int | float | bytes | None

BOUND_BYTES = 32
INLINE_BYTES = 12


def stored(kind: pa.DataType) -> pa.DataType:
    """Return the type without its extension."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_text(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind))


def is_number(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (t.is_boolean, t.is_integer, t.is_floating, t.is_decimal, t.is_temporal)
    return not t.is_interval(kind) and any(test(kind) for test in tests)


# ---- values ----


def bit(buffer: pa.Buffer | None, i: int) -> int:
    """Return a bit of a bitmap. A missing bitmap has ones."""
    return 1 if buffer is None else memoryview(buffer)[i // 8] >> i % 8 & 1


def validity(array: pa.Array) -> list[bool]:
    """Return which rows of an array are valid by its own bitmap."""
    bitmap = array.buffers()[0]
    return [bit(bitmap, array.offset + i) == 1 for i in range(len(array))]


def raw(array: pa.Array, i: int) -> Value:
    """Return the value in slot `i` of the buffers."""
    kind, buffers = array.type, array.buffers()
    if pa.types.is_boolean(kind):
        return bit(buffers[1], i)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        view = bytes(memoryview(buffers[1])[16 * i : 16 * i + 16])
        (size,) = struct.unpack_from("<i", view)
        if size <= INLINE_BYTES:
            return view[4 : 4 + size]
        number, start = struct.unpack_from("<ii", view, 8)
        return bytes(memoryview(buffers[2 + number])[start : start + size])
    if is_text(kind) or is_bytes(kind):
        is_large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
        code, width = ("q", 8) if is_large else ("i", 4)
        start, end = struct.unpack_from(f"<2{code}", buffers[1], width * i)
        return bytes(memoryview(buffers[2])[start:end]) if end > start else b""
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        return b""
    width = kind.bit_width // 8
    found = bytes(memoryview(buffers[1])[width * i : width * i + width])
    if pa.types.is_fixed_size_binary(kind):
        return found
    if pa.types.is_floating(kind):
        return float(struct.unpack({2: "<e", 4: "<f", 8: "<d"}[width], found)[0])
    is_signed = not pa.types.is_unsigned_integer(kind)
    return int.from_bytes(found, "little", signed=is_signed)


def values_of(array: pa.Array) -> list[Value]:
    """Return the values of an array of an ordered type."""
    if isinstance(array, pa.ExtensionArray):
        return values_of(array.storage)
    if isinstance(array, pa.DictionaryArray):
        words = values_of(array.dictionary)
        indices = values_of(array.indices)
        return [None if i is None else words[i] for i in indices]  # type: ignore[index]
    valid = validity(array)
    return [raw(array, array.offset + i) if valid[i] else None for i in range(len(array))]


# ---- leaves ----


@dataclass(frozen=True)
class Leaf:
    """A leaf in one batch."""

    name: str
    path: str
    kind: pa.DataType  # of the bounds
    is_float: bool
    values: list[Value]


def ordered(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of a leaf's bounds, or None for a type without order."""
    kind = stored(kind)
    if pa.types.is_dictionary(kind):
        kind = stored(kind.value_type)
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary() if kind.byte_width > BOUND_BYTES else kind
    return kind if is_text(kind) or is_bytes(kind) or is_number(kind) else None


def below(
    name: str, path: tuple[int, ...], array: pa.Array, around: list[bool]
) -> Iterator[Leaf]:
    """Yield the leaves of an array. `around`: the rows in which its parents are valid."""
    kind = stored(array.type)
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_struct(kind):
        both = [
            one and other for one, other in zip(around, validity(storage), strict=True)
        ]
        for i, field in enumerate(kind):
            yield from below(f"{name}.{field.name}", (*path, i), storage.field(i), both)
        return
    bounds = ordered(kind)
    if bounds is not None:
        found = values_of(storage)
        yield Leaf(
            name,
            ".".join(map(str, path)),
            bounds,
            bool(pa.types.is_floating(bounds)),
            [value if a else None for value, a in zip(found, around, strict=True)],
        )


def leaves_of(batch: pa.RecordBatch, columns: Iterable[int] | None = None) -> list[Leaf]:
    """Return the leaves of all columns, or of some, depth first."""
    around = [True] * batch.num_rows
    found: list[Leaf] = []
    for i in range(batch.num_columns) if columns is None else columns:
        found += below(batch.schema.names[i], (i,), batch.column(i), around)
    return found


# ---- bounds ----


def lower(value: bytes, text: bool) -> bytes:
    """Return the lower bound of a long text or of long bytes."""
    cut = value[:BOUND_BYTES]
    return cut.decode(errors="ignore").encode() if text and len(value) > len(cut) else cut


def upper(value: bytes, text: bool) -> bytes | None:
    """Return the upper bound of a text or of bytes, or None."""
    if len(value) <= BOUND_BYTES:
        return value
    cut = lower(value, text)
    units: list[int] = [*map(ord, cut.decode())] if text else [*cut]
    while units:
        last = units.pop() + 1
        last = 0xE000 if text and last == 0xD800 else last
        if last > (0x10FFFF if text else 0xFF):
            continue
        raised = [*units, last]
        bound = "".join(map(chr, raised)).encode() if text else bytes(raised)
        if len(bound) <= BOUND_BYTES:
            return bound
    return None


def exact_key(value: Value) -> Any:
    """Return a key that tells -0.0 from 0.0."""
    return (value, math.copysign(1, value)) if isinstance(value, float) else value


def expected(leaf: Leaf) -> dict[str, Any]:
    """Return the statistics of a leaf as the format's page defines them."""
    valid: list[Any] = [value for value in leaf.values if value is not None]
    real = [value for value in valid if value == value]
    found: dict[str, Any] = {"null_count": len(leaf.values) - len(valid)}
    low: Value = min(real) if real else None
    high: Value = max(real) if real else None
    found["exact"] = True
    if isinstance(low, float) and low == 0:
        low = -0.0
    if isinstance(high, float) and high == 0:
        high = 0.0
    if isinstance(low, bytes) and isinstance(high, bytes):
        found["exact"] = max(len(low), len(high)) <= BOUND_BYTES
        low, high = lower(low, is_text(leaf.kind)), upper(high, is_text(leaf.kind))
    found["min"], found["max"] = exact_key(low), exact_key(high)
    if leaf.is_float:
        found["nan_count"] = len(valid) - len(real)
    return found


def encloses(leaf: Leaf, low: Value, high: Value) -> bool:
    """Return whether no value is outside the bounds, by no rule about cutting."""
    real: list[Any] = [value for value in leaf.values if value is not None]
    return all(
        (low is None or low <= value) and (high is None or value <= high)
        for value in real
        if value == value
    )


# ---- tables ----


def type_of(leaf: Leaf) -> pa.DataType:
    """Return the type of a leaf's column in the table."""
    fields = [
        ("null_count", pa.int64()),
        ("min", leaf.kind),
        ("max", leaf.kind),
        ("exact", pa.bool_()),
    ]
    return pa.struct(fields + [("nan_count", pa.int64())] * leaf.is_float)


def check_column(column: pa.StructArray, leaves: Sequence[Leaf]) -> None:
    """Check the statistics of one leaf in all batches."""
    parts = {field.name: values_of(column.field(field.name)) for field in column.type}
    for row, leaf in enumerate(leaves):
        found = {name: values[row] for name, values in parts.items()}
        assert encloses(leaf, found["min"], found["max"]), (leaf, found)
        for name in ("min", "max"):
            found[name] = exact_key(found[name])
        assert found == expected(leaf), leaf


def check(
    table: pa.Table,
    batches: Sequence[pa.RecordBatch],
    first: int = 0,
    columns: Sequence[int] | None = None,
) -> None:
    """Check the table of the batches from `first` on. There is at least one batch."""
    table.validate(full=True)
    table = table.combine_chunks()
    count = len(batches) - first
    assert table["batch"].to_pylist() == list(range(first, len(batches)))
    assert table["row_count"].to_pylist() == [one.num_rows for one in batches[first:]]
    wanted = [leaves_of(one, columns) for one in batches]
    names = ["batch", "row_count", *(leaf.name for leaf in wanted[0])]
    assert table.schema.names == names
    for i, leaf in enumerate(wanted[0]):
        field = table.schema.field(i + 2)
        assert field.type == type_of(leaf), leaf.name
        assert field.metadata == {b"batchcorder.path": leaf.path.encode()}
        if count > 0:
            check_column(table.column(i + 2).chunk(0), [one[i] for one in wanted[first:]])


__all__ = ["Leaf", "check", "expected", "leaves_of", "ordered", "values_of"]
