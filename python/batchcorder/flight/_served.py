"""
The recordings that a server has open, shared by all of its streams.

                 ┌─ complete ─▶ its batches are read from the mapped file
    open a file ─┤
                 └─ growing ──▶ one thread waits for the next batch, streams wait for
                                that thread
    the file of the name is another one, or complete now ─▶ it is opened again

A stream keeps the recording that it began with. A recording that no stream uses is closed
once the server has opened enough other ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

import pyarrow as pa

from .. import _core, _recordings
from .._arguments import column_indices
from .._origin import Origin
from .._stream_cache import StreamCache, open_cache
from ._names import Names

# Seconds between two looks whether a stream that waits is still wanted.
_POLL = 1.0
# Columns that a ticket may name more often than once.
_REPEATED_MAX = 1000
# Recordings that stay open without a stream.
_KEPT = 64


def _digest(*parts: bytes) -> str:
    return sha256(b"".join(parts)).hexdigest()[:16]


class Recording:
    """An open recording, complete or growing."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.is_growing = False
        self.cache = self._opened(number)
        # Only now: the file may have become complete since it was opened.
        self.stat = os.fstat(number)
        self._file = os.dup(number)
        self.schema: pa.Schema = self.cache.schema
        numbers = f"{self.stat.st_dev} {self.stat.st_ino} ".encode()
        # A recording keeps the first part of its identity when it becomes complete.
        self._identity = _digest(numbers, self.schema.serialize().to_pybytes())
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._is_compressed = (
            not self.is_growing and _core.file_info(self.cache, False)["compression"]
        )

    def _opened(self, number: int) -> StreamCache:
        origin = Origin(os.fsencode(self.name), is_nameless=True)
        try:
            return open_cache(StreamCache, origin, file=number)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            cut_off = error
        cache = open_cache(StreamCache, origin._replace(follow=True), file=number)
        if cache.upstream_exhausted or _recordings.is_being_written(cache):
            self.is_growing = True
            return cache
        cache.close()
        # Its writer may have completed it a moment ago.
        try:
            return open_cache(StreamCache, origin, file=number)
        except OSError:
            raise cut_off from None

    def is_current(self, now: os.stat_result) -> bool:
        """Return whether a file with this status is the file of this recording."""
        if (now.st_dev, now.st_ino) != (self.stat.st_dev, self.stat.st_ino):
            return False
        if self.is_growing:
            return not (self.cache.upstream_exhausted or self._failure)
        return (now.st_size, now.st_mtime_ns) == (
            self.stat.st_size,
            self.stat.st_mtime_ns,
        )

    @property
    def identity(self) -> str:
        if self.is_growing:
            return self._identity
        numbers = f"{self.stat.st_size} {self.stat.st_mtime_ns}".encode()
        return f"{self._identity}-{_digest(numbers)}"

    def check(self, identity: str | None) -> None:
        """Raise ESTALE if a ticket was made for another file of this name."""
        if identity not in (None, self._identity, self.identity):
            raise OSError(
                errno.ESTALE,
                "the recording has changed since the ticket was made: read it from its "
                "beginning",
                self.name,
            )

    def columns(self, columns: Sequence[str | int] | None) -> list[int] | None:
        """Return the indices of columns; KeyError, IndexError: a column is missing."""
        if columns is None:
            return None
        if len(columns) > len(self.schema.names) + _REPEATED_MAX:
            raise ValueError(f"the ticket has too many columns: {len(columns)}")
        return list(column_indices(self.schema.names, columns))

    def projected(self, columns: list[int] | None) -> pa.Schema:
        """Return the schema of these columns."""
        return self.cache.reader(columns=columns, stop=0).schema

    @contextlib.contextmanager
    def now(self) -> Iterator[StreamCache]:
        """Yield a cache of the batches that are recorded now."""
        if not self.is_growing:
            yield self.cache
            return
        origin = Origin(os.fsencode(self.name), partial=True, is_nameless=True)
        with open_cache(StreamCache, origin, file=self._file) as cache:
            yield cache

    def bytes_per_row(self, cache: StreamCache, columns: list[int] | None) -> float:
        """Return about how many bytes a row of these columns has in memory."""
        rows = cache.num_rows or 0
        if columns is None and not self.is_growing and rows > 0:
            return float((cache.nbytes or 0) / rows)
        for batch in cache.reader(columns=columns):
            if batch.num_rows > 0:
                return float(batch.get_total_buffer_size() / batch.num_rows)
        return 0.0

    def may_exceed(self, most: int) -> bool:
        """Return whether a batch may have more than so many bytes in memory."""
        if self.is_growing or self._is_compressed:
            return True
        return (self.cache.nbytes or 0) > most

    # ---- a recording that grows ----

    def _watch(self) -> None:
        """Wait for one batch after the other, until the recording ends."""
        cache = self.cache
        failure: BaseException | None = None
        try:
            while not cache.upstream_exhausted:
                _core.ingest_to(cache, cache.ingested_count + 1)
                with self._changed:
                    self._changed.notify_all()
        except BaseException as error:
            failure = error
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def wait(
        self, published: int, is_over: Callable[[], bool], seconds: float | None = None
    ) -> int | None:
        """
        Wait until the recording has more than `published` batches.

        Return their number, or None: the recording has ended, no batch came in so many
        `seconds`, or `is_over()` returns true.
        """
        if not self.is_growing:
            count = len(self.cache)
            return count if count > published else None
        end = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            if self._watcher is None:
                name = "batchcorder-flight-follower"
                self._watcher = threading.Thread(
                    target=self._watch, name=name, daemon=True
                )
                self._watcher.start()
            while True:
                # In this order: the last batch is published before the end is.
                has_ended = self.cache.upstream_exhausted
                count = self.cache.ingested_count
                if count > published:
                    return count
                if has_ended:
                    return None
                if self._failure is not None:
                    raise self._failure
                left = _POLL if end is None else end - time.monotonic()
                if is_over() or left <= 0:
                    return None
                self._changed.wait(min(left, _POLL))

    def close(self) -> None:
        self.cache.close()
        with self._changed:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


