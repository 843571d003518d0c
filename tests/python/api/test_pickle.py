"""A cache is pickled as the path of its file. A cache in memory cannot be pickled."""

from __future__ import annotations

import errno
import io
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import batchcorder
from batchcorder import StreamCache
from helpers import (
    CLOSED,
    SCHEMA,
    Source,
    check_python,
    ids,
    numbered,
    on_disk,
    recorded_file,
)
from pickled import Named
from tiers import maker

WANTED = list(range(20))
TABLE = pa.Table.from_batches(numbered(5)).append_column("x", pa.array(["a"] * 20))


def elsewhere(thing: Any, tmp_path: Path, *expressions: str) -> list[Any]:
    """Unpickle `thing` in a fresh process; return the results of expressions there."""
    file = tmp_path / "thing.pickle"
    file.write_bytes(pickle.dumps(thing))
    code = f"""
        import os, pickle
        from pathlib import Path
        os.chdir("/")
        thing = pickle.loads(Path({str(file)!r}).read_bytes())
        from helpers import *
        import pyarrow.compute as pc
        print([eval(e) for e in {list(expressions)!r}])
    """
    return list(eval(check_python(code)))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded_file(tmp_path, TABLE.to_reader(max_chunksize=4))


def test_a_cache_on_disk(tmp_path: Path) -> None:
    """Pickling completes the file, and the child opens it as a recording."""
    with on_disk(Source(numbered(5)), tmp_path) as cache:
        cache.ingest_all()
        assert elsewhere(
            cache, tmp_path, "ids(thing)", "thing.info()['complete']", "thing.path"
        ) == [WANTED, True, cache.path]
        # Every process can read it, and the cache stays usable.
        copies = [pickle.loads(pickle.dumps(cache)) for _ in range(2)]
        assert ids(cache) == WANTED
    assert [ids(copy) for copy in copies] == [WANTED, WANTED]
    assert not os.path.exists(cache.path or "")
    assert list(tmp_path.glob("batchcorder-*")) == []


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("checksum", [True, False])
def test_any_compression_and_checksum(
    compression: Any, checksum: bool, tmp_path: Path
) -> None:
    options = {"compression": compression, "checksum": checksum}
    with on_disk(Source(numbered(5)), tmp_path, **options) as cache:
        cache.ingest_all()
        assert ids(pickle.loads(pickle.dumps(cache))) == WANTED


@pytest.mark.parametrize(
    "other", [TABLE[:16], TABLE[:18], TABLE.select(["x", "id"]), TABLE.select(["id"])]
)
@pytest.mark.parametrize("columns", [None, ["x"]])
def test_another_file_of_that_name(
    other: pa.Table, columns: Any, recording: Path
) -> None:
    """A file that replaced the pickled one is refused: it may hold other batches."""
    with batchcorder.open(recording, columns=columns) as cache:
        content = pickle.dumps(cache)
    assert len(pickle.loads(content)) == 5
    recording.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(content)
    batchcorder.record(other.to_reader(max_chunksize=4), recording).close()
    with pytest.raises(OSError, match="not there any more") as caught:
        pickle.loads(content)
    assert caught.value.errno == errno.ESTALE


def test_a_source_that_has_more(tmp_path: Path) -> None:
    """Copies have the batches recorded when the cache was pickled, and no more."""
    cache = on_disk(Source(numbered(5)), tmp_path)
    reader = cache.reader()
    for _ in range(2):
        next(reader)
    with pytest.warns(UserWarning, match=r"2 batches recorded so far.*ingest_all"):
        content = pickle.dumps(cache)
    early = pickle.loads(content)
    cache.ingest_all()
    late = pickle.loads(content)
    for copy in (early, late):
        assert copy.upstream_exhausted
        assert ids(copy) == list(range(8))
        assert len(copy) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = pickle.loads(pickle.dumps(cache))
    assert ids(whole) == WANTED
    # The file now has a trailer.
    assert ids(pickle.loads(content)) == list(range(8))


def test_a_source_that_failed(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(5), fail_at=3, error=KeyError("why")), tmp_path)
    with pytest.raises(KeyError):
        cache.ingest_all()
    with pytest.warns(UserWarning, match=r"failed: .* 3 batches recorded so far$"):
        content = pickle.dumps(cache)
    assert ids(pickle.loads(content)) == list(range(12))


def test_a_part_of_a_recording_stays_that_part(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    writer = batchcorder.cached(path, lambda: Source(numbered(5)))
    reader = writer.reader()
    for _ in range(3):
        next(reader)
    with batchcorder.open(path, partial=True) as cache:
        content = pickle.dumps(cache)
        writer.ingest_all()
        assert ids(cache) == list(range(12))
        assert ids(pickle.loads(content)) == list(range(12))


def test_nothing_is_recorded_yet(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(5)), tmp_path)
    with pytest.warns(UserWarning, match="0 batches"):
        content = pickle.dumps(cache)
    copy = pickle.loads(content)
    assert copy.schema == SCHEMA
    assert list(copy) == []
    assert ids(cache) == WANTED
    assert list(pickle.loads(content)) == []


