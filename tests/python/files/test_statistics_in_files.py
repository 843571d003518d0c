"""Statistics of recordings, saved caches and other files, compared with all rows."""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder import StreamCache
from helpers import TESTS, Task, check_python, on_disk, reader_of
from kinds import ALL, DICTIONARIES, batch_of, slices_of
from reference import check, leaves_of
from strategies import Stream, streams

FOOTER = 128

# Columns of many types. A slice begins inside a byte of each bitmap.
NAMES = [
    "struct",
    "dictionary",
    "dictionary_uint8",
    "struct_dictionary",
    "list",
    "uuid",
    "string_view",
]
WHOLE = pa.RecordBatch.from_arrays([ALL[name] for name in NAMES], NAMES)
BATCHES = slices_of(WHOLE)


def footer(content: bytes, offset: int) -> int:
    """Return a number of the footer."""
    return int(struct.unpack_from("<q", content, len(content) - FOOTER + offset)[0])


def unreadable(path: Path) -> Path:
    """Return a copy of a recording in which no byte of a batch is right."""
    content = bytearray(path.read_bytes())
    first, end = footer(content, 24), footer(content, 16)
    content[first:end] = bytes(byte ^ 0xFF for byte in content[first:end])
    copy = path.with_name(f"unreadable-{path.name}")
    copy.write_bytes(content)
    return copy


def check_file(path: Path, batches: list[pa.RecordBatch], **options: Any) -> None:
    """Check the statistics of a complete file, which come from it."""
    assert batchcorder.verify(path) == len(batches)
    with batchcorder.open(path, **options) as cache:
        check(cache.statistics(), batches)
    with batchcorder.open(unreadable(path), **options) as cache:
        check(cache.statistics(), batches)
        with pytest.raises(OSError, match="batch 0"):
            cache[0]


# ---- recordings ----


@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"verify": True}], ids=str)
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_a_recording(tmp_path: Path, compression: Any, options: dict[str, Any]) -> None:
    path = tmp_path / "x.arrows"
    with batchcorder.record(reader_of(BATCHES), path, compression=compression) as cache:
        check(cache.statistics(), BATCHES)
    check_file(path, BATCHES, **options)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(stream=streams(), policy=st.booleans())
def test_random_recordings(
    tmp_path_factory: pytest.TempPathFactory, stream: Stream, policy: bool
) -> None:
    batches = stream.build()
    path = tmp_path_factory.mktemp("random") / "x.arrows"
    batchcorder.record(reader_of(batches), path, statistics=policy).close()
    has_leaves = bool(leaves_of(batches[0]))
    assert (footer(path.read_bytes(), 72) > 0) == (policy and has_leaves)
    with batchcorder.open(path) as cache:
        check(cache.statistics(), batches)


def test_a_recording_while_it_grows(tmp_path: Path) -> None:
    """The writer and its follower have the statistics of each published batch."""
    path = tmp_path / "x.arrows"
    cache = batchcorder.cached(path, lambda: reader_of(BATCHES))
    with cache, batchcorder.open(path, follow=True) as follower:
        for count in range(1, len(BATCHES) + 1):
            assert cache[count - 1].num_rows == BATCHES[count - 1].num_rows
            assert follower[count - 1].num_rows == BATCHES[count - 1].num_rows
            for one in (cache, follower):
                check(one.statistics(), BATCHES[:count])
                check(one.statistics(["list", "struct"]), BATCHES[:count], columns=[4, 0])
            if count == 3:
                with batchcorder.open(path, partial=True) as part:
                    check(part.statistics(), BATCHES[: len(part)])
        cache.ingest_all()
        check(follower.statistics(), BATCHES)
    check_file(path, BATCHES)


@pytest.mark.parametrize("count", range(1, len(BATCHES) + 1))
def test_a_resumed_recording(tmp_path: Path, count: int) -> None:
    """The statistics of the batches of both processes are in the file."""
    path = tmp_path / "x.arrows"
    with batchcorder.cached(path, lambda: reader_of(BATCHES)) as cache:
        cache[count - 1]
    with batchcorder.open(path, partial=True) as cache:
        check(cache.statistics(), BATCHES[: len(cache)])
    with batchcorder.cached(path, lambda: reader_of(BATCHES), resume=True) as cache:
        cache.statistics(["list", "uuid"])
        cache.ingest_all()
        check(cache.statistics(), BATCHES)
    check_file(path, BATCHES)


