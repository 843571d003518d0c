"""Random schemas, batches and slices through every tier, compared with the source."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchcorder import StreamCache
from conftest import TIERS, maker
from kinds import ALL, batch_of

FLAT = [
    pa.int8(),
    pa.uint16(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.bool_(),
    pa.string(),
    pa.large_binary(),
    pa.binary(3),
    pa.decimal128(20, 3),
    pa.timestamp("us", "UTC"),
    pa.null(),
    pa.string_view(),
]


def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a type, nulls among them."""
    types = pa.types
    if types.is_null(kind):
        return st.none()
    if types.is_boolean(kind):
        made: st.SearchStrategy[Any] = st.booleans()
    elif types.is_integer(kind):
        low = 0 if "uint" in str(kind) else -(1 << kind.bit_width - 1)
        made = st.integers(low, low + (1 << kind.bit_width) - 1)
    elif types.is_floating(kind):
        made = st.floats(width=32, allow_nan=False)
    elif types.is_decimal(kind):
        made = st.decimals(-(10**9), 10**9, places=3)
    elif types.is_timestamp(kind):
        made = st.integers(0, 1 << 50)
    elif types.is_string(kind) or types.is_string_view(kind):
        made = st.text(max_size=20)
    elif types.is_fixed_size_binary(kind):
        made = st.binary(min_size=3, max_size=3)
    elif types.is_large_binary(kind):
        made = st.binary(max_size=20)
    elif types.is_map(kind):
        pair = st.tuples(st.text(max_size=3), values(kind.item_type))
        made = st.lists(pair, max_size=3)
    elif types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        made = st.fixed_dictionaries({f.name: values(f.type) for f in fields})
    elif types.is_fixed_size_list(kind):
        size = kind.list_size
        made = st.lists(values(kind.value_type), min_size=size, max_size=size)
    else:
        made = st.lists(values(kind.value_type), max_size=4)
    return st.none() | made


def nest(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(inner, max_size=3).map(
        lambda kinds: pa.struct([(f"f{i}", kind) for i, kind in enumerate(kinds)])
    )
    return st.one_of(
        fields,
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        st.builds(pa.list_, inner, st.integers(0, 3)),
    )


KINDS = st.recursive(st.sampled_from(FLAT), nest, max_leaves=4)


@st.composite
def streams(draw: st.DrawFn) -> list[pa.RecordBatch]:
    """Return batches of one schema, slices among them."""
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
    schema = pa.schema([(f"c{i}", kind) for i, kind in enumerate(kinds)])
    made = []
    for _ in range(draw(st.integers(0, 3))):
        rows = draw(st.integers(0, 12))
        columns = []
        for kind in kinds:
            cells = draw(st.lists(values(kind), min_size=rows, max_size=rows))
            columns.append(pa.array(cells, kind))
        one = pa.RecordBatch.from_arrays(columns, schema=schema)
        start = draw(st.integers(0, rows))
        made.append(one.slice(start, draw(st.integers(0, rows - start))))
    return made or [pa.RecordBatch.from_pylist([], schema)]


def check(batches: list[pa.RecordBatch], tier: str, path: Path) -> None:
    schema = batches[0].schema
    cache = maker(tier, path)(pa.RecordBatchReader.from_batches(schema, batches))
    for stream in (cache, cache, pa.RecordBatchReader.from_stream(cache)):
        got = list(stream)
        assert len(got) == len(batches)
        for one, wanted in zip(got, batches, strict=True):
            if one.num_rows > 0:
                one.validate(full=True)
            assert one.schema.equals(schema, check_metadata=True)
            assert one.equals(wanted)
            assert one.to_pylist() == wanted.to_pylist()
    cache.close()


@pytest.mark.parametrize("tier", TIERS)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@example(batches=[batch_of("list_struct").slice(5, 7)])
@given(batches=streams())
def test_random_streams(tier: str, batches: list[pa.RecordBatch]) -> None:
    with tempfile.TemporaryDirectory() as path:
        check(batches, tier, Path(path))


@pytest.mark.parametrize("tier", TIERS)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
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
    with tempfile.TemporaryDirectory() as path:
        check([whole.slice(start, length) for start, length in cuts], tier, Path(path))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    steps=st.lists(st.integers(0, 6), max_size=40),
    capacity=st.integers(0, 8),
    readers=st.integers(1, 3),
)
def test_random_reading_with_a_budget(
    steps: list[int], capacity: int, readers: int
) -> None:
    """A model: no batch is lost, doubled or out of order, whoever reads when."""
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
