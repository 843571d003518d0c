"""The members of caches and readers, before, while and after they record."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import CastingStreamCache, StreamCache, StreamCacheReader
from helpers import SCHEMA, Source, ids, numbered
from tiers import MakeCache

PUBLIC = {
    StreamCache: {
        "schema",
        "ingested_count",
        "upstream_exhausted",
        "reader",
        "cast",
        "ingest_all",
        "close",
        "in_memory",
        "on_disk",
    },
    StreamCacheReader: {"schema", "closed", "cast"},
    CastingStreamCache: {"schema", "cast"},
}


def test_module() -> None:
    assert batchcorder.__version__ == "0.1.3"
    assert set(batchcorder.__all__) >= {
        "CastingStreamCache",
        "StreamCache",
        "StreamCacheReader",
    }
    assert "__version__" not in batchcorder.__all__, "a star import lacks the classes"
    for cls in PUBLIC:
        assert cls.__module__ == "batchcorder"
        assert getattr(batchcorder, cls.__name__) is cls


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda c: c.__name__)
def test_public_names(cls: type) -> None:
    assert {n for n in dir(cls) if not n.startswith("_")} >= PUBLIC[cls]


def test_types_that_come_back(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(3)))
    assert type(cache.schema) is pa.Schema
    assert cache.schema == SCHEMA
    assert type(cache.ingested_count) is int
    assert cache.upstream_exhausted is False
    assert type(cache.reader()) is StreamCacheReader
    assert type(iter(cache)) is StreamCacheReader
    assert type(cache.cast(SCHEMA)) is CastingStreamCache
    assert type(cache.cast(SCHEMA).cast(SCHEMA)) is CastingStreamCache
    assert type(cache.reader().cast(SCHEMA)) is pa.RecordBatchReader
    assert all(type(one) is pa.RecordBatch for one in cache)
    assert cache.ingest_all() == 3
    assert cache.upstream_exhausted is True
    assert cache.close() is None
    for thing in (cache, cache.cast(SCHEMA)):
        assert type(thing.__arrow_c_schema__()).__name__ == "PyCapsule"


def test_ingest_all_is_idempotent(make_any_cache: MakeCache) -> None:
    source = Source(numbered(5))
    cache = make_any_cache(source)
    next(iter(cache))
    assert [cache.ingest_all() for _ in range(3)] == [5, 5, 5]
    assert (source.given, source.streams) == (5, 1)
    assert ids(cache) == list(range(20))
    assert source.given == 5


def test_exhausted_is_known_only_after_the_end(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(2)))
    reader = cache.reader()
    next(reader)
    next(reader)
    assert (cache.ingested_count, cache.upstream_exhausted) == (2, False)
    with pytest.raises(StopIteration):
        next(reader)
    assert (cache.ingested_count, cache.upstream_exhausted) == (2, True)


def test_len_and_bool(make_cache: MakeCache) -> None:
    cache = make_cache(Source(numbered(3)))
    assert bool(cache) is True
    with pytest.raises(TypeError, match="ingest_all"):
        len(cache)
    cache.ingest_all()
    assert len(cache) == 3
    empty = make_cache(Source([]))
    empty.ingest_all()
    assert len(empty) == 0
    assert bool(empty) is True
    empty.close()
    assert bool(empty) is True
    assert bool(make_cache(Source([])).reader()) is True


def test_repr(make_cache: MakeCache) -> None:
    cache = make_cache(Source(numbered(3)))
    assert "ingested=0" in repr(cache)
    assert "exhausted=False" in repr(cache)
    assert "schema=" in repr(cache)
    assert "id: int64" in repr(cache)
    reader = cache.reader()
    assert "closed=False" in repr(reader)
    assert "schema=" in repr(reader)
    assert "StreamCacheReader" in repr(reader)
    assert ids(reader) == list(range(12))
    assert "ingested=3" in repr(cache)
    assert "exhausted=True" in repr(cache)
    assert "closed=True" in repr(reader)
    cache.close()
    assert "ingested=3" in repr(cache)
    assert "CastingStreamCache" in repr(cache.cast(SCHEMA))


def test_with(make_cache: MakeCache) -> None:
    with make_cache(Source(numbered(3))) as cache, cache.reader() as reader:
        assert isinstance(cache, StreamCache)
        assert isinstance(reader, StreamCacheReader)
        next(reader)
    with pytest.raises(ValueError, match="Dataset has been closed"):
        cache.ingest_all()
    assert reader.closed
    error = KeyError("goes through")
    with pytest.raises(KeyError) as caught, make_cache(Source(numbered(1))) as cache:
        raise error
    assert caught.value is error
    with pytest.raises(ValueError, match="Dataset has been closed"):
        cache.reader()


def test_protocols() -> None:
    cache = StreamCache(Source(numbered(1)))
    reader = cache.reader()
    assert isinstance(cache, Iterable)
    assert not isinstance(cache, Iterator)
    assert isinstance(reader, Iterator)
    assert iter(reader) is reader
    assert iter(cache) is not iter(cache)
    with pytest.raises(TypeError, match="StreamCache' object is not an iterator"):
        next(cache)  # type: ignore[call-overload]


def test_nothing_can_be_set_or_pickled() -> None:
    cache = StreamCache(Source(numbered(1)))
    for thing, name in (
        (cache, "schema"),
        (cache, "ingested_count"),
        (iter(cache), "closed"),
    ):
        with pytest.raises(AttributeError):
            setattr(thing, name, 1)
        with pytest.raises(AttributeError):
            delattr(thing, name)
    for thing in (cache, cache.reader()):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(thing)
        with pytest.raises(TypeError, match="cannot pickle"):
            copy.deepcopy(thing)


def test_objects_hash_compare_and_take_attributes() -> None:
    cache = StreamCache(Source(numbered(1)))
    for thing in (cache, cache.reader(), cache.cast(SCHEMA)):
        assert thing == thing
        assert hash(thing) == hash(thing)
        thing.note = "x"  # type: ignore[union-attr]
        assert weakref.ref(thing)() is thing
    assert cache != StreamCache(Source(numbered(1)))


def test_cycles_are_collected() -> None:
    class Marker:
        pass

    marks = []
    for make in (lambda c: c, lambda c: c.reader(), lambda c: c.cast(SCHEMA)):
        thing: Any = make(StreamCache(Source(numbered(1))))
        thing.mark = Marker()
        thing.mark.back = thing
        marks.append(weakref.ref(thing.mark))
        del thing
    gc.collect()
    assert [mark() for mark in marks] == [None] * 3


def test_subclass() -> None:
    class Mine(StreamCache):
        def __init__(self, reader: Any, extra: int) -> None:
            super().__init__(reader, memory_capacity=1 << 20)
            self.extra = extra

    cache = Mine(Source(numbered(2)), 5)
    assert cache.extra == 5
    assert ids(cache) == list(range(8))
    assert type(cache.reader()) is StreamCacheReader


def test_iteration_asks_a_subclasss_reader() -> None:
    calls = []

    class Mine(StreamCache):
        def reader(self, from_start: bool = True) -> StreamCacheReader:
            calls.append(from_start)
            return super().reader(from_start)

    cache = Mine(Source(numbered(2)))
    assert ids(list(cache)) == list(range(8))
    assert calls == [True]
    assert ids(cache) == list(range(8))
    assert calls == [True], "the C stream called the subclass's reader()"


def test_casts_do_not_call_overridden_methods() -> None:
    """If a cast used the overridden method, a subclass could call itself for ever."""
    target = pa.schema([("id", pa.float64())])

    class Mine(StreamCache):
        schema = target

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return self.cast(target).__arrow_c_stream__(requested_schema)

    cache = Mine(Source(numbered(1)))
    assert pa.table(cache).schema == target
    assert pa.table(cache.cast(SCHEMA)).schema == SCHEMA
    assert pa.table(cache, schema=SCHEMA).schema == SCHEMA


def test_a_copy_is_the_same_thing() -> None:
    cache = StreamCache(Source(numbered(3)))
    reader = cache.reader()
    next(reader)
    assert copy.copy(cache) is cache
    assert ids(copy.copy(reader)) == list(range(4, 12))
    assert reader.closed
    assert ids(copy.copy(cache.cast(SCHEMA))) == list(range(12))


def test_without_init_nothing_crashes() -> None:
    cache = StreamCache.__new__(StreamCache)
    for use in (
        lambda: cache.schema,
        lambda: cache.ingested_count,
        lambda: cache.upstream_exhausted,
        lambda: cache.reader(),
        lambda: iter(cache),
        lambda: cache.ingest_all(),
        lambda: cache.close(),
        lambda: cache.cast(SCHEMA),
        lambda: cache.__arrow_c_stream__(),
        lambda: cache.__arrow_c_schema__(),
        lambda: len(cache),
    ):
        with pytest.raises((ValueError, AttributeError)):
            use()
    repr(cache)


def test_init_twice() -> None:
    source = Source(numbered(1))
    cache = StreamCache(Source(numbered(2)))
    with pytest.raises(ValueError, match="__init__"):
        cache.__init__(source)  # type: ignore[misc]
    assert source.streams == 0
    assert ids(cache) == list(range(8))


def test_readers_are_made_by_caches_only() -> None:
    with pytest.raises(TypeError):
        StreamCacheReader()
    with pytest.raises(TypeError):
        CastingStreamCache()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            StreamCache,
            {
                "reader": inspect.Parameter.empty,
                "memory_capacity": None,
                "disk_path": None,
                "disk_capacity": None,
                "write_policy": "on_insertion",
                "max_readers": None,
                "checksum": True,
                "compression": None,
                "prefetch": None,
                "statistics": None,
            },
        ),
        (
            StreamCache.reader,
            {
                "self": inspect.Parameter.empty,
                "from_start": True,
                "columns": None,
                "start": None,
                "stop": None,
                "step": None,
            },
        ),
        (
            StreamCache.ingest_all,
            {"self": inspect.Parameter.empty, "progress": False},
        ),
        (
            StreamCache.cast,
            {"self": inspect.Parameter.empty, "target_schema": inspect.Parameter.empty},
        ),
        (
            StreamCacheReader.cast,
            {"self": inspect.Parameter.empty, "target_schema": inspect.Parameter.empty},
        ),
        *[
            (
                cls.__arrow_c_stream__,
                {"self": inspect.Parameter.empty, "requested_schema": None},
            )
            for cls in PUBLIC
        ],
    ],
)
def test_signatures(function: Any, parameters: dict[str, Any]) -> None:
    found = inspect.signature(function).parameters
    assert {name: p.default for name, p in found.items()} == parameters


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda c: c.__name__)
def test_everything_has_a_signature_and_a_docstring(cls: type) -> None:
    assert cls.__doc__
    inspect.signature(cls)
    special = {"__arrow_c_stream__", "__arrow_c_schema__"}
    if cls is not CastingStreamCache:
        special |= {"__enter__", "__exit__", "__iter__"}
    for name in PUBLIC[cls] | special:
        member = inspect.getattr_static(cls, name)
        assert getattr(cls, name).__doc__, name
        if not inspect.isdatadescriptor(member):
            inspect.signature(getattr(cls, name))


@pytest.mark.parametrize(
    "value", [0, 1, "x", "", None, 2.0, []], ids=lambda v: type(v).__name__
)
def test_from_start_is_a_bool(value: Any) -> None:
    cache = StreamCache(Source(numbered(1)), max_readers=1)
    wanted = "'None'" if value is None else f"'{type(value).__name__}' object"
    with pytest.raises(TypeError) as caught:
        cache.reader(value)
    assert str(caught.value) == (
        f"argument 'from_start': {wanted} is not an instance of 'bool'"
    )
    assert ids(cache.reader(from_start=False)) == [0, 1, 2, 3]


def test_methods_refuse_arguments_they_do_not_have() -> None:
    cache = StreamCache(Source(numbered(1)))
    for call in (
        lambda: cache.ingest_all(1),  # type: ignore[call-arg]
        lambda: cache.close(1),  # type: ignore[call-arg]
        lambda: cache.reader(True, 1),  # type: ignore[call-arg]
        lambda: cache.reader(x=1),  # type: ignore[call-arg]
        lambda: cache.cast(),  # type: ignore[call-arg]
        lambda: cache.cast(SCHEMA, 1),  # type: ignore[call-arg]
        lambda: cache.__arrow_c_stream__(None, 1),  # type: ignore[call-arg]
        lambda: cache.__arrow_c_schema__(1),  # type: ignore[call-arg]
        lambda: cache.reader().cast(),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            call()
    assert cache.ingested_count == 0


def test_a_schema_that_cannot_be_imported(tmp_path: Path) -> None:
    """pyarrow cannot import this extension type. Calls that do not need the type work."""

    class Unreadable(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.int32(), "batchcorder.tests.unreadable")

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

        @classmethod
        def __arrow_ext_deserialize__(
            cls, storage_type: pa.DataType, serialized: bytes
        ) -> Unreadable:
            raise KeyError("cannot read it")

    column = pa.ExtensionArray.from_storage(Unreadable(), pa.array([1], pa.int32()))
    table = pa.table({"x": column})
    pa.register_extension_type(Unreadable())
    try:
        cache = StreamCache(table, 1, tmp_path, 1 << 20)
        for call in (lambda: cache.schema, lambda: next(cache.reader())):
            with pytest.raises(KeyError, match="cannot read it"):
                call()
        assert cache.ingest_all() == 1
        assert repr(cache)
        assert repr(cache.reader())
        assert cache.__arrow_c_stream__(pa.schema({"y": "int8"}).__arrow_c_schema__())
        cache.close()
        assert list(tmp_path.iterdir()) == []
    finally:
        pa.unregister_extension_type("batchcorder.tests.unreadable")


def test_init_inside_init_is_refused() -> None:
    class Source:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            if not hasattr(cache, "seen"):
                cache.seen = True  # type: ignore[attr-defined]
                cache.__init__(pa.table({"a": [1]}))  # type: ignore[misc]
            return pa.table({"b": [2]}).__arrow_c_stream__()

    cache = StreamCache.__new__(StreamCache)
    with pytest.raises(ValueError, match="called before"):
        cache.__init__(Source())  # type: ignore[misc]
    assert pa.table(cache).to_pydict() == {"a": [1]}


def test_an_exception_survives_the_end_of_a_cache() -> None:
    with pytest.raises(TypeError):
        int(StreamCache(Source(numbered(3))))  # type: ignore[call-overload]
