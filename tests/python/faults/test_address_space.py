"""Caches and recordings in processes whose address space is short."""

from __future__ import annotations

from pathlib import Path

from helpers import check_python

LIMIT = """
import resource
import pyarrow as pa
import batchcorder

BATCH = pa.record_batch({"x": pa.array([1, 2, 3])})
# pyarrow has reserved its address space at its first use.
batchcorder.StreamCache(BATCH.schema.empty_table().to_reader()).ingest_all()

def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

resource.setrlimit(resource.RLIMIT_AS, (size() + (96 << 20),) * 2)
"""


def test_many_small_caches(tmp_path: Path) -> None:
    """A cache of three rows takes only as much address space as its file needs."""
    check_python(
        LIMIT
        + f"""
caches = []
for i in range(300):
    source = pa.RecordBatchReader.from_batches(BATCH.schema, [BATCH])
    cache = batchcorder.StreamCache.on_disk(
        source, path={str(tmp_path)!r}, memory_capacity=0
    )
    assert [b.num_rows for b in cache.reader()] == [3]
    assert cache[0] == BATCH
    caches.append(cache)
"""
    )


def test_a_file_that_grows(tmp_path: Path) -> None:
    """Batches remain valid though the file outgrows its mapping again and again."""
    check_python(
        LIMIT
        + f"""
def batches():
    for i in range(64):
        yield pa.record_batch({{"x": pa.repeat(pa.scalar(i, pa.int64()), 16384)}})

schema = pa.schema([("x", pa.int64())])
source = pa.RecordBatchReader.from_batches(schema, batches())
cache = batchcorder.StreamCache.on_disk(
    source, path={str(tmp_path)!r}, memory_capacity=0
)
kept = [cache[i] for i in range(0, 64, 3)]
assert [b["x"][9].as_py() for b in kept] == list(range(0, 64, 3))
assert sum(b.num_rows for b in cache.reader()) == 64 * 16384
assert [b["x"][16383].as_py() for b in kept] == list(range(0, 64, 3))
"""
    )
