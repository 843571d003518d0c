"""
An upload: a recording whose batches come from one connection after the other.

Its file has the upload's id as its key. If the server ends in the middle, the next server
of the file goes on with it, if the same upload comes. Any other upload of the name may
replace the file, because its client cannot.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.flight as fl

from .. import _core, _recordings
from .._stream_cache import StreamCache
from ._tickets import object_of

_KEY = b"batchcorder.flight upload "
_ID_MAX = 64


class Command(NamedTuple):
    """The name of a connection's upload, and its id."""

    name: str
    # None: a client of another library.
    upload: str | None
    compression: Any = None

    @property
    def key(self) -> bytes:
        return _KEY + (self.upload or "").encode()


def command_of(descriptor: Any) -> tuple[Command, int]:
    """Return a command, and the index of the first batch that the client still has."""
    if descriptor.descriptor_type == fl.DescriptorType.PATH:
        return Command("/".join(part.decode() for part in descriptor.path), None), 0
    found = object_of(descriptor.command, "command")
    name, upload, first = found.get("name"), found.get("upload"), found.get("first", 0)
    if not isinstance(name, str) or not isinstance(upload, str | None):
        raise ValueError("invalid command: it needs a name, and may have an upload's id")
    if upload is not None and not (0 < len(upload) <= _ID_MAX and upload.isascii()):
        raise ValueError(f"invalid command: an id has 1 to {_ID_MAX} ASCII characters")
    if type(first) is not int or first < 0:
        raise ValueError(f"invalid command: {first!r} cannot be the first batch")
    return Command(name, upload, found.get("compression")), first


def _left(command: Command, path: bytes) -> StreamCache | None:
    """
    Return the incomplete recording of this upload, which an earlier server left.

    The file of another upload is removed; of all other files, FileExistsError is raised.
    """
    taken = FileExistsError(errno.EEXIST, "a recording of this name exists", command.name)
    try:
        cache = _recordings.open_recording(path, partial=True)
    except (OSError, ValueError, NotImplementedError):
        raise taken from None
    key = _core.recording_key(cache) or b""
    is_left = key.startswith(_KEY) and not _core.file_info(cache, False)["complete"]
    if is_left and key == command.key and command.upload is not None:
        return cache
    cache.close()
    if not is_left:
        raise taken
    try:
        # Refused if its server lives.
        _core.discard(path)
    except OSError:
        raise taken from None
    return None


class Upload:
    """A recording whose batches come from connections."""

    def __init__(self, command: Command, path: bytes, schema: pa.Schema) -> None:
        self.command = command
        self.schema = schema
        # The connection that may add batches; None: the upload waits for one.
        self.connection: object | None = None
        self.left_at = 0.0
        # Complete, or discarded.
        self.is_over = False
        # Held while a batch is recorded, and while another connection takes over.
        self.lock = threading.Lock()
        self._path = path
        self._changed = threading.Condition()
        self._batches: deque[pa.RecordBatch] = deque()
        self._end: BaseException | bool = False
        left = _left(command, path) if os.path.lexists(path) else None
        batches = self._given()
        if left is not None:
            # The core compares their rows and drops them.
            batches = itertools.chain(left.reader(), batches)
        try:
            self.cache = _recordings.start(
                pa.RecordBatchReader.from_batches(schema, batches),
                path,
                compression=command.compression,
                durable=False,
                resume=left is not None,
                key=command.key,
            )
        except OSError as error:
            # The error's own words have the path of this machine.
            number = error.errno or errno.EIO
            raise OSError(number, os.strerror(number), command.name) from None

    def _given(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches as they arrive: the source of the recording."""
        while True:
            with self._changed:
                while not self._batches and not self._end:
                    self._changed.wait()
                if not self._batches:
                    if isinstance(self._end, BaseException):
                        raise self._end
                    return
                batch = self._batches.popleft()
            yield batch

    @property
    def received(self) -> int:
        return self.cache.ingested_count

    def add(self, batch: pa.RecordBatch) -> None:
        """Record one batch. A follower of this process may be the thread that does it."""
        wanted = self.received + 1
        with self._changed:
            self._batches.append(batch)
            self._changed.notify()
        _core.ingest_to(self.cache, wanted)

    def finish(self) -> None:
        """Complete the recording."""
        with self._changed:
            self._end = True
            self._changed.notify()
        self.cache.ingest_all()
        self.cache.close()
        self.is_over = True

    def discard(self, error: BaseException) -> None:
        """End the recording with an error for its followers, and remove its file."""
        if self.is_over:
            return
        self.is_over = True
        with self._changed:
            self._batches.clear()
            self._end = self._end or error
            self._changed.notify()
        with contextlib.suppress(Exception):
            self.cache.ingest_all()
        self.cache.close()
        with contextlib.suppress(OSError):
            _core.discard(self._path)


__all__ = ["Command", "Upload", "command_of"]
