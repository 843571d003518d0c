"""Sources that fail, and sources and caches used from threads."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from .data import SCHEMA, TIERS, batches, generated, ids, stream
from .probing import attempt, describe, each, kind_raised, probe

READS: dict[str, Callable[[Any], Any]] = {
    "list": lambda c: ids(list(c)),
    "ingest_all": lambda c: c.ingest_all(),
    "pyarrow": lambda c: ids(c),
    "casting": lambda c: ids(c.cast(SCHEMA)),
    "reader's cast": lambda c: ids(c.reader().cast(SCHEMA)),
}


class OwnError(Exception):
    """An exception of the source's own."""


ERRORS: dict[str, BaseException] = {
    "ValueError": ValueError("boom"),
    "KeyError": KeyError("boom"),
    "TypeError": TypeError("boom"),
    "RuntimeError": RuntimeError("boom"),
    "OSError": OSError("boom"),
    "OSError with errno": OSError(errno.ENOSPC, "boom"),
    "FileNotFoundError": FileNotFoundError(errno.ENOENT, "boom"),
    "MemoryError": MemoryError("boom"),
    "NotImplementedError": NotImplementedError("boom"),
    "of its own": OwnError("boom"),
    "ArrowInvalid": pa.ArrowInvalid("boom"),
}


@each(READS)
def error_of_the_source(bc: Any, way: str) -> Any:
    """The kind of exception."""
    return {
        name: kind_raised(READS[way], bc.StreamCache(generated(2, error)))
        for name, error in ERRORS.items()
    }


@each(READS)
def words_of_an_error_of_the_source(bc: Any, way: str) -> Any:
    return attempt(READS[way], bc.StreamCache(generated(2, ValueError("boom"))))


@each(READS)
def words_with_prefixes(bc: Any, way: str) -> Any:
    """The prefixes that libraries put before the message."""
    cache = bc.StreamCache(stream(), 1)
    try:
        READS[way](cache)
    except MemoryError as error:
        return str(error)
    return None


@each(READS)
def after_an_error_of_the_source(bc: Any, way: str) -> Any:
    """The results of later readers and ingests."""
    cache = bc.StreamCache(generated(2, ValueError("boom")))
    first = [
        kind_raised(READS[way], cache),
        cache.ingested_count,
        cache.upstream_exhausted,
    ]
    return [first, {name: kind_raised(read, cache) for name, read in READS.items()}]


@each(TIERS)
def prefix_before_an_error(bc: Any, tier: str, tmp: Path) -> Any:
    cache = TIERS[tier](bc, generated(2, ValueError("boom")), tmp)
    reader = cache.reader()
    return [
        ids([next(reader), next(reader)]),
        attempt(next, reader)["raises"],
        reader.closed,
    ]


@probe
def error_at_once(bc: Any) -> Any:
    cache = bc.StreamCache(generated(0, ValueError("boom")))
    return [kind_raised(cache.ingest_all), cache.ingested_count]


# ---- threads ----


