"""
The function that made a recording, so that a query never opens another query's.

`cached` opens a recording without calling `make_source`. An attribute of the file has a
digest of the function's code and of the values that it uses. It also has the digests of
other functions whose streams had the same schema. If the caller's function has another
digest, the function is called, and the schema of its stream is compared:

    no digest ─▶ opened          same digest ─▶ opened
    other digest ─▶ called ─┬─▶ fails, or same schema ─▶ opened
                            └─▶ other schema ─▶ ValueError

If the file system has no attributes, this process remembers the digest.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import functools
import hashlib
import itertools
import logging
import os
import pathlib
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from ._stream_cache import StreamCache

_ATTRIBUTE = "user.batchcorder.source"
_DEPTH = 4
# Number of functions that may take turns without being called again.
_DIGESTS_MAX = 16
# Number of parts of a container that are digested.
_PARTS_MAX = 1000
_PLAIN = (
    *(str, bytes, bool, int, float, complex, range, enum.Enum, pathlib.PurePath),
    *(datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID),
    *(pa.DataType, pa.Field),
)
_CONTAINERS = (tuple, list, dict, set, frozenset)
# The depth to which each function and container was walked, by its id.
_Walked = dict[int, int]
_logger = logging.getLogger("batchcorder")
# By the device and number of the file.
_remembered: dict[tuple[int, int], bytes] = {}


def _schema_in(value: Any) -> pa.Schema | None:
    """Return the schema of an object, if it has one without exporting a stream."""
    with contextlib.suppress(Exception):
        # Polars warns if the schema of a lazy frame is costly.
        lazy = hasattr(value, "collect_schema")
        schema = None if lazy else getattr(value, "schema", None)
        if isinstance(schema, pa.Schema):
            return schema
        if hasattr(value, "__arrow_c_schema__"):
            return pa.Schema._import_from_c_capsule(value.__arrow_c_schema__())
    return None


def _columns_of(value: Any) -> str:
    """Return the columns of a stream, a frame or a relation as text."""
    schema = _schema_in(value)
    if schema is not None:
        return str(schema.remove_metadata())
    with contextlib.suppress(Exception):
        if hasattr(value, "collect_schema"):
            return str(value.collect_schema())
        if hasattr(value, "__arrow_c_stream__"):
            return f"{value.columns} {value.types}"
    return ""


def _of_function(
    function: types.FunctionType, depth: int, walked: _Walked
) -> Iterator[str]:
    if walked.get(id(function), 0) > depth:
        return
    walked[id(function)] = depth + 1
    yield from _of_code(function.__code__)
    for value in (function.__defaults__, function.__kwdefaults__):
        yield from _words(value, depth, walked)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            yield from _words(cell.cell_contents, depth, walked)
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield from _words(function.__globals__[name], depth, walked)


def _of_code(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _of_code(value)
        else:
            yield repr(sorted(value, key=repr) if isinstance(value, frozenset) else value)


def _of_container(value: Any, depth: int, walked: _Walked) -> Iterator[str]:
    if walked.get(id(value), 0) >= depth:
        return
    walked[id(value)] = depth
    yield f"{type(value).__name__} {len(value)}"
    parts: Any = value.items() if isinstance(value, dict) else value
    if isinstance(value, set | frozenset):
        parts = sorted(parts, key=repr)
    for part in itertools.islice(parts, _PARTS_MAX):
        for one in part if isinstance(value, dict) else (part,):
            yield from _words(one, depth, walked)


def _of_object(value: Any, depth: int, walked: _Walked) -> Iterator[str]:
    yield type(value).__qualname__
    yield _columns_of(value)
    yield from _words(vars(type(value)).get("__call__"), depth - 1, walked)
    # Of an object in an object, the type alone.
    yield from _words(getattr(value, "__dict__", None), min(depth - 1, 1), walked)


def _words(value: Any, depth: int, walked: _Walked) -> Iterator[str]:
    """Yield texts of all values that a stream's schema may depend on."""
    if depth == 0:
        return
    if value is None or isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, _CONTAINERS):
        yield from _of_container(value, depth, walked)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, depth - 1, walked)
    elif isinstance(value, types.MethodType):
        yield from _words(value.__func__, depth, walked)
        yield from _words(value.__self__, depth - 1, walked)
    elif isinstance(value, functools.partial):
        for part in (value.func, value.args, value.keywords):
            yield from _words(part, depth - 1, walked)
    elif isinstance(value, type | types.ModuleType):
        yield value.__name__
    elif isinstance(value, types.BuiltinFunctionType):
        yield value.__name__
        yield from _words(value.__self__, depth - 1, walked)
    else:
        yield from _of_object(value, depth, walked)


def digest(make_source: Callable[[], Any]) -> bytes:
    """Return a digest of a function, the functions that it calls and their values."""
    words = "\0".join(_words(make_source, _DEPTH, {}))
    return hashlib.sha256(words.encode("utf-8", "backslashreplace")).hexdigest().encode()


def remember(path: bytes, *digests: bytes) -> None:
    """Store the digests of functions that may have made the recording."""
    kept = b"\n".join(digests[:_DIGESTS_MAX])
    try:
        os.setxattr(path, _ATTRIBUTE, kept)
    except OSError:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            _remembered[status.st_dev, status.st_ino] = kept


def _made_by(path: bytes) -> list[bytes]:
    """Return the digests that were kept."""
    with contextlib.suppress(OSError):
        return os.getxattr(path, _ATTRIBUTE).split(b"\n")
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return _remembered.get((status.st_dev, status.st_ino), b"").split()
    return []


def is_made_by_cached(path: bytes) -> bool:
    """Return whether `cached` is known to have made the recording."""
    return bool(_made_by(path))


def _schema_of(make_source: Callable[[], Any]) -> pa.Schema | None:
    """Return the schema of the function's stream, of which no batch is asked for."""
    try:
        source = make_source()
        schema = _schema_in(source)
        if schema is None:
            schema = pa.RecordBatchReader.from_stream(source).schema
    except Exception as error:
        _logger.info(
            "make_source has changed and fails, its recording is used: %s", error
        )
        return None
    return schema


def check(path: bytes, cache: StreamCache, make_source: Callable[[], Any]) -> None:
    """Raise ValueError where the function makes a stream of another schema."""
    before, now = _made_by(path), digest(make_source)
    if not before or now in before:
        return
    wanted = _schema_of(make_source)
    if wanted is None:
        return
    try:
        recorded = cache.schema
    except Exception:
        return  # pyarrow refuses it: there is nothing to compare with
    if not recorded.equals(wanted):
        cache.close()
        raise ValueError(
            f"{os.fsdecode(path)}: make_source gives a stream of another schema than "
            f"the recording has: {_line(wanted)} instead of {_line(recorded)}; remove "
            "the recording, or give its stream another path"
        )
    # The call may have changed counters or lists of the function.
    remember(path, digest(make_source), *before)


def _line(schema: pa.Schema) -> str:
    return "[" + ", ".join(f"{field.name}: {field.type}" for field in schema) + "]"
