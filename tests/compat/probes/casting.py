"""cast, of caches and of readers, and requested_schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from .data import SCHEMA, WIDE, imported, stream, wide
from .probing import attempt, describe, each, kind_raised, probe
from .sources import capsule_of

FLOATS = pa.schema([("a", pa.float32()), ("s", pa.large_string())])


def read(source: Any) -> Any:
    """Return the table of a stream, with its schema."""
    return describe(pa.RecordBatchReader.from_stream(source).read_all())


def capsule(target: Any) -> Any:
    return target.__arrow_c_schema__()


# Each way to get a cast stream: of a cache, to a schema.
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "cache": lambda c, t: read(c.cast(t)),
    "cast of cast": lambda c, t: read(c.cast(FLOATS).cast(t)),
    "reader": lambda c, t: read(c.reader().cast(t)),
    "cache requested": lambda c, t: read(imported(c.__arrow_c_stream__(capsule(t)))),
    "reader requested": lambda c, t: read(
        imported(c.reader().__arrow_c_stream__(capsule(t)))
    ),
    "casting requested": lambda c, t: read(
        imported(c.cast(FLOATS).__arrow_c_stream__(capsule(t)))
    ),
}
A, S = WIDE
TARGETS: dict[str, pa.Schema] = {
    "same": WIDE,
    "floats": FLOATS,
    "smaller": pa.schema([("a", pa.int8()), S]),
    "text": pa.schema([("a", pa.string()), S]),
    "other names": pa.schema([("b", pa.int64()), S]),
    "other order": pa.schema([S, A]),
    "fewer": pa.schema([A]),
    "more": WIDE.append(pa.field("x", pa.int8())),
    "none": pa.schema([]),
    "upper case": pa.schema([("A", pa.int64()), S]),
    "a name twice": pa.schema([A, A]),
    "list": pa.schema([("a", pa.list_(pa.int64())), S]),
    "struct": pa.schema([("a", pa.struct([("x", pa.int64())])), S]),
    "null": pa.schema([("a", pa.null()), S]),
    "dictionary": pa.schema([A, ("s", pa.dictionary(pa.int32(), pa.string()))]),
    "view": pa.schema([A, ("s", pa.string_view())]),
    "number of a text": pa.schema([A, ("s", pa.int32())]),
    "timestamp": pa.schema([("a", pa.timestamp("s")), S]),
    "date of a number": pa.schema([("a", pa.date32()), S]),
    "decimal": pa.schema([("a", pa.decimal128(20, 2)), S]),
    "boolean": pa.schema([("a", pa.bool_()), S]),
    "not nullable": pa.schema([pa.field("a", pa.int64(), nullable=False), S]),
    "schema metadata": WIDE.with_metadata({"k": "v"}),
    "field metadata": pa.schema([pa.field("a", pa.int64(), metadata={"k": "v"}), S]),
    "floats with metadata": FLOATS.with_metadata({"k": "v"}),
}


@each(TARGETS)
def cast(bc: Any, target: str) -> Any:
    """Each way, twice, and how many batches were asked for."""
    found = {}
    for name, way in WAYS.items():
        cache = bc.StreamCache(wide())
        tables = [attempt(way, cache, TARGETS[target]) for _ in range(2)]
        found[name] = [*tables, cache.ingested_count]
    return found


@each(WAYS)
def cast_of_a_value_that_cannot_be(bc: Any, way: str) -> Any:
    cache = bc.StreamCache(wide(1, 300, 2))
    found = attempt(WAYS[way], cache, TARGETS["smaller"])
    return [found, cache.ingested_count, cache.ingest_all()]


@each(WAYS)
def cast_of_nulls(bc: Any, way: str) -> Any:
    target = pa.schema([A, pa.field("s", pa.string(), nullable=False)])
    cache = bc.StreamCache(pa.table({"a": [1, 2], "s": ["x", None]}))
    return attempt(WAYS[way], cache, target)


@each(WAYS)
def cast_that_drops_metadata(bc: Any, way: str) -> Any:
    cache = bc.StreamCache(pa.table(wide()).replace_schema_metadata({"k": "v"}))
    return [attempt(WAYS[way], cache, t) for t in (WIDE, FLOATS)]


@each(WAYS)
def cast_stream_after_an_error(bc: Any, way: str) -> Any:
    """A reader of a cast stream goes on, or not, after the bad value."""
    cache = bc.StreamCache(wide(1, 300, 2))
    target = TARGETS["smaller"]
    made = {
        "cache": lambda: pa.RecordBatchReader.from_stream(cache.cast(target)),
        "cast of cast": lambda: pa.RecordBatchReader.from_stream(
            cache.cast(FLOATS).cast(target)
        ),
        "reader": lambda: cache.reader().cast(target),
        "cache requested": lambda: imported(cache.__arrow_c_stream__(capsule(target))),
        "reader requested": lambda: imported(
            cache.reader().__arrow_c_stream__(capsule(target))
        ),
        "casting requested": lambda: imported(
            cache.cast(FLOATS).__arrow_c_stream__(capsule(target))
        ),
    }[way]()
    return [attempt(made.read_next_batch) for _ in range(4)]


VALUES: dict[str, Any] = {
    "int": 5,
    "text": "x",
    "None": None,
    "list": [],
    "list of fields": list(FLOATS),
    "dict": {"a": pa.float32(), "s": pa.large_string()},
    "Field": A,
    "DataType": pa.int64(),
    "struct type": pa.struct(list(FLOATS)),
    "Table": FLOATS.empty_table(),
    "class": pa.Schema,
}


def casts(bc: Any) -> list[Callable[[Any], Any]]:
    """Return the cast methods of a cache, a reader and a view."""
    cache = bc.StreamCache(wide())
    return [cache.cast, cache.reader().cast, cache.cast(WIDE).cast]


@each(VALUES)
def cast_to_no_schema(bc: Any, value: str) -> Any:
    return [kind_raised(lambda c=c: read(c(VALUES[value]))) for c in casts(bc)]


@probe
def words_of_casts_to_no_schema(bc: Any) -> Any:
    return [attempt(c, 5) for c in casts(bc)]


class Target:
    """A schema by protocol, or something worse."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __arrow_c_schema__(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


