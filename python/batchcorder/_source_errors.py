"""
Exceptions of Python sources, rebuilt from the error message of an Arrow stream.

A C stream carries an errno and a message. pyarrow's streams put the exception's message
and traceback into it. From these the exception is rebuilt: its type, its message, and
the traceback as its cause.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

_MARKER = ". Detail: Python exception: "
_ERRNO = re.compile(r"\[Errno (\d+)\] (.*)", re.DOTALL)
_QUOTED = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_FILES = re.compile(rf"(.*): {_QUOTED}(?: -> {_QUOTED})?", re.DOTALL)


class SourceTraceback(Exception):  # noqa: N818
    """
    The traceback of a source written in Python, as the cause of its exception.

    Parameters
    ----------
    text : str
        The traceback, as Python prints it.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import StreamCache
    >>> def batches():
    ...     raise OSError("no such table")
    ...     yield
    >>> schema = pa.schema({"x": pa.int64()})
    >>> cache = StreamCache(pa.RecordBatchReader.from_batches(schema, batches()))
    >>> try:
    ...     cache.ingest_all()
    ... except OSError as error:
    ...     print(type(error.__cause__).__name__)
    SourceTraceback
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _subclasses(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for below in type.__subclasses__(kind):
        yield from _subclasses(below)


def _named(name: str) -> type[BaseException] | None:
    """Return the exception class that a traceback calls `name`."""
    modules = [("builtins", name), ("__main__", name)]
    parts = name.split(".")
    modules += [(".".join(parts[:i]), ".".join(parts[i:])) for i in range(1, len(parts))]
    for module, qualified in modules:
        found: Any = sys.modules.get(module)
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    # A class made inside a function is no attribute of a module.
    for kind in _subclasses(BaseException):
        if name in (f"{kind.__module__}.{kind.__qualname__}", kind.__qualname__):
            return kind
    return None


def _literal(text: str) -> Any:
    """Return the value that a text writes down, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _errno_arguments(message: str) -> Iterator[tuple[Any, ...]]:
    match = _ERRNO.fullmatch(message)
    if match is None:
        return
    code, words = int(match[1]), match[2]
    files = _FILES.fullmatch(words)
    if files is not None:
        first, second = _literal(files[2]), _literal(files[3] or "")
        more = [first] if second is None else [first, None, second]
        yield (code, files[1], *more)
    yield (code, words)


def _arguments(kind: type[BaseException], message: str) -> Iterator[tuple[Any, ...]]:
    """Yield possible arguments of the exception, the likeliest first."""
    if issubclass(kind, OSError):
        yield from _errno_arguments(message)
    value = _literal(message)
    if issubclass(kind, KeyError) and value is not None:
        yield (value,)
    if message == "":
        yield ()
    yield (message,)
    if isinstance(value, tuple):
        yield value
    if value is not None:
        yield (value,)


def _make(kind: type[BaseException], message: str) -> BaseException | None:
    """Return an exception of exactly this type and message, if there is a way to."""
    for arguments in _arguments(kind, message):
        for make in (kind, lambda *args: kind.__new__(kind, *args)):
            try:
                made = make(*arguments)
                if type(made) is kind and str(made) == message:
                    return made
            except BaseException:
                continue
    return None


def _raised(message: str, traceback: str) -> BaseException | None:
    """Return the exception with this message at the end of a traceback, or None."""
    lines = traceback.rstrip("\n")
    if message:
        at = lines.rfind(f": {message}")
        names = [lines[:at].rpartition("\n")[2]] if at >= 0 else []
    else:
        # Notes follow the message.
        names = [line for line in reversed(lines.splitlines()) if line[:1] != " "]
    kinds = (_named(name.strip(" |")) for name in names)
    kind = next((kind for kind in kinds if kind is not None), None)
    # Raised by an iterator, StopIteration would end the stream without an error.
    if kind is None or issubclass(kind, StopIteration):
        return None
    return _make(kind, message)


def from_message(text: str) -> BaseException | None:
    """Return the exception of a Python source, from the message of its stream."""
    at = text.find(_MARKER)
    while at >= 0:
        _, _, message = text[:at].partition(": ")
        traceback = text[at + len(_MARKER) :]
        found = _raised(message, traceback)
        if found is not None:
            found.__cause__ = SourceTraceback(traceback)
            return found
        # The message itself may have the marker.
        at = text.find(_MARKER, at + 1)
    return None
