"""The classes and their objects, before the first call."""

from __future__ import annotations

import collections.abc
import copy
import gc
import inspect
import pickle
import weakref
from collections.abc import Callable
from typing import Any

from .data import SCHEMA, TABLE, generated, ids, stream
from .probing import attempt, each, each_of, kind_raised, probe

# The public members of 0.1.3.
MEMBERS = {
    "StreamCache": [
        "cast",
        "close",
        "ingest_all",
        "ingested_count",
        "reader",
        "schema",
        "upstream_exhausted",
    ],
    "StreamCacheReader": ["cast", "closed", "schema"],
    "CastingStreamCache": ["cast", "schema"],
}
CLASSES = list(MEMBERS)
PROTOCOL = ["__arrow_c_schema__", "__arrow_c_stream__"]
METHODS = [
    *[f"StreamCache.{name}" for name in ("reader", "cast", "ingest_all", "close")],
    "StreamCache.__iter__",
    "StreamCacheReader.cast",
    "StreamCacheReader.__iter__",
    "StreamCacheReader.__next__",
    "CastingStreamCache.cast",
    *[f"{cls}.{name}" for cls in CLASSES for name in PROTOCOL],
]

THINGS: dict[str, Callable[[Any], Any]] = {
    "cache": lambda bc: bc.StreamCache(stream()),
    "reader": lambda bc: bc.StreamCache(stream()).reader(),
    "casting": lambda bc: bc.StreamCache(stream()).cast(SCHEMA),
}


def member(bc: Any, path: str) -> Any:
    """Return `bc.CLASS.NAME`."""
    cls, name = path.split(".")
    return getattr(getattr(bc, cls), name)


@probe
def module(bc: Any) -> Any:
    return [bc.__version__, sorted(set(bc.__all__) & set(CLASSES)), bool(bc.__doc__)]


@probe
def module_names(bc: Any) -> Any:
    return sorted(bc.__all__)


@each(CLASSES)
def class_names(bc: Any, name: str) -> Any:
    cls = getattr(bc, name)
    return [cls.__module__, cls.__name__, cls.__qualname__, repr(cls)]


@each(CLASSES)
def members_of_0_1_3(bc: Any, name: str) -> Any:
    cls = getattr(bc, name)
    return [n for n in dir(cls) if n in MEMBERS[name] + PROTOCOL]


@each(CLASSES)
def public_members(bc: Any, name: str) -> Any:
    return [n for n in dir(getattr(bc, name)) if not n.startswith("_")]


@each(THINGS)
def special_methods(bc: Any, name: str) -> Any:
    wanted = ["enter", "exit", "iter", "next", "len", "bool", "contains", "getitem"]
    thing = THINGS[name](bc)
    return {one: hasattr(thing, f"__{one}__") for one in wanted}


