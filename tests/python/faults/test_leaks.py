"""Many caches leave no memory, descriptors, mappings or objects behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import SANITIZED, check_python

pytestmark = pytest.mark.skipif(SANITIZED, reason="ASan keeps freed memory")

MEASURE = """
    import gc, os
    from pathlib import Path
    from helpers import *

    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        return sum(int(l.split()[1]) for l in lines if l.startswith("RssAnon"))

    def state():
        gc.collect()
        return (
            len(os.listdir("/proc/self/fd")),
            len(Path("/proc/self/maps").read_text().splitlines()),
            pa.total_allocated_bytes(),
        )

    def check(work, times, kilobytes=3000):
        for _ in range(times // 4):
            work()
        before = state()
        # Allocators grow by leaps, and a leak grows every time.
        for _ in range(3):
            memory = resident()
            for _ in range(times):
                work()
            after, grown = state(), resident() - memory
            if grown < kilobytes:
                break
        assert after[0] == before[0], ("descriptors", before, after)
        assert after[1] - before[1] < 20, ("mappings", before, after)
        assert after[2] - before[2] < 10_000, ("arrow memory", before, after)
        assert grown < kilobytes, ("kB resident", grown)

    table = pa.table({"id": list(range(100)), "s": ["x" * 10] * 100})
    path = @PATH@

    def fails(call, *kinds):
        try:
            call()
        except kinds:
            return
        raise AssertionError("no error")
"""

WORK = {
    "memory": """
    def work():
        cache = StreamCache(table)
        pa.table(cache)
        assert len(list(cache)) == len(list(cache)) == 1
        repr(cache)
    """,
    "disk": """
    def work():
        cache = on_disk(table, path)
        pa.table(cache)
        assert len(list(cache)) == 1
    """,
    "closed": """
    def work():
        with on_disk(table, path) as cache:
            kept = list(cache)
            reader = cache.reader()
    """,
    "half read": """
    def work():
        cache = StreamCache(table.to_reader(max_chunksize=10))
        reader, stream = cache.reader(), cache.__arrow_c_stream__()
        next(reader)
        pa.RecordBatchReader.from_stream(reader)
    """,
    "casts": """
    target = pa.schema({"id": pa.int32(), "s": pa.large_string()})
    def work():
        cache = StreamCache(table)
        pa.table(cache.cast(target))
        cache.reader().cast(target).read_all()
        cache.__arrow_c_stream__(target.__arrow_c_schema__())
        fails(lambda: cache.reader().cast(pa.schema({"x": pa.int8()})), ValueError)
        fails(lambda: cache.cast(5), TypeError)
    """,
    "bad arguments": """
    def work():
        fails(lambda: StreamCache(5), TypeError)
        fails(lambda: StreamCache(table, -1), OverflowError)
        fails(lambda: StreamCache(table, 1.5), TypeError)
        fails(lambda: StreamCache(table, "x"), ValueError)
        fails(lambda: StreamCache(table, max_readers=0), ValueError)
        fails(lambda: StreamCache(table, write_policy="x"), ValueError)
        fails(lambda: StreamCache(table, disk_path="x"), ValueError)
        fails(lambda: StreamCache(table, 1, "/proc/x", 5), OSError)
        fails(lambda: StreamCache(table, 1, 5, 5), TypeError)
    """,
    "errors": """
    def work():
        cache = StreamCache(Source(numbered(3), 2, ValueError("boom")))
        fails(lambda: list(cache), ValueError)
        fails(cache.ingest_all, ValueError)
        fails(lambda: pa.table(cache), ValueError)
        small = StreamCache(table, 5)
        fails(small.ingest_all, MemoryError)
        limited = on_disk(table, path, disk_capacity=5)
        fails(limited.ingest_all, MemoryError)
        one = StreamCache(table, max_readers=1)
        one.reader()
        fails(one.reader, ValueError)
        small.close()
        fails(small.reader, ValueError)
    """,
    "many readers": """
    cache = on_disk(table, path)
    kept = StreamCache(table)
    def work():
        for one in (cache, kept):
            for _ in range(5):
                reader = one.reader()
                next(reader)
                pa.RecordBatchReader.from_stream(one).read_all()
                one.__arrow_c_stream__()
                one.__arrow_c_schema__()
    """,
    "evicted": """
    def work():
        cache = StreamCache(table.to_reader(max_chunksize=5), max_readers=2)
        readers = cache.reader(), cache.reader()
        assert sum(1 for _ in zip(*readers)) == 20
    """,
    "columns and single batches": """
    cache = on_disk(table.to_reader(max_chunksize=30), path)
    def work():
        for columns in (["s"], [0], []):
            assert sum(b.num_rows for b in cache.reader(columns=columns, start=1)) == 70
        fails(lambda: cache.reader(columns=["none"]), KeyError)
        assert cache[1].num_rows == 30 and len(cache[1:]) == 3
        fails(lambda: cache[9], IndexError)
        cache.to_table(["id"])
    """,
    "datasets": """
    import pyarrow.compute as pc
    def work():
        cache = StreamCache(table.to_reader(max_chunksize=30))
        dataset = cache.dataset()
        for _ in range(2):
            assert dataset.to_table(filter=pc.field("id") >= 95).num_rows == 5
        assert dataset.filter(pc.field("id") < 5).count_rows() == 5
        assert len(list(dataset.get_fragments())) > 0
    """,
    "prefetching": """
    def work():
        cache = StreamCache(table.to_reader(max_chunksize=5), prefetch=3)
        reader = cache.reader()
        next(reader)
        if work.__dict__.setdefault("odd", []):
            cache.close()
            work.odd.pop()
        else:
            work.odd.append(1)
            assert sum(1 for _ in reader) == 19
    """,
    "exceptions of the source": """
    class MyError(Exception):
        pass

    def work():
        cache = StreamCache(Source(numbered(3), 2, MyError("boom")))
        for _ in range(2):
            fails(cache.ingest_all, MyError)
            fails(lambda: pa.table(cache), pa.ArrowException, OSError)
    """,
    "take-overs": """
    import logging
    from batchcorder import cached
    logging.disable()
    recording = f"{path}/x.arrows"
    turns, failing = [0], [False]

    class MyError(Exception):
        pass

    def make():
        if failing[0]:
            raise MyError("boom")
        return table.to_reader(max_chunksize=30)

    def work():
        first = cached(recording, make)
        assert len(first[:2]) == 2
        cache = cached(recording, make, resume=True)
        turns[0] += 1
        failing[0] = turns[0] % 3 == 0
        first.close()
        if failing[0]:
            fails(cache.ingest_all, MyError)
        else:
            assert cache.to_table().num_rows == 100
        failing[0] = False
        os.unlink(recording)
    """,
    "threads": """
    def work():
        cache = StreamCache(Source(numbered(3)))
        for task in [Task(list, cache) for _ in range(3)]:
            assert len(task.result()) == 3
    """,
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_leaks(name: str, tmp_path: Path) -> None:
    slow = {"threads", "casts", "datasets", "prefetching", "exceptions of the source"}
    times = 400 if name in slow | {"take-overs"} else 1000
    script = MEASURE.replace("@PATH@", repr(str(tmp_path))) + WORK[name]
    check_python(script + f"\n    check(work, {times})\n", timeout=300)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_ten_thousand_caches(tmp_path: Path) -> None:
    """Caches of every kind are dropped in different states."""
    script = MEASURE.replace("@PATH@", repr(str(tmp_path)))
    script += """
    whole = table.to_batches()[0]
    parts = [whole.slice(i, 10) for i in range(0, 100, 10)]

    def source(fail=False):
        def generate():
            yield from parts
            if fail:
                raise KeyError("boom")
        return pa.RecordBatchReader.from_batches(whole.schema, generate())

    count = 0

    def work():
        global count
        count += 1
        kind, state = count % 5, count // 5 % 4
        if kind == 0:
            cache = StreamCache(source())
        elif kind == 1:
            cache = on_disk(source(), path)
        elif kind == 2:
            cache = StreamCache(source(), max_readers=2)
        elif kind == 3:
            cache = StreamCache(source(), prefetch=2)
        else:
            cache = StreamCache(source(fail=True), 200, path, 1 << 20)
        reader = cache.reader()
        if state > 0:
            next(reader)
        if state > 1:
            fails(lambda: (list(reader), cache[99]), KeyError, IndexError, ValueError)
        if state > 2:
            cache.close()

    for _ in range(2500):
        work()
    before, memory = state(), resident()
    while count < 10_000:
        work()
    after, grown = state(), resident() - memory
    assert after[0] == before[0], ("descriptors", before, after)
    assert after[1] - before[1] < 20, ("mappings", before, after)
    assert after[2] - before[2] < 10_000, ("arrow memory", before, after)
    assert grown < 3000, ("kB resident", grown)
    """
    check_python(script, timeout=300)
    assert list(tmp_path.iterdir()) == []
