"""
Draws of the random matrix: a source, consumers and threads.

A process gets a seed and a count of draws. Each draw has a deadline. After the deadline,
the process prints where its threads are, and ends.
"""

from __future__ import annotations

import faulthandler
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchcorder import StreamCache
from helpers import SCHEMA, Task, batch, ids, numbered
from python_sources import CONSUMERS, COUNT, fsspec_dataset, generator, python_file
from tiers import TIERS, maker

DEADLINE_SECONDS = 120
BATCHES = numbered(20, COUNT // 20)


class BoomError(Exception):
    pass


def streamed(generate: Callable[[], Iterator[pa.RecordBatch]]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, generate())


def that_sleeps() -> Any:
    """Return a source that is as slow as a network."""

    def generate() -> Iterator[pa.RecordBatch]:
        for one in BATCHES:
            time.sleep(0.001)  # sleep: the source is slow
            yield one

    return streamed(generate)


def that_fails() -> Any:
    def generate() -> Iterator[pa.RecordBatch]:
        yield from BATCHES[:10]
        raise BoomError("boom")

    return streamed(generate)


def written_in_c() -> Any:
    return pa.Table.from_batches(BATCHES).to_reader(max_chunksize=10)


def another_cache() -> Any:
    return StreamCache(generator())


def a_reader_of_a_cache() -> Any:
    return StreamCache(python_file(), prefetch=2).reader()


def that_looks_at_its_cache() -> Any:
    """Return a source that reads back all recorded batches before each batch."""

    def generate() -> Iterator[pa.RecordBatch]:
        for i, one in enumerate(BATCHES):
            cache = looked_at[0]
            reader = cache.reader()
            assert all(next(reader) is not None for _ in range(cache.ingested_count))
            assert i == cache.ingested_count
            yield one

    looked_at: list[StreamCache] = []
    stream = streamed(generate)
    CACHE_FOR[id(stream)] = looked_at
    return stream


# By the id of a source: the cache that the source reads back.
CACHE_FOR: dict[int, list[StreamCache]] = {}
SOURCES: list[Callable[[], Any]] = [
    generator,
    python_file,
    fsspec_dataset,
    that_sleeps,
    that_fails,
    written_in_c,
    another_cache,
    a_reader_of_a_cache,
    that_looks_at_its_cache,
]
# The switch intervals of Python's threads.
INTERVALS = (1e-6, 1e-4, 5e-3)
# The action of a thread beside the readers.
BESIDE = ("nothing", "look", "close", "collect", "drop")


def look(cache: StreamCache, reader: Any, over: threading.Event) -> None:
    while not over.is_set():
        assert reader.schema == cache.schema == SCHEMA
        assert not cache.upstream_exhausted or cache.ingested_count > 0
        assert not reader.closed or cache.ingested_count > 0
        repr(cache), cache.stats(), cache.reader(), reader.__arrow_c_schema__()


def run_one(draw: random.Random, path: Path) -> str:
    """Run one draw and check its results. Return a description of the draw."""
    source = draw.choice(SOURCES)
    names = [draw.choice(list(CONSUMERS)) for _ in range(draw.randint(1, 8))]
    shared = draw.choice((0, 0, len(names), len(names) // 2))
    tier = draw.choice(list(TIERS))
    options: dict[str, Any] = {"prefetch": draw.choice((None, None, 1, 4, 1 << 40))}
    if tier != "memory":
        options["compression"] = draw.choice((None, None, "lz4", "zstd"))
        options["checksum"] = draw.random() < 0.8
    beside = draw.choice(BESIDE)
    interval = draw.choice(INTERVALS)
    what = (
        f"{source.__name__} -> {tier} {options} -> {names}, {shared} of them share "
        f"a reader; {beside}; switches every {interval}"
    )
    print(what, flush=True)

    sys.setswitchinterval(interval)
    stream = source()
    cache = maker(tier, path)(stream, **options)
    wants = CACHE_FOR.pop(id(stream), None)
    if wants is not None:
        wants.append(cache)
    del stream
    reader = cache.reader()
    start = threading.Barrier(len(names) + 1)
    over = threading.Event()

    def read(name: str, cache: StreamCache | None) -> list[int]:
        start.wait()
        if cache is None:
            return ids(list(reader))
        return CONSUMERS[name](cache)

    tasks = [
        Task(read, name, None if i < shared else cache) for i, name in enumerate(names)
    ]
    if beside == "look":
        Task(look, cache, reader, over)
    start.wait()
    if beside == "close":
        if draw.random() < 0.5:
            time.sleep(draw.random() * 0.05)  # sleep: a random moment
        cache.close()
    elif beside == "collect":
        gc.collect()
    elif beside == "drop":
        del cache
    check(tasks, shared, source is that_fails, beside == "close")
    over.set()
    if wants is not None:
        wants.clear()
    return what


def check(tasks: list[Task], shared: int, fails: bool, closed: bool) -> None:
    parts: list[list[int]] = []
    for i, task in enumerate(tasks):
        try:
            got = task.result(DEADLINE_SECONDS)
        except Exception as error:
            if not (fails or closed):
                raise
            # DataFusion raises the last text for any error of a capsule.
            told = ("boom", "closed", "Expected either")
            if not any(words in str(error) for words in told):
                raise
            continue
        assert not fails or closed, "the stream of a failed source ended"
        if i < shared:
            parts.append(got)
        else:
            assert got == list(range(COUNT)), (len(got), got[:5])
    if parts and not closed:
        assert Counter(i for part in parts for i in part) == Counter(range(COUNT))


def main(seed: int, first: int, runs: int, path: Path) -> None:
    """Run the draws from `first` to `first + runs` of a seed, each with a deadline."""
    assert batch(0).schema == SCHEMA
    for number in range(first, first + runs):
        print(f"seed {seed}, draw {number}: ", end="", flush=True)
        faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
        run_one(random.Random(f"{seed} {number}"), path)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
