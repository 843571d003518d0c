"""A recording under a name, and a saved cache, have the same batches when opened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder import StreamCache
from foreign import file_of, stream_of
from helpers import Source, identical, ids, mapped, numbered, reader_of
from kinds import ALL, batch_of, slices_of
from strategies import Stream, streams
from tiers import MakeCache

Codec = Literal["lz4", "zstd"] | None
HOW: list[dict[str, bool]] = [
    {},
    {"verify": True},
    {"mmap": False},
    {"partial": True},
    {"verify": True, "mmap": False, "partial": True},
]


def record(path: Path, batches: list[pa.RecordBatch], **options: Any) -> Path:
    batchcorder.record(reader_of(batches), path, **options).close()
    return path


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("name", ALL)
def test_every_type(name: str, codec: Codec, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    path = tmp_path / "x.arrows"
    with batchcorder.record(reader_of(batches), path, compression=codec) as cache:
        identical(list(cache), batches)
    for how in HOW:
        with batchcorder.open(path, **how) as cache:
            assert cache.schema.equals(batches[0].schema, check_metadata=True)
            for _ in range(2):
                identical(list(cache), batches)
            identical(list(pa.RecordBatchReader.from_stream(cache)), batches)
    assert batchcorder.verify(path) == len(batches)
    with pa.ipc.open_stream(path) as stream:
        identical(list(stream), batches)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    stream=streams(),
    codec=st.sampled_from([None, None, "lz4", "zstd"]),
    how=st.sampled_from(HOW),
    columns=st.data(),
)
def test_random_streams(
    stream: Stream,
    codec: Codec,
    how: dict[str, bool],
    columns: st.DataObject,
    tmp_path: Path,
) -> None:
    """Recorded, saved and read by pyarrow, the batches are equal."""
    batches = stream.build()
    n = len(stream.schema)
    some = columns.draw(st.lists(st.integers(-n, n - 1), max_size=3)) if n else []
    path, copy = tmp_path / "x.arrows", tmp_path / "y.arrows"
    for file in (path, copy):
        file.unlink(missing_ok=True)
    record(path, batches, compression=codec)
    with pa.ipc.open_stream(path) as read:
        # pyarrow reads a dictionary of an extension type with the storage type.
        for one, other in zip(read, batches, strict=True):
            one.validate(full=True)
            assert one.num_rows == other.num_rows
    with batchcorder.open(path, **how) as cache:
        assert cache.schema.equals(stream.schema, check_metadata=True)
        assert list(cache) == batches
        cache.save(copy)
    with batchcorder.open(copy, columns=some, **how) as cache:
        chosen = [one.select([i % n for i in some]) for one in batches]
        assert [one.num_rows for one in cache] == [one.num_rows for one in batches]
        assert list(cache) == chosen


WIDE = pa.record_batch(
    {
        "x": pa.array([1, 2, 3]),
        "y": pa.array(["a", None, "c"]),
        "d": pa.array(["p", "q", "p"]).dictionary_encode(),
    }
)


@pytest.mark.parametrize(
    "columns",
    [["y"], ["d", "x"], [2, 0], [-1], ["x", "x", 0], [], ("y", 1), ["x", "y", "d"]],
    ids=str,
)
def test_some_columns(columns: Any, tmp_path: Path) -> None:
    """The cache has only the selected columns, for every request."""
    numbers = [WIDE.schema.names.index(c) if isinstance(c, str) else c for c in columns]
    wanted = [one.select([n % 3 for n in numbers]) for one in (WIDE, WIDE.slice(1))]
    path = record(tmp_path / "x.arrows", [WIDE, WIDE.slice(1)])
    with batchcorder.open(path, columns=columns) as cache:
        assert cache.schema == wanted[0].schema
        assert list(cache) == wanted
        assert cache[1] == wanted[1]
        assert pa.RecordBatchReader.from_stream(cache).read_all().num_rows == 5
        assert cache.to_table() == pa.Table.from_batches(wanted)
        assert len(cache.info()["columns"]) == len(columns)
        if len(columns) == 2:
            assert list(cache.reader(columns=[-1])) == [one.select([1]) for one in wanted]
        copy = tmp_path / "copy.arrows"
        cache.save(copy)
    with batchcorder.open(copy) as cache:
        assert list(cache) == wanted


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (["nope"], KeyError),
        ([3], IndexError),
        ([-4], IndexError),
        ("x", TypeError),
        ([None], TypeError),
        ([1.5], TypeError),
    ],
)
def test_invalid_columns(columns: Any, error: type[Exception], tmp_path: Path) -> None:
    path = record(tmp_path / "x.arrows", [WIDE])
    with pytest.raises(error):
        batchcorder.open(path, columns=columns)


def test_damage_in_other_columns_is_not_looked_at(tmp_path: Path) -> None:
    columns = {name: pa.array(range(2000)) for name in ("first", "second")}
    path = record(tmp_path / "x.arrows", [pa.record_batch(columns)])
    content = bytearray(path.read_bytes())
    at = content.index((1999).to_bytes(8, "little"))
    content[at] ^= 1
    path.write_bytes(content)
    with batchcorder.open(path, columns=["second"], verify=True) as cache:
        assert cache[0]["second"].to_pylist() == list(range(2000))
    with (
        batchcorder.open(path, columns=["second", "first"]) as cache,
        pytest.raises(OSError, match="Checksum mismatch for batch 0"),
    ):
        list(cache)


@pytest.mark.parametrize("how", HOW, ids=str)
def test_nothing_in_it(how: dict[str, bool], tmp_path: Path) -> None:
    """The source has no batches, no rows, or no columns."""
    schema = batch_of("dictionary").schema
    empty = batch_of("dictionary").slice(0, 0)
    rows = batch_of("int64").select([])
    path = tmp_path / "x.arrows"
    for batches, kind in (([], schema), ([empty] * 2, schema), ([rows] * 2, rows.schema)):
        source = pa.RecordBatchReader.from_batches(kind, batches)
        with batchcorder.record(source, path) as cache:
            assert len(cache) == len(batches)
        with batchcorder.open(path, **how) as cache:
            assert cache.upstream_exhausted
            assert cache.schema.equals(kind, check_metadata=True)
            assert list(cache) == batches
            assert cache.num_rows == sum(one.num_rows for one in batches)
            assert len(cache) == batchcorder.verify(path) == len(batches)
        path.unlink()


def test_properties_of_an_opened_recording(tmp_path: Path) -> None:
    batches = numbered(5, 1000)
    path = record(tmp_path / "x.arrows", batches)
    with batchcorder.open(path) as cache:
        stats = cache.stats()
        assert stats["state"] == "exhausted"
        assert (stats["batches"], stats["rows"]) == (5, 5000)
        assert cache.nbytes == stats["bytes"] == sum(one.nbytes for one in batches)
        assert (stats["memory_bytes"], stats["evicted"]) == (0, 0)
        assert stats["disk_bytes"] == path.stat().st_size
        assert stats["readers"] == 0
        assert cache.path == str(path)
        assert ids(cache) == list(range(5000))
        assert cache.stats()["disk_hits"] == 5
        assert cache.ingest_all() == 5
    with pytest.raises(ValueError, match="closed"):
        list(cache)
    assert path.exists()


def test_the_object_is_a_cache_like_any_other(tmp_path: Path) -> None:
    path = record(tmp_path / "x.arrows", numbered(5))
    with batchcorder.open(path) as cache:
        assert type(cache) is StreamCache
        assert ids([cache[-1], *cache[1:3]]) == [16, 17, 18, 19, *range(4, 12)]
        assert ids(cache.reader(start=3)) == list(range(12, 20))
        assert list(cache.reader(from_start=False)) == []
        assert cache.cast(pa.schema([("id", pa.int32())])).schema.field(0).type == "int32"
        assert cache.dataset().count_rows() == 20
        kept = cache[2]
    assert ids([kept]) == [8, 9, 10, 11]
    path.unlink()
    assert ids([kept]) == [8, 9, 10, 11]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("int64", "stream"),
        ("list_struct", "file"),
        ("string", "recording"),
        # The writer aligns these types to 8 bytes, so they are copied.
        ("string_view", "recording"),
        ("decimal256", "recording"),
    ],
)
def test_batches_are_the_files_own_pages(name: str, write: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))[:3]
    path = tmp_path / "x.arrows"
    if write == "recording":
        record(path, batches)
    else:
        path.write_bytes((stream_of if write == "stream" else file_of)(batches))
    with batchcorder.open(path) as cache:
        got = list(cache)
        ranges = mapped(path)
        assert ranges
        for buffer in (b for one in got for c in one.columns for b in c.buffers()):
            assert (
                buffer is None
                or buffer.size == 0
                or any(low <= buffer.address < high for low, high in ranges)
            )
    with batchcorder.open(path, mmap=False) as cache:
        del got, buffer
        assert list(cache) == batches
        assert not mapped(path)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    path = record(tmp_path / "x.arrows", numbered(3))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for source in (path, io.BytesIO(path.read_bytes())):
        cache = batchcorder.open(source)
        kept = cache[1]
        cache.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert ids([kept]) == [4, 5, 6, 7]
        del kept
    assert not mapped(path)


def test_record_fails_with_the_source(tmp_path: Path) -> None:
    """The recording keeps its batches and is incomplete."""
    path = tmp_path / "x.arrows"
    source = Source(numbered(5), fail_at=3, error=KeyError("why"))
    with pytest.raises(KeyError, match="why"):
        batchcorder.record(source, path)
    with pytest.raises(OSError, match=r"not complete(.|\n)*partial=True"):
        batchcorder.open(path)
    with pytest.raises(OSError, match="not complete"):
        batchcorder.verify(path)
    with batchcorder.open(path, partial=True) as cache:
        assert ids(cache) == list(range(12))
        assert cache.info()["complete"] is False


def test_record_shows_a_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(pa.table({"x": range(9)}), path, progress=True).close()
    assert "9" in capsys.readouterr().err
    assert batchcorder.verify(path, progress=True) == 1
    assert "verifying" in capsys.readouterr().err


def test_partial_and_follow_exclude_each_other(tmp_path: Path) -> None:
    path = record(tmp_path / "x.arrows", numbered(1))
    with pytest.raises(ValueError, match="partial"):
        batchcorder.open(path, partial=True, follow=True)


def test_recording_anew_from_an_opened_one(
    make_any_cache: MakeCache, tmp_path: Path
) -> None:
    """A cache that was opened is a source too."""
    first = record(tmp_path / "x.arrows", numbered(3))
    with batchcorder.open(first) as opened, make_any_cache(opened) as cache:
        second = tmp_path / "y.arrows"
        batchcorder.record(cache, second).close()
    assert second.read_bytes() == first.read_bytes()
