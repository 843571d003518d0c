"""Flatbuffers of the metadata, changed in place as other writers may write them."""

from __future__ import annotations

import struct

HEADER, BODY = 2, 3  # of a Message
NODES, BUFFERS = 1, 2  # of a RecordBatch
FOOTER_VERSION, FOOTER_BATCHES = 0, 3
FOOTER_TAIL = 10  # the footer's size and the magic


class Flat:
    """The flatbuffer that begins at byte `start` of the data."""

    def __init__(self, content: bytearray, start: int) -> None:
        self.content = content
        self.root = self.follow(start)

    def number(self, form: str, at: int) -> int:
        return int(struct.unpack_from("<" + form, self.content, at)[0])

    def follow(self, at: int) -> int:
        return at + self.number("I", at)

    def entry(self, table: int, field: int) -> int:
        """Return the position of the field's entry in the vtable."""
        return table - self.number("i", table) + 4 + 2 * field

    def field(self, table: int, field: int) -> int:
        return table + self.number("H", self.entry(table, field))

    def child(self, table: int, field: int) -> int:
        return self.follow(self.field(table, field))

    def drop(self, table: int, field: int) -> None:
        struct.pack_into("<H", self.content, self.entry(table, field), 0)


def footer_of(content: bytearray) -> Flat:
    size = struct.unpack_from("<i", content, len(content) - FOOTER_TAIL)[0]
    return Flat(content, len(content) - FOOTER_TAIL - size)


def record_of(content: bytearray, message: int) -> tuple[Flat, int]:
    """Return the metadata of a message, and the position of its RecordBatch."""
    flat = Flat(content, message + 8)
    return flat, flat.child(flat.root, HEADER)
