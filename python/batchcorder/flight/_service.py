"""
The calls of Flight: descriptions, streams, and recordings that clients send.

    do_get ─▶ wait for batches ─▶ a reader of these ─▶ pyarrow sends it, without the GIL
                    ▲                                            │
                    └────────────────────────────────────────────┘
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from ._describe import described
from ._errors import BusyError, incomplete, raised_as_flight
from ._names import Names
from ._served import Recording, Recordings
from ._tickets import Ticket, ticket_of
from ._uploads import Uploads


class _Messages:
    """Cuts batches into messages, and skips the messages that a client has."""

    def __init__(self, bytes_max: int, skipped: int) -> None:
        self.bytes_max = bytes_max
        self.skipped = skipped

    def of(self, batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """Yield slices of up to `bytes_max` bytes."""
        for batch in batches:
            wanted = -(-batch.get_total_buffer_size() // self.bytes_max)
            parts = max(1, min(wanted, batch.num_rows))
            rows = max(1, -(-batch.num_rows // parts))
            for start in range(0, max(batch.num_rows, 1), rows):
                if self.skipped > 0:
                    self.skipped -= 1
                else:
                    yield batch.slice(start, rows)


class Service(fl.FlightServerBase):
    """The calls of a server. `options`: arguments of pyarrow's server."""

    def __init__(
        self,
        names: Names,
        location: str,
        options: dict[str, Any],
        *,
        writable: bool,
        max_streams: int | None,
        message_bytes: int,
    ) -> None:
        self._names = names
        self._message_bytes = message_bytes
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._streams = 0
        self._closing = threading.Event()
        self._recordings = Recordings(names)
        self._uploads = Uploads(names, writable, message_bytes, self._slot, self._closing)
        # From here on, calls come.
        super().__init__(location, **options)

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[Any]:
        with raised_as_flight():
            names = list(self._names)
        for name in names:
            # A file may be incomplete or damaged, or vanish meanwhile.
            with contextlib.suppress(OSError, ValueError, NotImplementedError):
                yield self._described(Ticket(name), None)

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        with raised_as_flight():
            return self._described(_asked(descriptor), descriptor)

    def get_schema(self, context: Any, descriptor: Any) -> Any:
        with raised_as_flight():
            return fl.SchemaResult(self._described(_asked(descriptor), None).schema)

    def do_get(self, context: Any, ticket: Any) -> Any:
        with raised_as_flight():
            return self._stream(ticket_of(ticket.ticket), context)

    def list_actions(self, context: Any) -> list[Any]:
        return []

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        with raised_as_flight():
            self._uploads.receive(context, descriptor, reader, writer)

    def _described(self, ticket: Ticket, descriptor: Any) -> Any:
        """Return the FlightInfo of a recording."""
        recording = self._recordings.use(ticket.name)
        try:
            return described(recording, ticket, descriptor, self._message_bytes)
        finally:
            self._recordings.release(recording)

    def _stream(self, ticket: Ticket, context: Any) -> Any:
        """Return the batches of a ticket."""
        leave = contextlib.ExitStack()
        with contextlib.ExitStack() as on_failure:
            on_failure.push(leave)
            leave.enter_context(self._slot())
            recording = self._recordings.use(ticket.name)
            leave.callback(self._recordings.release, recording)
            recording.check(ticket.identity)
            if recording.is_growing and not ticket.follow:
                raise incomplete(ticket.name)
            columns = recording.columns(ticket.columns)
            schema = recording.projected(columns)
            on_failure.pop_all()
        parts = self._parts(leave, recording, ticket, columns, context)
        # Only a generator that has begun releases the recording when it is dropped.
        next(parts)
        return fl.GeneratorStream(schema, parts)

    def _parts(
        self,
        leave: contextlib.ExitStack,
        recording: Recording,
        ticket: Ticket,
        columns: Sequence[int] | None,
        context: Any,
    ) -> Iterator[pa.RecordBatchReader]:
        """Yield nothing at first, then readers of the batches that the recording has."""
        with leave, raised_as_flight():
            yield None
            cache, at = recording.cache, ticket.start
            most = min(ticket.message_bytes or self._message_bytes, self._message_bytes)
            messages = _Messages(most, ticket.messages)

            def is_over() -> bool:
                return self._closing.is_set() or context.is_cancelled()

            while ticket.stop is None or at < ticket.stop:
                there = recording.wait(at, is_over, ticket.patience)
                if there is None:
                    if self._closing.is_set() and not cache.upstream_exhausted:
                        raise BusyError("the server is shutting down")
                    return
                end = there if ticket.stop is None else min(there, ticket.stop)
                splits = recording.may_exceed(most)
                if not splits:
                    passed = min(messages.skipped, end - at)
                    at, messages.skipped = at + passed, messages.skipped - passed
                reader = cache.reader(columns=columns, start=at, stop=end)
                stream = pa.RecordBatchReader.from_stream(reader)
                if splits:
                    parts = messages.of(stream)
                    stream = pa.RecordBatchReader.from_batches(stream.schema, parts)
                at = end
                yield stream

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Count a stream."""
        with self._lock:
            if self._closing.is_set():
                raise BusyError("the server is shutting down")
            if self._max_streams is not None and self._streams >= self._max_streams:
                raise BusyError(f"the server has {self._streams} streams, its limit")
            self._streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1

    # ---- the end ----

    def refuse(self) -> None:
        """Refuse new streams, and end the streams of followers."""
        self._closing.set()

    def discard(self) -> None:
        """Close the files. No call runs any more."""
        self._uploads.close()
        self._recordings.close()


def _asked(descriptor: Any) -> Ticket:
    """Return the ticket of a descriptor: a path is a name, a command is a ticket."""
    if descriptor.descriptor_type == fl.DescriptorType.PATH:
        return Ticket("/".join(part.decode() for part in descriptor.path), follow=True)
    return ticket_of(descriptor.command, "command")


__all__ = ["Service"]
