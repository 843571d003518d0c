"""Budgets: the bytes that are charged, the errors of full budgets, and no lost batch."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import SCHEMA, Source, cache_file, ids, numbered, on_disk, reader_of
from tiers import maker

NUMBERS = pa.array(range(1000), pa.int64())
NULLS = pa.array([None if i % 3 == 0 else i for i in range(1000)], pa.int64())
BOOLS = pa.array([True, False] * 500)
TEXTS = pa.array(["0123456789"] * 100)
LONG = pa.array(["20 bytes of text....."[:20]] * 100, pa.string_view())
SHORT = pa.array(["short"] * 100, pa.string_view())
LISTS = pa.array([[1, 2, 3]] * 100)
LIST_VIEWS = pa.array([[1, 2, 3]] * 100, pa.list_view(pa.int64()))
STRUCTS = pa.StructArray.from_arrays([NUMBERS], ["f"])
FIXED = pa.array([[1, 2]] * 1000, pa.list_(pa.int64(), 2))
VALUES = pa.array([f"{i}" * 100 for i in range(7)])
DICTIONARY = pa.DictionaryArray.from_arrays(
    pa.array([i % 7 for i in range(1000)], pa.int32()), VALUES
)
VALUES_BYTES = 8 * 4 + 700


def rb(array: pa.Array) -> pa.RecordBatch:
    return pa.record_batch({"a": array})


def fits(size: int, *batches: pa.RecordBatch) -> bool:
    """Return whether the batches fit into a memory tier of `size` bytes."""
    try:
        return StreamCache(reader_of(batches), size).ingest_all() == len(batches)
    except MemoryError:
        return False


# Arrays, and the bytes that each references.
CHARGES: dict[str, tuple[pa.Array, int]] = {
    "int64": (NUMBERS, 8000),
    "slice": (NUMBERS[5:15], 80),
    "nulls": (NULLS, 8125),
    "slice with nulls": (NULLS[5:15], 82),
    "bools": (BOOLS, 125),
    "slice of bools": (BOOLS[5:15], 2),
    "string": (TEXTS, 1404),
    "slice of strings": (TEXTS[5:15], 144),
    "large string": (TEXTS.cast(pa.large_string()), 1808),
    "views": (LONG, 3600),
    "slice of views": (LONG[5:15], 360),
    "inline views": (SHORT[5:15], 160),
    "list": (LISTS, 404 + 2400),
    "slice of lists": (LISTS[5:15], 44 + 240),
    "list view": (LIST_VIEWS, 800 + 2400),
    "slice of list views": (LIST_VIEWS[5:15], 80 + 240),
    "struct": (STRUCTS, 8000),
    "slice of structs": (STRUCTS[5:15], 80),
    "fixed list": (FIXED[5:15], 160),
    "dictionary": (DICTIONARY, 4000 + VALUES_BYTES),
    "slice of a dictionary": (DICTIONARY[5:15], 40 + VALUES_BYTES),
    "null": (pa.nulls(1000), 0),
    "zero rows": (NUMBERS[:0], 0),
    "run ends": (
        pa.RunEndEncodedArray.from_arrays(pa.array([500, 1000], pa.int32()), NUMBERS[:2])[
            5:15
        ],
        12,
    ),
}


@pytest.mark.parametrize("name", CHARGES)
def test_a_batch_is_charged_for_the_bytes_it_references(name: str) -> None:
    array, size = CHARGES[name]
    assert fits(size, rb(array))
    if size > 0:
        assert not fits(size - 1, rb(array))


def test_batches_and_columns_add_up() -> None:
    assert fits(16000, rb(NUMBERS), rb(NULLS.fill_null(0)))
    assert not fits(15999, rb(NUMBERS), rb(NULLS.fill_null(0)))
    two = pa.record_batch({"a": NUMBERS, "b": NULLS})
    assert fits(16125, two)
    assert not fits(16124, two)


@pytest.mark.parametrize(
    ("array", "size"),
    [(NUMBERS, 8000), (TEXTS, 1000 + 4 * 110), (LONG, 3600), (LISTS, 2400 + 4 * 110)],
    ids=["int64", "string", "views", "list"],
)
def test_slices_add_up_to_their_parent(array: pa.Array, size: int) -> None:
    """0.1.3 charges the whole parent for each slice."""
    step = len(array) // 10
    slices = [rb(array[i : i + step]) for i in range(0, len(array), step)]
    assert fits(size, *slices)
    assert not fits(size - 1, *slices)


def test_shared_buffers_are_charged_once() -> None:
    batches = [rb(DICTIONARY[i : i + 10]) for i in range(0, 1000, 10)]
    assert fits(4000 + VALUES_BYTES, *batches)
    assert not fits(4000 + VALUES_BYTES - 1, *batches)
    twice = [rb(LONG), rb(LONG)]
    assert fits(2 * 1600 + 2000, *twice)
    assert not fits(2 * 1600 + 1999, *twice)


def test_shared_buffers_are_given_back_with_their_last_batch() -> None:
    batches = [rb(DICTIONARY[i : i + 10]) for i in range(0, 1000, 10)]
    cache = StreamCache(reader_of(batches), 2 * 40 + VALUES_BYTES, max_readers=1)
    assert len(list(cache)) == 100


MESSAGE = "Memory cache capacity (200 bytes) exceeded"


def test_over_memory_capacity() -> None:
    """A batch has 32 bytes: six of ten batches fit, and the seventh is pending."""
    source = Source(numbered(10))
    cache = StreamCache(source, 200)
    for _ in range(3):
        with pytest.raises(MemoryError) as caught:
            cache.ingest_all()
        assert type(caught.value) is MemoryError
        assert str(caught.value) == MESSAGE
        assert (cache.ingested_count, cache.upstream_exhausted) == (6, False)
        assert source.given == 7, "the source was read while a batch was pending"
    reader = cache.reader()
    assert ids([next(reader) for _ in range(6)]) == list(range(24))
    for _ in range(2):
        with pytest.raises(MemoryError) as caught:
            next(reader)
        assert str(caught.value) == MESSAGE
    assert not reader.closed
    assert source.given == 7


@pytest.mark.parametrize("kind", ["stream", "cast", "reader.cast"])
def test_over_capacity_through_a_c_stream(kind: str) -> None:
    cache = StreamCache(Source(numbered(10)), 200)
    stream = {
        "stream": lambda: pa.RecordBatchReader.from_stream(cache),
        "cast": lambda: pa.RecordBatchReader.from_stream(cache.cast(SCHEMA)),
        "reader.cast": lambda: cache.reader().cast(SCHEMA),
    }[kind]()
    seen = [stream.read_next_batch() for _ in range(6)]
    for _ in range(2):
        with pytest.raises(MemoryError, match=r"Memory cache capacity \(200 bytes\)"):
            stream.read_next_batch()
    assert ids(seen) == list(range(24))


def test_readers_that_pass_make_room_for_the_pending_batch() -> None:
    source = Source(numbered(10))
    cache = StreamCache(source, 200, max_readers=2)
    first = cache.reader()
    seen = [next(first) for _ in range(6)]
    with pytest.raises(MemoryError):
        next(first)
    second = cache.reader()
    got = [next(second) for _ in range(3)]
    seen += [next(first) for _ in range(3)]
    with pytest.raises(MemoryError):
        next(first)
    got += [next(second) for _ in range(6)]
    seen.append(next(first))
    with pytest.raises(StopIteration):
        next(first)
    got.append(next(second))
    assert ids(seen) == ids(got) == list(range(40))
    assert (source.given, source.ended) == (10, True)


def test_the_memory_that_a_cache_may_use_by_default() -> None:
    """The default is the memory of the machine or its control group, less a reserve."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cache = StreamCache(Source(numbered(1)))
    assert 0 < cache.memory_capacity < machine
    assert StreamCache(Source(numbered(1)), None).memory_capacity == cache.memory_capacity
    assert StreamCache.in_memory(rb(NUMBERS)).memory_capacity == cache.memory_capacity
    assert cache.ingest_all() == 1


