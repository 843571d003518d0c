"""cast, on caches and readers, and requested_schema."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from cstream import capsule_of
from helpers import CLOSED, USED, Source
from tiers import MakeCache

SCHEMA = pa.schema([("a", pa.int64()), ("s", pa.string())])
FLOATS = pa.schema([("a", pa.float32()), ("s", pa.large_string())])
OTHER_NAMES = pa.schema([("b", pa.int64()), ("s", pa.string())])
ANOTHER_TYPE = pa.schema([("a", pa.list_(pa.int64())), ("s", pa.string())])


def source(*values: list[int]) -> Source:
    chunks = values or ([1, 2], [3])
    return Source(
        [
            pa.record_batch(
                [pa.array(c, pa.int64()), pa.array([str(v) for v in c])], schema=SCHEMA
            )
            for c in chunks
        ]
    )


def read(stream: Any) -> pa.Table:
    return pa.RecordBatchReader.from_stream(stream).read_all()


# The ways to get a cast stream: from a cache or a reader, to a schema.
Way = Callable[[Any, pa.Schema], pa.Table]
CACHE_WAYS: dict[str, Way] = {
    "cache.cast": lambda c, t: read(c.cast(t)),
    "cast of cast": lambda c, t: read(c.cast(FLOATS).cast(t)),
    "cache requested": lambda c, t: pa.RecordBatchReader._import_from_c_capsule(
        c.__arrow_c_stream__(t.__arrow_c_schema__())
    ).read_all(),
    "casting requested": lambda c, t: pa.RecordBatchReader._import_from_c_capsule(
        c.cast(FLOATS).__arrow_c_stream__(t.__arrow_c_schema__())
    ).read_all(),
    "reader.cast": lambda c, t: c.reader().cast(t).read_all(),
    "reader requested": lambda c, t: pa.RecordBatchReader._import_from_c_capsule(
        c.reader().__arrow_c_stream__(t.__arrow_c_schema__())
    ).read_all(),
}
ways = pytest.mark.parametrize("way", CACHE_WAYS.values(), ids=CACHE_WAYS.keys())


@ways
def test_cast(way: Way, make_cache: MakeCache) -> None:
    made = source()
    cache = make_cache(made)
    for target in (FLOATS, SCHEMA, FLOATS):
        table = way(cache, target)
        assert table.schema == target
        assert table.column("a").to_pylist() == [1, 2, 3]
        assert table.column("s").to_pylist() == ["1", "2", "3"]
    assert (made.given, made.streams) == (2, 1)


@ways
def test_other_field_names(way: Way) -> None:
    made = source()
    cache = StreamCache(made)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        way(cache, OTHER_NAMES)
    assert str(caught.value) == (
        "Target schema's field names are not matching the table's field names: "
        "['a', 's'], ['b', 's']"
    )
    for target in (
        pa.schema([]),
        pa.schema([SCHEMA.field(0)]),
        SCHEMA.append(pa.field("x", pa.int8())),
    ):
        with pytest.raises(ValueError, match="field names are not matching"):
            way(cache, target)
    assert made.given == 0


@ways
def test_a_pair_of_types_that_cannot_be_cast(way: Way) -> None:
    with pytest.raises(
        pa.lib.ArrowTypeError, match="Field 0 cannot be cast from int64 to list"
    ):
        way(StreamCache(source()), ANOTHER_TYPE)


@ways
def test_a_value_that_cannot_be_cast(way: Way) -> None:
    cache = StreamCache(source([1], [300], [2]))
    target = pa.schema([("a", pa.int8()), ("s", pa.string())])
    with pytest.raises(pa.ArrowInvalid, match="Integer value 300 not in range"):
        way(cache, target)
    assert cache.ingest_all() == 3
    assert read(cache).num_rows == 3


@pytest.mark.parametrize(
    "value", [5, "x", None, [], {"a": 1}, SCHEMA.__arrow_c_schema__()]
)
def test_a_target_that_is_not_a_schema(value: Any) -> None:
    cache = StreamCache(source(), max_readers=1)
    with pytest.raises(TypeError, match=r"(?i)schema"):
        cache.cast(value)
    with pytest.raises(TypeError, match=r"(?i)schema"):
        cache.cast(FLOATS).cast(value)
    reader = cache.reader()
    if value is not None:
        with pytest.raises(TypeError, match=r"(?i)schema"):
            reader.cast(value)
    assert read(reader).num_rows == 3


def test_a_reader_cast_to_none_is_not_cast() -> None:
    reader = StreamCache(source()).reader()
    stream = reader.cast(None)
    assert reader.closed
    assert stream.schema == SCHEMA
    assert stream.read_all().num_rows == 3


def test_targets_that_are_schemas_by_protocol() -> None:
    cache = StreamCache(source())
    other = StreamCache(pa.table({"a": pa.array([1.5]), "s": pa.array(["x"])}))
    assert read(cache.cast(other)).schema.field("a").type == pa.float64()
    assert cache.reader().cast(other).schema.field("a").type == pa.float64()


@pytest.mark.parametrize("answer", [5, None, SCHEMA], ids=["int", "None", "schema"])
def test_a_target_whose_method_gives_no_capsule(answer: Any) -> None:
    class Target:
        def __arrow_c_schema__(self) -> Any:
            return answer

    cache = StreamCache(source())
    with pytest.raises(TypeError, match=r"'target_schema'.*instance of 'PyCapsule'"):
        cache.cast(Target())
    if answer is not None:
        reader = cache.reader()
        with pytest.raises(TypeError, match="instance of 'PyCapsule'"):
            reader.cast(Target())
        assert not reader.closed


def test_an_exception_of_the_target() -> None:
    error = KeyError("boom")

    class Target:
        def __arrow_c_schema__(self) -> Any:
            raise error

    cache = StreamCache(source())
    for call in (cache.cast, cache.reader().cast):
        with pytest.raises(KeyError) as caught:
            call(Target())
        assert caught.value is error


@pytest.mark.parametrize("value", [5, "x", SCHEMA, False, 0], ids=str)
def test_requested_schema_is_not_a_capsule(value: Any) -> None:
    cache = StreamCache(source(), max_readers=1)
    words = (
        f"argument 'requested_schema': '{type(value).__name__}' object is not an "
        "instance of 'PyCapsule'"
    )
    for thing in (cache, cache.cast(FLOATS)):
        with pytest.raises(TypeError) as caught:
            thing.__arrow_c_stream__(value)
        assert str(caught.value) == words
    reader = cache.reader()
    with pytest.raises(TypeError) as caught:
        reader.__arrow_c_stream__(value)
    assert str(caught.value) == words
    assert read(reader).num_rows == 3


def test_requested_schema_is_a_capsule_of_another_kind() -> None:
    cache = StreamCache(source(), max_readers=1)
    reader = cache.reader()
    name = b"foo"
    for make in (
        lambda: pa.table({"a": [1]}).__arrow_c_stream__(),
        lambda: capsule_of(1 << 12, name),
        lambda: capsule_of(1 << 12, None),
    ):
        for thing in (cache, cache.cast(FLOATS), reader):
            with pytest.raises(ValueError):  # noqa: PT011
                thing.__arrow_c_stream__(make())
    used = FLOATS.__arrow_c_schema__()
    pa.Schema._import_from_c_capsule(used)
    with pytest.raises(pa.ArrowInvalid, match="released"):
        reader.__arrow_c_stream__(used)
    with pytest.raises(pa.ArrowInvalid, match="non-struct"):
        reader.__arrow_c_stream__(pa.int64().__arrow_c_schema__())
    assert read(reader).num_rows == 3


def test_failures_use_up_neither_the_reader_nor_a_slot() -> None:
    cache = StreamCache(source(), max_readers=2)
    for target in (OTHER_NAMES, ANOTHER_TYPE):
        with pytest.raises((ValueError, TypeError)):
            read(cache.cast(target))
        with pytest.raises((ValueError, TypeError)):
            cache.__arrow_c_stream__(target.__arrow_c_schema__())
    reader = cache.reader()
    for target in (OTHER_NAMES, ANOTHER_TYPE):
        with pytest.raises((ValueError, TypeError)):
            reader.cast(target)
        with pytest.raises((ValueError, TypeError)):
            reader.__arrow_c_stream__(target.__arrow_c_schema__())
    assert not reader.closed
    assert reader.cast(FLOATS).read_all().num_rows == 3
    assert reader.closed
    assert read(cache.cast(FLOATS)).num_rows == 3
    with pytest.raises(ValueError, match="Maximum number of readers"):
        read(cache.cast(FLOATS))


def test_cast_takes_no_slot_before_it_is_read() -> None:
    cache = StreamCache(source(), max_readers=1)
    views = [cache.cast(FLOATS) for _ in range(3)]
    assert [view.schema for view in views] == [FLOATS] * 3
    assert [pa.schema(view) for view in views] == [FLOATS] * 3
    assert read(views[0]).num_rows == 3
    with pytest.raises(ValueError, match="Maximum number of readers"):
        read(views[1])


def test_a_cast_of_a_cast_goes_straight_from_the_source() -> None:
    big = 16777217  # not exact as a float32
    cache = StreamCache(source([big]))
    assert read(cache.cast(FLOATS).cast(SCHEMA)).column("a").to_pylist() == [big]


def test_a_partly_read_reader_casts_its_rest() -> None:
    reader = StreamCache(source()).reader()
    next(reader)
    assert reader.cast(FLOATS).read_all().column("a").to_pylist() == [3]
    with pytest.raises(ValueError, match=USED):
        reader.cast(FLOATS)
    with pytest.raises(ValueError, match=USED):
        reader.cast(5)


def test_nullability_and_metadata() -> None:
    cache = StreamCache(pa.table({"a": [1, 2], "s": ["x", None]}))
    strict = pa.schema([pa.field("a", pa.int64(), nullable=False), ("s", pa.string())])
    assert read(cache.cast(strict)).schema == strict
    stricter = pa.schema([("a", pa.int64()), pa.field("s", pa.string(), nullable=False)])
    with pytest.raises(pa.ArrowInvalid, match="nulls to non-nullable"):
        read(cache.cast(stricter))
    labelled = FLOATS.with_metadata({"k": "v"})
    assert read(cache.cast(labelled)).schema.metadata == {b"k": b"v"}


def test_a_view_keeps_the_recording_alive() -> None:
    view = StreamCache(source()).cast(FLOATS)
    gc.collect()
    assert read(view).num_rows == 3
    assert read(view).num_rows == 3


def test_a_view_of_a_closed_cache() -> None:
    cache = StreamCache(source())
    view = cache.cast(FLOATS)
    stream = pa.RecordBatchReader.from_stream(view)
    cache.close()
    assert (view.schema, pa.schema(view)) == (FLOATS, FLOATS)
    assert cache.cast(SCHEMA).schema == SCHEMA
    with pytest.raises(ValueError, match=CLOSED):
        read(view)
    with pytest.raises(ValueError, match=CLOSED):
        stream.read_next_batch()
    with pytest.raises(TypeError):
        cache.cast(5)
