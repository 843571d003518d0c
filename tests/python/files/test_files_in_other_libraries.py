"""Other libraries read the cache file at every moment of an ingest.

UNSUPPORTED lists the types that a library cannot read. If a library learns a type, or if
the file changes, the test fails.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from helpers import cache_file, on_disk, reader_of
from kinds import ALL, DICTIONARIES, RUN_ENDS, UNIONS, batch_of, slices_of

Batches = list[pa.RecordBatch]


def by_pyarrow(file: Path, batches: Batches) -> bool:
    with pa.ipc.open_stream(file) as stream:
        return same(list(stream), batches)


def by_arro3(file: Path, batches: Batches) -> bool:
    stream = pytest.importorskip("arro3.io").read_ipc_stream(file)
    return same(list(pa.RecordBatchReader.from_stream(stream)), batches)


def by_nanoarrow(file: Path, batches: Batches) -> bool:
    nanoarrow = pytest.importorskip("nanoarrow")
    with nanoarrow.ArrayStream.from_readable(io.BytesIO(file.read_bytes())) as stream:
        return same(list(pa.RecordBatchReader.from_stream(stream)), batches)


def by_polars(file: Path, batches: Batches) -> bool:
    """Polars has its own types: its results for our file and pyarrow's are compared."""
    polars = pytest.importorskip("polars")
    other = io.BytesIO()
    with pa.ipc.new_stream(other, batches[0].schema) as writer:
        for one in batches:
            writer.write_batch(one)
    try:
        read = polars.read_ipc_stream(file)
        assert read.height == sum(one.num_rows for one in batches)
        return bool(read.equals(polars.read_ipc_stream(other.getvalue())))
    except polars.exceptions.PanicException as error:
        raise OSError(str(error)) from None


def same(got: Batches, wanted: Batches) -> bool:
    """Return whether the batches are equal. Their number must be."""
    assert len(got) == len(wanted)
    pairs = zip(got, wanted, strict=True)
    return all(one.equals(other, check_metadata=True) for one, other in pairs)


READERS: dict[str, Callable[[Path, Batches], bool]] = {
    "pyarrow": by_pyarrow,
    "arro3": by_arro3,
    "nanoarrow": by_nanoarrow,
    "polars": by_polars,
}

# The error of a reader for a type, or False if its result differs.
NO_VIEWS = ["string_view", "binary_view", "struct_view", "list_view", "large_list_view"]
UNSUPPORTED: dict[str, dict[str, str | bool]] = {
    "pyarrow": {},
    "arro3": {
        "labelled": "Utf8Error",  # metadata that is not UTF-8
        "map_sorted": False,  # the flags of the map
        "dictionary_ordered": False,
    },
    "nanoarrow": {
        "fixed_binary_0": "get_schema",
        **dict.fromkeys(NO_VIEWS, "not yet supported in IPC reader"),
        **dict.fromkeys(RUN_ENDS, "not yet supported in IPC reader"),
    },
    "polars": {
        "interval": "could not import",
        "decimal256": "does not support",
        "fixed_binary_0": "expects a positive size",
        "labelled": "KeyValue",
        "list_view": "not yet implemented",
        "large_list_view": "not yet implemented",
        **dict.fromkeys(UNIONS, "Union"),
        **dict.fromkeys(RUN_ENDS, "not yet implemented"),
    },
}

# Nanoarrow does not decompress dictionaries and misreads their bytes.
NOT_DECOMPRESSED = "not yet supported|Expected"
COMPRESSED: dict[str, str | bool] = {
    **dict.fromkeys(DICTIONARIES, NOT_DECOMPRESSED),
    "dictionary_uint8": False,
}


def check(reader: str, file: Path, batches: Batches, expected: str | bool) -> None:
    """Check that the reader returns the batches, or fails in the expected way."""
    if isinstance(expected, str):
        with pytest.raises(Exception, match=expected):
            READERS[reader](file, batches)
    else:
        assert READERS[reader](file, batches) == expected


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("reader", READERS)
def test_the_file_at_every_moment(reader: str, name: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    source = reader_of(batches)
    cache = on_disk(source, tmp_path)
    expected = UNSUPPORTED[reader].get(name, True)
    for i, _ in enumerate(cache):
        check(reader, cache_file(tmp_path), batches[: i + 1], expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("reader", READERS)
def test_the_compressed_file(reader: str, codec: str, name: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    source = reader_of(batches)
    cache = on_disk(source, tmp_path, compression=codec)
    assert cache.ingest_all() == len(batches)
    unsupported = UNSUPPORTED[reader] | (COMPRESSED if reader == "nanoarrow" else {})
    expected = unsupported.get(name, True)
    check(reader, cache_file(tmp_path), batches, expected)


def flat(words: list[Any]) -> pa.RecordBatch:
    indices = pa.array([0, len(words) - 1, None], pa.int32())
    return pa.record_batch({"d": pa.DictionaryArray.from_arrays(indices, words)})


def nested(words: list[str], indices: list[int]) -> pa.RecordBatch:
    inner = pa.DictionaryArray.from_arrays(pa.array(indices), words)
    values = pa.StructArray.from_arrays([inner], ["i"])
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), values)
    return pa.record_batch({"d": column})


# Dictionaries that change from batch to batch.
CHANGING = {
    "changed": [flat(list(words)) for words in ("ab", "cd", "ab", "x", "x")],
    "grown": [flat(list("abcdef")[:n]) for n in (2, 3, 6)],
    "numbers grown": [flat(list(range(n))) for n in (1, 2, 5)],
    "inner changed": [nested(list(words), [1, 0]) for words in ("ab", "cd", "cd")],
    "outer changed": [nested(["a", "b"], list(at)) for at in ([1, 0], [0, 1], [1, 1])],
    "inner grown": [nested(list(words), [1, 0]) for words in ("ab", "abc", "abcd")],
}
NO_DELTAS = ["grown", "numbers grown", "inner grown"]
UNSUPPORTED_CHANGES: dict[str, dict[tuple[str, str | None], str]] = {
    "pyarrow": {},
    "arro3": {},
    "nanoarrow": {
        **{(name, None): "concatenation is not yet supported" for name in NO_DELTAS},
        **{
            (name, codec): NOT_DECOMPRESSED
            for name in CHANGING
            for codec in ("lz4", "zstd")
        },
    },
    "polars": {
        (name, codec): "delta dictionary batches not supported"
        for name in NO_DELTAS
        for codec in (None, "lz4", "zstd")
    },
}


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("reader", READERS)
def test_dictionaries_at_every_moment(
    reader: str, codec: str | None, name: str, tmp_path: Path
) -> None:
    batches = CHANGING[name]
    source = reader_of(batches)
    cache = on_disk(source, tmp_path, compression=codec)
    refused = UNSUPPORTED_CHANGES[reader].get((name, codec))
    for i, _ in enumerate(cache):
        if refused is None:
            check(reader, cache_file(tmp_path), batches[: i + 1], True)
    if refused is not None:
        check(reader, cache_file(tmp_path), batches, refused)