def test_capacity_zero() -> None:
    with pytest.raises(MemoryError, match=r"Memory cache capacity \(0 bytes\) exceeded"):
        StreamCache(Source(numbered(1)), 0).ingest_all()
    empty = pa.record_batch({"id": pa.array([], pa.int64())})
    assert StreamCache(Source([empty.select([])]), 0).ingest_all() == 1


def test_memory_capacity_does_not_limit_a_disk_tier(tmp_path: Path) -> None:
    for size in (0, 1, 100):
        cache = on_disk(Source(numbered(10)), tmp_path, memory_capacity=size)
        assert cache.ingest_all() == 10
        assert ids(cache) == list(range(40))


def test_objects_kept_for_iteration_never_crowd_batches_out() -> None:
    """Objects kept for iteration take no room from batches, even in a full tier."""
    cache = StreamCache(Source(numbered(100)), 100 * 32)
    half = cache.reader()
    for _ in range(50):
        next(half)
    for _ in range(3):
        seen = cache.reader()
        assert ids([next(seen) for _ in range(50)]) == list(range(200))
    assert cache.ingest_all() == 100
    assert ids(cache) == ids(cache) == list(range(400))


def disk_size(tmp_path: Path, count: int) -> int:
    """Return the size of the file with the first `count` batches."""
    cache = on_disk(Source(numbered(count)), tmp_path / "probe")
    cache.ingest_all()
    return cache_file(tmp_path / "probe").stat().st_size


