"""A recording of all types: no bit of it can flip unnoticed, and no byte be missing.

tests/flips/every_type.arrows is that recording, and tests/flips/test_bit_flips.c flips
each of its bits. Here stands what it is, and what others see who open such a file.
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
END = b"\xff\xff\xff\xff\0\0\0\0"
FILE = TESTS / "flips" / "every_type.arrows"


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


def test_the_file_is_what_is_written_today(tmp_path: Path) -> None:
    """BC_RENEW=1 writes it anew: only for a format that nobody has files of."""
    content = record(tmp_path / "x.arrows")
    if os.environ.get("BC_RENEW"):
        FILE.write_bytes(content)
    assert FILE.read_bytes() == content
    with batchcorder.open(FILE, verify=True) as cache:
        assert cache.info()["dictionary_batches"] > 9
        for one, wanted in zip(cache, batches_of_every_type(), strict=True):
            assert one.equals(wanted, check_metadata=True)


def small() -> list[pa.RecordBatch]:
    """Return batches with a dictionary that grows, and is replaced."""
    texts = ["ab", "abc", "xy", "xy"]
    return [
        pa.record_batch({"x": pa.array([i, i + 10]), "d": words(*text)})
        for i, text in enumerate(texts)
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded_file(tmp_path, reader_of(small()))


def read_one_by_one(path: Path, **options: bool) -> list[pa.RecordBatch | OSError]:
    """Return each batch, or what was raised instead; one error where it cannot open."""
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
    """One bit of each byte."""
    content = recording.read_bytes()
    wanted = small()
    end = content.rindex(END)
    hit: Counter[int] = Counter()
    for at in range(len(content)):
        flip(recording, at, 1 << at % 8)
        got = read_one_by_one(recording, **options)
        flip(recording, at, 1 << at % 8)
        errors = {i: one for i, one in enumerate(got) if isinstance(one, OSError)}
        assert all(str(recording) in str(one) for one in errors.values())
        if len(got) < len(wanted):
            # Without its marker or its footer it is not complete.
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
        # A batch; or those of a dictionary, and of what is added to it; or those whose
        # place it is, or that it ends.
        assert len(errors) <= 2
        assert errors or end + 8 <= at, f"byte {at} is not noticed"
    assert set(hit) == {-1, 0, 1, 2, 3}


def test_what_python_raises() -> None:
    """Of all types, a bit in every so many bytes: through an open file."""
    content = bytearray(FILE.read_bytes())
    for at in range(0, content.rindex(END), 211):
        content[at] ^= 1 << at % 8
        with pytest.raises(OSError, match="<BytesIO>") as caught:
            batchcorder.verify(io.BytesIO(content))
        content[at] ^= 1 << at % 8
        assert caught.value.errno in (errno.EBADMSG, errno.ENODATA)


def test_partial_goes_up_to_what_is_cut_off(recording: Path) -> None:
    """Of a file of every length."""
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
