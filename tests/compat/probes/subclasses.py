"""Subclasses, and objects that were not made in the usual way."""

from __future__ import annotations

import collections.abc
from typing import Any

import pyarrow as pa

from .data import SCHEMA, ids, stream
from .objects import MEMBERS, THINGS
from .probing import attempt, each, kind_raised, probe


@probe
def subclass(bc: Any) -> Any:
    class Mine(bc.StreamCache):
        def __init__(self, source: Any, extra: int) -> None:
            super().__init__(source, max_readers=3)
            self.extra = extra

        @property
        def count(self) -> int:
            return self.ingested_count + self.extra

    mine = Mine(stream(), 5)
    found = [mine.extra, mine.count, ids(mine), ids(mine.reader()), mine.count]
    return [*found, isinstance(mine, bc.StreamCache), type(mine.reader())]


@probe
def subclass_with_slots(bc: Any) -> Any:
    class Mine(bc.StreamCache):
        __slots__ = ("extra",)

    mine = Mine(stream())
    mine.extra = 5
    return [mine.extra, ids(mine)]


@probe
def subclass_whose_super_is_called_late(bc: Any) -> Any:
    class Mine(bc.StreamCache):
        def __init__(self, source: Any) -> None:
            self.note = "first"
            super().__init__(reader=source)

    return [Mine(stream()).note, ids(Mine(stream()))]


@probe
def subclass_with_another_new(bc: Any) -> Any:
    class Mine(bc.StreamCache):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            self = super().__new__(cls)
            self.note = len(args) + len(kwargs)
            return self

    mine = Mine(stream(), max_readers=2)
    return [mine.note, ids(mine)]


@probe
def subclass_with_another_reader(bc: Any) -> Any:
    """Iteration asks reader(); the capsules do not."""
    calls = []

    class Mine(bc.StreamCache):
        def reader(self, from_start: bool = True) -> Any:
            calls.append(from_start)
            return super().reader(from_start)

    mine = Mine(stream())
    return [ids(mine), ids(list(mine)), calls]


@probe
def subclass_with_another_stream(bc: Any) -> Any:
    """A subclass that always casts, without recursion."""
    target = pa.schema([("id", pa.float64())])

    class Mine(bc.StreamCache):
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return self.cast(target).__arrow_c_stream__(requested_schema)

    mine = Mine(stream())
    return [ids(mine), pa.table(mine.cast(SCHEMA)), pa.table(mine, schema=SCHEMA)]


@probe
def subclass_with_another_schema(bc: Any) -> Any:
    class Mine(bc.StreamCache):
        schema = pa.schema([("id", pa.float64())])

    mine = Mine(stream())
    casting = mine.cast(Mine.schema)
    return [mine.schema, pa.schema(mine), pa.table(casting), mine.reader().schema]


@probe
def several_bases(bc: Any) -> Any:
    class Labelled:
        label = "x"

    class Mine(Labelled, bc.StreamCache):
        pass

    return [Mine(stream()).label, ids(Mine(stream()))]


@probe
def abstract_subclass(bc: Any) -> Any:
    class Mine(bc.StreamCache, collections.abc.Collection):
        def __len__(self) -> int:
            return 7

        def __contains__(self, one: Any) -> bool:
            return True

    return [len(Mine(stream())), 5 in Mine(stream()), len(list(Mine(stream())))]


@probe
def generic_alias_and_match(bc: Any) -> Any:
    match THINGS["cache"](bc):
        case bc.StreamCache(ingested_count=0):
            return "matched"
    return None


@each(["StreamCacheReader", "CastingStreamCache"])
def subclass_of(bc: Any, name: str) -> Any:
    return attempt(lambda: type("Mine", (getattr(bc, name),), {}).__name__)


@each(["StreamCacheReader", "CastingStreamCache"])
def constructed_without_arguments(bc: Any, name: str) -> Any:
    return kind_raised(getattr(bc, name))


@probe
def reader_made_of_a_reader(bc: Any) -> Any:
    """The constructors of 0.1.3 take any object and pass calls on to it."""
    return kind_raised(lambda: ids(bc.StreamCacheReader(THINGS["reader"](bc))))


@probe
def casting_made_of_a_casting(bc: Any) -> Any:
    return kind_raised(lambda: ids(bc.CastingStreamCache(THINGS["casting"](bc))))


@probe
def init_twice(bc: Any) -> Any:
    cache = bc.StreamCache(stream(1))
    return [kind_raised(cache.__init__, stream(2)), ids(cache)]


@each(MEMBERS["StreamCache"])
def without_init(bc: Any, name: str) -> Any:
    cache = bc.StreamCache.__new__(bc.StreamCache)

    def use() -> Any:
        found = getattr(cache, name)
        return found(SCHEMA) if name == "cast" else found() if callable(found) else found

    return kind_raised(use)
