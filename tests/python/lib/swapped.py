"""Arrow streams and files converted to big-endian, as writers on such machines do."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

MAGIC = b"ARROW1"
SCHEMA, DICTIONARY, RECORD = 1, 2, 3
V4 = 3
Unit = int | str


class Table:
    """A flatbuffer table with access to its fields by index."""

    def __init__(self, data: bytearray, at: int) -> None:
        self.data = data
        self.at = at
        self.vtable = at - self.number("<i", at)

    def number(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(kind, self.data, at)[0])

    def place(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry >= self.number("<H", self.vtable):
            return 0
        offset = self.number("<H", self.vtable + entry)
        return self.at + offset if offset else 0

    def get(self, field: int, kind: str) -> int:
        at = self.place(field)
        return self.number(kind, at) if at else 0

    def follow(self, field: int) -> int:
        at = self.place(field)
        return at + self.number("<I", at) if at else 0

    def table(self, field: int) -> Table:
        return Table(self.data, self.follow(field))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the position of the first element, and the count of elements."""
        at = self.follow(field)
        return (at + 4, self.number("<I", at)) if at else (0, 0)

    def tables(self, field: int) -> list[Table]:
        first, n = self.vector(field)
        places = range(first, first + 4 * n, 4)
        return [Table(self.data, at + self.number("<I", at)) for at in places]


def root_of(data: bytearray) -> Table:
    return Table(data, struct.unpack_from("<I", data)[0])


def say_big(schema: Table) -> None:
    """Append a vtable and the byte order to the schema's table."""
    data = schema.data
    data += bytes(-len(data) % 8)
    size = max(6, schema.number("<H", schema.vtable))
    vtable = bytearray(size)
    old = data[schema.vtable : schema.vtable + schema.number("<H", schema.vtable)]
    vtable[: len(old)] = old
    place = len(data) + size
    offset = place - schema.at
    struct.pack_into("<HHH", vtable, 0, size, offset + 2, offset)
    struct.pack_into("<i", data, schema.at, schema.at - len(data))
    data += vtable + struct.pack("<h", 1)
    data += bytes(-len(data) % 8)