BY_PROTOCOL: dict[str, Callable[[Any], Any]] = {
    "schema": lambda bc: Target(FLOATS.__arrow_c_schema__()),
    "cache": lambda bc: bc.StreamCache(FLOATS.empty_table()),
    "reader": lambda bc: bc.StreamCache(FLOATS.empty_table()).reader(),
    "casting": lambda bc: bc.StreamCache(WIDE.empty_table()).cast(FLOATS),
    "raises": lambda bc: Target(KeyError("boom")),
    "answers int": lambda bc: Target(5),
    "answers None": lambda bc: Target(None),
    "answers a stream": lambda bc: Target(stream().__arrow_c_stream__()),
    "answers no struct": lambda bc: Target(pa.int64().__arrow_c_schema__()),
    "answers another name": lambda bc: Target(capsule_of(b"foo")),
}


@each(BY_PROTOCOL)
def cast_by_protocol(bc: Any, name: str) -> Any:
    return [kind_raised(lambda c=c: read(c(BY_PROTOCOL[name](bc)))) for c in casts(bc)]


REQUESTED: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "int": lambda: 5,
    "False": lambda: False,
    "text": lambda: "x",
    "Schema": lambda: WIDE,
    "stream capsule": lambda: stream().__arrow_c_stream__(),
    "another name": lambda: capsule_of(b"foo"),
    "no name": lambda: capsule_of(None),
    "no struct": lambda: pa.int64().__arrow_c_schema__(),
    "used": lambda: used_capsule(),
}


def used_capsule() -> Any:
    made = WIDE.__arrow_c_schema__()
    pa.Schema._import_from_c_capsule(made)
    return made


