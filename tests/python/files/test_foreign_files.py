"""Streams and files of other libraries are opened unchanged."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchcorder
from foreign import (
    V4,
    WRITERS,
    Batches,
    file_of,
    places_to_end,
    read_by_pyarrow,
    same,
    stream_of,
)
from helpers import check_python
from kinds import ALL, batch_of, slices_of
from strategies import Stream, streams

FOLDER = os.environ.get("ARROW_TESTING", "")
GOLDEN = [
    path
    for path in sorted(Path(FOLDER, "golden").rglob("*"))
    if FOLDER and path.suffix in (".stream", ".arrow_file")
]
FUZZED = Path(FOLDER, "fuzz-stream")

# pyarrow cannot unify dictionaries that have nulls or are nested.
NOT_UNIFIED = ("dictionary_uint8", "dictionary_nested", "struct_dictionary")


def check(content: bytes, wanted: Batches | None = None, **options: Any) -> None:
    """Check that a file has pyarrow's batches, and the written batches."""
    schema, found = read_by_pyarrow(content)
    with batchcorder.open(io.BytesIO(content), verify=True, **options) as cache:
        assert cache.upstream_exhausted
        assert cache.schema.equals(schema, check_metadata=True)
        got = list(cache)
        assert cache.num_rows == sum(one.num_rows for one in found)
    same(got, found)
    if wanted is not None:
        same(got, wanted)


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_pyarrow(writer: str) -> None:
    write, options = WRITERS[writer]
    makes_one_dictionary = writer == "file unified" or writer.startswith("feather")
    for name in ALL:
        batches = slices_of(batch_of(name))
        if makes_one_dictionary:
            if name not in NOT_UNIFIED:
                check(write(batches, **options))
        else:
            check(write(batches, **options), batches)


def dictionary(*words: str) -> pa.RecordBatch:
    indices = pa.array([0, None, len(words) - 1], pa.int8())
    values = pa.DictionaryArray.from_arrays(indices, list(words))
    return pa.record_batch({"x": pa.array([1, 2, 3]), "d": values})


GROWN = [dictionary(*"abcdef"[:n]) for n in (1, 2, 2, 6)]
REPLACED = [dictionary(*words) for words in ("ab", "abc", "xy", "xyz", "ab")]


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_dictionaries_that_change(codec: str | None) -> None:
    deltas = {"emit_dictionary_deltas": True, "compression": codec}
    for batches in (GROWN, REPLACED):
        check(stream_of(batches, compression=codec), batches)
        check(stream_of(batches, **deltas), batches)
    check(file_of(GROWN, **deltas), GROWN)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("make", [stream_of, file_of])
def test_compressed_data_of_version_4(make: Callable[..., bytes], codec: str) -> None:
    """pyarrow writes compressed data of V4, but does not read it."""
    batches = slices_of(batch_of("list_string"))
    content = make(batches, metadata_version=V4, compression=codec)
    with batchcorder.open(io.BytesIO(content), verify=True) as cache:
        same(list(cache), batches)


@pytest.mark.parametrize("copies", [False, True])
def test_a_large_dictionary_is_read_once(copies: bool) -> None:
    """A dictionary larger than the limit for kept dictionaries is also read once."""
    words = pa.array([f"{i:040d}" for i in range(900_000)])
    batches = [
        pa.record_batch({"d": pa.DictionaryArray.from_arrays([i, i + 1], words)})
        for i in range(4)
    ]
    content = stream_of(batches, compression="zstd")
    with batchcorder.open(io.BytesIO(content), mmap=not copies) as cache:
        got = list(cache)
        assert [one.to_pylist() for one in got] == [one.to_pylist() for one in batches]
        assert len({one["d"].dictionary.buffers()[2].address for one in got}) == 1


def messages_of(content: bytes) -> list[bytes]:
    source = pa.BufferReader(content)
    ends = [0]
    for _ in pa.ipc.MessageReader.open_stream(source):
        ends.append(source.tell())
    return [content[a:b] for a, b in pairwise(ends)]


