"""
Columns of batches as arrays of numbers, or as lists of Python objects.

    bool                               bool, one byte a value: copied.
    int8 ... uint64, float16 ... 64    the same type.
    date32, time32                     int32: days; seconds or milliseconds.
    date64, time64, timestamp,         int64, in the column's unit.
      duration.
    decimals                           float64, rounded: copied.
    fixed-size binary                  uint8 of shape (rows, width).
    fixed-size list                    one dimension more, at any depth.
    arrow.fixed_shape_tensor           its shape.
    arrow.bool8                        bool.
    dictionary, runs                   as their values: copied.
    any other type                     a list of Python objects.

NumPy gets dates, timestamps and durations as datetime64 and timedelta64. Unless the table
says "copied", an array is the memory of its column. The array may be written, because
each batch has memory of its own.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .._rows import as_plain
from .._rows import has as has_type
from ._items import split

_INTEGERS = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}


class _Memory:
    """Memory of an Arrow buffer for NumPy, which keeps the buffer."""

    def __init__(self, buffer: pa.Buffer, start: int, n: int, kind: np.dtype) -> None:
        self._buffer = buffer
        self.__array_interface__ = {
            "data": (buffer.address + start * kind.itemsize, False),
            "shape": (n,),
            "typestr": kind.str,
            "version": 3,
        }


def _view(array: pa.Array, kind: np.dtype, width: int = 1) -> np.ndarray:
    """Return the memory of an array, `width` numbers a value."""
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None or width == 0:
        return np.empty(len(array) * width, kind)
    memory = _Memory(buffer, array.offset * width, len(array) * width, kind)
    return np.asarray(memory)


def _bits(buffer: pa.Buffer, start: int, n: int) -> np.ndarray:
    first = start // 8
    some = np.frombuffer(buffer, np.uint8)[first : (start + n + 7) // 8]
    bits = np.unpackbits(some, bitorder="little")
    return bits[start - first * 8 :][:n].view(np.bool_)


def _storage(kind: pa.DataType) -> pa.DataType:
    """Return the type that has the numbers of a type."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _storage(kind.storage_type)
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return _storage(kind.value_type)
    return kind


def _is_encoded(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_dictionary(kind) or t.is_run_end_encoded(kind))


def _is_number(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(
        t.is_boolean(kind)
        or t.is_integer(kind)
        or t.is_floating(kind)
        or t.is_decimal(kind)
        or t.is_date(kind)
        or t.is_time(kind)
        or t.is_timestamp(kind)
        or t.is_duration(kind)
    )


def _is_array(kind: pa.DataType) -> bool:
    """Return whether values of the type become an array."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        # Other extensions of bytes, such as arrow.uuid, have objects of their own.
        of_bytes = has_type(kind.storage_type, t.is_fixed_size_binary)
        return _is_array(kind.storage_type) and not of_bytes
    if _is_encoded(kind):
        return _is_array(kind.value_type)
    if t.is_fixed_size_list(kind):
        return _is_array(kind.value_type)
    return _is_number(kind) or bool(t.is_fixed_size_binary(kind))


def _leaf(kind: pa.DataType) -> pa.DataType:
    """Return the type of the numbers in nested lists."""
    kind = _storage(kind)
    return _leaf(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind


def _number_kind(kind: pa.DataType) -> np.dtype:
    """Return NumPy's type for the memory of numbers."""
    t = pa.types
    if t.is_fixed_size_binary(kind):
        return np.dtype(np.uint8)
    if t.is_integer(kind) or t.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype())
    return np.dtype(_INTEGERS[kind.bit_width])


