"""Random schemas, batches and slices pass through every tier and stay equal."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchcorder import StreamCache
from cstream import RawStream, forget_nulls
from helpers import cache_files
from kinds import ALL, batch_of
from strategies import Stream, streams
from tiers import TIERS, maker

WAYS: dict[str, tuple[str, dict[str, str]]] = {
    **{tier: (tier, {}) for tier in TIERS},
    "lz4": ("disk", {"compression": "lz4"}),
    "zstd": ("disk", {"compression": "zstd"}),
}


def same(got: Any, schema: pa.Schema, wanted: list[pa.RecordBatch]) -> None:
    """Check that a stream has exactly these batches."""
    for one, other in zip(got, wanted, strict=True):
        one.validate(full=True)
        assert one.schema.equals(schema, check_metadata=True)
        assert one.equals(other)


def survives_ipc(kind: pa.DataType) -> bool:
    """Return whether pyarrow can read the type from a file."""
    if isinstance(kind, pa.BaseExtensionType):
        return survives_ipc(kind.storage_type)
    if pa.types.is_dictionary(kind):
        values = kind.value_type
        return not isinstance(values, pa.BaseExtensionType) and survives_ipc(values)
    return all(survives_ipc(kind.field(i).type) for i in range(kind.num_fields))


def check(
    source: Any, schema: pa.Schema, batches: list[pa.RecordBatch], way: str
) -> None:
    """Check that a cache in a tier has the batches, and its file too."""
    tier, options = WAYS[way]
    with tempfile.TemporaryDirectory() as path:
        cache = maker(tier, Path(path))(source, **options)
        for stream in (cache, cache, pa.RecordBatchReader.from_stream(cache)):
            same(stream, schema, batches)
        files = [file for file in cache_files(path) if tier != "evict"]
        for file in files if survives_ipc(pa.struct(list(schema))) else []:
            with pa.ipc.open_stream(file) as stream:
                same(stream, schema, batches)
        cache.close()


@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(stream=streams(), forgets=st.booleans())
def test_random_streams(way: str, stream: Stream, forgets: bool) -> None:
    batches = stream.build()
    source: Any = pa.RecordBatchReader.from_batches(stream.schema, batches)
    if forgets:
        source = RawStream(stream.schema, [*batches], change=forget_nulls)
    check(source, stream.schema, batches, way)


@pytest.mark.parametrize("way", ["memory", "disk"])
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(stream=streams().filter(lambda s: len(s.schema) > 0), lead=st.integers(1, 9))
def test_random_streams_of_structs_with_an_offset(
    way: str, stream: Stream, lead: int
) -> None:
    """The struct array of the rows is a slice."""
    batches = [one.slice(min(lead, one.num_rows)) for one in stream.build()]
    arrays = [one.to_struct_array() for one in stream.build()]
    source = pa.chunked_array([array[min(lead, len(array)) :] for array in arrays])
    schema = stream.schema.remove_metadata()
    batches = [one.replace_schema_metadata(None) for one in batches]
    check(source, schema, batches, way)


@pytest.mark.parametrize("tier", TIERS)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@example(cuts=[(5, 7)], name="list_struct")
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 23), st.integers(0, 23)), min_size=1, max_size=4
    ),
    name=st.sampled_from(sorted(ALL)),
)
def test_random_slices_of_every_type(
    tier: str, cuts: list[tuple[int, int]], name: str
) -> None:
    whole = batch_of(name)
    batches = [whole.slice(start, length) for start, length in cuts]
    source = pa.RecordBatchReader.from_batches(whole.schema, batches)
    check(source, whole.schema, batches, tier)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    steps=st.lists(st.integers(0, 6), max_size=40),
    capacity=st.integers(0, 8),
    readers=st.integers(1, 3),
)
def test_random_reading_with_a_budget(
    steps: list[int], capacity: int, readers: int
) -> None:
    """A model test: no batch is lost, doubled or out of order, for any order of reads."""
    one = pa.record_batch({"id": pa.array(range(80), pa.int64())})
    batches = [one.slice(4 * i, 4) for i in range(20)]
    source = pa.RecordBatchReader.from_batches(one.schema, batches)
    cache = StreamCache(source, 32 * capacity, max_readers=readers)
    made: list[Any] = []
    seen: list[list[int]] = []
    for step in steps:
        if step >= len(made):
            if len(made) < readers:
                made.append(cache.reader())
                seen.append([])
            continue
        lowest = min(map(len, seen)) if len(made) == readers else 0
        position = len(seen[step])
        try:
            got = next(made[step])
        except MemoryError:
            held = cache.ingested_count - lowest
            assert held >= capacity, (held, capacity)
            continue
        except StopIteration:
            assert position == 20
            continue
        seen[step].append(got.column(0)[0].as_py())
        assert position == len(seen[step]) - 1
    for one_seen in seen:
        assert one_seen == [4 * i for i in range(len(one_seen))]
