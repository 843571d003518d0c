"""Deltas of dictionaries with values of any type."""

from __future__ import annotations

import io
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchcorder
from foreign import V4, Batches, file_of, read_by_pyarrow, stream_of
from kinds import ROWS, VALUES, growing
from strategies import Stream, streams
from swapped import big_stream, root_of

SIZES = (3, 9, 9, 16, ROWS)
OPTIONS: dict[str, dict[str, Any]] = {
    "v5": {},
    "v4": {"metadata_version": V4},
    "lz4": {"compression": "lz4"},
    "zstd": {"compression": "zstd"},
}


def batches_of(values: pa.Array) -> Batches:
    return growing(values, SIZES)


def messages(content: bytes) -> list[tuple[str, bytes]]:
    source = pa.BufferReader(content)
    ends, kinds = [0], []
    for message in pa.ipc.MessageReader.open_stream(source):
        ends.append(source.tell())
        kinds.append(message.type)
    parts = [content[a:b] for a, b in pairwise(ends)]
    return list(zip(kinds, parts, strict=True))


def deltas_of(values: pa.Array, **options: Any) -> bytes:
    """Return a stream in which each dictionary after the first is a delta."""
    return stream_of(batches_of(values), emit_dictionary_deltas=True, **options)


def check(content: bytes, batches: Batches) -> None:
    for how in ({"verify": True}, {"verify": True, "mmap": False}, {}):
        with batchcorder.open(io.BytesIO(content), **how) as cache:
            order = list(range(len(batches)))
            random.Random(1).shuffle(order)
            for i in order + order:
                assert cache[i].to_pylist() == batches[i].to_pylist()
                cache[i].validate(full=True)
            for one, wanted in zip(cache, batches, strict=True):
                assert one.to_pylist() == wanted.to_pylist()
                got, values = one["d"].dictionary, wanted["d"].dictionary
                assert got.to_pylist() == values.to_pylist()


def count_deltas(content: bytes) -> int:
    parts = [part for kind, part in messages(content) if kind == "dictionary"]
    return sum(root_of(bytearray(part[8:])).table(2).get(2, "<B") for part in parts)


@pytest.mark.parametrize("option", OPTIONS)
def test_values_of_every_type(option: str) -> None:
    for values in VALUES.values():
        content = deltas_of(values, **OPTIONS[option])
        batches = batches_of(values)
        check(content, batches)
        if option != "v4":
            check(big_stream(content, batches[0].schema), batches)


def test_pyarrow_writes_deltas_of_them() -> None:
    """Otherwise the other tests here would prove nothing."""
    whole = {name for name in VALUES if count_deltas(deltas_of(VALUES[name])) != 3}
    assert whole == set()


def test_files() -> None:
    """In a file, all batches have the last dictionary."""
    for values in VALUES.values():
        batches = batches_of(values)
        content = file_of(batches, emit_dictionary_deltas=True)
        with batchcorder.open(io.BytesIO(content), verify=True) as cache:
            for one, wanted in zip(cache, batches, strict=True):
                assert one.to_pylist() == wanted.to_pylist()
                assert len(one["d"].dictionary) == ROWS


@pytest.mark.parametrize("name", ["string", "struct", "bool", "string_view", "list"])
def test_saved_again(name: str, tmp_path: Path) -> None:
    values = VALUES[name]
    with batchcorder.open(io.BytesIO(deltas_of(values))) as cache:
        cache.save(tmp_path / "x.arrows")
    found = read_by_pyarrow((tmp_path / "x.arrows").read_bytes())[1]
    assert [b.to_pylist() for b in found] == [b.to_pylist() for b in batches_of(values)]
    assert batchcorder.verify(tmp_path / "x.arrows") == len(SIZES)


def test_some_columns() -> None:
    one, other = VALUES["struct"], VALUES["large_string"]
    left, right = batches_of(one), batches_of(other)
    batches = [
        pa.record_batch({"a": a["d"], "b": b["d"], "c": [0, 1, 2, 3]})
        for a, b in zip(left, right, strict=True)
    ]
    content = stream_of(batches, emit_dictionary_deltas=True)
    with batchcorder.open(io.BytesIO(content), verify=True) as cache:
        for name in "cba":
            for i in (4, 0, 2, 1, 3):
                (got,) = cache.reader(columns=[name], start=i, stop=i + 1)
                assert got.to_pylist() == batches[i].select([name]).to_pylist()