def nested(words: int) -> pa.RecordBatch:
    """Return a dictionary of structs that use the first three of `words` words."""
    indices = pa.array([0, None, 2, 1], pa.int8())
    texts = pa.array([f"word {i}" for i in range(words)], pa.string())
    inner = pa.DictionaryArray.from_arrays(indices, texts, safe=False)
    values = pa.StructArray.from_arrays([inner], ["w"])
    return pa.record_batch({"d": pa.DictionaryArray.from_arrays([3, 2], values)})


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("n_words", [[3, 9, 3, 4], [4, 3, 2, 4], [9, 0], [8, 2]])
def test_inner_dictionaries_change_alone(n_words: list[int], copies: bool) -> None:
    """The outer values must be within the new words, or the batch is damaged."""
    parts = [messages_of(stream_of([nested(n)])) for n in n_words]
    content = b"".join(parts[0])
    for _, words, _, batch in parts[1:]:
        content += words + batch
    with batchcorder.open(io.BytesIO(content), verify=True, mmap=not copies) as cache:
        for i, n in enumerate(n_words):
            if n >= 3:
                assert cache[i].to_pylist() == nested(n).to_pylist()
            else:
                with pytest.raises(OSError, match="its index is not in its dictionary"):
                    cache[i]


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    stream=streams(),
    version=st.sampled_from([V4, pa.ipc.MetadataVersion.V5]),
    codec=st.sampled_from([None, None, "lz4", "zstd"]),
    is_legacy=st.booleans(),
    is_file=st.booleans(),
    copies=st.booleans(),
)
def test_random_streams(
    stream: Stream,
    version: Any,
    codec: str | None,
    is_legacy: bool,
    is_file: bool,
    copies: bool,
) -> None:
    options = {
        "metadata_version": version,
        # pyarrow does not read its own compressed data in V4.
        "compression": None if version == V4 else codec,
        "use_legacy_format": is_legacy,
    }
    batches = stream.build()
    try:
        content = (file_of if is_file else stream_of)(batches, **options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return  # pyarrow cannot replace a dictionary in a file
    try:
        expected = read_by_pyarrow(content)[1]
    except pa.ArrowInvalid:
        return  # pyarrow refuses an extension type as the values of a dictionary
    with batchcorder.open(io.BytesIO(content), verify=True, mmap=not copies) as cache:
        same(list(cache), expected)


@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("make", [stream_of, file_of])
def test_no_columns(make: Callable[..., bytes], rows: int) -> None:
    empty = batch_of("int64").slice(0, rows).select([])
    check(make([empty, empty]), [empty, empty])


def test_no_batches() -> None:
    schema = batch_of("string").schema
    for make in (pa.ipc.new_stream, pa.ipc.new_file):
        sink = io.BytesIO()
        make(sink, schema).close()
        check(sink.getvalue(), [])


def test_metadata_of_a_file_is_ignored() -> None:
    """A stream has no place for the metadata of a footer or of a batch."""
    sink = io.BytesIO()
    one = batch_of("string")
    with pa.ipc.new_file(sink, one.schema, metadata={"a": "b"}) as writer:
        writer.write_batch(one, custom_metadata={"k": "v"})
    check(sink.getvalue(), [one])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, one.schema) as writer:
        writer.write_batch(one, custom_metadata={"batchcorder.xxh3": "not ours"})
    check(sink.getvalue(), [one])


def test_an_open_file_is_read_from_its_start() -> None:
    """The position of the open file does not matter."""
    sink = io.BytesIO()
    one = batch_of("string")
    sink.write(stream_of([one]))
    with batchcorder.open(sink) as cache:
        same(list(cache), [one])


def test_data_after_the_end_marker_is_ignored() -> None:
    one = batch_of("string")
    content = stream_of([one])
    with batchcorder.open(io.BytesIO(content + content)) as cache:
        same(list(cache), [one])


# ---- other libraries ----

FRAME = {
    "i": pa.array([1, None, 3], pa.int64()),
    "b": pa.array([True, None, False]),
    "f": pa.array([1.5, None, -2.0]),
    "s": pa.array(["a", None, "a text that is not inlined"]),
    "l": pa.array([[1, None], [], None], pa.list_(pa.int32())),
    "t": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
    "st": pa.array([{"x": 1}, None, {"x": None}]),
}
TABLE = pa.table(FRAME)


