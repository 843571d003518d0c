"""shuffle(): a pure function of its arguments, which returns every row exactly once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder import StreamCache
from helpers import (
    CLOSED,
    Source,
    check_python,
    ids,
    numbered,
    on_disk,
    reader_of,
)
from kinds import ALL, batch_of, slices_of
from tiers import MakeCache, maker

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def permutation(seed: int, epoch: int, n: int) -> list[int]:
    """Return the order of docs and src/shuffle.c: SplitMix64 and Fisher-Yates."""
    state = mix(seed + GOLDEN & MASK) ^ mix(epoch + 0x632BE59BD9B4E019 & MASK)
    order: list[int] = []
    for i in range(n):
        limit = MASK - MASK % (i + 1)
        while True:
            state = state + GOLDEN & MASK
            value = mix(state)
            if value < limit:
                break
        j = value % (i + 1)
        order.append(i)
        order[i], order[j] = order[j], i
    return order


def windowed(
    lengths: list[int],
    seed: int,
    epoch: int,
    window: int,
    shard: tuple[int, int] = (0, 1),
) -> list[list[int]]:
    """Return the row indices of each batch of a shard."""
    index, shards = shard
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    order = permutation(seed, epoch, len(lengths))[index::shards]
    if window == 0:
        return [list(range(starts[i], starts[i] + lengths[i])) for i in order]
    given: list[list[int]] = []
    group = 0
    while order:
        some = [order.pop(0)]
        while order and sum(lengths[i] for i in some) < window:
            some.append(order.pop(0))
        rows = [starts[i] + row for i in some for row in range(lengths[i])]
        number = group * shards + index + 1
        group += 1
        mixed = permutation((seed + GOLDEN * number) & MASK, epoch, len(rows))
        rows = [rows[i] for i in mixed]
        for i in some:
            given.append(rows[: lengths[i]])
            rows = rows[lengths[i] :]
    return given


def batches_of(lengths: list[int]) -> list[pa.RecordBatch]:
    whole = pa.record_batch({"id": pa.array(range(sum(lengths)), pa.int64())})
    return [whole.slice(sum(lengths[:i]), n) for i, n in enumerate(lengths)]


def rows_of(stream: pa.RecordBatchReader) -> list[list[int]]:
    return [one["id"].to_pylist() for one in stream]


SEEDS = [0, 1, 7, 1 << 32, MASK]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("epoch", [0, 1, MASK])
def test_batches_in_the_order_that_is_promised(
    seed: int, epoch: int, make_any_cache: MakeCache
) -> None:
    cache = make_any_cache(Source(numbered(40)))
    wanted = ids([numbered(40)[i] for i in permutation(seed, epoch, 40)])
    assert ids(cache.shuffle(seed, epoch)) == wanted
    assert ids(cache.shuffle(seed=seed, epoch=epoch, buffer_size=0)) == wanted


def test_values_that_never_change() -> None:
    """These values are the same in every version and on every machine."""
    cache = StreamCache(Source(numbered(10, 1)))
    for (seed, epoch), wanted in VALUES.items():
        assert ids(cache.shuffle(seed, epoch)) == wanted
    assert ids(cache.shuffle(7, 3, buffer_size=4)) == WINDOWED


VALUES = {
    (0, 0): [6, 3, 7, 8, 4, 1, 0, 2, 9, 5],
    (0, 1): [9, 3, 6, 8, 4, 1, 7, 5, 2, 0],
    (1, 0): [2, 8, 1, 9, 0, 6, 7, 4, 5, 3],
    (7, 3): [9, 3, 0, 4, 2, 1, 7, 8, 6, 5],
    (MASK, MASK): [3, 6, 0, 7, 2, 8, 9, 4, 1, 5],
}
WINDOWED = [3, 0, 4, 9, 2, 7, 8, 1, 5, 6]  # of (7, 3), with a window of 4


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 3, 8, 20]), max_size=12),
    seed=st.sampled_from(SEEDS),
    epoch=st.integers(0, 3),
    window=st.sampled_from([0, 1, 5, 16, 1000]),
)
def test_windows(lengths: list[int], seed: int, epoch: int, window: int) -> None:
    """Every row comes once, in batches of the same lengths, mixed within a window."""
    batches = batches_of(lengths)
    schema = pa.schema([("id", pa.int64())])
    cache = StreamCache(pa.RecordBatchReader.from_batches(schema, batches))
    got = rows_of(cache.shuffle(seed, epoch, buffer_size=window))
    assert sorted(row for rows in got for row in rows) == list(range(sum(lengths)))
    assert Counter(map(len, got)) == Counter(lengths)
    assert got == windowed(lengths, seed, epoch, window)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 3, 8, 20]), max_size=12),
    seed=st.sampled_from(SEEDS),
    window=st.sampled_from([0, 1, 5, 16, 1000]),
    shards=st.integers(1, 14),
    data=st.data(),
)
def test_shards(
    lengths: list[int], seed: int, window: int, shards: int, data: st.DataObject
) -> None:
    """Shards are disjoint and complete, and go on at any batch."""
    schema = pa.schema([("id", pa.int64())])
    batches = batches_of(lengths)
    cache = StreamCache(pa.RecordBatchReader.from_batches(schema, batches))
    rows: list[int] = []
    for index in range(shards):
        shard = (index, shards)
        stream = cache.shuffle(seed, 1, buffer_size=window, shard=shard)
        got = rows_of(stream)
        assert got == windowed(lengths, seed, 1, window, shard)
        assert stream.position == len(got) == len(range(len(lengths))[index::shards])
        rows += [row for some in got for row in some]
        start = data.draw(st.integers(0, len(got) + 2))
        stream = cache.shuffle(seed, 1, buffer_size=window, shard=shard, start=start)
        assert stream.position == min(start, len(got))
        assert rows_of(stream) == got[start:]
        assert stream.position == len(got)
    assert sorted(rows) == list(range(sum(lengths)))


@pytest.mark.parametrize("window", [0, 40])
def test_a_position_is_where_to_go_on(window: int) -> None:
    cache = StreamCache(Source(numbered(30)))
    whole = rows_of(cache.shuffle(3, buffer_size=window))
    got: list[list[int]] = []
    while len(got) < 30:
        stream = cache.shuffle(3, buffer_size=window, start=len(got))
        got += [next(stream)["id"].to_pylist() for _ in range(min(7, 30 - len(got)))]
        assert stream.position == len(got)
    assert got == whole
    stream = cache.shuffle(3, buffer_size=window, start=28)
    assert stream.read_next_batch()["id"].to_pylist() == whole[28]
    assert stream.read_all()["id"].to_pylist() == whole[29]
    assert stream.position == 30
    with pytest.raises(StopIteration):
        next(cache.shuffle(3, buffer_size=window, start=1 << 63))


@pytest.mark.parametrize("window", [0, 25])
def test_batches_before_the_start_are_not_read(window: int, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(Source(numbered(1000)), path).close()
    with batchcorder.open(path) as cache:
        assert len(list(cache.shuffle(5, buffer_size=window, start=990))) == 10
        stats = cache.stats()
        assert stats["memory_hits"] + stats["disk_hits"] <= 10 + window


@pytest.mark.parametrize("window", [0, 4, 1000])
def test_columns(window: int, tmp_path: Path) -> None:
    table = pa.table({"id": range(40), "b": [str(i) for i in range(40)], "c": [1.5] * 40})
    path = tmp_path / "x.arrows"
    batchcorder.record(table.to_reader(max_chunksize=5), path).close()
    for cache in (StreamCache(table.to_reader(max_chunksize=5)), batchcorder.open(path)):
        rows = cache.shuffle(2, buffer_size=window).read_all()
        for columns in (["c", "id"], [1], [0, "b", -1], []):
            stream = cache.shuffle(2, buffer_size=window, columns=columns)
            wanted = rows.select(columns)
            assert stream.schema == wanted.schema
            assert stream.read_all() == wanted
        with pytest.raises(KeyError, match="does not exist"):
            cache.shuffle(2, buffer_size=window, columns=["x"])
        with pytest.raises(IndexError, match="out of range"):
            cache.shuffle(2, buffer_size=window, columns=[3])


def test_as_an_arrow_stream() -> None:
    cache = StreamCache(Source(numbered(8)))
    for window in (0, 10):
        wanted = cache.shuffle(1, buffer_size=window).read_all()
        assert pa.table(cache.shuffle(1, buffer_size=window)) == wanted
        assert pa.schema(cache.shuffle(1, buffer_size=window)) == wanted.schema
        stream = cache.shuffle(1, buffer_size=window)
        first = next(stream)
        rest = pa.table(stream)
        assert pa.Table.from_batches([first, *rest.to_batches()]) == wanted
        again = StreamCache(cache.shuffle(1, buffer_size=window))
        assert pa.table(again) == wanted


@pytest.mark.parametrize(
    ("shard", "error"),
    [
        ((2, 2), ValueError),
        ((0, 0), ValueError),
        ((-1, 2), OverflowError),
        ((0, 1 << 64), OverflowError),
        ((0.0, 2), TypeError),
        (3, TypeError),
        ((1, 2, 3), TypeError),
        (None, TypeError),
    ],
)
def test_no_shard(shard: Any, error: type[Exception]) -> None:
    source = Source(numbered(3))
    cache = StreamCache(source)
    with pytest.raises(error):
        cache.shuffle(1, shard=shard)
    assert source.given == 0


def test_permutation() -> None:
    cache = StreamCache(Source(numbered(50, 1)))
    order = cache.permutation(7, epoch=2)
    assert order.dtype == "int64"
    assert order.flags.writeable
    assert order.tolist() == permutation(7, 2, 50) == ids(cache.shuffle(7, 2))
    assert StreamCache(Source([])).permutation(1).tolist() == []


def test_seeds_epochs_and_windows_differ() -> None:
    cache = StreamCache(Source(numbered(30)))
    orders = [
        tuple(ids(cache.shuffle(seed, epoch, buffer_size=window)))
        for seed in range(5)
        for epoch in range(5)
        for window in (0, 4, 50)
    ]
    assert len(set(orders)) == len(orders)
    # Each window of one order is mixed differently.
    some = rows_of(cache.shuffle(1, buffer_size=4))
    inner = [tuple(row - min(rows) for row in rows) for rows in some]
    assert len(set(inner)) > 5


def test_orders_are_all_as_likely() -> None:
    """Three batches have six orders, and each order is about equally frequent."""
    cache = StreamCache(Source(numbered(3, 1)))
    found = Counter(tuple(ids(cache.shuffle(seed))) for seed in range(1200))
    assert len(found) == 6
    assert all(150 <= n <= 250 for n in found.values()), found


def test_the_same_from_memory_file_and_process(tmp_path: Path) -> None:
    batches = numbered(20)
    path = tmp_path / "x.arrows"
    batchcorder.record(Source(batches), path, compression="zstd").close()
    caches = [
        StreamCache(Source(batches)),
        on_disk(Source(batches), tmp_path),
        maker("evict", tmp_path)(Source(batches)),
        batchcorder.open(path),
        batchcorder.open(path, mmap=False, columns=[0]),
    ]
    for window in (0, 30):
        orders = {tuple(ids(one.shuffle(5, 2, buffer_size=window))) for one in caches}
        assert len(orders) == 1
        code = f"""
            from helpers import *
            import batchcorder
            cache = batchcorder.open({str(path)!r})
            print(ids(cache.shuffle(5, 2, buffer_size={window})))
        """
        printed = check_python(code, PYTHONHASHSEED="1")
        assert {tuple(ast.literal_eval(printed))} == orders


@pytest.mark.parametrize("name", ALL)
def test_every_type(name: str) -> None:
    batches = slices_of(batch_of(name))
    cache = StreamCache(reader_of(batches))
    rows = Counter(repr(row) for one in batches for row in one.to_pylist())
    for window in (0, 30, 1000):
        stream = cache.shuffle(3, buffer_size=window)
        assert stream.schema.equals(batches[0].schema, check_metadata=True)
        got = list(stream)
        assert Counter(repr(row) for one in got for row in one.to_pylist()) == rows
        assert Counter(one.num_rows for one in got) == Counter(map(len, batches))
        for one in got:
            one.validate(full=True)


def test_dictionaries_that_differ() -> None:
    words = ["ab", "xy", "bcx"]
    batches = [pa.record_batch({"d": pa.array([*w]).dictionary_encode()}) for w in words]
    cache = StreamCache(reader_of(batches))
    for window in (0, 3, 100):
        got = [
            w
            for one in cache.shuffle(1, buffer_size=window)
            for w in one["d"].to_pylist()
        ]
        assert sorted(got) == sorted("abxybcx")


def test_nothing_is_copied_without_a_window() -> None:
    batches = numbered(5)
    cache = StreamCache(Source(batches))
    addresses = {one["id"].buffers()[1].address for one in batches}
    shuffled = [one["id"].buffers()[1].address for one in cache.shuffle(1)]
    assert set(shuffled) == addresses


def test_the_source_is_read_to_its_end_first() -> None:
    source = Source(numbered(5))
    cache = StreamCache(source)
    stream = cache.shuffle(1)
    assert source.ended
    assert cache.stats()["readers"] == 1
    # Shuffle several times, with several shuffles at once.
    other = cache.shuffle(1)
    assert ids(stream) == ids(other) == ids(cache.shuffle(1))
    failing = StreamCache(Source(numbered(5), fail_at=3, error=KeyError("why")))
    with pytest.raises(KeyError, match="why"):
        failing.shuffle(1)


def test_an_empty_stream() -> None:
    schema = pa.schema([("id", pa.int64())])
    for batches in ([], [pa.RecordBatch.from_pylist([], schema)] * 3):
        cache = StreamCache(pa.RecordBatchReader.from_batches(schema, batches))
        for window in (0, 5):
            stream = cache.shuffle(1, buffer_size=window)
            assert stream.schema == schema
            assert len(list(stream)) == len(batches)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((-1,), {}, OverflowError),
        ((1 << 64,), {}, OverflowError),
        ((0, -1), {}, OverflowError),
        ((0, 1 << 64), {}, OverflowError),
        ((1.0,), {}, TypeError),
        ((None,), {}, TypeError),
        (("1",), {}, TypeError),
        ((0, 1.0), {}, TypeError),
        ((0,), {"buffer_size": 1.5}, TypeError),
        ((0,), {"buffer_size": True}, TypeError),
        ((0,), {"buffer_size": "8"}, TypeError),
        ((0,), {"buffer_size": -1}, OverflowError),
        ((0, 0, 5), {}, TypeError),
        ((), {}, TypeError),
    ],
    ids=str,
)
def test_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception]
) -> None:
    source = Source(numbered(3))
    with pytest.raises(error):
        StreamCache(source).shuffle(*arguments, **options)
    assert source.given == 0, "a refused call read the source"


def test_numbers_of_numpy() -> None:
    import numpy as np

    cache = StreamCache(Source(numbered(9)))
    wanted = ids(cache.shuffle(5, 1, buffer_size=8))
    numbers = np.uint64(5), np.int8(1), np.int32(8)
    assert ids(cache.shuffle(*numbers[:2], buffer_size=numbers[2])) == wanted


def test_batches_that_are_gone() -> None:
    cache = StreamCache(Source(numbered(5)), max_readers=1)
    assert ids(cache) == list(range(20))
    with pytest.raises((ValueError, pa.ArrowInvalid), match="Maximum number of readers"):
        list(cache.shuffle(1))
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        cache.shuffle(1)
    open_one = StreamCache(Source(numbered(5)))
    stream = open_one.shuffle(1)
    open_one.close()
    with pytest.raises((ValueError, pa.ArrowInvalid), match=CLOSED):
        list(stream)