@pytest.mark.parametrize("policy", ["on_insertion", "on_eviction"])
def test_over_disk_capacity(policy: str, tmp_path: Path) -> None:
    limit = disk_size(tmp_path, 6)
    source = Source(numbered(10))
    cache = on_disk(source, tmp_path, disk_capacity=limit, write_policy=policy)
    words = f"Disk cache capacity ({limit} bytes) exceeded: "
    for _ in range(3):
        with pytest.raises(MemoryError) as caught:
            cache.ingest_all()
        assert type(caught.value) is MemoryError
        assert str(caught.value).startswith(words)
        assert (cache.ingested_count, source.given) == (6, 7)
    assert cache_file(tmp_path).stat().st_size == limit
    reader = cache.reader()
    assert ids([next(reader) for _ in range(6)]) == list(range(24))
    with pytest.raises(MemoryError, match="Disk cache capacity"):
        next(reader)
    stream = pa.RecordBatchReader.from_stream(cache)
    assert ids([stream.read_next_batch() for _ in range(6)]) == list(range(24))
    with pytest.raises(MemoryError, match="Disk cache capacity"):
        stream.read_next_batch()


@pytest.mark.parametrize("limit", [0, 1, 100])
def test_a_disk_too_small_for_anything(limit: int, tmp_path: Path) -> None:
    source = Source(numbered(3))
    cache = on_disk(source, tmp_path, disk_capacity=limit)
    for _ in range(2):
        with pytest.raises(MemoryError, match=rf"Disk cache capacity \({limit} bytes\)"):
            cache.ingest_all()
    assert source.given <= 1


def test_a_disk_that_is_not_needed_may_be_too_small(tmp_path: Path) -> None:
    cache = StreamCache(
        Source(numbered(10)), 1 << 20, tmp_path, 0, write_policy="on_eviction"
    )
    assert cache.ingest_all() == 10
    assert ids(cache) == list(range(40))
    assert cache_file(tmp_path).stat().st_size == 0


def test_on_eviction_writes_only_batches_without_room(tmp_path: Path) -> None:
    cache = StreamCache(
        Source(numbered(10)), 200, tmp_path, 1 << 20, write_policy="on_eviction"
    )
    reader = cache.reader()
    for i in range(6):
        next(reader)
        assert cache_file(tmp_path).stat().st_size == 0, i
    next(reader)
    assert cache_file(tmp_path).stat().st_size > 0
    assert cache.ingest_all() == 10
    written = cache_file(tmp_path).stat().st_size
    for _ in range(2):
        assert ids(cache) == list(range(40))
    assert cache_file(tmp_path).stat().st_size == written, "reading wrote to the file"


def test_on_insertion_writes_everything(tmp_path: Path) -> None:
    cache = StreamCache(Source(numbered(10)), 1 << 20, tmp_path, 1 << 20)
    cache.ingest_all()
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        assert ids(stream) == list(range(40))


@pytest.mark.parametrize("tier", ["memory", "disk", "both", "evict"])
def test_stats_add_up(tier: str, tmp_path: Path) -> None:
    cache = maker(tier, tmp_path)(Source(numbered(10)))
    cache.ingest_all()
    cache.reader()
    stats = cache.stats()
    assert (stats["batches"], stats["rows"], stats["readers"]) == (10, 40, 1)
    assert stats["source_calls"] == 11
    held = {"memory": 320, "disk": 0, "both": 320, "evict": 64}[tier]
    assert stats["memory_bytes"] == held
    size = 0 if tier == "memory" else cache_file(tmp_path).stat().st_size
    assert stats["disk_bytes"] == size
