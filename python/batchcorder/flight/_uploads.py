"""
Recordings that clients send, each through one connection after the other.

    begin ─▶ receiving ─── the client says how many there were ──▶ complete
                │    ▲
       connection    next connection, with the same id:
          breaks     goes on after the batches recorded
                ▼    │
             waiting ──── a minute passes, or the server closes ──▶ the file is removed

A recording has its name from the beginning, so other clients follow it. The server
acknowledges each recorded batch, and the client keeps the batches until then. A client of
another library sends no id: its recording is complete when its stream ends, and removed
if the connection breaks before.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.flight as fl

from .. import _core, _recordings
from ._errors import BusyError
from ._names import Names
from ._tickets import object_of

# Seconds that an upload waits for its client's next connection.
_PATIENCE = 60.0
# Number of complete uploads whose ids are remembered.
_FINISHED_MAX = 1024


class _Command(NamedTuple):
    name: str
    # None: a client of another library.
    upload: str | None
    compression: Any = None


def _command_of(descriptor: Any) -> _Command:
    if descriptor.descriptor_type == fl.DescriptorType.PATH:
        return _Command("/".join(part.decode() for part in descriptor.path), None)
    found = object_of(descriptor.command, "command")
    name, upload = found.get("name"), found.get("upload")
    if not isinstance(name, str) or not isinstance(upload, str | None):
        raise ValueError(f"invalid command: {found!r}")
    return _Command(name, upload, found.get("compression"))


class _Upload:
    """A recording whose batches come from connections."""

    def __init__(self, command: _Command, path: bytes, schema: pa.Schema) -> None:
        self.command = command
        self.schema = schema
        # The connection that may add batches; None: the upload waits for one.
        self.connection: object | None = None
        self.left_at = 0.0
        # Held while a batch is recorded, and while another connection takes over.
        self.lock = threading.Lock()
        self._path = path
        self._changed = threading.Condition()
        self._batches: deque[pa.RecordBatch] = deque()
        self._end: BaseException | bool = False
        source = pa.RecordBatchReader.from_batches(schema, self._given())
        self.cache = _recordings.start(
            source, path, compression=command.compression, durable=False
        )

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

    def discard(self, error: BaseException) -> None:
        """End the recording with an error for its followers, and remove its file."""
        with self._changed:
            self._batches.clear()
            self._end = self._end or error
            self._changed.notify()
        with contextlib.suppress(Exception):
            self.cache.ingest_all()
        self.cache.close()
        with contextlib.suppress(OSError):
            _core.discard(self._path)


class Uploads:
    """The recordings that a server is receiving."""

    def __init__(
        self,
        names: Names,
        writable: bool,
        message_bytes: int,
        slot: Callable[[], contextlib.AbstractContextManager[None]],
        closing: threading.Event,
    ) -> None:
        self._names = names
        self._writable = writable
        self._message_bytes = message_bytes
        self._slot = slot
        self._closing = closing
        self._lock = threading.Lock()
        # Uploads that are not complete, by their ids.
        self._open: dict[str, _Upload] = {}
        # Numbers of batches: a client may miss the last answer, and ask again.
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._timer: threading.Timer | None = None

    def receive(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Record the batches of one connection."""
        if not self._writable:
            raise PermissionError(
                errno.EACCES, "the server is not writable: serve(..., writable=True)"
            )
        command = _command_of(descriptor)
        with self._slot():
            if command.upload is None:
                upload = self._new(command, reader.schema)
                self._receive_stream(upload, context, reader)
                return
            with self._lock:
                finished = self._finished.get(command.upload)
            if finished is not None:
                _answer(writer, {"batches": finished, "complete": True})
                return
            upload, connection = self._begun(command, reader.schema), object()
            with upload.lock:
                upload.connection = connection
            self._receive_part(upload, connection, reader, writer)

    def _new(self, command: _Command, schema: pa.Schema) -> _Upload:
        path = self._names.new(command.name)
        if os.path.lexists(path):
            raise FileExistsError(
                errno.EEXIST, "a recording of this name exists", command.name
            )
        try:
            return _Upload(command, path, schema)
        except OSError as error:
            error.filename = command.name
            raise

    def _receive_stream(self, upload: _Upload, context: Any, reader: Any) -> None:
        """Record the stream of a client of another library."""
        try:
            for message in _messages(reader, self._message_bytes, False):
                if isinstance(message, pa.RecordBatch):
                    upload.add(message)
            # A connection that breaks looks like the end.
            if context.is_cancelled():
                raise OSError(errno.ECONNABORTED, "the client is gone")
            upload.finish()
        except BaseException as error:
            upload.discard(error)
            raise

    def _begun(self, command: _Command, schema: pa.Schema) -> _Upload:
        """Return the upload with this id, begun if it is not there."""
        assert command.upload is not None
        with self._lock:
            upload = self._open.get(command.upload)
            if upload is None:
                upload = self._open[command.upload] = self._new(command, schema)
        if upload.command != command or not upload.schema.equals(schema, True):
            raise ValueError("the upload began with another name or schema")
        return upload

    def _receive_part(
        self, upload: _Upload, connection: object, reader: Any, writer: Any
    ) -> None:
        """Record the batches of one connection; other connections may follow."""
        try:
            total = self._receive_messages(upload, connection, reader, writer)
            with upload.lock:
                if upload.connection is not connection:
                    return
                if total == upload.received:
                    upload.finish()
                    self._finish(upload)
                    _answer(writer, {"batches": total, "complete": True})
                    return
        except BaseException as error:
            with upload.lock:
                self._forget(upload)
                upload.discard(error)
            raise
        self._wait_for_client(upload, connection)

    def _receive_messages(
        self, upload: _Upload, connection: object, reader: Any, writer: Any
    ) -> int | None:
        """Return the number of batches that the client says its stream has, or None."""
        _answer(writer, {"batches": upload.received})
        for message in _messages(reader, self._message_bytes, True):
            if isinstance(message, bytes):
                told = object_of(message, "metadata")
                if "abort" in told:
                    raise OSError(errno.ECANCELED, "the client's source failed")
                end = told.get("end")
                return end if type(end) is int else None
            with upload.lock:
                if upload.connection is not connection:
                    return None
                upload.add(message)
            _answer(writer, {"batches": upload.received})
        return None

    def _finish(self, upload: _Upload) -> None:
        self._forget(upload)
        with self._lock:
            self._finished[upload.command.upload or ""] = upload.received
            if len(self._finished) > _FINISHED_MAX:
                self._finished.popitem(last=False)

    def _forget(self, upload: _Upload) -> None:
        with self._lock:
            self._open.pop(upload.command.upload or "", None)

    # ---- uploads that wait for their clients ----

    def _wait_for_client(self, upload: _Upload, connection: object) -> None:
        with upload.lock:
            if upload.connection is not connection:
                return
            upload.connection = None
            upload.left_at = time.monotonic()
        with self._lock:
            is_closing = self._closing.is_set()
            if not is_closing and self._timer is None:
                self._start_timer()
        if is_closing:
            self._discard([upload], BusyError("the server is shutting down"))

    def _start_timer(self) -> None:
        self._timer = threading.Timer(_PATIENCE / 4, self._discard_old)
        self._timer.daemon = True
        self._timer.start()

    def _discard_old(self) -> None:
        then = time.monotonic() - _PATIENCE
        with self._lock:
            waiting = [one for one in self._open.values() if one.connection is None]
            self._timer = None
            if waiting:
                self._start_timer()
        old = [one for one in waiting if one.left_at < then]
        self._discard(old, OSError(errno.ECONNABORTED, "its client did not come back"))

    def _discard(self, uploads: Iterable[_Upload], error: BaseException) -> None:
        """Discard uploads to which no client has come back meanwhile."""
        for upload in uploads:
            with upload.lock:
                if upload.connection is None:
                    self._forget(upload)
                    upload.discard(error)

    def close(self) -> None:
        with self._lock:
            left = list(self._open.values())
            if self._timer is not None:
                self._timer.cancel()
        self._discard(left, BusyError("the server is shutting down"))


def _messages(
    reader: Any, bytes_max: int, is_resumed: bool
) -> Iterator[pa.RecordBatch | bytes]:
    """Yield batches, and metadata without a batch, until the connection ends."""
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return
        except (OSError, pa.ArrowException, fl.FlightError):
            # The client sends the batch again over its next connection.
            if is_resumed:
                return
            raise
        if chunk.data is None:
            yield chunk.app_metadata.to_pybytes()
            continue
        # nbytes would read offsets, which may be invalid.
        size = chunk.data.get_total_buffer_size()
        if size > bytes_max:
            raise ValueError(
                f"a batch of {size} bytes is larger than the server's limit, {bytes_max}"
            )
        yield chunk.data


def _answer(writer: Any, words: dict[str, Any]) -> None:
    # A client that is gone is noticed when it is read.
    with contextlib.suppress(OSError, pa.ArrowException, fl.FlightError):
        writer.write(json.dumps(words).encode())


__all__ = ["Uploads"]
