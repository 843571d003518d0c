"""max_readers, budgets, and where the bytes go."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from .data import SCHEMA, TIERS, both, disk, evict, ids, stream, tree
from .probing import attempt, each, each_of, kind_raised, probe

TAKES: dict[str, Callable[[Any], Any]] = {
    "reader": lambda c: c.reader(),
    "reader(False)": lambda c: c.reader(False),
    "iter": iter,
    "c_stream": lambda c: c.__arrow_c_stream__(),
    "requested": lambda c: c.__arrow_c_stream__(SCHEMA.__arrow_c_schema__()),
    "pyarrow": pa.RecordBatchReader.from_stream,
    "casting": lambda c: c.cast(SCHEMA).__arrow_c_stream__(),
    "casting requested": lambda c: c.cast(SCHEMA).__arrow_c_stream__(
        SCHEMA.__arrow_c_schema__()
    ),
    "list": list,
}


@each(TAKES)
def one_reader_too_many(bc: Any, name: str) -> Any:
    """Two slots taken this way, and then another one in each way."""
    found = []
    for other in TAKES.values():
        cache = bc.StreamCache(stream(), max_readers=2)
        found.append([attempt(take, cache) for take in (TAKES[name], TAKES[name], other)])
    return found


TAKES_NONE: dict[str, Callable[[Any], Any]] = {
    "ingest_all": lambda c: c.ingest_all(),
    "c_schema": lambda c: c.__arrow_c_schema__(),
    "schema": lambda c: c.schema,
    "cast": lambda c: c.cast(SCHEMA),
    "cast of cast": lambda c: c.cast(SCHEMA).cast(SCHEMA),
    "c_schema of a cast": lambda c: c.cast(SCHEMA).__arrow_c_schema__(),
    "reader(5)": lambda c: kind_raised(c.reader, 5),
    "c_stream(5)": lambda c: kind_raised(c.__arrow_c_stream__, 5),
    "repr": lambda c: bool(repr(c)),
}


@each(TAKES_NONE)
def takes_no_slot(bc: Any, name: str) -> Any:
    cache = bc.StreamCache(stream(), max_readers=1)
    found = [attempt(TAKES_NONE[name], cache)]
    return [*found, attempt(ids, cache), attempt(cache.reader)]


@probe
def a_dropped_reader_keeps_its_slot(bc: Any) -> Any:
    cache = bc.StreamCache(stream(), max_readers=1)
    cache.reader()
    gc.collect()
    return attempt(cache.reader)


@probe
def a_closed_cache_with_no_slot_left(bc: Any) -> Any:
    cache = bc.StreamCache(stream(), max_readers=1)
    cache.reader()
    cache.close()
    return attempt(cache.reader)


@probe
def a_readers_stream_takes_no_other_slot(bc: Any) -> Any:
    cache = bc.StreamCache(stream(), max_readers=2)
    return [ids(cache.reader().cast(SCHEMA)), ids(pa.table(cache.reader()).to_batches())]


tiers = each(TIERS)


@tiers
def all_readers_pass(bc: Any, tier: str, tmp: Path) -> Any:
    """The data is right while earlier batches go, in step and one after the other."""
    cache = TIERS[tier](bc, stream(6), tmp, max_readers=3)
    one, two, three = (cache.reader() for _ in range(3))
    seen: list[list[Any]] = [[], [], []]
    for _ in range(3):
        for got, reader in zip(seen, (one, two, three), strict=True):
            got.append(next(reader))
    for got, reader in zip(seen, (two, three, one), strict=True):
        got += reader
    return [ids(got) for got in seen]


@tiers
def from_start_after_all_slots_but_one_passed(bc: Any, tier: str, tmp: Path) -> Any:
    """Nothing goes before the last reader exists, so it can start at 0."""
    cache = TIERS[tier](bc, stream(4), tmp, max_readers=2)
    lead = cache.reader()
    found = [ids(lead)]
    del lead
    return [*found, ids(cache.reader())]


@tiers
def last_reader_from_the_frontier(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, stream(4), tmp, max_readers=2)
    lead = cache.reader()
    next(lead)
    last = cache.reader(from_start=False)
    return [ids(last), ids(lead), attempt(cache.reader)]


@probe
def memory_of_batches_that_all_passed(bc: Any) -> Any:
    """How many batches of 80 kB are held while two readers move."""
    rows = 10_000
    before = pa.total_allocated_bytes()

    def held() -> int:
        gc.collect()
        return round((pa.total_allocated_bytes() - before) / (rows * 8))

    def generate() -> Any:
        for _ in range(8):
            yield pa.record_batch({"id": pa.array(range(rows), pa.int64())})

    cache = bc.StreamCache(
        pa.RecordBatchReader.from_batches(SCHEMA, generate()), max_readers=2
    )
    one, two = cache.reader(), cache.reader()
    found = [held()]
    for reader, steps in ((one, 4), (two, 2), (two, 2), (one, 4), (two, 4)):
        for _ in range(steps):
            next(reader)
        found.append(held())
    return found


@probe
def dropped_reader_holds_nothing_back(bc: Any) -> Any:
    """Room for two batches, and a dropped reader at the first one."""
    cache = bc.StreamCache(stream(20), 64, max_readers=2)
    dropped = cache.reader()
    next(dropped)
    del dropped
    gc.collect()
    return attempt(lambda: ids(cache))


@probe
def ingest_all_and_max_readers(bc: Any) -> Any:
    cache = bc.StreamCache(stream(4), max_readers=1)
    return [cache.ingest_all(), ids(cache), cache.ingest_all(), attempt(cache.reader)]


# ---- budgets ----

BUDGETS = {str(size): size for size in (0, 1, 31, 32, 64, 200, 320, 1000)}


@each_of(BUDGETS)
def memory_budget(bc: Any, size: int) -> Any:
    """Ten batches of 32 bytes."""
    cache = bc.StreamCache(stream(10), size)
    found = [attempt(cache.ingest_all) for _ in range(2)]
    return [*found, cache.upstream_exhausted]


@each_of(BUDGETS)
def memory_budget_counts(bc: Any, size: int) -> Any:
    cache = bc.StreamCache(stream(10), size)
    kind_raised(cache.ingest_all)
    return cache.ingested_count


@each_of(BUDGETS)
def memory_budget_is_no_limit_with_a_disk(bc: Any, size: int, tmp: Path) -> Any:
    cache = disk(bc, stream(10), tmp, memory_capacity=size)
    return [cache.ingest_all(), ids(cache), ids(cache)]


FAILS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "ingest_all": lambda c: c.ingest_all(),
    "pyarrow": lambda c: pa.table(c),
    "casting": lambda c: pa.table(c.cast(SCHEMA)),
    "reader's cast": lambda c: c.reader().cast(SCHEMA).read_all(),
}


@each(FAILS)
def over_memory_capacity(bc: Any, way: str) -> Any:
    cache = bc.StreamCache(stream(10), 50)
    return [attempt(FAILS[way], cache) for _ in range(2)]


@each(FAILS)
def over_disk_capacity(bc: Any, way: str, tmp: Path) -> Any:
    cache = disk(bc, stream(3, rows=1000), tmp, disk_capacity=10_000)
    found = attempt(FAILS[way], cache)
    return [found["raises"], found["words"].partition(": ")[0]]


@probe
def words_of_over_disk_capacity(bc: Any, tmp: Path) -> Any:
    cache = disk(bc, stream(3, rows=1000), tmp, disk_capacity=10_000)
    return [attempt(cache.ingest_all), cache.ingested_count]


@probe
def a_batch_that_did_not_fit_is_not_lost(bc: Any) -> Any:
    """After the readers passed the stored batches, the batch has room."""
    cache = bc.StreamCache(stream(10), 96, max_readers=1)
    found = [attempt(cache.ingest_all)]
    return [*found, attempt(lambda: ids(cache)), cache.ingested_count]


@probe
def slices_are_charged_for_what_they_reference(bc: Any) -> Any:
    table = pa.table({"id": pa.array(range(1000), pa.int64())})
    cache = bc.StreamCache(table.to_reader(max_chunksize=100), 9000)
    return attempt(cache.ingest_all)


# ---- files ----


@each(["memory", "both", "disk", "evict"])
def files(bc: Any, tier: str, tmp: Path) -> Any:
    """Presence and size of files at each step."""
    cache = TIERS[tier](bc, stream(4), tmp)
    found = [tree(tmp)]
    reader = cache.reader()
    found.append(tree(tmp))
    for _ in range(5):
        next(reader, None)
        found.append(tree(tmp))
    cache.close()
    found.append(tree(tmp))
    return found


@probe
def files_of_an_eviction_with_room(bc: Any, tmp: Path) -> Any:
    """The file exists and stays empty."""
    cache = evict(bc, stream(), tmp, memory_capacity=1 << 20)
    return [cache.ingest_all(), tree(tmp), ids(cache), tree(tmp)]


@probe
def files_are_arrow(bc: Any, tmp: Path) -> Any:
    cache = both(bc, stream(), tmp)
    cache.ingest_all()
    (file,) = tmp.glob("*/cache.arrow")
    return [ids(pa.ipc.open_stream(file.read_bytes()))]


@probe
def modes(bc: Any, tmp: Path) -> Any:
    both(bc, stream(), tmp / "new").ingest_all()
    cache = both(bc, stream(), tmp / "new")
    cache.ingest_all()
    (folder,) = (tmp / "new").iterdir()
    return [oct(p.stat().st_mode) for p in (tmp / "new", folder, *folder.iterdir())]


@probe
def names_of_directories(bc: Any, tmp: Path) -> Any:
    caches = [both(bc, stream(), tmp) for _ in range(3)]
    found = sorted(p.name for p in tmp.iterdir())
    return [found, [c.ingest_all() for c in caches]]


@probe
def several_caches_in_one_directory(bc: Any, tmp: Path) -> Any:
    caches = [both(bc, stream(i + 1), tmp) for i in range(3)]
    found = [[c.ingest_all() for c in caches], tree(tmp)]
    caches[1].close()
    found += [tree(tmp), ids(caches[0]), ids(caches[2])]
    caches.append(both(bc, stream(5), tmp))
    found += [ids(caches[3]), tree(tmp)]
    for cache in caches:
        cache.close()
    return [*found, tree(tmp)]


@probe
def a_closed_caches_directory_is_used_again(bc: Any, tmp: Path) -> Any:
    found = []
    for _ in range(3):
        cache = both(bc, stream(), tmp)
        found.append([ids(cache), tree(tmp)])
        cache.close()
    return found


@probe
def others_files_stay(bc: Any, tmp: Path) -> Any:
    (tmp / "cache.arrow").write_text("mine")
    (tmp / "_0").mkdir()
    (tmp / "_0" / "cache.arrow").write_text("mine")
    cache = both(bc, stream(), tmp)
    cache.ingest_all()
    cache.close()
    left = {
        str(p.relative_to(tmp)): p.is_file() and p.read_text() for p in tmp.rglob("*")
    }
    return [left, ids([])]


def damaged(
    bc: Any, tmp: Path, change: Callable[[bytearray], Any], **options: Any
) -> Any:
    """Return a cache whose file was changed after it was recorded."""
    cache = disk(bc, stream(3, rows=1000), tmp, **options)
    cache.ingest_all()
    (file,) = tmp.glob("*/cache.arrow")
    content = bytearray(file.read_bytes())
    change(content)
    with file.open("r+b") as out:
        out.truncate(len(content))
        out.write(content)
    return cache


def flip(at: int) -> Callable[[bytearray], Any]:
    def change(content: bytearray) -> None:
        content[at] ^= 1

    return change


@each_of({"first": 0, "schema": 40, "middle": 12_000, "last batch": -1000})
def damaged_file(bc: Any, at: int, tmp: Path) -> Any:
    """A flipped bit."""
    cache = damaged(bc, tmp, flip(at))
    return [attempt(lambda: sum(ids(cache))), attempt(lambda: pa.table(cache).num_rows)]


@each_of({"half": 12_000, "nothing": 0})
def shortened_file(bc: Any, size: int, tmp: Path) -> Any:
    def change(content: bytearray) -> None:
        del content[size:]

    cache = damaged(bc, tmp, change)
    found = attempt(lambda: sum(ids(cache)))
    if isinstance(found, dict):
        found["words"] = found["words"].partition(": ")[0]
    return found


@probe
def damage_does_not_touch_what_is_in_memory(bc: Any, tmp: Path) -> Any:
    cache = damaged(bc, tmp, flip(-1000), memory_capacity=1 << 20)
    return sum(ids(cache))


@probe
def removed_directory(bc: Any, tmp: Path) -> Any:
    """Another process removes the file of a running cache."""
    cache = disk(bc, stream(), tmp)
    reader = cache.reader()
    next(reader)
    (file,) = tmp.glob("*/cache.arrow")
    file.unlink()
    file.parent.rmdir()
    return [ids(reader), ids(cache), cache.close(), tree(tmp)]
