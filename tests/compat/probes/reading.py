"""Readers, iteration, and the moments at which a cache or a reader is closed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .data import SCHEMA, TIERS, disk, generated, ids, imported, stream, tree
from .probing import attempt, each, each_of, kind_raised, probe

tiers = each(TIERS)


@tiers
def reading(bc: Any, tier: str, tmp: Path) -> Any:
    """Every way to read, before and after all is recorded."""
    cache = TIERS[tier](bc, stream(), tmp)
    found = [cache.ingested_count, cache.upstream_exhausted]
    first = cache.reader()
    found += [ids([next(first)]), cache.ingested_count, cache.upstream_exhausted]
    found += [ids([next(iter(cache))]), ids(cache), ids(first)]
    found += [cache.ingested_count, cache.upstream_exhausted, cache.ingest_all()]
    found += [ids(cache.reader()), ids(pa.table(cache).to_batches()), len(list(cache))]
    return [*found, cache.schema]


@tiers
def readers_side_by_side(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, stream(4), tmp)
    one, two = cache.reader(), cache.reader()
    three = pa.RecordBatchReader.from_stream(cache)
    turns = [next(one), next(one), next(two), three.read_next_batch(), next(one)]
    return [ids(turns), ids(one), ids(two), ids(three), ids(zip_first(cache))]


def zip_first(cache: Any) -> list[Any]:
    """Return the first of each pair of two iterations in step."""
    return [a for a, b in zip(cache, cache, strict=True) if a.equals(b)]


@tiers
def from_the_frontier(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, stream(4), tmp)
    readers = [cache.reader(from_start=False)]
    lead = cache.reader()
    for _ in range(2):
        next(lead)
    readers.append(cache.reader(False))
    cache.ingest_all()
    readers.append(cache.reader(from_start=False))
    return [ids(list(one)) for one in readers]


@tiers
def exhausted_only_when_the_end_was_seen(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, stream(2), tmp)
    reader = cache.reader()
    found = []
    for _ in range(2):
        next(reader)
        found.append([cache.ingested_count, cache.upstream_exhausted, reader.closed])
    found.append([next(reader, "end"), cache.upstream_exhausted])
    return found


@probe
def ingest_all(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    next(cache.reader())
    return [cache.ingest_all() for _ in range(3)]


@probe
def types_that_come_back(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    reader = cache.reader()
    return [
        type(cache.schema),
        type(cache.ingested_count),
        type(cache.upstream_exhausted),
        type(reader),
        type(reader.schema),
        type(reader.closed),
        type(next(reader)),
        type(iter(cache)),
        type(cache.cast(SCHEMA)),
        type(cache.cast(SCHEMA).cast(SCHEMA)),
        type(cache.cast(SCHEMA).schema),
        type(reader.cast(SCHEMA)),
        type(cache.ingest_all()),
        cache.__arrow_c_stream__(),
        cache.__arrow_c_schema__(),
        cache.cast(SCHEMA).__arrow_c_stream__(),
        cache.cast(SCHEMA).__arrow_c_schema__(),
        cache.reader().__arrow_c_stream__(),
        cache.reader().__arrow_c_schema__(),
        cache.close(),
    ]


@probe
def iterators(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    reader = cache.reader()
    return [iter(reader) is reader, iter(cache) is iter(cache), iter(cache) is cache]


@probe
def loops(bc: Any) -> Any:
    """The language's operations on iterables."""
    cache = bc.StreamCache(stream())
    first, *rest = cache
    *_, last = cache.reader()
    return [
        ids([first]),
        ids(rest),
        ids([last]),
        [one.num_rows for one in reversed(list(cache))],
        sum(one.num_rows for one in cache),
        [i for i, _ in enumerate(cache)],
        list(map(len_of, cache)),
        ids([x for y in [cache, cache] for x in y]),
    ]


def len_of(batch: pa.RecordBatch) -> int:
    return batch.num_rows


@probe
def next_after_the_end(bc: Any) -> Any:
    reader = bc.StreamCache(stream(1)).reader()
    found = [ids([next(reader)])]
    found += [attempt(next, reader) for _ in range(3)]
    return [*found, list(reader), next(reader, "default"), attempt(next, reader)]


@probe
def closed_after_the_end(bc: Any) -> Any:
    reader = bc.StreamCache(stream(1)).reader()
    list(reader)
    return reader.closed


@probe
def a_reader_at_its_end(bc: Any) -> Any:
    """Every use of a reader that was iterated to its end."""
    cache = bc.StreamCache(stream(1))
    found = []
    for use in USES.values():
        reader = cache.reader()
        list(reader)
        found.append(attempt(use, reader))
    return found