def by_polars(**options: Any) -> bytes:
    frame = pytest.importorskip("polars").from_arrow(TABLE)
    is_file = options.pop("is_file", False)
    write = frame.write_ipc if is_file else frame.write_ipc_stream
    sink = io.BytesIO()
    write(sink, **options)
    return sink.getvalue()


def by_polars_with_categories() -> bytes:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"c": ["a", "b", None, "a"]})
    kinds = [polars.Categorical, polars.Enum(["b", "a"])]
    frame = frame.select(
        polars.col("c").cast(kind).alias(str(i)) for i, kind in enumerate(kinds)
    )
    sink = io.BytesIO()
    frame.write_ipc(sink)
    return sink.getvalue()


def by_arro3(is_file: bool, **options: Any) -> bytes:
    arro3 = pytest.importorskip("arro3.io")
    sink = io.BytesIO()
    write = arro3.write_ipc if is_file else arro3.write_ipc_stream
    write(TABLE, sink, **options)
    return sink.getvalue()


def by_nanoarrow() -> bytes:
    pytest.importorskip("nanoarrow")
    from nanoarrow.ipc import StreamWriter

    sink = io.BytesIO()
    with StreamWriter.from_writable(sink) as writer:
        writer.write_stream(TABLE)
    return sink.getvalue()


def by_pandas() -> bytes:
    frame = pytest.importorskip("pandas").DataFrame({"x": [1, 2], "c": ["a", "b"]})
    sink = io.BytesIO()
    frame.astype({"c": "category"}).to_feather(sink)
    return sink.getvalue()


OTHERS: dict[str, Callable[[], bytes]] = {
    "polars stream": by_polars,
    "polars stream lz4": lambda: by_polars(compression="lz4"),
    "polars file": lambda: by_polars(is_file=True),
    "polars file zstd": lambda: by_polars(is_file=True, compression="zstd"),
    "polars file old": lambda: by_polars(is_file=True, compat_level=_oldest()),
    "polars categories": by_polars_with_categories,
    "arro3 stream": lambda: by_arro3(False),
    "arro3 file": lambda: by_arro3(True),
    "arro3 file zstd": lambda: by_arro3(True, compression="ZSTD"),
    "nanoarrow stream": by_nanoarrow,
    "pandas feather": by_pandas,
}


def _oldest() -> Any:
    return pytest.importorskip("polars").CompatLevel.oldest()


@pytest.mark.parametrize("writer", OTHERS)
def test_files_of_other_libraries(writer: str) -> None:
    content = OTHERS[writer]()
    check(content)
    check(content, mmap=False)


# ---- buffers ----


def buffers(array: pa.Array) -> list[pa.Buffer]:
    return [buffer for buffer in array.buffers() if buffer is not None]


def test_buffers_are_aligned_for_their_type(tmp_path: Path) -> None:
    """Writers align to 8 bytes: a buffer that needs 16 is copied if it is misaligned."""
    path = tmp_path / "x.arrows"
    columns = {f"d{i}": ALL["decimal128"] for i in range(3)} | {"x": ALL["int64"]}
    path.write_bytes(stream_of([pa.record_batch(columns)]))
    with batchcorder.open(path) as cache:
        (one,) = cache
    low, high = mapped(path)
    at = {name: buffers(one[name])[-1].address for name in columns}
    assert all(at[name] % 16 == 0 for name in at if name != "x")
    assert low <= at["x"] < high
    inside = [low <= at[name] < high for name in at if name != "x"]
    assert True in inside
    assert False in inside


def mapped(path: Path) -> tuple[int, int]:
    (line,) = (
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(path))
    )
    low, high = line.split()[0].split("-")
    return int(low, 16), int(high, 16)


# ---- files that are cut off ----

CUT = {
    "stream": stream_of(GROWN),
    "stream lz4 deltas": stream_of(
        REPLACED, compression="lz4", emit_dictionary_deltas=True
    ),
    "stream legacy": stream_of(GROWN, use_legacy_format=True, metadata_version=V4),
}


