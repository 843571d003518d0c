"""
Arguments of the public functions: checked, converted, and renamed.

Each converter raises the errors that docs/compatibility.md compares with 0.1.3. `name` is
the argument's, for the message.
"""

from __future__ import annotations

import errno
import functools
import operator
import os
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, TypeVar

from ._types import StrOrBytesPath

_P = ParamSpec("_P")
_R = TypeVar("_R")

UNLIMITED = (1 << 64) - 1
_SIZE = re.compile(
    r"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r" *(?:([kKmMgGtTpP])(i?))?[bB]?"
)
_PREFIXES = "kmgtp"
_OTHER_SOURCES = (
    "Anything with __arrow_c_stream__ will do. Of batches, "
    "pyarrow.RecordBatchReader.from_batches(schema, batches) makes a stream; of a "
    "dataset, .scanner().to_reader(); of a Polars LazyFrame, .collect(); of an "
    "ADBC cursor, .fetch_record_batch()."
)


def _wrong_type(value: object, name: str, wanted: str) -> TypeError:
    kind = "'None'" if value is None else f"'{type(value).__name__}' object"
    return TypeError(f"argument '{name}': {kind} is not an instance of '{wanted}'")


def count(value: Any, name: str) -> int:
    """Return an int from 0 to 2**64 - 1."""
    if type(value) is not int:
        try:
            value = operator.index(value)
        except TypeError as error:
            raise TypeError(f"argument '{name}': {error}") from None
    if 0 <= value <= UNLIMITED:
        return int(value)
    raise OverflowError(
        "can't convert negative int to unsigned"
        if value < 0
        else "int too big to convert"
    )


def shard(value: Any) -> tuple[int, int]:
    """Return the index of a shard, and the number of shards."""
    try:
        index, shards = value
    except (TypeError, ValueError):
        raise TypeError(
            "argument 'shard': expected a pair of the index and the number of shards, "
            f"got {value!r}"
        ) from None
    index, shards = count(index, "shard"), count(shards, "shard")
    if index >= shards:
        raise ValueError(f"argument 'shard': no shard {index} of {shards}")
    return index, shards


def size(value: Any, name: str) -> int:
    """Return a number of bytes: an int, or a text such as "512MB" or "2GiB"."""
    if not isinstance(value, str):
        return count(value, name)
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(
            f"argument '{name}': expected a number of bytes such as 1000000, '512MB' or "
            f"'2GiB', got {value!r}"
        )
    number, prefix, binary = match.groups()
    power = _PREFIXES.index(prefix.lower()) + 1 if prefix else 0
    try:
        bytes_ = float(number) * (1024.0 if binary else 1000.0) ** power
        if bytes_ < UNLIMITED:
            return int(bytes_)
    except OverflowError:
        pass
    raise OverflowError("int too big to convert")


def flag(value: Any, name: str) -> bool:
    """Return a bool of Python's or NumPy's."""
    if value is True or value is False:
        return bool(value)
    # numpy.bool_ is no int, and known by its type's name.
    if type(value).__name__ not in ("bool_", "bool"):
        raise _wrong_type(value, name, "bool")
    return bool(value)


def directory(value: Any, name: str) -> bytes:
    """Return the name of a directory; the empty name is the working directory."""
    try:
        path = os.fspath(value)
    except TypeError:
        raise _wrong_type(value, name, "str") from None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise OSError(
            errno.EINVAL, "Failed to create cache directory: embedded null byte"
        )
    return encoded or b"."


def absolute(path: StrOrBytesPath) -> bytes:
    """Return the absolute name of a file, because the working directory may change."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("path: embedded null byte")
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "")
    # A name that ends with a slash is a directory's.
    slash = b"/" if name.endswith(b"/") else b""
    return os.path.abspath(name).rstrip(b"/") + slash or b"/"


def codec(value: Any) -> Literal["lz4", "zstd"] | None:
    """Return the name of a codec, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong_type(value, "compression", "str or None")
    if value == "lz4":
        return "lz4"
    if value == "zstd":
        return "zstd"
    raise ValueError(f"Unknown compression {value!r}: expected None, 'lz4' or 'zstd'")


