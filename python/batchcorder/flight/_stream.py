"""
A recording's batches from a server, over one connection after the other.

    describe ─▶ call: batches ──▶ the server ends the stream ─▶ all there? ─▶ end
                 ▲        │
                 │        └─ the connection breaks
                 └── pause ◀─┘   the next call begins with the last batch that came

The last batch is asked for again and compared. If it differs, the file has changed, and
the stream fails: its batches are never of two recordings.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from ._connection import Connection
from ._errors import incomplete
from ._retries import FAILURES, Retries
from ._tickets import Ticket

# Seconds without a new batch, after which a follower asks whether the recording ended.
_PATIENCE = 20.0


class Given(NamedTuple):
    """Messages that the caller has: their number, their rows, and the last one."""

    messages: int = 0
    rows: int = 0
    last: pa.RecordBatch | None = None


class RemoteBatches:
    """The iterator over the batches of a ticket, after the given ones."""

    def __init__(
        self, connection: Connection, ticket: Ticket, given: Given | None = None
    ) -> None:
        self._connection = connection
        self._retries = Retries(connection, ticket.name)
        self._ticket = ticket
        info = self._described(ticket)
        self.schema: pa.Schema = info.schema
        details = json.loads(info.app_metadata)
        is_growing = not details["complete"]
        if is_growing and not ticket.follow:
            raise incomplete(ticket.name)
        self._ticket = ticket._replace(
            identity=details["identity"],
            message_bytes=details["message_bytes"],
            patience=min(_PATIENCE, connection.timeout / 3) if is_growing else None,
        )
        self._info = info
        self._messages, self._rows, self._last = given or Given()

    @property
    def identity(self) -> str | None:
        """The identity of the file on the server."""
        return self._ticket.identity

    def _described(self, ticket: Ticket) -> Any:
        while True:
            try:
                info = self._connection.ask(ticket)
                self._retries.answered()
                return info
            except FAILURES as error:
                self._retries.wait_after(error)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            is_known = self._info.total_records >= 0
            try:
                yield from self._call()
            except FAILURES as error:
                self._retries.wait_after(error)
                continue
            if is_known:
                if self._rows != self._info.total_records:
                    raise self._changed()
                return
            # It ended for want of batches, or because the recording is complete now.
            # Then one more call has the batches that came in between.
            self._info = self._described(self._ticket._replace(patience=None))

    def _call(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches of one call."""
        last = self._last
        ticket = self._ticket
        if last is not None:
            ticket = ticket._replace(messages=self._messages - 1)
        reader = self._connection.get(ticket, self._retries.deadline)
        while True:
            try:
                batch = reader.read_chunk().data
            except StopIteration:
                return
            if last is not None:
                self._check_same(last, batch)
                last = None
                continue
            self._retries.answered()
            self._messages += 1
            self._last = batch
            self._rows += batch.num_rows
            yield batch

    def _check_same(self, last: pa.RecordBatch, again: pa.RecordBatch) -> None:
        if not last.equals(again) and last.serialize() != again.serialize():
            raise self._changed()

    def _changed(self) -> OSError:
        words = "the recording has changed on the server while it was read"
        return OSError(errno.ESTALE, words, self._ticket.name)


__all__ = ["RemoteBatches"]