@pytest.mark.parametrize("name", CUT)
def test_a_stream_that_is_cut_off(name: str) -> None:
    """The stream is cut at every byte. Between messages, it is a complete stream."""
    content = CUT[name]
    ends = places_to_end(content)
    wanted = read_by_pyarrow(content)[1]
    assert len(ends) == len(wanted) + 1
    for size in range(len(content)):
        whole = sum(end <= size for end in ends) - 1
        source = io.BytesIO(content[:size])
        if whole < 0:
            with pytest.raises((OSError, ValueError), match="schema"):
                batchcorder.open(source)
            with pytest.raises((OSError, ValueError), match="schema"):
                batchcorder.open(io.BytesIO(content[:size]), partial=True)
            continue
        with batchcorder.open(source, partial=True, verify=True) as cache:
            same(list(cache), wanted[:whole])
        source.seek(0)
        if can_end(content, size):
            with batchcorder.open(source, verify=True) as cache:
                same(list(cache), wanted[:whole])
        else:
            with pytest.raises(OSError, match=r"cut off(.|\n)*partial=True"):
                batchcorder.open(source)


def can_end(content: bytes, size: int) -> bool:
    """Return whether a message of any kind, or the end marker, ends at `size`."""
    source = pa.BufferReader(content)
    reader = pa.ipc.MessageReader.open_stream(source)
    try:
        while source.tell() < size:
            reader.read_next_message()
    except StopIteration:
        pass
    return source.tell() == size


@pytest.mark.parametrize("codec", [None, "zstd"])
def test_a_file_that_is_cut_off(codec: str | None) -> None:
    """Such a file has no footer, and `partial` finds its messages."""
    content = file_of(GROWN, compression=codec, emit_dictionary_deltas=True)
    wanted = read_by_pyarrow(content)[1]
    seen = len(wanted)
    for size in reversed(range(len(content))):
        with pytest.raises((OSError, ValueError)) as caught:
            batchcorder.open(io.BytesIO(content[:size]))
        if size >= 8:
            assert "no footer, so it is cut off" in str(caught.value)
        try:
            cache = batchcorder.open(io.BytesIO(content[:size]), partial=True)
        except (OSError, ValueError):
            assert seen == 0
            continue
        got = list(cache)
        assert len(got) <= seen
        same(got, wanted[: len(got)])
        seen = len(got)
    assert seen == 0


# ---- files that the Arrow project keeps ----


@pytest.mark.skipif(not GOLDEN, reason="ARROW_TESTING names no folder with golden files")
@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_golden_files(path: Path) -> None:
    schema, wanted = read_by_pyarrow(path.read_bytes())
    for options in ({}, {"mmap": False}, {"verify": True}):
        with batchcorder.open(path, **options) as cache:
            assert cache.schema.equals(schema, check_metadata=True)
            same(list(cache), wanted)


@pytest.mark.skipif(not FUZZED.is_dir(), reason="ARROW_TESTING names no fuzzed files")
def test_fuzzed_files() -> None:
    """Each file is refused or has pyarrow's batches, at little cost."""
    code = f"""
        import resource
        from foreign import read_by_pyarrow
        from helpers import *
        import batchcorder

        def status(key):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024

        def work():
            return resource.getrusage(resource.RUSAGE_SELF).ru_utime

        files = sorted(Path({str(FUZZED)!r}).iterdir())
        for file in files:
            print(file.name, flush=True)
            size = file.stat().st_size
            Path("/proc/self/clear_refs").write_text("5")
            before, start = status("VmRSS:"), work()
            try:
                with batchcorder.open(file, verify=True) as cache:
                    got = list(cache)
            except (OSError, ValueError, NotImplementedError):
                got = None
            took, grown = work() - start, status("VmHWM:") - before
            assert took < 1, took
            assert grown <= 4 * size + (16 << 20), grown
            if got is not None:
                assert got == read_by_pyarrow(file.read_bytes())[1]
        print(len(files), "files")
    """
    assert "40 files" in check_python(code, timeout=300)
