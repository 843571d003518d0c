"""Every Arrow type is exact after each tier, in whole batches and in slices."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from cstream import RawStream, forget_nulls
from helpers import cache_file, cache_files, identical, on_disk, reader_of
from kinds import ALL, batch_of, slices_of
from tiers import maker


@pytest.mark.parametrize("name", ALL)
def test_round_trip_in_memory(name: str) -> None:
    batches = slices_of(batch_of(name))
    cache = StreamCache(reader_of(batches))
    identical(list(cache), batches)
    identical(list(pa.RecordBatchReader.from_stream(cache)), batches)
    assert cache.schema.equals(batches[0].schema, check_metadata=True)


@pytest.mark.parametrize("tier", ["disk", "both", "evict"])
@pytest.mark.parametrize("name", ALL)
def test_round_trip_on_disk(name: str, tier: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    cache = maker(tier, tmp_path)(reader_of(batches))
    identical(list(cache), batches)
    identical(list(pa.RecordBatchReader.from_stream(cache)), batches)
    assert cache.schema.equals(batches[0].schema, check_metadata=True)


@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize("name", ALL)
def test_unknown_null_counts(name: str, tier: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    source = RawStream(batches[0].schema, [*batches], change=forget_nulls)
    cache = maker(tier, tmp_path)(source)
    for _ in range(2):
        identical(list(cache), batches)


@pytest.mark.parametrize("name", ALL)
def test_the_file_is_an_ipc_stream(name: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    cache = on_disk(reader_of(batches), tmp_path)
    cache.ingest_all()
    with pa.ipc.open_stream(cache_file(tmp_path)) as stream:
        identical(list(stream), batches)


def test_a_type_that_the_format_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    """The values of a dictionary may not be a dictionary."""
    inner = pa.array(["a", "b"]).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), inner)
    batches = [pa.record_batch({"twice": column})]
    stream = RawStream(batches[0].schema, [*batches])
    with pytest.raises(NotImplementedError, match="Field 'twice'"):
        on_disk(stream, tmp_path)
    assert (stream.calls, stream.released) == (0, 0), "the source was read"
    assert cache_files(tmp_path) == []
    assert [one.num_rows for one in StreamCache(stream)] == [3]


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_a_dictionary_of_binary_values_of_no_width(tier: str, tmp_path: Path) -> None:
    values = pa.array([b"", None], pa.binary(0))
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), values)
    batches = [pa.record_batch({"d": column}), pa.record_batch({"d": column[1:3]})]
    cache = maker(tier, tmp_path)(reader_of(batches))
    for _ in range(2):
        identical(list(cache), batches)


@pytest.mark.parametrize("rows", [0, 5])
def test_batches_without_columns(rows: int, tmp_path: Path) -> None:
    one = batch_of("int64").slice(0, rows).select([])
    for cache in (StreamCache(reader_of([one])), on_disk(reader_of([one]), tmp_path)):
        identical(list(cache), [one])
        (got,) = pa.RecordBatchReader.from_stream(cache)
        assert (got.num_rows, got.num_columns) == (rows, 0)


@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize("name", ALL)
def test_structs_whose_slices_may_be_empty(name: str, tier: str, tmp_path: Path) -> None:
    """The rows are slices of a struct array, whose columns are slices themselves."""
    array = pa.StructArray.from_arrays([ALL[name][3:20]], ["c"])
    slices = [array[5:], array[4:4], array[17:], array[1:9]]
    cache = maker(tier, tmp_path)(pa.chunked_array(slices))
    identical(list(cache), [pa.RecordBatch.from_struct_array(one) for one in slices])


@pytest.mark.parametrize("tier", ["memory", "disk", "both", "evict"])
def test_empty_streams_and_empty_batches(tier: str, tmp_path: Path) -> None:
    make = maker(tier, tmp_path)
    whole = batch_of("string")
    empty = make(pa.RecordBatchReader.from_batches(whole.schema, []))
    assert empty.ingest_all() == 0
    assert empty.upstream_exhausted
    assert list(empty) == []
    assert pa.table(empty).schema.equals(whole.schema, check_metadata=True)
    batches = [whole.slice(0, 0), whole.slice(0, 1), whole.slice(5, 0)]
    cache = make(reader_of(batches))
    assert cache.ingest_all() == 3
    identical(list(cache), batches)


@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize(
    "names", [["a", "a"], ["", "a"], ["", ""], ["été", "a b"], ["x" * 5000, "y"]]
)
def test_odd_field_names(names: list[str], tier: str, tmp_path: Path) -> None:
    columns = [pa.array([1, 2]), pa.array(["x", None])]
    one = pa.RecordBatch.from_arrays(columns, names)
    identical(list(maker(tier, tmp_path)(reader_of([one]))), [one])


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_metadata_that_is_not_utf8(tier: str, tmp_path: Path) -> None:
    metadata = {b"\xff\xfe": b"\x80", b"": b"", b"nul\x00": b"\x00\x01"}
    field = pa.field("a", pa.int8(), metadata=metadata)
    one = pa.RecordBatch.from_arrays(
        [pa.array([1, None], pa.int8())], schema=pa.schema([field], metadata=metadata)
    )
    cache = maker(tier, tmp_path)(reader_of([one]))
    identical(list(cache), [one])
    assert pa.table(cache).schema.field(0).metadata == metadata
    assert cache.schema.metadata == metadata
    for file in cache_files(tmp_path):
        with pa.ipc.open_stream(file) as stream:
            assert stream.schema.equals(one.schema, check_metadata=True)


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_many_columns_and_deep_nesting(tier: str, tmp_path: Path) -> None:
    deep: pa.DataType = pa.int8()
    value: object = 7
    for i in range(40):
        deep, value = (
            (pa.list_(deep), [value, None])
            if i % 2
            else (pa.struct([("s", deep)]), {"s": value})
        )
    columns = [pa.array([i, None]) for i in range(500)]
    one = pa.RecordBatch.from_arrays(
        [pa.array([value, None], deep), *columns], [f"c{i}" for i in range(501)]
    )
    identical(
        list(maker(tier, tmp_path)(reader_of([one, one.slice(1)]))), [one, one.slice(1)]
    )


@pytest.mark.parametrize("levels", [20, 47, 48, 60])
def test_deep_nesting(levels: int, tmp_path: Path) -> None:
    column = pa.array([1, 2, None], pa.int32())
    for level in range(levels):
        if level % 2 == 0:
            column = pa.StructArray.from_arrays([column], ["f"])
        else:
            column = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), column)
    batches = [pa.record_batch({"deep": column})]
    cache = on_disk(reader_of(batches), tmp_path)
    for _ in range(2):
        assert next(iter(cache)).equals(batches[0])


def test_nesting_too_deep_is_refused(tmp_path: Path) -> None:
    column = pa.array([1], pa.int32())
    for _ in range(130):
        column = pa.StructArray.from_arrays([column], ["f"])
    with pytest.raises(ValueError, match="levels deep"):
        StreamCache(pa.table({"deep": column}))