class Task(threading.Thread):
    """A thread whose answer is had by `answer`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._call = (function, *args)
        self._answer: Any = None
        self.start()

    def run(self) -> None:
        self._answer = attempt(*self._call)

    def answer(self, timeout: float = 20) -> Any:
        self.join(timeout)
        return "hangs" if self.is_alive() else self._answer


class Gate:
    """A source that waits before its second batch."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def _generate(self) -> Iterator[pa.RecordBatch]:
        first, *rest = batches(4)
        yield first
        self.inside.set()
        self.go_on.wait(20)
        yield from rest

    def stream(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(SCHEMA, self._generate())


@each(TIERS)
def threads(bc: Any, tier: str, tmp: Path) -> Any:
    """Several threads with readers of their own, over a source in C++."""
    cache = TIERS[tier](bc, stream(50), tmp)
    tasks = [Task(lambda: sum(ids(list(cache)))) for _ in range(4)]
    return [task.answer() for task in tasks]


@probe
def threads_share_a_reader(bc: Any) -> Any:
    """Each batch goes to one thread, also while the source is slow."""
    gate = Gate()
    reader = bc.StreamCache(gate.stream()).reader()
    tasks = [Task(lambda: ids(list(reader)))]
    gate.inside.wait(20)
    tasks += [Task(lambda: ids(list(reader))) for _ in range(3)]
    time.sleep(0.1)  # sleep: 0.1.3 does not tell that a thread waits
    gate.go_on.set()
    return sorted(i for task in tasks for i in task.answer())


@probe
def threads_ingest(bc: Any) -> Any:
    cache = bc.StreamCache(stream(50))
    return [task.answer() for task in [Task(cache.ingest_all) for _ in range(4)]]


@probe
def threads_over_a_generator(bc: Any) -> Any:
    """A source that needs the GIL, read by two threads at once."""

    def generate() -> Iterator[pa.RecordBatch]:
        for one in batches(20):
            time.sleep(0.01)  # sleep: the source is slow
            yield one

    cache = bc.StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    tasks = [Task(lambda: sum(ids(list(cache)))) for _ in range(2)]
    return [task.answer() for task in tasks]


@probe
def properties_while_the_source_is_slow(bc: Any) -> Any:
    gate = Gate()
    cache = bc.StreamCache(gate.stream())
    reading = Task(cache.ingest_all)
    gate.inside.wait(20)
    asks = [
        lambda: cache.schema,
        lambda: cache.ingested_count,
        lambda: cache.upstream_exhausted,
        lambda: cache.reader(),
        lambda: ids([next(cache.reader())]),
        lambda: cache.cast(SCHEMA).schema,
    ]
    found = [Task(ask).answer() for ask in asks]
    gate.go_on.set()
    return [*found, reading.answer()]


# ---- consumers ----


def tables() -> pa.Table:
    return pa.table({"id": [1, 2, 3], "x": ["a", None, "c"]})


@probe
def duckdb_twice(bc: Any) -> Any:
    import duckdb

    cache = bc.StreamCache(tables())
    connection = duckdb.connect()
    connection.register("c", cache)
    query = "select a.id, b.x from c a join c b using (id) order by 1"
    return [connection.sql(query).fetchall() for _ in range(2)]


@probe
def duckdb_by_name(bc: Any) -> Any:
    import duckdb

    cache = bc.StreamCache(tables())
    found = duckdb.sql("select sum(id) from cache").fetchall()
    casting = cache.cast(pa.schema([("id", pa.float64()), ("x", pa.string())]))
    found += duckdb.sql("select sum(id) from casting").fetchall()
    reader = cache.reader()
    found += duckdb.sql("select sum(id) from reader").fetchall()
    del casting, reader
    return describe(found)


@probe
def polars(bc: Any) -> Any:
    import polars as pl

    cache = bc.StreamCache(tables())
    found = [pl.DataFrame(cache).rows(), pl.DataFrame(cache.reader()).rows()]
    return describe([*found, pl.DataFrame(cache.cast(cache.schema)).rows()])


@probe
def pandas(bc: Any) -> Any:
    import pandas as pd

    cache = bc.StreamCache(tables())
    return [pd.DataFrame.from_arrow(cache)["id"].tolist() for _ in range(2)]


@probe
def arro3_and_nanoarrow(bc: Any) -> Any:
    import arro3.core
    import nanoarrow

    cache = bc.StreamCache(tables())
    return [len(nanoarrow.Array(cache)), arro3.core.Table.from_arrow(cache).num_rows]


@probe
def pyarrow(bc: Any, tmp: Path) -> Any:
    import pyarrow.dataset
    import pyarrow.parquet

    cache = bc.StreamCache(tables())
    found = [pa.table(cache), pa.schema(cache), pa.chunked_array(cache).length()]
    pyarrow.parquet.write_table(pa.table(cache), tmp / "x.parquet")
    with pa.ipc.new_file(tmp / "x.arrow", cache.schema) as writer:
        for one in cache:
            writer.write(one)
    pyarrow.dataset.write_dataset(
        pa.RecordBatchReader.from_stream(cache), tmp / "d", format="parquet"
    )
    found.append(pyarrow.parquet.read_table(tmp / "d").num_rows)
    return [*found, pa.Table.from_batches(cache), pa.Table.from_batches(list(cache))]


@probe
def write_dataset_of_a_cache(bc: Any, tmp: Path) -> Any:
    import pyarrow.dataset

    cache = bc.StreamCache(tables())
    return kind_raised(
        lambda: pyarrow.dataset.write_dataset(cache, tmp / "d", format="parquet")
    )


@probe
def cache_of_a_cache(bc: Any) -> Any:
    inner = bc.StreamCache(stream())
    outer = bc.StreamCache(bc.StreamCache(inner.cast(SCHEMA)).reader())
    found = [ids(outer), inner.ingested_count, outer.ingested_count]
    inner.close()
    return [*found, ids(outer)]


@probe
def cache_of_a_closed_cache(bc: Any) -> Any:
    inner = bc.StreamCache(stream())
    outer = bc.StreamCache(inner)
    next(outer.reader())
    inner.close()
    found = [kind_raised(bc.StreamCache, inner)]
    return [*found, kind_raised(outer.ingest_all)]
