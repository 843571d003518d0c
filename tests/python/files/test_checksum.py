"""`checksum=False`: a file without checksums.

Damage may go unnoticed, but never crashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import kinds
from batchcorder import StreamCache
from damage import flip
from helpers import Source, cache_file, check_python, ids, numbered, on_disk

KEY = b"batchcorder.xxh3"


@pytest.mark.parametrize("codec", [None, "lz4"])
@pytest.mark.parametrize("rows", [4, 4000])
def test_the_file_has_none(rows: int, codec: str, tmp_path: Path) -> None:
    """A small body has one checksum, a large one has one a buffer, the schema has one."""
    sizes = []
    for checksum in (True, False):
        where = tmp_path / str(checksum)
        source = Source(numbered(3, rows))
        cache = on_disk(source, where, checksum=checksum, compression=codec)
        assert ids(cache) == ids(cache) == list(range(3 * rows))
        content = cache_file(where).read_bytes()
        assert content.count(KEY) == (4 if checksum else 0)
        with pa.ipc.open_stream(content) as stream:
            assert ids(stream) == list(range(3 * rows))
        sizes.append(len(content))
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("name", kinds.ALL)
def test_every_type_without(name: str, tmp_path: Path) -> None:
    batches = kinds.slices_of(kinds.batch_of(name))
    cache = on_disk(Source(batches), tmp_path, checksum=False)
    for _ in range(2):
        for one, wanted in zip(cache, batches, strict=True):
            one.validate(full=True)
            assert one.equals(wanted, check_metadata=True)
    assert KEY not in cache_file(tmp_path).read_bytes()


def test_damage_in_values_goes_unnoticed(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(3)), tmp_path, checksum=False)
    cache.ingest_all()
    file = cache_file(tmp_path)
    at = file.read_bytes().index(np.arange(4, 8).tobytes())
    flip(file, at, 0x40)
    assert ids(cache) == [0, 1, 2, 3, 4 ^ 0x40, *range(5, 12)]


@pytest.mark.parametrize("at", [0, 4, 8])
def test_damage_in_the_structure_is_an_error(at: int, tmp_path: Path) -> None:
    """The second message's prefix, its size and its flatbuffer's root are damaged."""
    cache = on_disk(Source(numbered(3)), tmp_path, checksum=False)
    next(cache.reader())
    file = cache_file(tmp_path)
    start = file.stat().st_size
    cache.ingest_all()
    flip(file, start + at, 0xFF)
    reader = cache.reader()
    assert ids([next(reader)]) == [0, 1, 2, 3]
    for _ in range(2):
        with pytest.raises(OSError, match="Batch 1 is not a valid batch"):
            next(reader)


BATCH = """
    import numpy as np
    from helpers import *
    from damage import flip
    encode = pa.DictionaryArray.from_arrays
    batch = pa.record_batch({
        "s": ["ab", None, "cde"],
        "v": pa.array(["a text that is not inlined", "", None], pa.string_view()),
        "d": encode(pa.array([1, 0, None]), pa.array(["u", "v"])),
        "l": [[1], None, [2, 3]],
        "b": pa.array([True, None, False]),
        "u": pa.UnionArray.from_dense(
            pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()),
            [pa.array([1, 2]), pa.array(["x"])]),
        "r": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), [5, None]),
    })
"""


def test_no_damage_crashes(tmp_path: Path) -> None:
    """Every second byte is damaged in turn. Values may be wrong, but types are right."""
    code = (
        BATCH
        + f"""
    def recorded():
        cache = on_disk(Source([batch]), {str(tmp_path)!r}, checksum=False)
        cache.ingest_all()
        return cache, cache_file({str(tmp_path)!r})

    cache, file = recorded()
    outcomes = {{"same": 0, "other": 0, "refused": 0}}
    for at in range(0, file.stat().st_size, 2):
        flip(file, at, 1 << at // 2 % 8)
        try:
            (read,) = cache
        except OSError as error:
            assert "Batch 0 is not a valid batch" in str(error), (at, error)
            outcomes["refused"] += 1
            flip(file, at, 1 << at // 2 % 8)
            continue
        assert read.schema.equals(batch.schema), at
        assert read.num_columns == batch.num_columns, at
        try:
            read.validate(full=True)
        except pa.ArrowInvalid:
            outcomes["other"] += 1
        else:
            outcomes["same" if read.equals(batch) else "other"] += 1
        del read
        cache.close()
        cache, file = recorded()
    print(outcomes)
    assert min(outcomes.values()) > 20, outcomes
    """
    )
    check_python(code, timeout=300)


@pytest.mark.parametrize(
    ("value", "got"), [(1, "int"), (0, "int"), ("no", "str"), (None, "None")]
)
def test_values_that_are_not_bool(value: Any, got: str, tmp_path: Path) -> None:
    source = Source(numbered(2))
    for make in (
        lambda: on_disk(source, tmp_path, checksum=value),
        lambda: StreamCache.on_disk(source, path=tmp_path, checksum=value),
    ):
        with pytest.raises(TypeError, match=rf"argument 'checksum': '{got}'.*'bool'"):
            make()
    assert source.given == 0
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_bool(tmp_path: Path) -> None:
    for value in (False, np.False_):
        cache = on_disk(Source(numbered(2)), tmp_path / "d", checksum=value)
        assert ids(cache) == list(range(8))
        assert KEY not in cache_file(tmp_path / "d").read_bytes()
        cache.close()


def test_no_effect_without_a_disk() -> None:
    assert ids(StreamCache(Source(numbered(2)), checksum=False)) == list(range(8))
