"""Errors for files that are not Arrow data, or not valid Arrow data."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.orc
import pyarrow.parquet
import pytest

import batchcorder
from flatbuffers import (
    BODY,
    BUFFERS,
    FOOTER_BATCHES,
    FOOTER_VERSION,
    NODES,
    Flat,
    footer_of,
    record_of,
)
from foreign import file_of, same, stream_of
from helpers import numbered

BATCHES = numbered(3)
TABLE = pa.Table.from_batches(BATCHES)
FILE = file_of(BATCHES)


def by(write: Callable[[io.BytesIO], None]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def zipped(sink: io.BytesIO) -> None:
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("x.arrow", FILE)


def tarred(sink: io.BytesIO) -> None:
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))


def database(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("create table t (i integer)")
    connection.commit()
    connection.close()
    return path.read_bytes()


OTHERS: dict[str, bytes] = {
    "a Parquet file": by(lambda sink: pa.parquet.write_table(TABLE, sink)),
    "an ORC file": by(lambda sink: pa.orc.write_table(TABLE, sink)),
    "perhaps CSV": by(lambda sink: pa.csv.write_csv(TABLE, sink)),
    "a Feather V1 file": b"FEA1" + bytes(60) + b"FEA1",
    "compressed with gzip": gzip.compress(FILE),
    "compressed with bzip2": bz2.compress(FILE),
    "compressed with xz": lzma.compress(FILE),
    "compressed with zstd": pa.compress(FILE, "zstd", asbytes=True),
    "compressed with lz4": pa.compress(FILE, "lz4", asbytes=True),
    "a zip archive": by(zipped),
    "a tar archive": by(tarred),
    "an Avro file": b"Obj\1\2\x16avro.schema",
    "an encrypted Parquet file": b"PARE" + bytes(60) + b"PARE",
    "a Vortex file": b"VTXF" + bytes(60) + b"VTXF",
    "a NumPy file": by(lambda sink: np.save(sink, np.arange(5))),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "a DuckDB database": bytes(8) + b"DUCK" + bytes(60),
    "compressed with snappy": b"\xff\x06\0\0sNaPpY" + bytes(60),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c" + bytes(60),
    "a rar archive": b"Rar!\x1a\x07\1\0" + bytes(60),
    "a PDF document": b"%PDF-1.7\n" + bytes(60),
    "a MATLAB file": b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128),
    "JSON": b'\n[{"i": 1}, {"i": 2}]',
    "HTML or XML": b"<!DOCTYPE html><html>404 not found</html>",
    "text": b"nothing of interest",
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("partial", [False, True])
def test_other_formats_are_named(name: str, partial: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(OTHERS[name])
    with pytest.raises(ValueError, match=f"but .*{name}.*: .*(first|read it|look)"):
        batchcorder.open(path, partial=partial)


def test_a_database_is_named(tmp_path: Path) -> None:
    content = database(tmp_path / "x.db")
    with pytest.raises(ValueError, match="an SQLite database"):
        batchcorder.open(io.BytesIO(content))


@pytest.mark.parametrize("name", OTHERS)
def test_beginnings_of_other_formats(name: str) -> None:
    content = OTHERS[name]
    for size in range(1, min(len(content), 300)):
        with pytest.raises((ValueError, OSError)):
            batchcorder.open(io.BytesIO(content[:size]))


# ---- footers ----


def test_a_footer_without_a_version() -> None:
    """Arrow Java up to 0.14 omits the version."""
    content = bytearray(FILE)
    footer = footer_of(content)
    footer.drop(footer.root, FOOTER_VERSION)
    with batchcorder.open(io.BytesIO(content), verify=True) as cache:
        same(list(cache), BATCHES)


@pytest.mark.parametrize("change", [-64, -8, 8, 64])
@pytest.mark.parametrize("at", ["metadata", "body"])
@pytest.mark.parametrize("which", range(3))
def test_a_footer_that_disagrees(which: int, at: str, change: int) -> None:
    content = bytearray(FILE)
    footer = footer_of(content)
    blocks = footer.child(footer.root, FOOTER_BATCHES)
    place = blocks + 4 + 24 * which + (8 if at == "metadata" else 16)
    form = "<i" if at == "metadata" else "<q"
    (size,) = struct.unpack_from(form, content, place)
    struct.pack_into(form, content, place, size + change)
    with pytest.raises(OSError, match=r"footer|Another|No valid"):
        list(batchcorder.open(io.BytesIO(content)))


def test_files_behind_each_other() -> None:
    """The offsets of the last footer lead into the first file."""
    words = pa.record_batch({"w": ["a", "b"]}, metadata={"k": "ARROW1"})
    dictionary = pa.record_batch({"d": pa.array(["a", "b"]).dictionary_encode()})
    some = [
        FILE,
        file_of(BATCHES[:1]),
        file_of(BATCHES[::-1]),
        file_of([words]),
        file_of([words.slice(0, 0)]),
        file_of([dictionary, dictionary]),
        file_of(BATCHES, compression="zstd"),
        file_of_none(),
    ]
    for first in some:
        list(batchcorder.open(io.BytesIO(first), verify=True))
        for second in some:
            for content in (first + second, first + second + second):
                with pytest.raises(
                    OSError, match=r"Another|footer|No valid Arrow message"
                ):
                    list(batchcorder.open(io.BytesIO(content)))


def file_of_none() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, TABLE.schema):
        pass
    return sink.getvalue()


def test_the_error_names_the_offset_of_a_second_file() -> None:
    message = f"Another Arrow file begins at byte {len(FILE)}; open each file by itself"
    with pytest.raises(OSError, match=message):
        batchcorder.open(io.BytesIO(FILE + FILE))
    with batchcorder.open(io.BytesIO(FILE + FILE), partial=True) as cache:
        same(list(cache), BATCHES)


# ---- fields that other readers ignore ----


def first_batch(content: bytearray) -> int:
    footer = footer_of(content)
    return footer.number("q", footer.child(footer.root, FOOTER_BATCHES) + 4)


@pytest.mark.parametrize("options", [{}, {"compression": "lz4"}])
def test_unknown_null_counts(options: dict[str, str]) -> None:
    arrays = {"i": pa.array([1, None, 3]), "j": pa.array([1, 2, 3])}
    wanted = [pa.record_batch(arrays)]
    content = bytearray(file_of(wanted, **options))
    flat, record = record_of(content, first_batch(content))
    nodes = flat.child(record, NODES)
    for i in range(2):
        struct.pack_into("<q", content, nodes + 4 + 16 * i + 8, -1)
    with batchcorder.open(io.BytesIO(content), verify=True) as cache:
        got = list(cache)
        same(got, wanted)
        assert [column.null_count for column in got[0].columns] == [1, 0]


def test_offsets_of_empty_buffers_are_ignored() -> None:
    wanted = [pa.record_batch({"i": pa.array([1, 2, 3])})]
    content = bytearray(file_of(wanted))
    flat, record = record_of(content, first_batch(content))
    buffers = flat.child(record, BUFFERS)
    assert flat.number("q", buffers + 12) == 0
    struct.pack_into("<q", content, buffers + 4, 1 << 40)
    with batchcorder.open(io.BytesIO(content), verify=True) as cache:
        same(list(cache), wanted)


def test_an_old_version_of_the_metadata_is_named() -> None:
    content = bytearray(stream_of(BATCHES))
    schema_size = struct.unpack_from("<i", content, 4)[0]
    flat = Flat(content, 8 + schema_size + 8)
    struct.pack_into("<h", content, flat.field(flat.root, 0), 2)
    with pytest.raises(NotImplementedError, match="metadata of a version"):
        list(batchcorder.open(io.BytesIO(content)))
    assert flat.number("q", flat.field(flat.root, BODY)) > 0
