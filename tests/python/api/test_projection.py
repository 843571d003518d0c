"""Readers of selected columns and batches, single batches and slices of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import CLOSED, Source, cache_file, ids, numbered, on_disk
from kinds import ALL, batch_of
from tiers import MakeCache

WIDE = pa.record_batch({f"c{i}": pa.array(range(i, i + 4000)) for i in range(100)})


def named(cache: StreamCache, columns: Any) -> list[str]:
    return cache.reader(columns=columns).schema.names


def test_columns_by_name_and_number(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source([WIDE, WIDE.slice(7, 100)]))
    for columns, wanted in (
        (["c3", "c1"], ["c3", "c1"]),
        ([99, -1, 0], ["c99", "c99", "c0"]),
        (("c1", 2), ["c1", "c2"]),
        ([], []),
    ):
        reader = cache.reader(columns=columns)
        assert reader.schema.names == wanted
        assert pa.schema(reader).names == wanted
        for got, whole in zip(reader, (WIDE, WIDE.slice(7, 100)), strict=True):
            assert got.equals(whole.select(wanted))
            assert got.num_rows == whole.num_rows
        stream = pa.RecordBatchReader.from_stream(cache.reader(columns=columns))
        assert stream.schema.names == wanted
        assert stream.read_all().num_rows == 4100


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (["zz"], KeyError),
        (["x", "twice"], KeyError),
        ([3], IndexError),
        ([-4], IndexError),
        ("x", TypeError),
        (b"x", TypeError),
        ([1.5], TypeError),
        ([None], TypeError),
        (5, TypeError),
    ],
)
def test_invalid_columns(columns: Any, error: type[Exception]) -> None:
    schema = pa.schema([("x", pa.int8()), ("twice", pa.int8()), ("twice", pa.int8())])
    cache = StreamCache(schema.empty_table(), max_readers=1)
    with pytest.raises(error):
        cache.reader(columns=columns)
    assert named(cache, [1, 2]) == ["twice", "twice"], "the failed call took a slot"


@pytest.mark.parametrize("name", ALL)
def test_every_type_beside_others(name: str, make_cache: MakeCache) -> None:
    whole = batch_of(name)
    sliced = [whole, whole.slice(3, 11), whole.slice(7, 0)]
    if name == "dictionary_of_dictionary":
        pytest.skip("no disk tier")
    cache = make_cache(pa.RecordBatchReader.from_batches(whole.schema, sliced))
    for columns in ([name], ["row"], ["row", name]):
        for _ in range(2):
            reader = cache.reader(columns=columns)
            assert reader.schema.metadata == whole.schema.metadata
            for got, wanted in zip(reader, sliced, strict=True):
                assert got.to_pylist() == wanted.select(columns).to_pylist()
                assert got.schema.equals(
                    wanted.select(columns).schema, check_metadata=True
                )


def damage(path: Path, column: int) -> None:
    """Flip a byte in the middle of a column of WIDE, at its place in the file."""
    values = WIDE.column(column).buffers()[1].to_pybytes()
    content = bytearray(cache_file(path).read_bytes())
    content[content.index(values) + 2000] ^= 1
    cache_file(path).write_bytes(content)


@pytest.mark.parametrize("column", [0, 63, 64, 99])
def test_other_columns_are_not_even_verified(column: int, tmp_path: Path) -> None:
    cache = on_disk(Source([WIDE]), tmp_path)
    cache.ingest_all()
    damage(tmp_path, column)
    others = [i for i in range(100) if i != column]
    for _ in range(2):
        (got,) = cache.reader(columns=others)
        assert got.equals(WIDE.select(others))
        with pytest.raises(OSError, match="Checksum mismatch for batch 0"):
            list(cache.reader(columns=[column]))
        with pytest.raises(OSError, match="Checksum mismatch for batch 0"):
            list(cache)


def test_columns_verified_before_are_not_verified_again(tmp_path: Path) -> None:
    cache = on_disk(Source([WIDE]), tmp_path)
    cache.ingest_all()
    assert len(list(cache.reader(columns=[70, 3]))) == 1
    damage(tmp_path, 70)
    assert len(list(cache.reader(columns=[70]))) == 1
    assert len(list(cache.reader(columns=[3, 5]))) == 1
    with pytest.raises(OSError, match="Checksum mismatch"):
        list(cache), "all of it is verified as a whole"


def resident(path: Path) -> int:
    """Return how many bytes of the mapped cache file are in this process's memory."""
    found = 0
    counts = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[:1] in "0123456789abcdef" and "-" in line.split()[0]:
            counts = str(path) in line
        elif counts and line.startswith("Rss:"):
            found += int(line.split()[1]) << 10
    return found


def test_other_columns_are_not_even_touched(tmp_path: Path) -> None:
    """Pages of the file enter memory only when a reader touches them."""
    wide = pa.record_batch({f"c{i}": pa.array(range(200_000)) for i in range(20)})
    cache = on_disk(Source([wide] * 4), tmp_path)
    cache.ingest_all()
    path = cache_file(tmp_path)
    assert sum(b.num_rows for b in cache.reader(columns=["c7"])) == 800_000
    one = resident(path)
    column = wide.column(7).nbytes * 4
    assert column <= one < 20 * column / 4, "pages of other columns are in memory"
    assert sum(b.num_rows for b in cache) == 800_000
    assert resident(path) > 19 * column


