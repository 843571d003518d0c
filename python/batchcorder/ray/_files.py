"""
The files of a dataset: their paths, their identity, and a description for planning.

A file is identified by its size and its time of modification. Both are read from the open
file, so that no other file can take its place between the check and the reading.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .. import _core
from .._arguments import UNLIMITED
from .._origin import Origin
from .._stream_cache import StreamCache, open_cache
from ._objects import Object


class File(NamedTuple):
    """A file at a path; `size` in bytes, `mtime` in nanoseconds."""

    path: str
    size: int
    mtime: int

    @property
    def name(self) -> str:
        return self.path

    @contextmanager
    def opened(self, batches: int = UNLIMITED) -> Iterator[StreamCache]:
        """
        Open the file, if it is still the same.

        Parameters
        ----------
        batches : int, optional
            The most batches that the cache has. Default: no limit.

        Raises
        ------
        FileNotFoundError
            There is no file at the path.
        OSError
            ESTALE: the file at the path is another one.
        """
        with open(self.path, "rb") as file:
            if identified(self.path, os.fstat(file.fileno())) != self:
                raise changed(self.path)
            origin = Origin(os.fsencode(self.path), is_nameless=True)
            cache = open_cache(StreamCache, origin, file=file.fileno(), batches=batches)
        with cache:
            yield cache


class Description(NamedTuple):
    """
    A file's contents, as they are planned.

    `starts` are the first row of each batch, and the number of rows. `nbytes` is the size
    of all columns in memory. `column_bytes` are the columns' sizes in the first batch.
    """

    schema: pa.Schema
    starts: np.ndarray
    nbytes: int
    column_bytes: list[int]


def changed(path: str) -> OSError:
    """Return the error of a recording that is not the planned one."""
    words = "The recording has changed since read_recordings() was called: call it again"
    return OSError(errno.ESTALE, words, path)


def identified(path: str, found: os.stat_result) -> File:
    """Return the identity of a file by the result of a call of stat."""
    return File(path, found.st_size, found.st_mtime_ns)


def absolute(paths: Any, is_local: bool = True) -> list[str]:
    """
    Return the argument `paths` as absolute paths, patterns and URLs.

    Without `is_local`, they are paths in a file system, and stay as they are.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise TypeError(
            "argument 'paths': expected a path or a list of paths, got "
            f"{type(paths).__name__!r}"
        )
    made = []
    for path in map(os.fsdecode, paths):
        scheme, separator, rest = path.partition("://")
        if not is_local:
            made.append(path)
        elif not separator or scheme in ("file", "local"):
            made.append(os.path.abspath(rest if separator else path))
        else:
            made.append(path)
    if not made:
        raise ValueError("argument 'paths': the list is empty")
    return made


def found(path: str) -> list[File]:
    """Return the files of this machine at a path, in a directory or of a pattern."""
    if os.path.isdir(path):
        names = glob.glob("*.arrows", root_dir=path)
        paths = [os.path.join(path, name) for name in sorted(names)]
    elif glob.has_magic(path) and not os.path.exists(path):
        paths = sorted(glob.glob(path))
    else:
        paths = [path]
    files = []
    for one in paths:
        try:
            files.append(identified(one, os.stat(one)))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # or on another node
    return files


def described(file: File | Object) -> Description:
    """Return the description of a file of this machine."""
    with file.opened() as cache:
        starts = np.frombuffer(_core.row_starts(cache, 0), np.int64)
        nbytes = cache.nbytes or 0
    with file.opened(batches=1) as first:
        sizes = _core.file_info(first, True)["column_bytes"]
        return Description(first.schema, starts, nbytes, sizes)


def remaining(file: File | Object, filter: pc.Expression) -> list[int] | None:
    """
    Return the batches that may have rows for a filter; None: all.

    Only the statistics that a recording keeps are used. For other files, they would be
    gathered by reading whole columns.
    """
    with file.opened() as cache:
        if _core.file_info(cache, False)["kind"] != "recording":
            return None
        statistics = cache._filter_statistics()  # noqa: SLF001 - our own class
        return statistics.remaining_batches(cache, filter, len(cache))
