"""Recordings of a dataset in an object store, which every node reads."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyarrow import fs

from .._arguments import UNLIMITED
from .._origin import Origin
from .._remote._objects import Remote
from .._remote._store import Identity, store_of
from .._stream_cache import StreamCache, open_cache


class Object(NamedTuple):
    """An object with an identity. `name`: its URL, for messages."""

    path: str
    filesystem: Any
    identity: Identity
    name: str

    @contextmanager
    def opened(self, batches: int = UNLIMITED) -> Iterator[StreamCache]:
        """
        Open the object, if it is still the same.

        Raises
        ------
        OSError
            ENOENT: there is no such object. ESTALE: it has changed.
        """
        remote = Remote(self.name, self.path, self.filesystem, identity=self.identity)
        origin = Origin(os.fsencode(self.name), remote=remote)
        with open_cache(StreamCache, origin, batches=batches) as cache:
            yield cache


def _object(path: str, filesystem: Any) -> Object:
    with store_of(path, filesystem) as store:
        return Object(path, filesystem, store.identity(), store.url)


def _arrow(path: str, filesystem: Any) -> tuple[fs.FileSystem, str]:
    """Return a filesystem that can list, and the path in it."""
    if filesystem is None:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(path)
        return found
    if not isinstance(filesystem, fs.FileSystem):
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
    return filesystem, path


def objects(path: str, filesystem: Any) -> list[Object]:
    """Return the object at a path, or the objects ``*.arrows`` of a directory."""
    try:
        return [_object(path, filesystem)]
    except (FileNotFoundError, IsADirectoryError) as error:
        missing = error
    try:
        files, inner = _arrow(path, filesystem)
        found = files.get_file_info(fs.FileSelector(inner))
    except (OSError, ValueError):
        # The store cannot list, or must not.
        raise missing from None
    names = sorted(one.path for one in found if one.path.endswith(".arrows"))
    if not names:
        words = "The directory has no object with the name *.arrows"
        raise FileNotFoundError(errno.ENOENT, words, path)
    return [_object(name, files) for name in names]


__all__ = ["Object", "objects"]