def test_start_and_stop(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(6)))
    assert ids(cache.reader(start=2, stop=4)) == list(range(8, 16))
    assert cache.ingested_count == 4, "the source was read too far"
    assert ids(cache.reader(stop=1)) == list(range(4))
    assert ids(cache.reader(start=5)) == list(range(20, 24))
    assert ids(cache.reader(start=6)) == ids(cache.reader(start=9)) == []
    assert ids(cache.reader(start=3, stop=3)) == ids(cache.reader(stop=0)) == []
    reader = cache.reader(start=4, stop=5)
    assert ids(pa.RecordBatchReader.from_stream(reader)) == list(range(16, 20))
    (again,) = cache.reader(start=4, stop=5)
    assert ids([again]) == list(range(16, 20))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start": -1}, OverflowError),
        ({"stop": -1}, OverflowError),
        ({"start": 1 << 64}, OverflowError),
        ({"start": "1"}, TypeError),
        ({"stop": 1.5}, TypeError),
        ({"from_start": False, "start": 1}, ValueError),
        ({"from_start": 1, "start": 1}, TypeError),
        ({"from_start": None, "columns": ["id"]}, TypeError),
    ],
)
def test_invalid_bounds(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        StreamCache(Source(numbered(1))).reader(**options)


def test_bounds_beyond_all_batches() -> None:
    cache = StreamCache(Source(numbered(2)))
    assert ids(cache.reader(start=(1 << 64) - 1)) == []
    assert cache.ingested_count == 2, "the bound was taken for the frontier"
    for number in ((1 << 64) - 1, 1 << 64, 1 << 80):
        with pytest.raises(IndexError):
            cache[number]
    with pytest.raises(IndexError):
        cache[-(1 << 80)]


def test_batches_that_no_reader_will_look_at_make_room() -> None:
    """Batches are evicted if no reader will read them, though no reader has moved."""
    for prefetch in (None, 3):
        cache = StreamCache(
            Source(numbered(20)), 3 * 32, max_readers=1, prefetch=prefetch
        )
        assert ids(cache.reader(start=15)) == list(range(60, 80))
    cache = StreamCache(Source(numbered(20)), 3 * 32, max_readers=1)
    reader = cache.reader(stop=2)
    assert ids(reader) == list(range(8))
    assert cache.ingest_all() == 20


def test_from_the_frontier_with_columns() -> None:
    cache = StreamCache(Source(numbered(3)))
    next(iter(cache))
    assert ids(cache.reader(False, columns=["id"])) == list(range(4, 12))


def test_a_start_that_was_evicted() -> None:
    cache = StreamCache(Source(numbered(5)), max_readers=2)
    first = cache.reader()
    for _ in range(3):
        next(first)
    second = cache.reader(start=2)
    with pytest.raises(ValueError, match=r"Batch 1 is no longer .* still cached is 2"):
        cache[1]
    assert ids(second) == list(range(8, 20))
    del second
    next(first)
    with pytest.raises(ValueError, match="Batch 3 is no longer"):
        cache[3]
    assert ids([cache[4]]) == list(range(16, 20))


def test_single_batches(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(5)))
    assert ids([cache[2]]) == list(range(8, 12))
    assert cache.ingested_count == 3, "the source was read too far"
    with pytest.raises(TypeError, match="ingest_all"):
        cache[-1]
    with pytest.raises(IndexError, match="batch index 5 is out of range"):
        cache[5]
    assert ids([cache[-1]]) == ids([cache[4]]) == list(range(16, 20))
    with pytest.raises(IndexError):
        cache[-6]
    for key in ("1", 1.5, None):
        with pytest.raises(TypeError):
            cache[key]  # type: ignore[call-overload]
    assert cache.stats()["readers"] == 0
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        cache[0]


def test_slices(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(6)))
    batches = numbered(6)
    assert cache[1:3] == batches[1:3]
    assert cache.ingested_count == 3
    with pytest.raises(TypeError, match="ingest_all"):
        cache[-2:]
    for key in (
        slice(None),
        slice(4, None),
        slice(1, 100),
        slice(None, None, 2),
        slice(-2, None),
        slice(None, -1),
        slice(None, None, -1),
        slice(5, 1, -2),
        slice(9, 12),
    ):
        assert cache[key] == batches[key], key
    with pytest.raises(TypeError):
        cache["a":"b"]  # type: ignore[misc]
    with pytest.raises(ValueError, match="zero"):
        cache[::0]


def test_a_single_batch_is_the_one_that_iteration_gives() -> None:
    cache = StreamCache(Source(numbered(3)))
    whole = list(cache)
    assert cache[1] is whole[1]
    assert next(reversed(cache)) is whole[2]
