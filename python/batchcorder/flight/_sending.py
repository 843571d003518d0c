"""
A stream on its way to a server, over one connection after the other.

The server acknowledges the batches that it has recorded. The client keeps the batches
without an acknowledgement, up to a limit, and sends them again over the next connection.

    connect ─▶ the server tells how many batches it has ─▶ send the rest ─▶ complete
       ▲                                                        │
       └────────────────── the connection breaks ◀──────────────┘
"""

from __future__ import annotations

import contextlib
import errno
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from .._stream_cache import StreamCache
from ._connection import Connection
from ._retries import FAILURES, Retries
from ._tickets import object_of

# Limits of the batches without an acknowledgement.
_BATCHES_MAX = 256
_BYTES_MAX = 64 << 20


class _Answers(threading.Thread):
    """Reads the server's acknowledgements of one connection."""

    def __init__(self, reader: Any) -> None:
        super().__init__(name="batchcorder-flight-acknowledgements", daemon=True)
        self._reader = reader
        self._changed = threading.Condition()
        self.batches: int | None = None
        self.is_complete = False
        self._has_ended = False
        self.start()

    def run(self) -> None:
        # The writer raises the error of the connection.
        try:
            while (data := self._reader.read()) is not None:
                found = object_of(data.to_pybytes(), "answer")
                with self._changed:
                    if type(found.get("batches")) is int:
                        self.batches = found["batches"]
                    self.is_complete = found.get("complete") is True
                    self._changed.notify()
        except (OSError, pa.ArrowException, fl.FlightError, ValueError):
            pass
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify()

    def wait(self, is_met: Callable[[], bool]) -> None:
        """Wait for a condition; FlightUnavailableError: no more answers come."""
        with self._changed:
            self._changed.wait_for(lambda: is_met() or self._has_ended)
            if not is_met():
                raise fl.FlightUnavailableError("the server ended the connection")


class Sending:
    """A stream that is being sent to a server."""

    def __init__(self, connection: Connection, source: StreamCache, name: str) -> None:
        self._connection = connection
        self._schema = source.schema
        self._source = iter(source)
        self._name = name
        self._id = uuid.uuid4().hex
        # Batches without an acknowledgement; `_first` is the index of the first one.
        self._kept: deque[pa.RecordBatch] = deque()
        self._first = 0
        self._bytes = 0

    def run(self) -> int:
        """Send everything; return the number of batches."""
        retries = Retries(self._connection, self._name)
        while True:
            before = self._first
            try:
                return self._send(retries)
            except FAILURES as error:
                if self._first > before:
                    retries.answered()
                retries.wait_after(error)

    def _send(self, retries: Retries) -> int:
        """Send the batches that are left over one connection."""
        command = {"name": self._name, "upload": self._id, "first": self._first}
        descriptor = fl.FlightDescriptor.for_command(json.dumps(command).encode())
        writer, reader = self._connection.put(descriptor, self._schema, retries.deadline)
        answers = _Answers(reader)
        try:
            answers.wait(lambda: answers.batches is not None)
            retries.has_answered = True
            self._check(answers)
            for batch in self._left(answers):
                writer.write_batch(batch)
            total = self._first + len(self._kept)
            writer.write_metadata(json.dumps({"end": total}).encode())
            writer.done_writing()
            answers.wait(lambda: answers.is_complete)
        except (*FAILURES, OSError) as error:
            # Closing raises the error with which the server ended the call.
            _close(writer)
            if isinstance(error, pa.ArrowException):
                raise
            raise fl.FlightUnavailableError(str(error)) from error
        except BaseException:
            with contextlib.suppress(fl.FlightError, pa.ArrowException, OSError):
                writer.write_metadata(json.dumps({"abort": True}).encode())
                writer.close()
            raise
        _close(writer)
        return total

    def _check(self, answers: _Answers) -> None:
        """Refuse a server without the batches that it acknowledged."""
        has = answers.batches or 0
        if not self._first <= has <= self._first + len(self._kept):
            words = "the server has other batches than those that it acknowledged"
            raise _FatalError(OSError(errno.ESTALE, words, self._name))

    def _left(self, answers: _Answers) -> Iterator[pa.RecordBatch]:
        """Yield the batches that are kept, then the next batches of the source."""
        self._drop(answers)
        yield from list(self._kept)
        while True:
            self._drop(answers)
            while self._kept and (
                len(self._kept) >= _BATCHES_MAX or self._bytes > _BYTES_MAX
            ):
                first = self._first
                answers.wait(lambda first=first: (answers.batches or 0) > first)  # type: ignore[misc]
                self._drop(answers)
            try:
                batch = next(self._source)
            except StopIteration:
                return
            except Exception as error:
                raise _FatalError(error) from None
            self._kept.append(batch)
            self._bytes += batch.get_total_buffer_size()
            yield batch

    def _drop(self, answers: _Answers) -> None:
        """Drop the batches that the server has acknowledged."""
        while self._kept and self._first < (answers.batches or 0):
            self._bytes -= self._kept.popleft().get_total_buffer_size()
            self._first += 1


class _FatalError(BaseException):
    """Carries an exception past the handlers of the connection."""


def _close(writer: Any) -> None:
    try:
        writer.close()
    except fl.FlightError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise fl.FlightUnavailableError(str(error)) from error


def send(connection: Connection, source: StreamCache, name: str) -> int:
    """Send a stream; return the number of its batches."""
    try:
        return Sending(connection, source, name).run()
    except _FatalError as error:
        raise error.args[0] from None


__all__ = ["send"]
