"""Arrow streams and files of other writers, and the batches that pyarrow reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather

Batches = list[pa.RecordBatch]
MAGIC = b"ARROW1"


def read_by_pyarrow(content: bytes) -> tuple[pa.Schema, Batches]:
    """Return the schema and the batches of a stream or a file."""
    source = pa.py_buffer(content)
    if content.startswith(MAGIC):
        file = pa.ipc.open_file(source)
        return file.schema, [file.get_batch(i) for i in range(file.num_record_batches)]
    with pa.ipc.open_stream(source) as stream:
        return stream.schema, list(stream)


def same(got: Batches, wanted: Batches) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        # Some types compare only as Python values.
        assert one.equals(other, check_metadata=True) or (
            one.schema.equals(other.schema, check_metadata=True)
            and one.to_pydict() == other.to_pydict()
        )


def write(make: Callable[..., Any], batches: Batches, **options: Any) -> bytes:
    """Return the bytes that pyarrow writes."""
    sink = io.BytesIO()
    with make(
        sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)
    ) as writer:
        for one in batches:
            writer.write_batch(one)
    return sink.getvalue()


def stream_of(batches: Batches, **options: Any) -> bytes:
    return write(pa.ipc.new_stream, batches, **options)


def file_of(batches: Batches, **options: Any) -> bytes:
    return write(pa.ipc.new_file, batches, **options)


def file_of_table(batches: Batches, **options: Any) -> bytes:
    """Return a file in which pyarrow wrote a whole table."""
    sink = io.BytesIO()
    made = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_file(sink, batches[0].schema, options=made) as writer:
        writer.write_table(pa.Table.from_batches(batches))
    return sink.getvalue()


def feather_of(batches: Batches, **options: Any) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(pa.Table.from_batches(batches), sink, **options)
    return sink.getvalue()


V4 = pa.ipc.MetadataVersion.V4

# The ways in which pyarrow writes.
WRITERS: dict[str, tuple[Callable[..., bytes], dict[str, Any]]] = {
    "stream": (stream_of, {}),
    "stream v4": (stream_of, {"metadata_version": V4}),
    "stream legacy": (stream_of, {"use_legacy_format": True, "metadata_version": V4}),
    "stream legacy v5": (stream_of, {"use_legacy_format": True}),
    "stream lz4": (stream_of, {"compression": "lz4"}),
    "stream zstd": (stream_of, {"compression": pa.Codec("zstd", 9)}),
    "stream deltas": (stream_of, {"emit_dictionary_deltas": True}),
    "stream lz4 deltas": (
        stream_of,
        {"compression": "lz4", "emit_dictionary_deltas": True},
    ),
    "stream 64 bit": (stream_of, {"allow_64bit": True}),
    "file": (file_of, {}),
    "file v4": (file_of, {"metadata_version": V4}),
    "file legacy": (file_of, {"use_legacy_format": True, "metadata_version": V4}),
    "file zstd": (file_of, {"compression": "zstd"}),
    "file lz4": (file_of, {"compression": "lz4"}),
    "file deltas": (file_of, {"emit_dictionary_deltas": True}),
    "file unified": (file_of_table, {"unify_dictionaries": True}),
    "feather": (feather_of, {"compression": "uncompressed"}),
    "feather lz4": (feather_of, {"compression": "lz4", "chunksize": 7}),
    "feather zstd": (feather_of, {"compression": "zstd", "compression_level": 3}),
}


def places_to_end(content: bytes) -> list[int]:
    """Return the offsets at which a stream may end: after its schema and each batch."""
    source = pa.BufferReader(content)
    places = []
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type != "dictionary":
            places.append(source.tell())
    return places