class Recordings:
    """All open recordings of a server, by name."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Recording] = OrderedDict()
        self._users: dict[Recording, int] = {}

    def use(self, name: str) -> Recording:
        """Return the recording; `release` must follow."""
        number = self.names.open(name)
        try:
            now = os.fstat(number)
            with self._lock:
                found = self._current(name, now)
            if found is not None:
                return found
            # Opening another library's file may take long, and must not delay streams.
            opened = Recording(name, number)
            with self._lock:
                found = self._current(name, now)
                if found is None:
                    unused = self._replace(name, opened)
                    self._users[opened] = 1
                    found = opened
                else:
                    unused = [opened]
            for one in unused:
                one.close()
            return found
        finally:
            os.close(number)

    def _current(self, name: str, now: os.stat_result) -> Recording | None:
        found = self._open.get(name)
        if found is None or not found.is_current(now):
            return None
        self._open.move_to_end(name)
        self._users[found] = self._users.get(found, 0) + 1
        return found

    def _replace(self, name: str, recording: Recording) -> list[Recording]:
        """Return the recordings that are to be closed."""
        old = self._open.pop(name, None)
        unused = [] if old is None or old in self._users else [old]
        self._open[name] = recording
        for one in list(self._open.values()):
            if len(self._open) <= _KEPT:
                break
            if one not in self._users and one is not recording:
                unused.append(self._open.pop(one.name))
        return unused

    def release(self, recording: Recording) -> None:
        """Undo one `use`."""
        with self._lock:
            self._users[recording] -= 1
            if self._users[recording] > 0:
                return
            del self._users[recording]
            is_kept = self._open.get(recording.name) is recording
            # The thread of a growing recording ends with the last stream.
            if is_kept and recording.is_growing:
                del self._open[recording.name]
                is_kept = False
        if not is_kept:
            recording.close()

    def close(self) -> None:
        with self._lock:
            found = {*self._open.values(), *self._users}
            self._open.clear()
        for recording in found:
            recording.close()


__all__ = ["Recording", "Recordings"]