def test_an_empty_stream(tmp_path: Path) -> None:
    cache = on_disk(SCHEMA.empty_table().to_reader(), tmp_path)
    cache.ingest_all()
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.schema, copy.num_rows) == (SCHEMA, 0)


@pytest.mark.parametrize("columns", [None, ["x"], ["x", "id", "x"], []], ids=str)
def test_a_recording(columns: list[str] | None, recording: Path, tmp_path: Path) -> None:
    with batchcorder.open(recording, columns=columns) as cache:
        wanted = TABLE if columns is None else TABLE.select(columns)
        (got, rows, opened) = elsewhere(
            cache,
            tmp_path,
            "thing.to_table().to_pydict()",
            "thing.num_rows",
            "len(thing)",
        )
        assert got == wanted.to_pydict()
        assert (rows, opened) == (20, 5)
        assert pickle.loads(pickle.dumps(cache)).schema == wanted.schema
        again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(cache))))
        assert again.to_table() == wanted


def test_a_recording_that_was_just_made(tmp_path: Path) -> None:
    with batchcorder.record(Source(numbered(5)), tmp_path / "x.arrows") as cache:
        assert ids(pickle.loads(pickle.dumps(cache))) == WANTED


def test_options_of_open_are_kept(recording: Path) -> None:
    def maps() -> bool:
        return str(recording) in Path("/proc/self/maps").read_text()

    content = bytearray(recording.read_bytes())
    recording.write_bytes(content[:-1])
    with pytest.raises(OSError, match="not complete"):
        batchcorder.open(recording)
    with batchcorder.open(recording, mmap=False, partial=True) as cache:
        copy = pickle.loads(pickle.dumps(cache))
        assert copy.to_table() == TABLE
        assert not maps()
    # A file without checksums shows the effect of `verify`.
    plain = pa.record_batch({"s": ["text"]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, plain.schema) as writer:
        writer.write_batch(plain)
    broken = sink.getvalue().replace(b"text", b"\xff\xff\xff\xff")
    recording.write_bytes(broken)
    assert len(list(pickle.loads(pickle.dumps(batchcorder.open(recording))))) == 1
    strict = pickle.loads(pickle.dumps(batchcorder.open(recording, verify=True)))
    with pytest.raises(OSError, match="invalid"):
        list(strict)


def test_a_cache_that_follows(tmp_path: Path) -> None:
    """The copy follows the recording too, without a warning."""
    path = tmp_path / "x.arrows"
    gone = batchcorder.cached(path, lambda: Source(numbered(5)))
    reader = gone.reader()
    next(reader)
    with batchcorder.open(path, follow=True) as cache:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            copy = pickle.loads(pickle.dumps(cache))
        assert ids([next(iter(copy))]) == [0, 1, 2, 3]
        assert not copy.upstream_exhausted
        gone.ingest_all()
        assert ids(copy) == WANTED


def test_attributes_and_subclasses(tmp_path: Path) -> None:
    cache = Named(
        Source(numbered(5)), disk_path=tmp_path, disk_capacity=1 << 20, memory_capacity=0
    )
    cache.label = "mine"
    cache.more = {"a": [1]}  # type: ignore[attr-defined]
    cache.ingest_all()
    assert elsewhere(
        cache, tmp_path, "type(thing).__name__", "thing.label", "thing.more"
    ) == [
        "Named",
        "mine",
        {"a": [1]},
    ]
    copy = pickle.loads(pickle.dumps(cache))
    assert vars(copy).keys() >= {"label", "more"}
    cache.itself = cache  # type: ignore[attr-defined]
    with pytest.raises((TypeError, RecursionError)):
        pickle.dumps(cache)
    del cache.itself  # type: ignore[attr-defined]


# ---- objects that refer to a cache ----


def test_a_dataset(recording: Path, tmp_path: Path) -> None:
    with batchcorder.open(recording) as cache:
        dataset = cache.dataset().filter(pc.field("id") >= 18)
        count, rows, fragments = elsewhere(
            dataset,
            tmp_path,
            "thing.count_rows()",
            "thing.to_table(columns=['id'])['id'].to_pylist()",
            "sum(f.count_rows() for f in thing.get_fragments())",
        )
        assert (count, rows, fragments) == (2, [18, 19], 2)
        plain = pickle.loads(pickle.dumps(cache.dataset()))
        assert plain.to_table() == TABLE
        (fragment,) = pickle.loads(pickle.dumps(list(dataset.get_fragments())))
        assert fragment.to_table()["id"].to_pylist() == [18, 19]
    with pytest.raises(TypeError, match="in memory only"):
        pickle.dumps(StreamCache(TABLE).dataset())


def test_a_cast(recording: Path, tmp_path: Path) -> None:
    target = pa.schema([("id", pa.float32()), ("x", pa.large_string())])
    with batchcorder.open(recording) as cache:
        got = elsewhere(cache.cast(target), tmp_path, "str(pa.table(thing).schema)")
        assert got == [str(target)]
    with pytest.raises(TypeError, match="in memory only"):
        pickle.dumps(StreamCache(TABLE).cast(target))


# ---- objects that cannot be pickled ----


def in_memory(tmp_path: Path) -> StreamCache:
    return StreamCache(Source(numbered(5)))


def partly_in_memory(tmp_path: Path) -> StreamCache:
    return maker("evict", tmp_path)(Source(numbered(5)))


def evicted(tmp_path: Path) -> StreamCache:
    cache = on_disk(Source(numbered(5)), tmp_path, max_readers=1)
    assert ids(cache) == WANTED
    return cache


def closed(tmp_path: Path) -> StreamCache:
    cache = on_disk(Source(numbered(5)), tmp_path)
    cache.ingest_all()
    cache.close()
    return cache


def nameless(tmp_path: Path) -> StreamCache:
    path = tmp_path / "x.arrows"
    batchcorder.record(Source(numbered(5)), path).close()
    return batchcorder.open(io.BytesIO(path.read_bytes()))


def nameless_file(tmp_path: Path) -> StreamCache:
    nameless(tmp_path).close()
    with (tmp_path / "x.arrows").open("rb") as file:
        return batchcorder.open(file)


REFUSED: dict[Callable[[Path], StreamCache], str] = {
    in_memory: r"in memory only.*StreamCache\.on_disk\(\).*save\(\)",
    partly_in_memory: r"in memory only.*'on_insertion'.*save\(\)",
    evicted: r"evicted.*max_readers",
    closed: CLOSED,
    nameless: "open it by its path",
    nameless_file: "open it by its path",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_objects_that_cannot_be_pickled(
    make: Callable[[Path], StreamCache], tmp_path: Path
) -> None:
    cache = make(tmp_path)
    if make is not evicted and make is not closed:
        cache.ingest_all()
    with pytest.raises(TypeError, match=REFUSED[make]) as caught:
        pickle.dumps(cache)
    assert "pickle" in str(caught.value)
    # The failed call left the cache unchanged.
    if make is not evicted and make is not closed:
        assert ids(cache) == WANTED
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(iter(StreamCache(TABLE)))


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with on_disk(Source(numbered(5)), tmp_path) as cache:
        cache.ingest_all()
        content = pickle.dumps(cache)
    with pytest.raises(FileNotFoundError, match=r"cache\.arrow"):
        pickle.loads(content)


# ---- workers ----


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_pool(method: str, tmp_path: Path) -> None:
    code = f"""
        from helpers import *
        from pickled import *
        import multiprocessing
        cache = on_disk(Source(numbered(50)), {str(tmp_path)!r})
        cache.ingest_all()
        context = multiprocessing.get_context({method!r})
        wanted = [sum(range(4 * i, 4 * i + 4)) for i in range(50)]
        with context.Pool(2, keep, (cache,)) as pool:
            assert pool.map(sum_of, [(cache, i) for i in range(50)]) == wanted
            assert pool.map(kept_sum, range(50)) == wanted
        assert ids(cache) == list(range(200))
        cache.close()
    """
    check_python(code, timeout=300)


def test_workers_share_the_pages(tmp_path: Path) -> None:
    """Four processes scan 200 MB and have little private memory."""
    code = f"""
        from helpers import *
        from pickled import *
        import batchcorder
        import multiprocessing
        import numpy as np
        path = {str(tmp_path / "x.arrows")!r}
        rows = 1 << 20
        batch = pa.record_batch({{"x": np.arange(rows)}})
        source = pa.RecordBatchReader.from_batches(batch.schema, [batch] * 25)
        with batchcorder.record(source, path) as cache:
            pass
        cache = batchcorder.open(path)
        assert cache.nbytes > 200_000_000
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(4)
        with context.Pool(4, keep, (barrier,)) as pool:
            scans = pool.map(scan, [cache] * 4, chunksize=1)
        assert {{total for total, _ in scans}} == {{25 * rows * (rows - 1) // 2}}
        grown = sum(bytes for _, bytes in scans)
        assert grown <= 40 << 20, scans
    """
    check_python(code, timeout=300)
