"""
Arrays and scalars of few values, from values as their type stores them.

To convert its first Python object, pyarrow imports pandas, if that is installed. This
takes longer than most queries. The functions of this module convert none.
"""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_FORMATS = {
    "halffloat": "e",
    "float": "f",
    "double": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
}
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
# Dates, times, timestamps, durations: counts of so many bits.
_COUNTS = {32: "i", 64: "q"}


def _text(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    ends = itertools.accumulate(map(len, values), initial=0)
    is_large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    offsets = struct.pack(f"{len(values) + 1}{'q' if is_large else 'i'}", *ends)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """
    Return values as an array without nulls.

    Parameters
    ----------
    values : sequence of bool, int, float or bytes
        Dates, times and timestamps are counts of the type's unit. Decimals are integers
        of the last digit. Text is UTF-8.
    kind : pyarrow.DataType
        Booleans, numbers, decimals, types of time, strings or binaries.

    Raises
    ------
    OverflowError, struct.error
        A value is not in the type's range.
    """
    t = pa.types
    if any(is_text(kind) for is_text in _TEXTS):
        return _text(values, kind)
    if t.is_boolean(kind):
        bits = sum(value << number for number, value in enumerate(values))
        data = bits.to_bytes(-(-len(values) // 8), "little")
    elif t.is_decimal(kind):
        width = kind.byte_width
        data = b"".join(one.to_bytes(width, sys.byteorder, signed=True) for one in values)
    else:
        code = _FORMATS.get(str(kind)) or _COUNTS[kind.bit_width]
        data = struct.pack(f"{len(values)}{code}", *values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])


def scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Return a value as a scalar."""
    return array([value], kind)[0]


FALSE, TRUE = array([False, True], pa.bool_())
NULL = pa.nulls(1, pa.bool_())[0]
ZERO = scalar(0, pa.int64())