def stream_method(source: Any, name: str = "argument 'reader'") -> Callable[[], object]:
    """Return the method that exports an Arrow stream; errors begin with `name`."""
    try:
        method: Callable[[], object] = source.__arrow_c_stream__
    except AttributeError:
        kind = type(source)
        error = TypeError(
            f"{name}: Expected instance of pyarrow.lib.RecordBatchReader, "
            f"got {kind.__module__}.{kind.__qualname__}"
        )
        error.add_note(_OTHER_SOURCES)
        raise error from None
    return method


CacheOptions = tuple[
    int, bytes | None, int, bool, int, bool, Literal["lz4", "zstd"] | None, int
]


def cache_options(
    memory_capacity: Any,
    disk_path: Any,
    disk_capacity: Any,
    write_policy: Any,
    max_readers: Any,
    checksum: Any,
    compression: Any,
    prefetch: Any,
) -> CacheOptions:
    """
    Return the options as `_core.StreamCache` takes them, after `method`.

    Types are checked first, in the order of the arguments, then values, as 0.1.3 does.
    """
    memory, path, disk, readers = UNLIMITED, None, UNLIMITED, 0
    if memory_capacity is not None:
        memory = size(memory_capacity, "memory_capacity")
    if disk_path is not None:
        path = directory(disk_path, "disk_path")
    if disk_capacity is not None:
        disk = size(disk_capacity, "disk_capacity")
    if not isinstance(write_policy, str):
        raise _wrong_type(write_policy, "write_policy", "str")
    if max_readers is not None:
        readers = count(max_readers, "max_readers")
        if readers == 0:
            raise ValueError("max_readers must be at least 1")
    if write_policy not in ("on_insertion", "on_eviction"):
        import json

        raise ValueError(
            "write_policy must be 'on_insertion' or 'on_eviction', got "
            + json.dumps(write_policy, ensure_ascii=False)
        )
    checks = flag(checksum, "checksum")
    name = codec(compression)
    ahead = 0 if prefetch is None else count(prefetch, "prefetch")
    if (disk_path is None) != (disk_capacity is None):
        raise ValueError(
            "disk_path and disk_capacity must both be provided, or both omitted"
        )
    return memory, path, disk, write_policy == "on_eviction", readers, checks, name, ahead


def statistics_policy(value: Any) -> int:
    """Return whether to gather statistics, as `_core.StreamCache` takes it."""
    if value is None:
        return 0
    return 1 if flag(value, "statistics") else 2


def column_indices(names: list[str], columns: Iterable[str | int]) -> tuple[int, ...]:
    """Return the indices of columns that are given by name or by index."""
    if isinstance(columns, (str, bytes)):
        raise TypeError(
            f"argument 'columns': expected a list of names or indices, got {columns!r}"
        )
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        by_name.setdefault(name, []).append(index)
    indices = []
    for column in columns:
        if isinstance(column, str):
            found = by_name.get(column, [])
            if len(found) != 1:
                times = "does not exist" if not found else f"stands {len(found)} times"
                raise KeyError(f'Field "{column}" {times} in schema')
            indices += found
            continue
        try:
            index = operator.index(column)
        except TypeError:
            raise TypeError(
                "argument 'columns': expected names or indices, got "
                f"'{type(column).__name__}'"
            ) from None
        if not -len(names) <= index < len(names):
            raise IndexError(
                f"column index {index} is out of range ({len(names)} columns)"
            )
        indices.append(index % len(names))
    return tuple(indices)


def renamed(old: str, new: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """
    Return a decorator that accepts the former name of a keyword argument.

    The former name raises DeprecationWarning. It is an error if the caller passes the
    argument by both names, or by position and by its former name.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        code = function.__code__
        place = code.co_varnames.index(new)
        is_positional = place < code.co_argcount
        name = function.__name__

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if old in kwargs:
                if new in kwargs or (is_positional and len(args) > place):
                    raise TypeError(
                        f"{name}() got {old!r}, the former name of {new!r}, and {new!r}"
                    )
                warnings.warn(
                    f"{name}({old}=) is deprecated: use {new}=",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