# ---- dictionaries in the values of deltas ----


def nested(n: int, words: int) -> pa.RecordBatch:
    """Return a dictionary of `n` structs, which use some of `words` words."""
    texts = pa.array([f"word {i}" for i in range(words)], pa.string())
    indices = pa.array([i % 3 for i in range(n)], pa.int8())
    values = pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(indices, texts, safe=False)], ["w"]
    )
    column = pa.DictionaryArray.from_arrays([n - 1, 0], values)
    return pa.record_batch({"d": column})


def delta(message: bytes) -> bytes:
    """Return the message of a dictionary, changed into a delta."""
    size = int.from_bytes(message[4:8], "little")
    data = bytearray(message[8 : 8 + size])
    record = root_of(data).table(2)
    data += bytes(-len(data) % 8)
    old = record.number("<H", record.vtable)
    vtable = bytearray(max(old, 10))
    vtable[:old] = data[record.vtable : record.vtable + old]
    offset = len(data) + len(vtable) - record.at
    vtable[0:4] = len(vtable).to_bytes(2, "little") + (offset + 1).to_bytes(2, "little")
    vtable[8:10] = offset.to_bytes(2, "little")
    data[record.at : record.at + 4] = (record.at - len(data)).to_bytes(
        4, "little", signed=True
    )
    data += vtable + b"\x01"
    data += bytes(-len(data) % 8)
    head = message[:4] + len(data).to_bytes(4, "little")
    return head + bytes(data) + message[8 + size :]


def deltas_by_hand(parts: list[pa.Array]) -> tuple[bytes, pa.Schema]:
    """Return a stream in which each batch adds values to the dictionary."""
    content = b""
    for i, part in enumerate(parts):
        indices = pa.array([None], pa.int64())
        column = pa.DictionaryArray.from_arrays(indices, part, safe=False)
        one = pa.RecordBatch.from_arrays([column], ["d"])
        head, values, rows = [message for _, message in messages(stream_of([one]))]
        content += head + values + rows if i == 0 else delta(values) + rows
    return content, one.schema


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(stream=streams(), is_big=st.booleans(), copies=st.booleans())
def test_random_values(stream: Stream, is_big: bool, copies: bool) -> None:
    """Slices of random arrays are the parts of one dictionary."""
    batches = stream.build()
    for number, field in enumerate(stream.schema):
        if "dictionary" in str(field.type) or "extension" in str(field.type):
            continue
        parts = [one.column(number) for one in batches]
        content, schema = deltas_by_hand(parts)
        if is_big:
            content = big_stream(content, schema)
        with batchcorder.open(io.BytesIO(content), mmap=not copies, verify=True) as cache:
            for i in reversed(range(len(parts))):
                values = cache[i]["d"].dictionary
                values.validate(full=True)
                start = 0
                for part in parts[: i + 1]:
                    assert values.slice(start, len(part)).equals(part)
                    start += len(part)
                assert start == len(values)


@pytest.mark.parametrize("verify", [False, True])
def test_values_with_dictionaries_in_them(verify: bool) -> None:
    """The words are those of the batch, and must cover the indices of all parts."""
    words = [3, 5, 2, 3]
    content = b""
    for i, n in enumerate(words):
        parts = [part for _, part in messages(stream_of([nested(4, n)]))]
        content += parts[0] if i == 0 else b""
        content += parts[1] + (parts[2] if i == 0 else delta(parts[2])) + parts[3]
    with batchcorder.open(io.BytesIO(content), verify=verify) as cache:
        for i in (3, 0, 1, 3, 2):
            if words[i] < 3:
                if verify:
                    with pytest.raises(OSError, match="not in its dictionary"):
                        cache[i]
                continue
            got = cache[i]
            assert got.to_pylist() == nested(4, words[i]).to_pylist()
            wanted = nested(4, words[i])["d"].dictionary.to_pylist() * (i + 1)
            assert got["d"].dictionary.to_pylist() == wanted