def _as_time(values: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """Return numbers of time as NumPy's own types, where NumPy has one."""
    t = pa.types
    if t.is_date32(kind):
        return values.astype("datetime64[D]")
    if t.is_date64(kind):
        return values.view("datetime64[ms]")
    if t.is_timestamp(kind):
        return values.view(f"datetime64[{kind.unit}]")
    return values.view(f"timedelta64[{kind.unit}]") if t.is_duration(kind) else values


class _NullsError(Exception):
    pass


def _shape(kind: pa.DataType) -> tuple[int, ...]:
    """Return the shape of the numbers of a row."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return tuple(kind.shape)
    if pa.types.is_fixed_size_list(kind):
        return (kind.list_size, *_shape(kind.value_type))
    return (kind.byte_width,) if pa.types.is_fixed_size_binary(kind) else ()


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether rows of the type are numbers in one buffer."""
    t = pa.types
    if isinstance(kind, pa.FixedShapeTensorType) and kind.permutation is None:
        return _is_plain(kind.storage_type)
    if t.is_fixed_size_list(kind):
        return not t.is_boolean(_leaf(kind)) and _is_plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) or _is_encoded(kind):
        return False
    return _is_array(kind) and not t.is_decimal(kind)


class _Converter:
    """Makes arrays of one column."""

    def __init__(self, name: str, kind: pa.DataType, times: bool, fill: Any) -> None:
        self._name, self._kind, self._times = name, kind, times
        self._fill = self._filler(fill)
        self.is_plain = _is_plain(kind)
        if self.is_plain:
            leaf = _leaf(kind)
            is_bool = pa.types.is_boolean(leaf)
            self.kind = np.dtype(np.bool_) if is_bool else _number_kind(leaf)
            self.shape = _shape(kind)
            self.bits = 1 if is_bool else 8 * self.kind.itemsize * math.prod(self.shape)

    def of_bytes(self, block: bytearray, start: int, n: int) -> np.ndarray:
        """Return n values of a plain column, whose bytes begin there."""
        count = n * math.prod(self.shape)
        if count == 0:
            values = np.empty((n, *self.shape), self.kind)
        else:
            values = np.frombuffer(block, self.kind, count, start)
            values = values.reshape(n, *self.shape)
        return _as_time(values, _leaf(self._kind)) if self._times else values

    def _filler(self, fill: Any) -> np.ndarray | None:
        """Return the value in place of a null; None: there is none."""
        is_own = isinstance(fill, Mapping)
        value, leaf = fill.get(self._name) if is_own else fill, _leaf(self._kind)
        if value is None:
            return None
        try:
            return self._numbers(pa.array([value], leaf))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            if not is_own:
                return None  # a value for all columns is one for those that can have it
            raise TypeError(
                f"argument 'fill_null': {value!r} is no value for column {self._name!r} "
                f"of type {leaf}: {error}"
            ) from None

    def _filled(self, array: pa.Array, values: np.ndarray) -> np.ndarray:
        """Return the values, with the column's own value in place of nulls."""
        if array.null_count == 0:
            return values
        if self._fill is None:
            raise _NullsError
        valid = _bits(array.buffers()[0], array.offset, len(array))
        valid = valid.reshape(-1, *[1] * (values.ndim - 1))
        return np.where(valid, values, self._fill[0])

    def _numbers(self, array: pa.Array) -> np.ndarray:
        kind, t = array.type, pa.types
        if t.is_boolean(kind):
            if len(array) == 0:
                return np.empty(0, np.bool_)
            return _bits(array.buffers()[1], array.offset, len(array))
        if t.is_decimal(kind):
            array = array.cast(pa.float64())
        if t.is_fixed_size_binary(kind) and not t.is_decimal(kind):
            width = kind.byte_width
            return _view(array, np.dtype(np.uint8), width).reshape(len(array), width)
        values = _view(array, _number_kind(array.type))
        return _as_time(values, kind) if self._times else values

    def _values(self, array: pa.Array) -> np.ndarray:
        if isinstance(array, pa.ExtensionArray):
            return self._extension(array)
        kind, t = array.type, pa.types
        if t.is_dictionary(kind):
            return self._values(array.dictionary_decode())
        if t.is_run_end_encoded(kind):
            return self._values(as_plain(array))
        if not t.is_fixed_size_list(kind):
            return self._filled(array, self._numbers(array))
        n, size = len(array), kind.list_size
        inner = self._values(array.values.slice(array.offset * size, n * size))
        return self._filled(array, inner.reshape(n, size, *inner.shape[1:]))

    def _extension(self, array: pa.ExtensionArray) -> np.ndarray:
        values, kind = self._values(array.storage), array.type
        if kind.extension_name == "arrow.bool8":
            return values.astype(np.bool_)
        if isinstance(kind, pa.FixedShapeTensorType):
            values = values.reshape(len(array), *kind.shape)
            if kind.permutation is not None:
                values = values.transpose(0, *[axis + 1 for axis in kind.permutation])
        return values

    def of(self, array: pa.Array) -> np.ndarray:
        """Return the values of an array of the column."""
        try:
            return self._values(array)
        except _NullsError:
            raise ValueError(
                f"column {self._name!r} has nulls, which an array cannot hold: give "
                f"fill_null={{{self._name!r}: value}}"
            ) from None