@each(REQUESTED)
def requested_schema(bc: Any, name: str) -> Any:
    cache = bc.StreamCache(wide())
    return [
        kind_raised(
            lambda t=thing: read(imported(t.__arrow_c_stream__(REQUESTED[name]())))
        )
        for thing in (cache, cache.reader(), cache.cast(FLOATS))
    ]


@each(sorted(REQUESTED.keys() - {"None"}))
def reader_after_a_bad_request(bc: Any, name: str) -> Any:
    reader = bc.StreamCache(wide()).reader()
    kind_raised(reader.__arrow_c_stream__, REQUESTED[name]())
    return reader.closed


@probe
def words_of_no_capsule(bc: Any) -> Any:
    cache = bc.StreamCache(wide())
    things = [cache, cache.reader(), cache.cast(WIDE)]
    return [attempt(one.__arrow_c_stream__, 5) for one in things]


@probe
def requested_by_pyarrow(bc: Any) -> Any:
    cache = bc.StreamCache(wide())
    take = pa.RecordBatchReader.from_stream
    things = [cache, cache.reader(), cache.cast(WIDE)]
    found = [describe(take(one, schema=FLOATS).read_all()) for one in things]
    return [*found, describe(pa.table(cache, schema=FLOATS))]


@probe
def requested_capsule_is_used_up(bc: Any) -> Any:
    cache = bc.StreamCache(wide())
    requested = FLOATS.__arrow_c_schema__()
    cache.__arrow_c_stream__(requested)
    return kind_raised(cache.__arrow_c_stream__, requested)


@probe
def cast_of_cast_is_of_the_source(bc: Any) -> Any:
    """16777217 is no float32: it survives, since the second cast skips the first."""
    cache = bc.StreamCache(wide(16777217))
    return read(cache.cast(FLOATS).cast(WIDE))


@probe
def cast_is_replayable(bc: Any) -> Any:
    casting = bc.StreamCache(wide()).cast(FLOATS)
    return [read(casting), read(casting), casting.schema, pa.schema(casting)]


@probe
def cast_reads_nothing(bc: Any) -> Any:
    cache = bc.StreamCache(wide())
    casting = cache.cast(FLOATS)
    found = [casting.schema, cache.ingested_count]
    made = pa.RecordBatchReader.from_stream(casting)
    found += [made.schema, cache.ingested_count]
    made.read_next_batch()
    return [*found, cache.ingested_count]


@each(["other names", "list"])
def reader_after_a_failed_cast(bc: Any, target: str) -> Any:
    reader = bc.StreamCache(wide()).reader()
    found = [kind_raised(reader.cast, TARGETS[target]), reader.closed]
    return [*found, kind_raised(lambda: read(reader))]


@each(["other names", "list"])
def reader_after_a_failed_request(bc: Any, target: str) -> Any:
    reader = bc.StreamCache(wide()).reader()
    found = [
        kind_raised(reader.__arrow_c_stream__, capsule(TARGETS[target])),
        reader.closed,
    ]
    return [*found, kind_raised(lambda: read(reader))]


@each(["other names", "list"])
def slot_after_a_failed_cast(bc: Any, target: str) -> Any:
    cache = bc.StreamCache(wide(), max_readers=1)
    found = [kind_raised(lambda: read(cache.cast(TARGETS[target])))]
    return [*found, kind_raised(lambda: read(cache))]


@probe
def slot_of_a_cast_that_is_not_read(bc: Any) -> Any:
    cache = bc.StreamCache(wide(), max_readers=1)
    casting = cache.cast(FLOATS)
    found = [casting.schema, casting.cast(WIDE).schema, pa.schema(casting), read(casting)]
    return [*found, attempt(casting.__arrow_c_stream__)]


@probe
def partly_read_reader_casts_its_rest(bc: Any) -> Any:
    reader = bc.StreamCache(wide()).reader()
    next(reader)
    return [read(reader.cast(FLOATS)), reader.closed]


@probe
def reader_at_its_end_casts_nothing(bc: Any) -> Any:
    reader = bc.StreamCache(stream(1)).reader()
    list(reader)
    return [read(reader.cast(SCHEMA)), reader.closed]
