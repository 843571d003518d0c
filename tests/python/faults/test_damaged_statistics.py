"""
Damaged statistics are detected, and no filter loses a row by them.

A reader without intact statistics reads the columns of the batches in their place.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import xxhash

import batchcorder
from batchcorder import StreamCache
from command_line import run

FOOTER = 128
TABLE = pa.table(
    {
        "x": pa.array(range(40), pa.int32()),
        "s": [f"{i:02}" if i % 7 else None for i in range(40)],
    }
)
FILTERS = [
    (pc.field("x") >= 35, [35, 36, 37, 38, 39]),
    (pc.field("x") == 3, [3]),
    (pc.field("s") == "11", [11]),
    (pc.field("s").is_null(), [0, 7, 14, 21, 28, 35]),
]


class Recording:
    """The bytes of a recording, and the places of its parts."""

    def __init__(self, path: Path, table: pa.Table = TABLE) -> None:
        batchcorder.record(table.to_reader(max_chunksize=10), path).close()
        self.path = path
        self.whole = path.read_bytes()
        self.size, self.schema_size = struct.unpack_from(
            "<qq", self.whole, self.footer + 72
        )
        self.start = self.footer - self.size
        assert self.size > self.schema_size > 0
        # The table of an opened file is a part of its mapping.
        with StreamCache(table.to_reader(max_chunksize=10)) as cache:
            cache.ingest_all()
            self.statistics = cache.statistics()

    @property
    def footer(self) -> int:
        return len(self.whole) - FOOTER

    @property
    def section(self) -> bytes:
        return self.whole[self.start : self.footer]

    def check(self, content: bytes, detected: bool = True) -> None:
        """Check a recording whose statistics are damaged, and nothing else."""
        self.path.write_bytes(content)
        if detected:
            with pytest.raises(OSError, match="statistics") as caught:
                batchcorder.verify(self.path)
            assert caught.value.errno == errno.EBADMSG
        self.check_rows()

    def check_rows(self) -> None:
        for options in ({}, {"mmap": False}):
            with batchcorder.open(self.path, **options) as cache:
                dataset = cache.dataset()
                for filter, rows in FILTERS:
                    assert dataset.to_table(filter=filter)["x"].to_pylist() == rows
                assert dataset.count_rows() == len(TABLE)
                assert cache.statistics().equals(self.statistics)
                assert pa.table(cache).equals(TABLE)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / "x.arrows")


def changed(content: bytes, at: int, part: bytes) -> bytes:
    return content[:at] + part + content[at + len(part) :]


def sealed(content: bytes) -> bytes:
    """Return a recording with the checksum of its footer made right."""
    at = len(content) - FOOTER
    right = xxhash.xxh3_64_intdigest(content[at : at + 112])
    return changed(content, at + 112, struct.pack("<Q", right))


# ---- flipped bits ----


def check_flips(recording: Recording, masks: Iterator[tuple[int, int]]) -> None:
    for at, mask in masks:
        content = bytearray(recording.whole)
        content[at] ^= mask
        recording.path.write_bytes(content)
        with pytest.raises(OSError, match="statistics") as caught:
            batchcorder.verify(recording.path)
        assert caught.value.errno == errno.EBADMSG, at
        with batchcorder.open(recording.path) as cache:
            assert cache.statistics().equals(recording.statistics), at
            filter, rows = FILTERS[at % len(FILTERS)]
            assert cache.dataset().to_table(filter=filter)["x"].to_pylist() == rows, at


def test_a_bit_of_each_byte(recording: Recording) -> None:
    places = range(recording.start, recording.footer)
    check_flips(recording, ((at, 1 << at % 8) for at in places))


@pytest.mark.long
def test_each_bit(recording: Recording) -> None:
    places = range(recording.start, recording.footer)
    check_flips(recording, ((at, 1 << bit) for at in places for bit in range(8)))


def test_columns_beside_a_damaged_one(recording: Recording) -> None:
    """Statistics of another column are used, or gathered anew. They are right."""
    names = TABLE.column_names
    for at in range(recording.start, recording.footer, 5):
        content = bytearray(recording.whole)
        content[at] ^= 0x20
        recording.path.write_bytes(content)
        with batchcorder.open(recording.path) as cache:
            for name in names:
                one = cache.statistics([name])
                assert one[name].equals(recording.statistics[name]), at
                assert one["row_count"].equals(recording.statistics["row_count"]), at


# ---- sections that are cut, empty or moved ----


def test_bytes_that_are_zeros(recording: Recording) -> None:
    for at in range(recording.start, recording.footer, 64):
        for size in (64, recording.footer - at):
            is_zero = not any(recording.whole[at : at + size])
            content = changed(recording.whole, at, bytes(size))
            recording.check(content, detected=not is_zero)


def test_a_section_that_is_cut(recording: Recording) -> None:
    """The footer is moved, and has the smaller size or the old one."""
    whole = recording.whole
    for size in range(0, recording.size, 64):
        content = whole[: recording.start + size] + whole[recording.footer :]
        at = len(content) - FOOTER
        recording.path.write_bytes(content)
        with pytest.raises(OSError, match="not complete") as caught:
            batchcorder.open(recording.path)
        assert caught.value.errno == errno.ENODATA
        with batchcorder.open(recording.path, partial=True) as cache:
            assert pa.table(cache).equals(TABLE)
        if size >= recording.schema_size:
            recording.check(sealed(changed(content, at + 72, struct.pack("<q", size))))
    # Version 2 without a section.
    content = whole[: recording.start] + whole[recording.footer :]
    recording.check(
        sealed(changed(content, len(content) - 56, bytes(24))), detected=False
    )


def test_a_file_that_is_cut(recording: Recording) -> None:
    for size in range(recording.start, len(recording.whole), 13):
        recording.path.write_bytes(recording.whole[:size])
        with pytest.raises(OSError, match="not complete"):
            batchcorder.open(recording.path)
        with batchcorder.open(recording.path, partial=True) as cache:
            assert pa.table(cache).equals(TABLE)
            assert cache.statistics().equals(recording.statistics)


def test_blocks_that_change_places(recording: Recording) -> None:
    blocks = [recording.section[i : i + 64] for i in range(0, recording.size, 64)]
    for i in range(1, len(blocks)):
        if blocks[i] != blocks[i - 1]:
            moved = [*blocks[: i - 1], blocks[i], blocks[i - 1], *blocks[i + 1 :]]
            recording.check(changed(recording.whole, recording.start, b"".join(moved)))


NUMBERS = [
    0,
    -1,
    1,
    63,
    64,
    128,
    1 << 31,
    1 << 40,
    -(1 << 63),
    (1 << 63) - 1,
    (1 << 63) - 64,
]


@pytest.mark.parametrize("offset", [72, 80, 88])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_wrong_number_in_the_footer(
    recording: Recording, offset: int, number: int
) -> None:
    """The checksum of the footer is right: the number was written so."""
    whole = recording.whole
    at = recording.footer + offset
    content = sealed(changed(whole, at, struct.pack("<q", number)))
    is_complete = offset == 88 or (offset == 80 and 0 <= number <= recording.size)
    if is_complete:
        recording.check(content)
        return
    recording.path.write_bytes(content)
    with pytest.raises(OSError, match="not complete") as caught:
        batchcorder.verify(recording.path)
    assert caught.value.errno == errno.ENODATA
    with batchcorder.open(recording.path, partial=True) as cache:
        assert pa.table(cache).equals(TABLE)


# ---- sections of other recordings ----

OTHERS = {
    "a column fewer": TABLE.select(["x"]),
    "fewer batches": TABLE[:30],
    "more batches": pa.concat_tables([TABLE, TABLE]),
}


def with_section_of(recording: Recording, other: Recording) -> bytes:
    """Return the recording with the statistics of the other one, and their numbers."""
    numbers = other.whole[other.footer + 72 : other.footer + 96]
    head = recording.whole[: recording.start] + other.section
    return sealed(head + changed(recording.whole[recording.footer :], 72, numbers))


@pytest.mark.parametrize("name", OTHERS)
def test_a_section_of_another_shape(
    recording: Recording, tmp_path: Path, name: str
) -> None:
    other = Recording(tmp_path / "other.arrows", OTHERS[name])
    recording.check(with_section_of(recording, other))


def test_a_section_of_the_same_schema(recording: Recording, tmp_path: Path) -> None:
    """Every message is intact, but belongs to other rows."""
    x = pa.array(range(1000, 1040), pa.int32())
    other = Recording(tmp_path / "other.arrows", TABLE.set_column(0, "x", x))
    assert other.size == recording.size
    recording.check(changed(recording.whole, recording.start, other.section))
    recording.check(with_section_of(recording, other))


def test_a_section_of_other_row_counts(recording: Recording, tmp_path: Path) -> None:
    other = Recording(tmp_path / "other.arrows", TABLE[:38])
    recording.check(changed(recording.whole, recording.start, other.section))


@pytest.mark.parametrize("kind", ["int64", "uint32", "float32", "date32"])
def test_a_section_of_another_type(
    recording: Recording, tmp_path: Path, kind: str
) -> None:
    if kind == "date32":
        x = pa.array(range(40), pa.int32()).cast("date32")
    else:
        x = TABLE["x"].cast(kind)
    other = Recording(tmp_path / "other.arrows", TABLE.set_column(0, "x", x))
    recording.check(with_section_of(recording, other))


def test_offsets_that_are_false(recording: Recording) -> None:
    """The checksums are right: a hostile file was written so."""
    offsets = struct.pack("<5i", 0, 2, 4, 6, 8)
    content = bytearray(recording.whole)
    message = recording.start + recording.schema_size
    (size,) = struct.unpack_from("<i", content, message + 4)
    body = message + 8 + size
    digits = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
    found = digits.search(content, message, body)
    assert found is not None
    head, rest = found.start(), found.start() + 16
    at = content.index(offsets, body)
    content[at : at + 20] = struct.pack("<5i", 0, 1 << 30, 1 << 30, 1 << 30, 8)
    of_body = xxhash.xxh3_64_hexdigest(content[body : recording.footer])
    content[head : rest + 16] = b"0" * 16 + of_body.encode()
    of_head = xxhash.xxh3_64_hexdigest(content[message:body])
    content[head:rest] = of_head.encode()
    seed = xxhash.xxh3_64_intdigest(content[recording.footer : recording.footer + 96])
    tie = xxhash.xxh3_64_intdigest(content[message:body], seed)
    tied = changed(bytes(content), recording.footer + 96, struct.pack("<Q", tie))
    recording.path.write_bytes(sealed(tied))
    with pytest.raises(OSError, match="statistics"):
        batchcorder.verify(recording.path)
    with batchcorder.open(recording.path, verify=True) as cache:
        assert cache.statistics().equals(recording.statistics)
    recording.check_rows()


# ---- the command line ----


def test_the_command_line(recording: Recording) -> None:
    wanted = run("info", "--statistics", str(recording.path)).stdout
    damaged = changed(
        recording.whole, recording.start + recording.schema_size + 64, b"\xff" * 64
    )
    recording.path.write_bytes(damaged)
    done = run("info", "--statistics", str(recording.path))
    assert (done.returncode, done.stdout) == (0, wanted)
    done = run("verify", str(recording.path))
    assert done.returncode == 1
    assert "statistics" in done.stderr + done.stdout