def _check_fill(fill_null: Any, names: list[str]) -> None:
    for name in fill_null if isinstance(fill_null, Mapping) else ():
        if name not in names:
            raise KeyError(
                f"argument 'fill_null': no column {name!r} of numbers; there are {names}"
            )


class Columns:
    """
    Converts batches to items: dicts of columns, or batches themselves.

    Parameters
    ----------
    schema : pyarrow.Schema
        The schema of the batches.
    kind : {"torch", "numpy", "arrow"}
        The items: dicts of tensors, dicts of arrays, or batches.
    fill_null : mapping or scalar, optional
        The value in place of nulls, of each column or of all.
    """

    def __init__(self, schema: pa.Schema, kind: str, fill_null: Any) -> None:
        self.kind = kind
        self._converters: dict[str, Any] = {}
        self.plain: tuple[int, ...] = ()
        self.plain_bits: tuple[int, ...] = ()
        self.names = schema.names
        if kind not in ("torch", "numpy", "arrow"):
            raise ValueError(
                f"argument 'format': expected 'torch', 'numpy' or 'arrow', got {kind!r}"
            )
        if kind == "arrow":
            if fill_null is not None:
                raise ValueError("argument 'fill_null': batches keep their nulls")
            return
        name, count = max(
            Counter(schema.names).items(), key=lambda x: x[1], default=("", 0)
        )
        if count > 1:
            raise ValueError(
                f"{count} columns have the name {name!r}, and an item has one of each "
                "name: select columns by index with columns="
            )
        arrays = [field.name for field in schema if _is_array(field.type)]
        _check_fill(fill_null, arrays)
        times = kind == "numpy"
        for field in schema:
            converter = None
            if field.name in arrays:
                converter = _Converter(field.name, field.type, times, fill_null)
            self._converters[field.name] = converter
        self._find_plain()

    def _find_plain(self) -> None:
        """Find the columns whose rows are numbers in one buffer."""
        found = [
            (-converter.kind.itemsize, converter.kind.str, number)
            for number, converter in enumerate(self._converters.values())
            if converter is not None and converter.is_plain
        ]
        # The widest numbers come first, so that all are aligned.
        self.plain = tuple(number for *_, number in sorted(found))
        names = [self.names[number] for number in self.plain]
        self._plain = [(name, self._converters[name]) for name in names]
        self.plain_bits = tuple(converter.bits for _, converter in self._plain)
        self._groups = []
        for kind, group in itertools.groupby(self._plain, lambda pair: pair[1].kind):
            columns = list(group)
            names = [name for name, _ in columns]
            shapes = [converter.shape for _, converter in columns]
            self._groups.append(
                (torch.from_numpy(np.empty(0, kind)).dtype, names, shapes)
            )

    @property
    def are_plain(self) -> bool:
        """Whether rows of all columns are numbers in one buffer each."""
        return len(self.plain) == len(self.names)

    def arrays(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """Return the columns of numbers as arrays."""
        found = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            converter = self._converters[name]
            if converter is not None:
                values = converter.of(column)
                found[name] = values if self.kind == "numpy" else torch.from_numpy(values)
        return found

    def plain_arrays(self, block: bytearray, n: int) -> dict[str, Any]:
        """Return n rows of the plain columns, whose bytes are one after the other."""
        found: dict[str, Any] = {}
        start = 0
        if self.kind == "numpy":
            for name, converter in self._plain:
                found[name] = converter.of_bytes(block, start, n)
                start += n * math.prod(converter.shape) * converter.kind.itemsize
            return found
        for kind, names, shapes in self._groups:
            parts, start = split(block, start, kind, [(n, *shape) for shape in shapes])
            found.update(zip(names, parts, strict=True))
        return found
