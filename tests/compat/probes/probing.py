"""Declares probes, and describes their results in comparable words."""

from __future__ import annotations

import contextlib
import inspect
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

# By name, in the order in which they run; each takes the module and a directory.
PROBES: dict[str, Callable[[ModuleType, Path], Any]] = {}


def _register(name: str, function: Callable[..., Any], *case: Any) -> None:
    assert name not in PROBES, name
    takes_directory = "tmp" in inspect.signature(function).parameters

    def run(bc: ModuleType, tmp: Path) -> Any:
        return function(bc, *case, **({"tmp": tmp} if takes_directory else {}))

    PROBES[name] = run


def probe(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function of the module, and of `tmp` if it has such a parameter."""
    _register(function.__name__, function)
    return function


def each(names: Iterable[str]) -> Callable[..., Any]:
    """Register a function once for each name, as ``function[name]``."""
    return each_of({name: name for name in names})


def each_of(cases: Mapping[str, Any]) -> Callable[..., Any]:
    """Register a function once for each case; it takes the value."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for case, value in cases.items():
            _register(f"{function.__name__}[{case}]", function, value)
        return function

    return decorate


def run_probe(name: str, bc: ModuleType) -> Any:
    """
    Run one probe in an empty working directory; return a value for JSON.

    An exception that the probe does not catch is ``{"uncaught": ...}``. If one package
    raises it, it is a finding. If both raise it, the probe is wrong.
    """
    with tempfile.TemporaryDirectory() as path, contextlib.chdir(path):
        try:
            found = describe(PROBES[name](bc, Path(path)))
        except ModuleNotFoundError as error:
            found = f"skipped: {error.name} is not installed"
        except BaseException as error:
            found = {"uncaught": raised(error)}
        return _without_path(found, path)


def _without_path(found: Any, path: str) -> Any:
    if isinstance(found, str):
        return re.sub(r"0x[0-9a-f]{6,}", "0x", found.replace(path, "TMP"))
    if isinstance(found, list):
        return [_without_path(one, path) for one in found]
    if isinstance(found, dict):
        return {key: _without_path(value, path) for key, value in found.items()}
    return found


# pyarrow's words go on with a traceback, or with lines of its own source.
_TAIL = re.compile(r"\. Detail: Python exception|\n?/[\w./-]+\.cc:\d+")
# Each library on the way adds the name of its error type, and Python adds the errno
# (see the probe `words_with_prefixes`).
_PREFIXES = re.compile(
    r"^((\[Errno \d+\]|Invalid:|Invalid argument error:|Memory error:|Io error:"
    r"|Out of memory:|C Data interface error:) )*"
)


def type_name(kind: type) -> str:
    """Return the type's name, without the modules that both packages hide."""
    if kind.__module__ == "builtins" or kind.__module__.startswith("batchcorder"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the function's result, or a description of its exception."""
    try:
        return describe(function(*args, **kwargs))
    except BaseException as error:
        return raised(error)


def raised(error: BaseException) -> dict[str, Any]:
    """Describe an exception: its type, its words, and its errno if it has one."""
    words = _TAIL.split(str(error))[0]
    words = _PREFIXES.sub("", words)
    found = {"raises": type_name(type(error)), "words": words}
    if isinstance(error, OSError):
        found["errno"] = error.errno
    return found


def kind_raised(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """As `attempt`, without the words: where Python or pyarrow makes them up."""
    found = attempt(function, *args, **kwargs)
    if isinstance(found, dict) and "raises" in found:
        return {"raises": found["raises"]}
    return found


def _metadata(metadata: Mapping[bytes, bytes] | None) -> str:
    return "no metadata" if metadata is None else str(sorted(metadata.items()))


def _field(field: pa.Field) -> str:
    null = "" if field.nullable else " not null"
    return f"{field.name}: {field.type}{null}, {_metadata(field.metadata)}"


def describe(value: Any) -> Any:
    """Return a JSON value that differs whenever a user can see a difference."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(one) for one in value]
    if isinstance(value, dict):
        return {str(key): describe(one) for key, one in value.items()}
    if isinstance(value, (pa.Table, pa.RecordBatch)):
        return {type(value).__name__: value.to_pydict(), "schema": describe(value.schema)}
    if isinstance(value, pa.Schema):
        return [*(_field(field) for field in value), _metadata(value.metadata)]
    if isinstance(value, type):
        return type_name(value)
    if type(value).__name__ == "PyCapsule":
        return re.sub(r" at 0x.*", "", repr(value))
    return type_name(type(value))