def test_a_recording_without_statistics(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    with batchcorder.record(reader_of(BATCHES), path, statistics=False) as cache:
        with pytest.raises(ValueError, match="statistics=False"):
            cache.statistics()
        assert cache.dataset().to_table(filter=pc.field("struct").is_null()).num_rows > 0
    with batchcorder.open(path) as cache:
        check(cache.statistics(), BATCHES)


def test_the_stream_is_the_same_with_and_without(tmp_path: Path) -> None:
    """Nothing before the end of the trailer's entries differs."""
    one, other = tmp_path / "x.arrows", tmp_path / "y.arrows"
    batchcorder.record(reader_of(BATCHES), one, statistics=True).close()
    batchcorder.record(reader_of(BATCHES), other, statistics=False).close()
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) - footer(first, 72) == len(second)
    assert first[: len(second) - FOOTER] == second[:-FOOTER]
    assert [
        struct.unpack_from("<i", c, len(c) - FOOTER + 8)[0] for c in (first, second)
    ] == [2, 1]


# ---- recordings of earlier versions and files of other writers ----


def older_source() -> list[pa.RecordBatch]:
    """Return the batches of the recordings in tests/foreign/left."""
    spec = importlib.util.spec_from_file_location("w", LEFT / "write.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    return list(writer.batches())


LEFT = TESTS / "foreign" / "left"


def test_a_recording_of_an_earlier_version() -> None:
    path = LEFT / "complete.arrows"
    content = path.read_bytes()
    assert struct.unpack_from("<i", content, len(content) - FOOTER + 8) == (1,)
    assert batchcorder.verify(path) == 5
    for options in ({}, {"mmap": False}, {"verify": True}):
        with batchcorder.open(path, **options) as cache:
            assert cache.info()["complete"]
            check(cache.statistics(), older_source())
            found = cache.dataset().to_table(filter=pc.field("x") >= 4)
            assert found["x"].to_pylist() == [4, 4, 5]


def test_an_incomplete_recording_of_an_earlier_version(tmp_path: Path) -> None:
    """The resumed recording has the statistics of its older batches too."""
    path = tmp_path / "x.arrows"
    path.write_bytes((LEFT / "recording.arrows").read_bytes())
    batches = older_source()
    with batchcorder.cached(path, lambda: reader_of(batches), resume=True) as cache:
        check(cache.statistics(), batches[:2])
        cache.ingest_all()
        check(cache.statistics(), batches)
    check_file(path, batches)


def written(batches: list[pa.RecordBatch], make: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    with make(
        out, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)
    ) as writer:
        for one in batches:
            writer.write_batch(one)
    return out.getvalue()


@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("name", [n for n in ALL if n not in DICTIONARIES])
def test_files_of_other_writers(tmp_path: Path, name: str, compression: Any) -> None:
    batches = slices_of(batch_of(name))
    for make in (pa.ipc.new_stream, pa.ipc.new_file):
        path = tmp_path / "x"
        path.write_bytes(written(batches, make, compression=compression))
        with batchcorder.open(path) as cache:
            check(cache.statistics(), batches)


def test_other_readers_do_not_see_the_statistics(tmp_path: Path) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    table = pa.table({"x": range(40), "s": [f"row {i}" for i in range(40)]})
    path = tmp_path / "x.arrows"
    batchcorder.record(table.to_reader(10), path).close()
    assert footer(path.read_bytes(), 72) > 0
    assert pa.ipc.open_stream(path).read_all().equals(table)
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
        assert len(list(stream)) == 4
        found = duckdb.from_arrow(pa.ipc.open_stream(path)).fetchall()
    assert found == [(i, f"row {i}") for i in range(40)]
    assert polars.read_ipc_stream(path).to_arrow()["x"].to_pylist() == list(range(40))


# ---- caches ----

SAVED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "memory": lambda path: {},
    "disk": lambda path: {
        "disk_path": path,
        "memory_capacity": 1,
        "disk_capacity": 1 << 30,
    },
    "lz4": lambda path: {
        "disk_path": path,
        "memory_capacity": 1,
        "disk_capacity": 1 << 30,
        "compression": "lz4",
    },
    "evict": lambda path: {
        "disk_path": path,
        "memory_capacity": 64,
        "disk_capacity": 1 << 30,
        "write_policy": "on_eviction",
    },
}


