"""A recording of all types: each flipped bit and each missing byte is an error.

tests/flips/every_type.arrows is the recording, and tests/flips/test_bit_flips.c flips
each of its bits. This file checks its content, and the errors in Python.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from damage import flip
from helpers import TESTS, reader_of, recorded_file
from kinds import ALL

NAMED = re.compile(
    r"Checksum mismatch for (?:the place of )?batch (\d+); the file may be"
)
FILE = TESTS / "flips" / "every_type.arrows"


def end_of(content: bytes) -> int:
    """Return the offset of the end-of-stream marker, which the footer has."""
    return int.from_bytes(content[-112:-104], "little")


def words(*values: str) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([len(values) - 1, 0]), list(values))


def batches_of_every_type() -> list[pa.RecordBatch]:
    """Return three batches: dictionaries as they were, with a delta, and replaced."""
    made = []
    for start, rows, grown in ((3, 2, "ab"), (0, 0, "abc"), (6, 2, "xy")):
        columns = {name: array.slice(start, rows) for name, array in ALL.items()}
        columns["grown"] = words(*grown).slice(0, rows)
        made.append(pa.record_batch(columns))
    return made


def record(path: Path) -> bytes:
    batches = batches_of_every_type()
    source = reader_of(batches)
    batchcorder.record(source, path).close()
    return path.read_bytes()


def test_the_file_equals_a_new_recording(tmp_path: Path) -> None:
    """BC_RENEW=1 writes the file again, for a format without existing files."""
    content = record(tmp_path / "x.arrows")
    if os.environ.get("BC_RENEW"):
        FILE.write_bytes(content)
    assert FILE.read_bytes() == content
    with batchcorder.open(FILE, verify=True) as cache:
        assert cache.info()["dictionary_batches"] > 9
        for one, wanted in zip(cache, batches_of_every_type(), strict=True):
            assert one.equals(wanted, check_metadata=True)


def small() -> list[pa.RecordBatch]:
    """Return batches with a dictionary that grows and is then replaced."""
    texts = ["ab", "abc", "xy", "xy"]
    return [
        pa.record_batch({"x": pa.array([i, i + 10]), "d": words(*text)})
        for i, text in enumerate(texts)
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded_file(tmp_path, reader_of(small()))


def read_one_by_one(path: Path, **options: bool) -> list[pa.RecordBatch | OSError]:
    """Return each batch or its error.

    If the file does not open, return only that error.
    """
    got: list[pa.RecordBatch | OSError] = []
    try:
        cache = batchcorder.open(path, **options)
    except OSError as error:
        return [error]
    with cache:
        for i in range(len(cache)):
            try:
                got.append(cache[i])
            except OSError as error:
                got.append(error)
    return got


@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"verify": True}], ids=str)
def test_a_damaged_batch_is_named_and_the_others_are_read(
    options: dict[str, bool], recording: Path
) -> None:
    """One bit of each byte is flipped."""
    content = recording.read_bytes()
    wanted = small()
    end = end_of(content)
    hit: Counter[int] = Counter()
    for at in range(len(content)):
        flip(recording, at, 1 << at % 8)
        got = read_one_by_one(recording, **options)
        flip(recording, at, 1 << at % 8)
        errors = {i: one for i, one in enumerate(got) if isinstance(one, OSError)}
        assert all(str(recording) in str(one) for one in errors.values())
        if len(got) < len(wanted):
            # Without its end marker or its footer, the recording is incomplete.
            is_end = end <= at < end + 8 or at >= len(content) - 128
            allowed = {errno.EBADMSG, errno.ENODATA if is_end else 0}
            assert errors[0].errno in allowed
            hit[-1] += 1
            continue
        hit.update(errors.keys())
        for i, one in enumerate(got):
            if i not in errors:
                assert one.equals(wanted[i])
                continue
            assert errors[i].errno == errno.EBADMSG
            found = NAMED.search(str(one))
            assert found is not None, one
            assert int(found[1]) == i
        # The damage is in a batch, in a dictionary or its delta, or in the place or the
        # end of a batch.
        assert len(errors) <= 2
        assert errors or end + 8 <= at, f"the flip at byte {at} is no error"
    assert set(hit) == {-1, 0, 1, 2, 3}


def test_errors_of_flipped_bits_in_python() -> None:
    """Single bits all over a recording of all types are flipped, in an open file."""
    content = bytearray(FILE.read_bytes())
    for at in range(0, end_of(content), 211):
        content[at] ^= 1 << at % 8
        with pytest.raises(OSError, match="<BytesIO>") as caught:
            batchcorder.verify(io.BytesIO(content))
        content[at] ^= 1 << at % 8
        assert caught.value.errno in (errno.EBADMSG, errno.ENODATA)


def test_partial_reads_up_to_the_cut(recording: Path) -> None:
    """The recording is cut to every length."""
    wanted = small()
    seen = len(wanted)
    for size in reversed(range(recording.stat().st_size)):
        os.truncate(recording, size)
        (error,) = read_one_by_one(recording)
        assert isinstance(error, OSError)
        assert error.errno == errno.ENODATA
        assert str(recording) in str(error)
        got = read_one_by_one(recording, partial=True)
        if got and isinstance(got[0], OSError):
            assert (got[0].errno, seen) == (errno.ENODATA, 0)
            continue
        assert len(got) <= seen
        seen = len(got)
        assert got == wanted[:seen]
    assert seen == 0