@probe
def a_reader_at_its_end_as_a_stream(bc: Any) -> Any:
    reader = bc.StreamCache(stream(1)).reader()
    list(reader)
    rest = pa.RecordBatchReader.from_stream(reader)
    return [rest.schema, ids(rest), reader.closed]


USES: dict[str, Callable[[Any], Any]] = {
    "next": next,
    "list": list,
    "iter": lambda r: iter(r) is r,
    "schema": lambda r: r.schema,
    "closed": lambda r: r.closed,
    "c_stream": lambda r: r.__arrow_c_stream__(),
    "c_schema": lambda r: r.__arrow_c_schema__(),
    "cast": lambda r: r.cast(SCHEMA),
}
ENDS: dict[str, Callable[[Any], Any]] = {
    "c_stream": lambda r: r.__arrow_c_stream__(),
    "requested": lambda r: r.__arrow_c_stream__(SCHEMA.__arrow_c_schema__()),
    "cast": lambda r: r.cast(SCHEMA),
    "pyarrow": pa.RecordBatchReader.from_stream,
    "table": pa.table,
}


@each(ENDS)
def a_used_up_reader(bc: Any, name: str) -> Any:
    cache = bc.StreamCache(stream())
    found = []
    for use in USES.values():
        reader = cache.reader()
        kept = ENDS[name](reader)
        found.append(attempt(use, reader))
        del kept
    return found


@probe
def a_used_up_reader_and_a_bad_argument(bc: Any) -> Any:
    reader = bc.StreamCache(stream()).reader()
    reader.__arrow_c_stream__()
    return [attempt(reader.cast, 5), attempt(reader.__arrow_c_stream__, 5)]


@probe
def a_partly_read_reader_gives_its_rest(bc: Any) -> Any:
    found = []
    for end in list(ENDS.values())[2:]:
        reader = bc.StreamCache(stream()).reader()
        next(reader)
        found.append(ids(end(reader)))
    return found


@probe
def a_capsule_that_nobody_imports(bc: Any) -> Any:
    reader = bc.StreamCache(stream()).reader()
    reader.__arrow_c_stream__()
    return [reader.closed, kind_raised(next, reader)]


@probe
def a_capsule_imported_twice(bc: Any) -> Any:
    capsule = bc.StreamCache(stream()).__arrow_c_stream__()
    return [ids(imported(capsule)), kind_raised(imported, capsule)]


@probe
def a_schema_capsule_imported_twice(bc: Any) -> Any:
    capsule = bc.StreamCache(stream()).__arrow_c_schema__()
    take = pa.Schema._import_from_c_capsule
    return [take(capsule), kind_raised(take, capsule)]


@probe
def a_schema_capsule_uses_nothing_up(bc: Any) -> Any:
    reader = bc.StreamCache(stream()).reader()
    return [pa.schema(reader), pa.schema(reader), reader.closed, ids(reader)]