@pytest.mark.parametrize("policy", [None, True, False])
@pytest.mark.parametrize("tier", SAVED)
def test_a_saved_cache(tmp_path: Path, tier: str, policy: bool | None) -> None:
    path = tmp_path / "x.arrows"
    options = SAVED[tier](tmp_path)
    with StreamCache(reader_of(BATCHES), **options, statistics=policy) as cache:
        cache.save(path)
        if policy is False:
            with pytest.raises(ValueError, match="statistics=False"):
                cache.statistics()
        else:
            check(cache.statistics(), BATCHES)
    assert batchcorder.verify(path) == len(BATCHES)
    if policy:
        check_file(path, BATCHES)
    with batchcorder.open(path) as cache:
        check(cache.statistics(), BATCHES)


def test_a_pickled_cache(tmp_path: Path) -> None:
    """A cache on disk gets a trailer when it is pickled; its file may have statistics."""
    path = tmp_path / "x.arrows"
    recording = batchcorder.record(reader_of(BATCHES), path)
    cache = on_disk(reader_of(BATCHES), tmp_path, statistics=True)
    lazy = on_disk(reader_of(BATCHES), tmp_path)
    for one in (recording, cache, lazy):
        one.ingest_all()
        with pickle.loads(pickle.dumps(one)) as copy:
            check(copy.statistics(), BATCHES)
        check(one.statistics(), BATCHES)
    file = tmp_path / "thing.pickle"
    file.write_bytes(pickle.dumps(recording))
    check_python(
        f"""
        import pickle
        from pathlib import Path
        from reference import check
        from kinds import ALL, slices_of
        import pyarrow as pa
        names = {NAMES!r}
        whole = pa.RecordBatch.from_arrays([ALL[name] for name in names], names)
        cache = pickle.loads(Path({str(file)!r}).read_bytes())
        check(cache.statistics(), slices_of(whole))
        """
    )
    for one in (recording, cache, lazy):
        one.close()


@pytest.mark.parametrize("tier", SAVED)
@pytest.mark.parametrize("policy", [None, True])
def test_evicted_batches(tmp_path: Path, tier: str, policy: bool | None) -> None:
    """Statistics are asked for at each eviction, or after some evictions."""
    for asked in (range(7), (0, 4), (3,), (6,)):
        options = SAVED[tier](tmp_path)
        with StreamCache(
            reader_of(BATCHES), **options, statistics=policy, max_readers=1
        ) as cache:
            reader = cache.reader()
            for number in range(len(BATCHES)):
                next(reader)
                if number in asked:
                    stats = cache.stats()
                    check(cache.statistics(), BATCHES[: number + 1], stats["evicted"])
            assert cache.stats()["evicted"] > 0


def test_columns_in_turn() -> None:
    """A column is gathered alone, for the batches that are there, then for the rest."""
    with StreamCache(reader_of(BATCHES)) as cache:
        for number in range(len(BATCHES)):
            cache[number]
            column = number % len(NAMES)
            found = cache.statistics([NAMES[column]])
            check(found, BATCHES[: number + 1], columns=[column])
        check(cache.statistics(), BATCHES)


def test_threads_ask_while_a_source_is_read(tmp_path: Path) -> None:
    """Every table is that of a prefix, and no prefix shrinks."""
    many = BATCHES * 30

    def ask(cache: StreamCache, columns: list[str] | None) -> list[pa.Table]:
        found = []
        while not found or found[-1].num_rows < len(many):
            found.append(cache.statistics(columns))
        return found

    for options in ({}, SAVED["disk"](tmp_path), {"statistics": True}):
        with StreamCache(reader_of(many), **options) as cache:
            tasks = [Task(ask, cache, None) for _ in range(2)]
            tasks += [Task(ask, cache, [name]) for name in ("struct", "uuid")]
            cache.ingest_all()
            tables = [task.result() for task in tasks]
            check(cache.statistics(), many)
            for mine in tables:
                counts = [table.num_rows for table in mine]
                assert counts == sorted(counts)
                last = mine[-1]
                assert all(table.equals(last[: table.num_rows]) for table in mine)


def test_a_failed_source_leaves_the_statistics_of_its_batches() -> None:
    def fails() -> Iterator[pa.RecordBatch]:
        yield from BATCHES[:3]
        raise RuntimeError("boom")

    schema = BATCHES[0].schema
    with StreamCache(pa.RecordBatchReader.from_batches(schema, fails())) as cache:
        with pytest.raises(RuntimeError, match="boom"):
            cache.ingest_all()
        check(cache.statistics(), BATCHES[:3])