def children_of(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_map(kind):
        return [pa.struct([kind.key_field, kind.item_field])]
    if pa.types.is_run_end_encoded(kind):
        return [kind.run_end_type, kind.value_type]
    return [kind.field(i).type for i in range(kind.num_fields)]


def storage_of(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def dictionaries_of(fields: list[Table], kinds: list[pa.DataType]) -> dict[int, Any]:
    """Return the value type of each dictionary by its id."""
    found: dict[int, Any] = {}
    for field, given in zip(fields, kinds, strict=True):
        kind = storage_of(given)
        if pa.types.is_dictionary(kind):
            kind = storage_of(kind.value_type)
            found[field.table(4).get(0, "<q")] = kind
        found |= dictionaries_of(field.tables(5), children_of(kind))
    return found


def own_units(kind: pa.DataType) -> list[Unit]:
    """Return the units of the buffers after the bitmap, without variadic buffers."""
    name = str(kind)
    if pa.types.is_null(kind) or pa.types.is_struct(kind) or "fixed_size_list" in name:
        return []
    if pa.types.is_run_end_encoded(kind):
        return []
    if pa.types.is_union(kind):
        return [1, 4] if kind.mode == "dense" else [1]
    if name in ("string_view", "binary_view"):
        return ["view"]
    if pa.types.is_list_view(kind):
        return [4, 4]
    if pa.types.is_large_list_view(kind):
        return [8, 8]
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return [4]
    if pa.types.is_large_list(kind):
        return [8]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return [4, 1]
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return [8, 1]
    if pa.types.is_boolean(kind) or pa.types.is_fixed_size_binary(kind):
        return [kind.byte_width if pa.types.is_decimal(kind) else 1]
    if name == "month_day_nano_interval":
        return ["months"]
    if name == "day_time_interval":
        return [4]
    return [kind.bit_width // 8]


def units(kind: pa.DataType, counts: Iterator[int], version: int) -> Iterator[Unit]:
    """Yield the units of the buffers of a field and its descendants."""
    kind = storage_of(kind)
    if pa.types.is_dictionary(kind):
        yield from (1, kind.index_type.bit_width // 8)
        return
    has_none = pa.types.is_union(kind) or pa.types.is_run_end_encoded(kind)
    if not pa.types.is_null(kind) and (not has_none or version == V4):
        yield 1
    own = own_units(kind)
    yield from own
    if own == ["view"]:
        yield from [1] * next(counts)
    for child in children_of(kind):
        yield from units(child, counts, version)


def turned(data: bytes, unit: Unit) -> bytes:
    out = bytearray(data)
    if unit == "months":
        for at in range(0, len(data) - 15, 16):
            out[at : at + 16] = turned(data[at : at + 8], 4) + turned(
                data[at + 8 : at + 16], 8
            )
    elif unit == "view":
        for at in range(0, len(data) - 15, 16):
            out[at : at + 4] = turned(data[at : at + 4], 4)
            if struct.unpack_from("<i", data, at)[0] > 12:
                out[at + 8 : at + 16] = turned(data[at + 8 : at + 16], 4)
    elif unit != 1:
        assert isinstance(unit, int)
        whole = len(data) - len(data) % unit
        for byte in range(unit):
            out[byte:whole:unit] = data[unit - 1 - byte : whole : unit]
    return bytes(out)


def turned_buffer(data: bytes, unit: Unit, codec: str | None) -> bytes:
    if codec is None or len(data) == 0:
        return turned(data, unit)
    (size,) = struct.unpack_from("<q", data)
    if size == -1:
        return data[:8] + turned(data[8:], unit)
    coder = pa.Codec(codec)
    raw = turned(coder.decompress(data[8:], size, asbytes=True), unit)
    return data[:8] + coder.compress(raw, asbytes=True)


class Turner:
    """The schema and the dictionaries of a stream while its messages are converted."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.values: dict[int, Any] = {}

    def metadata(self, data: bytearray) -> None:
        """Convert a schema's message."""
        schema = root_of(data).table(2)
        self.values = dictionaries_of(schema.tables(1), list(self.schema.types))
        say_big(schema)

    def body(self, data: bytearray, body: bytes) -> bytes:
        """Convert a body. If a size changes, update the metadata."""
        message = root_of(data)
        record = message.table(2)
        kinds = list(self.schema.types)
        if message.get(1, "<B") == DICTIONARY:
            kinds = [self.values[record.get(0, "<q")]]
            record = record.table(1)
        first, n = record.vector(4)
        counts = iter([record.number("<q", first + 8 * i) for i in range(n)])
        version = message.get(0, "<h")
        all_units = [u for kind in kinds for u in units(kind, counts, version)]
        codec = None
        if record.place(3):
            codec = "zstd" if record.table(3).get(0, "<b") == 1 else "lz4"
        first, n = record.vector(2)
        assert n == len(all_units)
        out = bytearray()
        for i, unit in enumerate(all_units):
            at = first + 16 * i
            offset, size = struct.unpack_from("<qq", data, at)
            part = turned_buffer(body[offset : offset + size], unit, codec)
            place = len(out) if codec else offset
            out += bytes(place - len(out)) + part
            struct.pack_into("<qq", data, at, place, len(part))
            out += bytes(-len(out) % 8)
        if codec is None:
            out += bytes(len(body) - len(out))
        elif message.place(3):
            struct.pack_into("<q", data, message.place(3), len(out))
        return bytes(out)


def frames(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the positions of prefix, metadata and body of each message, and its end."""
    while at + 4 <= end:
        start = at
        (size,) = struct.unpack_from("<i", content, at)
        at += 4
        if size == -1:
            (size,) = struct.unpack_from("<i", content, at)
            at += 4
        if size == 0:
            return
        message = root_of(bytearray(content[at : at + size]))
        body = at + size
        yield start, at, body, body + message.get(3, "<q")
        at = body + message.get(3, "<q")


def big_stream(content: bytes, schema: pa.Schema) -> bytes:
    """Return a stream as a big-endian machine writes it."""
    turner = Turner(schema)
    out = bytearray()
    end = 0
    for start, metadata, body, end in frames(content, 0, len(content)):
        data = bytearray(content[metadata:body])
        if root_of(data).get(1, "<B") == SCHEMA:
            turner.metadata(data)
            new = b""
        else:
            new = turner.body(data, content[body:end])
        prefix = b"\xff" * 4 if metadata - start == 8 else b""
        out += prefix + struct.pack("<i", len(data)) + data + new
    return bytes(out) + content[end:]


def big_file(content: bytes, schema: pa.Schema) -> bytes:
    """Return a file without compression. Only its footer has the byte order."""
    (size,) = struct.unpack_from("<i", content, len(content) - 10)
    start = len(content) - 10 - size
    footer = bytearray(content[start : start + size])
    turner = Turner(schema)
    out = bytearray(content[:start])
    for _, metadata, body, end in frames(content, 8, start):
        data = bytearray(content[metadata:body])
        if root_of(data).get(1, "<B") == SCHEMA:
            turner.metadata(data)
        else:
            out[body:end] = turner.body(data, content[body:end])
    say_big(root_of(footer).table(1))
    return bytes(out + footer) + struct.pack("<i", len(footer)) + MAGIC