@probe
def each_capsule_is_a_reader_of_its_own(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    one, two = (imported(cache.__arrow_c_stream__()) for _ in range(2))
    return [ids([one.read_next_batch()]), ids(two), ids(one)]


@probe
def a_stream_after_its_end(bc: Any) -> Any:
    rest = pa.RecordBatchReader.from_stream(bc.StreamCache(stream(1)))
    rest.read_next_batch()
    return [kind_raised(rest.read_next_batch) for _ in range(2)]


FLAGS: dict[str, Any] = {
    "True": True,
    "False": False,
    "numpy True": np.bool_(True),
    "numpy False": np.bool_(False),
    "0": 0,
    "1": 1,
    "None": None,
    "empty text": "",
    "text": "x",
    "float": 1.0,
    "list": [],
    "pyarrow": pa.scalar(True),
}


@each_of(FLAGS)
def from_start(bc: Any, value: Any) -> Any:
    cache = bc.StreamCache(stream())
    next(cache.reader())
    return attempt(lambda: ids(cache.reader(value)))


# ---- references that keep a recording alive ----

KEEPERS: dict[str, Callable[[Any], Any]] = {
    "reader": lambda c: c.reader(),
    "iterator": iter,
    "capsule": lambda c: c.__arrow_c_stream__(),
    "pyarrow": pa.RecordBatchReader.from_stream,
    "casting": lambda c: c.cast(SCHEMA),
    "cast of a casting": lambda c: c.cast(SCHEMA).cast(SCHEMA),
    "reader's cast": lambda c: c.reader().cast(SCHEMA),
}


@each(KEEPERS)
def the_cache_is_dropped(bc: Any, name: str, tmp: Path) -> Any:
    """The rest can be read. The last reference removes the file."""
    cache = disk(bc, stream(), tmp)
    kept = KEEPERS[name](cache)
    del cache
    gc.collect()
    found = [tree(tmp)]
    source = imported(kept) if name == "capsule" else kept
    found.append(ids(source))
    found.append(tree(tmp))
    del kept, source
    gc.collect()
    return [*found, tree(tmp)]


@tiers
def batches_outlive_everything(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, stream(), tmp)
    kept, table = list(cache), pa.table(cache)
    cache.close()
    del cache
    gc.collect()
    return [ids(kept), table.column(0).to_pylist(), tree(tmp)]


# ---- close ----

AFTER: dict[str, Callable[[Any], Any]] = {
    "reader": lambda c: c.reader(),
    "reader(False)": lambda c: c.reader(False),
    "reader(5)": lambda c: c.reader(5),
    "iter": iter,
    "list": list,
    "pyarrow": pa.table,
    "c_stream": lambda c: c.__arrow_c_stream__(),
    "c_stream requested": lambda c: c.__arrow_c_stream__(SCHEMA.__arrow_c_schema__()),
    "c_schema": lambda c: c.__arrow_c_schema__(),
    "cast": lambda c: c.cast(SCHEMA),
    "cast(5)": lambda c: c.cast(5),
    "ingest_all": lambda c: c.ingest_all(),
    "schema": lambda c: c.schema,
    "ingested_count": lambda c: c.ingested_count,
    "upstream_exhausted": lambda c: c.upstream_exhausted,
    "close": lambda c: c.close(),
}
MOMENTS = {"before": 0, "in the middle": 2, "at the last batch": 3, "at the end": 4}


def closed_at(bc: Any, tier: str, tmp: Path, count: int) -> tuple[Any, Any]:
    """Return a cache that was closed after `count` calls of next, and its reader."""
    cache = TIERS[tier](bc, stream(), tmp)
    reader = cache.reader()
    for _ in range(count):
        next(reader, None)
    cache.close()
    return cache, reader


CLOSED = [(tier, count) for tier in ("memory", "disk") for count in MOMENTS.values()]


@each(AFTER)
def after_close(bc: Any, use: str, tmp: Path) -> Any:
    found = []
    for tier, count in CLOSED:
        cache, _ = closed_at(bc, tier, tmp, count)
        found.append([attempt(AFTER[use], cache), tree(tmp)])
    return found


@each(MOMENTS)
def a_reader_of_a_closed_cache(bc: Any, moment: str, tmp: Path) -> Any:
    return [
        attempt(use, closed_at(bc, tier, tmp, MOMENTS[moment])[1])
        for use in USES.values()
        for tier in ("memory", "disk")
    ]


@each(MOMENTS)
def streams_of_a_closed_cache(bc: Any, moment: str, tmp: Path) -> Any:
    """C streams that were opened before: the error of the consumer's library."""
    found = []
    for tier in ("memory", "disk"):
        cache = TIERS[tier](bc, stream(), tmp)
        streams = [
            pa.RecordBatchReader.from_stream(cache),
            pa.RecordBatchReader.from_stream(cache.cast(SCHEMA)),
            cache.reader().cast(SCHEMA),
        ]
        for one in streams:
            for _ in range(MOMENTS[moment]):
                kind_raised(one.read_next_batch)
        cache.close()
        found += [attempt(one.read_next_batch) for one in streams]
    return found


@probe
def close_in_a_loop(bc: Any, tmp: Path) -> Any:
    cache = disk(bc, stream(4), tmp)
    seen = []

    def loop() -> None:
        for one in cache:
            seen.append(one)
            if len(seen) == 2:
                cache.close()

    return [attempt(loop), ids(seen), tree(tmp)]


@probe
def a_casting_of_a_closed_cache(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    casting = cache.cast(SCHEMA)
    cache.close()
    return [
        casting.schema,
        pa.schema(casting),
        attempt(casting.__arrow_c_stream__),
        attempt(casting.cast, SCHEMA),
        attempt(casting.cast, 5),
        attempt(pa.table, cache.cast(SCHEMA)),
    ]


@probe
def close_releases_the_source(bc: Any) -> Any:
    before = pa.total_allocated_bytes()
    source = generated(10)
    cache = bc.StreamCache(source)
    del source
    next(cache.reader())
    cache.close()
    gc.collect()
    return pa.total_allocated_bytes() == before


@probe
def nobody_reads(bc: Any, tmp: Path) -> Any:
    """A cache that is made and dropped."""
    disk(bc, stream(), tmp)
    gc.collect()
    return tree(tmp)