@each(THINGS)
def instances_of(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    abstract = ["Iterable", "Iterator", "Sized", "Container", "Hashable", "Callable"]
    return {one: isinstance(thing, getattr(collections.abc, one)) for one in abstract}


def parameters(function: Any) -> Any:
    """Return name, kind and default of each but self."""
    found = [
        p for p in inspect.signature(function).parameters.values() if p.name != "self"
    ]
    empty = inspect.Parameter.empty
    return [
        [p.name, p.kind.name, "none" if p.default is empty else repr(p.default)]
        for p in found
    ]


@each(METHODS)
def signature(bc: Any, path: str) -> Any:
    return parameters(member(bc, path))


@each(CLASSES)
def constructor_signature(bc: Any, name: str) -> Any:
    return parameters(getattr(bc, name))


@probe
def constructor_first_parameters(bc: Any) -> Any:
    return parameters(bc.StreamCache)[:6]


@probe
def bound_signature(bc: Any) -> Any:
    return [parameters(THINGS[name](bc).cast) for name in THINGS]


@probe
def annotations(bc: Any) -> Any:
    found = [inspect.signature(member(bc, path)) for path in METHODS]
    return [one.return_annotation is not inspect.Signature.empty for one in found]


@probe
def self_by_keyword(bc: Any) -> Any:
    names = ["ingest_all", "close"]
    methods = [getattr(bc.StreamCache, name) for name in names]
    return [kind_raised(lambda m=m: m(self=THINGS["cache"](bc))) for m in methods]


@each(CLASSES)
def docstrings(bc: Any, name: str) -> Any:
    cls = getattr(bc, name)
    return [bool(cls.__doc__), [bool(getattr(cls, m).__doc__) for m in MEMBERS[name]]]


@probe
def kinds_of_members(bc: Any) -> Any:
    cls = bc.StreamCache
    return [
        isinstance(cls.schema, property),
        inspect.isdatadescriptor(cls.schema),
        inspect.isfunction(cls.reader),
        inspect.isroutine(cls.reader),
        inspect.ismethod(THINGS["cache"](bc).reader),
        inspect.isclass(cls),
    ]


@each(THINGS)
def repr_and_str(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    return [repr(thing), str(thing) == repr(thing), f"{thing}" == repr(thing)]


@each(THINGS)
def equality_and_hash(bc: Any, name: str) -> Any:
    thing, other = THINGS[name](bc), THINGS[name](bc)
    same = [thing == thing, thing != thing, hash(thing) == hash(thing)]
    return [*same, thing == other, thing == 5, len({thing, other, thing})]


@each(THINGS)
def truth(bc: Any, name: str) -> Any:
    return bool(THINGS[name](bc))


@probe
def truth_of_an_empty_recording(bc: Any) -> Any:
    cache = bc.StreamCache(stream(0))
    cache.ingest_all()
    return bool(cache)


@probe
def length(bc: Any) -> Any:
    cache = bc.StreamCache(stream())
    before = attempt(len, cache)
    cache.ingest_all()
    return [before["raises"], attempt(len, cache)]


@each(["reader", "casting"])
def length_of(bc: Any, name: str) -> Any:
    return kind_raised(len, THINGS[name](bc))


@probe
def operators(bc: Any) -> Any:
    cache = THINGS["cache"](bc)
    return [
        kind_raised(lambda: cache < cache),
        kind_raised(lambda: cache + cache),
        kind_raised(lambda: THINGS["reader"](bc)[0]),
        kind_raised(lambda: cache()),
        kind_raised(next, cache),
        kind_raised(iter, THINGS["casting"](bc)),
        kind_raised(lambda: 5 in THINGS["casting"](bc)),
        kind_raised(memoryview, cache),
        kind_raised(int, cache),
    ]


@probe
def words_of_operators(bc: Any) -> Any:
    reader = THINGS["reader"](bc)
    calls = [len, int, pickle.dumps, copy.deepcopy, lambda r: r[0], lambda r: r < r]
    return [attempt(call, reader) for call in calls]


@probe
def indexing(bc: Any) -> Any:
    return attempt(lambda: THINGS["cache"](bc)[0])


@probe
def membership(bc: Any) -> Any:
    """`in` reads the stream, as for everything that can be iterated."""
    cache = THINGS["cache"](bc)
    first = next(iter(cache))
    return [first in cache, first in cache.reader(), attempt(lambda: 5 in cache)]


@each(THINGS)
def pickled(bc: Any, name: str) -> Any:
    return kind_raised(pickle.dumps, THINGS[name](bc))


@each(THINGS)
def deep_copied(bc: Any, name: str) -> Any:
    return kind_raised(copy.deepcopy, THINGS[name](bc))


@each(THINGS)
def copied(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    twin = copy.copy(thing)
    return [type(twin) is type(thing), twin.schema, ids(twin)]


@probe
def copies_share_what_they_are_of(bc: Any) -> Any:
    """A copy of a cache is the same recording, one of a reader the same position."""
    cache = THINGS["cache"](bc)
    reader = cache.reader()
    twin = copy.copy(reader)
    seen = [ids([next(reader)]), ids([next(twin)]), ids([next(reader)])]
    copy.copy(cache).close()
    return [seen, cache.ingested_count, attempt(cache.reader)]


@each(THINGS)
def attributes(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    thing.note = [1]
    found = [thing.note, "note" in vars(thing), "note" in dir(thing)]
    del thing.note
    return [*found, attempt(getattr, thing, "note")["raises"], hasattr(thing, "note")]


@each_of(
    {
        "cache.schema": ("cache", "schema"),
        "cache.ingested_count": ("cache", "ingested_count"),
        "cache.upstream_exhausted": ("cache", "upstream_exhausted"),
        "reader.schema": ("reader", "schema"),
        "reader.closed": ("reader", "closed"),
        "casting.schema": ("casting", "schema"),
    }
)
def read_only(bc: Any, case: tuple[str, str]) -> Any:
    thing, name = THINGS[case[0]](bc), case[1]
    return [kind_raised(setattr, thing, name, 1), kind_raised(delattr, thing, name)]


@probe
def words_of_read_only(bc: Any) -> Any:
    return attempt(setattr, THINGS["cache"](bc), "schema", 1)


@probe
def methods_can_be_replaced(bc: Any) -> Any:
    cache = THINGS["cache"](bc)
    cache.ingest_all = lambda: "mine"
    return [cache.ingest_all(), ids(cache)]


@probe
def classes_can_be_changed(bc: Any) -> Any:
    """Monkeypatching: unsealed classes in C allow it too."""
    bc.StreamCache.extra = 5
    try:
        return THINGS["cache"](bc).extra
    finally:
        del bc.StreamCache.extra


@each(THINGS)
def weak_references(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    gone: list[bool] = []
    reference = weakref.ref(thing, lambda _: gone.append(True))
    found = [reference() is thing, weakref.getweakrefcount(thing)]
    del thing
    gc.collect()
    return [*found, reference() is None, gone]


@each(THINGS)
def cycles(bc: Any, name: str) -> Any:
    thing = THINGS[name](bc)
    thing.me = thing
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    return reference() is None


@probe
def cycle_through_the_source(bc: Any) -> Any:
    """A source with a reference to the cache that reads it."""

    class Source:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return TABLE.__arrow_c_stream__()

    source = Source()
    source.cache = bc.StreamCache(source)  # type: ignore[attr-defined]
    reference = weakref.ref(source)
    del source
    gc.collect()
    return reference() is None


# ---- calls that do not fit ----

CALLS: dict[str, Callable[[Any], Any]] = {
    "no arguments": lambda bc: bc.StreamCache(),
    "too many": lambda bc: bc.StreamCache(
        TABLE, None, None, None, "on_insertion", None, 1
    ),
    "reader twice": lambda bc: bc.StreamCache(TABLE, reader=TABLE),
    "unknown keyword": lambda bc: bc.StreamCache(TABLE, nope=1),
    "reader()": lambda bc: THINGS["cache"](bc).reader(True, 1),
    "reader(x=)": lambda bc: THINGS["cache"](bc).reader(x=1),
    "ingest_all(1)": lambda bc: THINGS["cache"](bc).ingest_all(1),
    "close(1)": lambda bc: THINGS["cache"](bc).close(1),
    "cast()": lambda bc: THINGS["cache"](bc).cast(),
    "cast(x, 1)": lambda bc: THINGS["cache"](bc).cast(SCHEMA, 1),
    "reader.cast()": lambda bc: THINGS["reader"](bc).cast(),
    "casting.cast()": lambda bc: THINGS["casting"](bc).cast(),
    "c_stream(None, 1)": lambda bc: THINGS["cache"](bc).__arrow_c_stream__(None, 1),
    "c_schema(1)": lambda bc: THINGS["cache"](bc).__arrow_c_schema__(1),
    "unbound": lambda bc: bc.StreamCache.reader(5),
}


@each(CALLS)
def call_that_does_not_fit(bc: Any, name: str) -> Any:
    return kind_raised(CALLS[name], bc)


@probe
def words_of_calls_that_do_not_fit(bc: Any) -> Any:
    return [attempt(call, bc) for call in CALLS.values()]


@probe
def keywords(bc: Any) -> Any:
    cache = bc.StreamCache(
        reader=stream(),
        memory_capacity=1 << 20,
        disk_path="d",
        disk_capacity=1 << 20,
        write_policy="on_eviction",
        max_readers=6,
    )
    return [
        ids(cache.reader(from_start=True)),
        ids(cache.cast(target_schema=SCHEMA)),
        ids(cache.cast(SCHEMA).cast(target_schema=SCHEMA)),
        ids(cache.reader().cast(target_schema=SCHEMA)),
        type(cache.__arrow_c_stream__(requested_schema=None)).__name__,
        type(cache.cast(SCHEMA).__arrow_c_stream__(requested_schema=None)).__name__,
    ]


@probe
def positions(bc: Any) -> Any:
    cache = bc.StreamCache(generated(), 1 << 20, "d", 1 << 20, "on_insertion", 2)
    return [ids(cache), ids(cache.reader(True)), attempt(cache.reader)]
