"""
A local recording of a server's recording.

- If there is none, all batches come from the server.
- If it is incomplete, the server sends only the batches after those that it has.
- If it is complete, it is opened.

Its key names the server's file. If the file has changed, a new recording is made.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from .. import _core, _recordings
from .._arguments import absolute
from .._cached_query import cached
from .._key import has_key, json_of, key_text
from .._stream_cache import StreamCache
from .._types import StrOrBytesPath
from ._connection import Connection
from ._stream import Given, RemoteBatches
from ._tickets import Ticket


class _Local:
    """The batches of an incomplete recording at a path, if it has the key."""

    def __init__(self, path: bytes, key: Any) -> None:
        self._cache: StreamCache | None = None
        try:
            self._cache = _recordings.open_recording(path, partial=True)
        except (OSError, ValueError):
            return
        if not has_key(self._cache, key_text(key)):
            self._cache = None

    def given(self) -> Given:
        """Return the batches that the server need not send again."""
        if self._cache is None or len(self._cache) == 0:
            return Given()
        return Given(len(self._cache), self._cache.num_rows or 0, self._cache[-1])

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(()) if self._cache is None else self._cache.reader()


def _check_replaceable(path: bytes, key: dict[str, Any]) -> None:
    """Raise FileExistsError if the file is another recording than the wanted one."""
    try:
        cache = _recordings.open_recording(path, partial=True)
    except (OSError, ValueError, NotImplementedError):
        return
    with cache:
        found = json_of(_core.recording_key(cache))
    wanted = {name: key[name] for name in ("flight", "columns")}
    if not isinstance(found, dict) or {**found, **wanted} != found:
        raise FileExistsError(
            errno.EEXIST,
            "the file is no local recording of this recording with these columns, so it "
            "is not replaced: remove it, or use another path",
            os.fsdecode(path),
        )


def opened(connection: Connection, ticket: Ticket, path: StrOrBytesPath) -> StreamCache:
    """Return the local recording, resumed or begun if it is not complete."""
    remote = RemoteBatches(connection, ticket)
    # From here on, another file of this name is an error.
    ticket = ticket._replace(identity=remote.identity)
    key = {
        "flight": ticket.name,
        "identity": remote.identity,
        "columns": None if ticket.columns is None else list(ticket.columns),
    }
    _check_replaceable(absolute(path), key)

    def make_source() -> pa.RecordBatchReader:
        local = _Local(absolute(path), key)
        rest = RemoteBatches(connection, ticket, local.given())
        both = itertools.chain(local.batches(), rest)
        return pa.RecordBatchReader.from_batches(rest.schema, both)

    return cached(path, make_source, key=key, resume=True)


__all__ = ["opened"]
