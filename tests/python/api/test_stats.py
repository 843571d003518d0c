"""A cache's counts, its state and its sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from helpers import Gate, Source, Task, ids, numbered, on_disk, wait_until
from tiers import MakeCache


def test_state(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(2)))
    assert cache.stats()["state"] == "open"
    cache.ingest_all()
    assert cache.stats()["state"] == "exhausted"
    cache.close()
    assert cache.stats()["state"] == "closed"
    assert (cache.num_rows, cache.nbytes) == (8, 64), "still known"
    failing = make_any_cache(Source(numbered(2), 1, ValueError("boom")))
    with pytest.raises(ValueError, match="boom"):
        failing.ingest_all()
    assert failing.stats()["state"] == "failed"
    assert (failing.num_rows, failing.nbytes) == (None, None)
    with pytest.raises(TypeError, match=r"failed \(1 recorded\): ingest_all\(\)"):
        len(failing)


def test_sizes_are_known_at_the_end(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(3)))
    assert (cache.num_rows, cache.nbytes) == (None, None)
    list(cache)
    assert (cache.num_rows, cache.nbytes) == (12, 96)
    assert (cache.stats()["rows"], cache.stats()["bytes"]) == (12, 96)


def test_bytes_are_those_that_pyarrow_counts(tmp_path: Path) -> None:
    table = pa.table(
        {
            "s": [f"text {i}" for i in range(100)],
            "l": [[i] * (i % 3) for i in range(100)],
            "d": pa.array(["a", "b"] * 50).dictionary_encode(),
        }
    )
    batches = table.to_batches(max_chunksize=30)
    cache = on_disk(Source(batches), tmp_path)
    cache.ingest_all()
    # pyarrow omits the last offset of each of the three batches
    assert cache.nbytes == sum(batch.nbytes + 3 * 4 for batch in batches)


def test_hits_by_tier(tmp_path: Path) -> None:
    cache = StreamCache(
        Source(numbered(10)), 4 * 32, tmp_path, 1 << 20, write_policy="on_eviction"
    )
    for passes in (1, 2, 3):
        assert ids(cache) == list(range(40))
        stats = cache.stats()
        assert (stats["memory_hits"], stats["disk_hits"]) == (4 * passes, 6 * passes)
    assert cache[0] is not None
    assert cache[9] is not None
    assert pa.table(cache).num_rows == 40
    stats = cache.stats()
    assert (stats["memory_hits"], stats["disk_hits"]) == (4 * 4 + 1, 6 * 4 + 1)
    assert stats["readers"] == 4


def test_time_in_the_source_and_waiting_threads() -> None:
    """The source is in its second batch while two threads wait for it."""
    gate = Gate(numbered(3), 1)
    cache = StreamCache(gate)
    tasks = [Task(ids, cache) for _ in range(3)]
    assert gate.reached.wait(120)
    wait_until(lambda: cache.stats()["waiting"] >= 2)
    stats = cache.stats()
    assert (stats["waiting"], stats["batches"], stats["source_calls"]) == (2, 1, 2)
    gate.opened.set()
    assert all(task.result() == list(range(12)) for task in tasks)
    stats = cache.stats()
    assert (stats["waiting"], stats["source_calls"]) == (0, 4)
    assert stats["source_seconds"] > 0


def test_the_docstring_names_every_number() -> None:
    documented = str(StreamCache.stats.__doc__).partition("Examples")[0]
    words = set(re.findall(r"\w+", documented))
    assert StreamCache(Source([])).stats().keys() <= words
