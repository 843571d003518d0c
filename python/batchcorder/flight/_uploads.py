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
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from ._errors import BusyError
from ._names import Names
from ._tickets import object_of
from ._upload import Command, Upload, command_of

# Seconds that an upload waits for its client's next connection.
_PATIENCE = 60.0
# Number of complete uploads whose ids are remembered.
_FINISHED_MAX = 1024
# Number of uploads that may be incomplete at the same time.
_OPEN_MAX = 1024


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
        self._open: dict[str, Upload] = {}
        # Numbers of batches: a client may miss the last answer, and ask again.
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._timer: threading.Timer | None = None

    def receive(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Record the batches of one connection."""
        if not self._writable:
            raise PermissionError(
                errno.EACCES, "the server is not writable: serve(..., writable=True)"
            )
        command, first = command_of(descriptor)
        with self._slot():
            if command.upload is None:
                upload = self._new(command, reader.schema)
                self._receive_stream(upload, context, reader)
                return
            connection = object()
            begun = self._taken(command, reader.schema, first, connection)
            if isinstance(begun, int):
                _answer(writer, {"batches": begun, "complete": True})
            else:
                self._receive_part(begun, connection, reader, writer)

    def _new(self, command: Command, schema: pa.Schema) -> Upload:
        return Upload(command, self._names.new(command.name), schema)

    def _taken(
        self, command: Command, schema: pa.Schema, first: int, connection: object
    ) -> Upload | int:
        """Return the upload, now of this connection; if it is complete, its batches."""
        while True:
            with self._lock:
                finished = self._finished.get(command.upload or "")
            if finished is not None:
                return finished
            upload = self._begun(command, schema)
            with upload.lock:
                # Another connection may have completed or discarded it meanwhile.
                if upload.is_over:
                    continue
                if upload.received < first:
                    self._forget(upload)
                    upload.discard(_lost(command))
                    raise _lost(command)
                upload.connection = connection
                return upload

    def _receive_stream(self, upload: Upload, context: Any, reader: Any) -> None:
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

    def _begun(self, command: Command, schema: pa.Schema) -> Upload:
        """Return the upload with this id, begun if it is not there."""
        with self._lock:
            upload = self._open.get(command.upload or "")
            if upload is None:
                if len(self._open) >= _OPEN_MAX:
                    raise BusyError(f"the server has {_OPEN_MAX} uploads, its limit")
                upload = self._new(command, schema)
                self._open[command.upload or ""] = upload
        if upload.command != command or not upload.schema.equals(schema, True):
            raise ValueError("the upload began with another name or schema")
        return upload

    def _receive_part(
        self, upload: Upload, connection: object, reader: Any, writer: Any
    ) -> None:
        """Record the batches of one connection; other connections may follow."""
        try:
            total = self._receive_messages(upload, connection, reader, writer)
            with upload.lock:
                if upload.connection is not connection:
                    return
                if total is not None and total != upload.received:
                    raise ValueError(
                        f"the client sent {total} batches, and {upload.received} came"
                    )
                if total is not None:
                    upload.finish()
                    self._finish(upload)
                    _answer(writer, {"batches": total, "complete": True})
                    return
        except BaseException as error:
            self._give_up(upload, connection, error)
            raise
        self._wait_for_client(upload, connection)

    def _receive_messages(
        self, upload: Upload, connection: object, reader: Any, writer: Any
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

    def _give_up(self, upload: Upload, connection: object, error: BaseException) -> None:
        with upload.lock:
            if upload.connection is connection:
                self._forget(upload)
                upload.discard(error)

    def _finish(self, upload: Upload) -> None:
        self._forget(upload)
        with self._lock:
            self._finished[upload.command.upload or ""] = upload.received
            if len(self._finished) > _FINISHED_MAX:
                self._finished.popitem(last=False)

    def _forget(self, upload: Upload) -> None:
        with self._lock:
            self._open.pop(upload.command.upload or "", None)

    # ---- uploads that wait for their clients ----

    def _wait_for_client(self, upload: Upload, connection: object) -> None:
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
            if waiting and not self._closing.is_set():
                self._start_timer()
        old = [one for one in waiting if one.left_at < then]
        self._discard(old, OSError(errno.ECONNABORTED, "its client did not come back"))

    def _discard(self, uploads: Iterable[Upload], error: BaseException) -> None:
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


def _lost(command: Command) -> OSError:
    return OSError(
        errno.ESTALE,
        "the server has discarded the recording, because it was restarted or its client "
        "was away too long",
        command.name,
    )


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
