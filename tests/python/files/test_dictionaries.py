"""Dictionaries on disk are written if they change, and each batch keeps its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from helpers import cache_file, on_disk, reader_of

VALUES = [
    ["a", "b", "c"],
    ["x", "y", None],
    ["x", "y", None, "w"],
    ["a text that is longer than a view holds inline", "", "c"],
]
encode = pa.DictionaryArray.from_arrays


def changing(count: int, kind: pa.DataType) -> list[pa.RecordBatch]:
    """Return batches whose dictionaries change, grow, shrink and repeat."""
    chance = random.Random(1)
    kept = [pa.array(values, kind) for values in VALUES]
    made = []
    for _ in range(count):
        which, inner = chance.randrange(len(VALUES)), chance.randrange(len(VALUES))
        fresh = chance.random() < 0.5
        values = pa.array(VALUES[which], kind) if fresh else kept[which]
        indices = [chance.choice([None, 0, 1, 2]) for _ in range(10)]
        flat = encode(pa.array(indices, pa.uint8()), values)
        nested = encode(
            pa.array([0, 1] * 5, pa.int64()),
            pa.StructArray.from_arrays(
                [encode(pa.array([1, 0]), kept[inner]), pa.array([which, inner])],
                ["d", "n"],
            ),
        )
        lists = pa.ListArray.from_arrays(pa.array(range(11), pa.int32()), flat)
        made.append(pa.record_batch({"flat": flat, "nested": nested, "lists": lists}))
    return made


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_batch_keeps_its_own(kind: pa.DataType, tmp_path: Path) -> None:
    batches = changing(100, kind)
    cache = on_disk(reader_of(batches), tmp_path)
    for _ in range(2):
        for one, wanted in zip(cache, batches, strict=True):
            one.validate(full=True)
            assert one.to_pydict() == wanted.to_pydict()
            assert one.schema.equals(wanted.schema)
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        for one, wanted in zip(stream, batches, strict=True):
            assert one.to_pydict() == wanted.to_pydict()


@pytest.mark.parametrize("fresh", [False, True])
def test_written_once_while_it_does_not_change(fresh: bool, tmp_path: Path) -> None:
    words = [f"word {i}" for i in range(5000)]
    kept = pa.array(words)
    batches = [
        pa.record_batch({"d": encode(pa.array([i]), pa.array(words) if fresh else kept)})
        for i in range(50)
    ]
    cache = on_disk(reader_of(batches), tmp_path)
    assert cache.ingest_all() == 50
    once = pa.array(words).nbytes
    assert cache.stats()["disk_bytes"] < once + 50 * 1024
    assert [one.to_pydict() for one in cache] == [one.to_pydict() for one in batches]


def test_only_some_batches_on_disk(tmp_path: Path) -> None:
    """The file has a dictionary before the first of its batches that needs it."""
    batches = changing(40, pa.string())
    size = batches[0].nbytes
    cache = on_disk(
        reader_of(batches),
        tmp_path,
        memory_capacity=10 * size,
        write_policy="on_eviction",
    )
    for _ in range(2):
        for one, wanted in zip(cache, batches, strict=True):
            assert one.to_pydict() == wanted.to_pydict()
    assert 0 < cache.stats()["memory_bytes"] <= 10 * size


def test_batches_outlive_the_cache(tmp_path: Path) -> None:
    batches = changing(20, pa.string())
    cache = on_disk(reader_of(batches), tmp_path)
    held = list(cache)
    cache.close()
    del cache
    assert [one.to_pydict() for one in held] == [one.to_pydict() for one in batches]


def test_damage_is_noticed(tmp_path: Path) -> None:
    batches = [pa.record_batch({"d": encode(pa.array([0, 1]), pa.array(["u", "v"]))})]
    cache = on_disk(reader_of(batches), tmp_path)
    cache.ingest_all()
    file = cache_file(tmp_path)
    content = bytearray(file.read_bytes())
    at = content.index(b"uv")
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="Checksum mismatch for batch 0"):
        list(cache)


def test_at_most_one_batch_is_held_for_its_dictionaries(tmp_path: Path) -> None:
    """Each column's dictionary changes with a different batch, and none changes later."""
    released: list[int] = []
    numbers = pa.array(range(100_000), pa.int64())
    kept = {k: pa.array([f"{k} first"]) for k in range(8)}
    indices = pa.array([0] * len(numbers), pa.int32())

    def generate() -> Iterator[pa.RecordBatch]:
        for i in range(8):
            kept[i] = pa.array([f"{i} last"])
            columns = {f"d{k}": encode(indices, kept[k]) for k in range(8)}
            columns["n"] = pa.array(range(i, i + 100_000), pa.int64())
            released.append(pa.total_allocated_bytes())
            yield pa.record_batch(columns)

    schema = next(generate()).schema
    kept.update({k: pa.array([f"{k} first"]) for k in range(8)})
    released.clear()
    cache = on_disk(pa.RecordBatchReader.from_batches(schema, generate()), tmp_path)
    reader = cache.reader()
    for _ in range(8):
        next(reader)
    assert released[-1] - released[1] < 3 * numbers.nbytes
