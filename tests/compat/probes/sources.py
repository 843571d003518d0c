"""Objects that can be recorded."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from .data import SCHEMA, TABLE, TIERS, batches, generated, ids, imported, stream
from .probing import attempt, each, each_of, kind_raised, probe


class Streams:
    """An object with a given result or exception of `__arrow_c_stream__`."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class WithoutParameter:
    def __arrow_c_stream__(self) -> Any:
        return stream().__arrow_c_stream__()


class WithRequiredParameter:
    def __arrow_c_stream__(self, requested_schema: Any) -> Any:
        return stream().__arrow_c_stream__()


class WithKeywordParameter:
    def __arrow_c_stream__(self, *, requested_schema: Any = None) -> Any:
        return stream().__arrow_c_stream__()


class OnTheInstance:
    def __init__(self) -> None:
        self.__arrow_c_stream__ = lambda: stream().__arrow_c_stream__()


class ArrayOnly:
    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return TABLE.to_batches()[0].__arrow_c_array__()


class RaisingAttribute:
    @property
    def __arrow_c_stream__(self) -> Any:
        raise RuntimeError("boom")


class MissingAttribute:
    @property
    def __arrow_c_stream__(self) -> Any:
        raise AttributeError("not here")


class StaticStream:
    @staticmethod
    def __arrow_c_stream__(requested_schema: Any = None) -> Any:
        return stream().__arrow_c_stream__()


class RaisingRows(WithoutParameter):
    """A source whose number of rows is not to be had."""

    @property
    def num_rows(self) -> int:
        raise RuntimeError("boom")


def duckdb_relation() -> Any:
    import duckdb

    return duckdb.connect().sql("select unnest([1, 2, 3]) as id")


def polars_frame() -> Any:
    import polars

    return polars.DataFrame({"id": [1, 2, 3]})


def pandas_frame() -> Any:
    import pandas

    return pandas.DataFrame({"id": [1, 2, 3]})


SOURCES: dict[str, Callable[[Any], Any]] = {
    "Table": lambda bc: TABLE,
    "RecordBatch": lambda bc: TABLE.to_batches()[0],
    "RecordBatchReader": lambda bc: stream(),
    "reader over a generator": lambda bc: generated(),
    "StructArray": lambda bc: TABLE.to_struct_array().chunk(0),
    "ChunkedArray of structs": lambda bc: TABLE.to_struct_array(),
    "Scanner": lambda bc: pyarrow.dataset.dataset(TABLE).scanner(),
    "scanner's reader": lambda bc: pyarrow.dataset.dataset(TABLE).scanner().to_reader(),
    "Dataset": lambda bc: pyarrow.dataset.dataset(TABLE),
    "cache": lambda bc: bc.StreamCache(stream()),
    "cache's reader": lambda bc: bc.StreamCache(stream()).reader(),
    "casting cache": lambda bc: bc.StreamCache(stream()).cast(SCHEMA),
    "reader's cast": lambda bc: bc.StreamCache(stream()).reader().cast(SCHEMA),
    "duckdb": lambda bc: duckdb_relation(),
    "polars": lambda bc: polars_frame(),
    "pandas": lambda bc: pandas_frame(),
    "method without the parameter": lambda bc: WithoutParameter(),
    "method that requires it": lambda bc: WithRequiredParameter(),
    "method that has it by keyword": lambda bc: WithKeywordParameter(),
    "method on the instance": lambda bc: OnTheInstance(),
    "static method": lambda bc: StaticStream(),
    "raising num_rows": lambda bc: RaisingRows(),
    "a class, not an instance": lambda bc: WithoutParameter,
    "static method of a class": lambda bc: StaticStream,
    "array only": lambda bc: ArrayOnly(),
    "raising attribute": lambda bc: RaisingAttribute(),
    "missing attribute": lambda bc: MissingAttribute(),
    "capsule": lambda bc: stream().__arrow_c_stream__(),
    "int": lambda bc: 5,
    "None": lambda bc: None,
    "str": lambda bc: "x",
    "bytes": lambda bc: b"x",
    "list of batches": lambda bc: batches(2),
    "generator": lambda bc: (b for b in batches(2)),
    "dict": lambda bc: {"id": [1]},
    "numpy": lambda bc: np.array([1]),
    "Schema": lambda bc: SCHEMA,
    "Array": lambda bc: pa.array([1]),
    "ChunkedArray": lambda bc: pa.chunked_array([[1]]),
    "a class": lambda bc: Streams,
    "function": lambda bc: ids,
    "module": lambda bc: np,
    "answers None": lambda bc: Streams(None),
    "answers int": lambda bc: Streams(5),
    "answers a tuple": lambda bc: Streams(()),
    "answers a table": lambda bc: Streams(TABLE),
    "answers a schema capsule": lambda bc: Streams(SCHEMA.__arrow_c_schema__()),
    "raises ValueError": lambda bc: Streams(ValueError("boom")),
    "raises KeyError": lambda bc: Streams(KeyError("boom")),
    "raises OSError": lambda bc: Streams(OSError(5, "boom")),
    "raises KeyboardInterrupt": lambda bc: Streams(KeyboardInterrupt()),
    "raises SystemExit": lambda bc: Streams(SystemExit(3)),
    "raises AttributeError": lambda bc: Streams(AttributeError("boom")),
    "raises StopIteration": lambda bc: Streams(StopIteration()),
}


@each(SOURCES)
def source(bc: Any, name: str) -> Any:
    """The first, lazy, reading, and a replay."""
    made = SOURCES[name](bc)

    def use() -> Any:
        cache = bc.StreamCache(made)
        return [cache.schema, cache.ingested_count, ids(cache), ids(list(cache))]

    return attempt(use)


@probe
def exception_of_the_method_is_itself(bc: Any) -> Any:
    error = RuntimeError("boom")
    try:
        bc.StreamCache(Streams(error))
    except RuntimeError as caught:
        return caught is error
    return None


@probe
def capsule_used_twice(bc: Any) -> Any:
    source = Streams(stream().__arrow_c_stream__())
    return [ids(bc.StreamCache(source)), kind_raised(bc.StreamCache, source)]


@probe
def capsule_used_by_another(bc: Any) -> Any:
    capsule = stream().__arrow_c_stream__()
    imported(capsule)
    return kind_raised(bc.StreamCache, Streams(capsule))


def capsule_of(name: bytes | None) -> Any:
    """Return a capsule of another name; its address is never looked at."""
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(1 << 12, name, None)


NAMES = {"foo": b"foo", "none": None, "arrow_array": b"arrow_array", "empty": b""}


@each_of(NAMES)
def capsule_of_another_name(bc: Any, name: bytes | None) -> Any:
    return kind_raised(bc.StreamCache, Streams(capsule_of(name)))


@probe
def reader_taken_over(bc: Any) -> Any:
    """The state of a RecordBatchReader after a cache took it."""
    source = stream()
    cache = bc.StreamCache(source)
    return [kind_raised(source.read_next_batch), ids(cache)]


@probe
def reader_partly_read(bc: Any) -> Any:
    source = stream()
    source.read_next_batch()
    return ids(bc.StreamCache(source))


@probe
def table_is_not_used_up(bc: Any) -> Any:
    return [ids(bc.StreamCache(TABLE)), ids(bc.StreamCache(TABLE)), TABLE.num_rows]


# ---- tables of all shapes ----


def many_fields() -> pa.Table:
    return pa.table(
        {
            "b": pa.array([True, None, False]),
            "i8": pa.array([1, -1, None], pa.int8()),
            "f": pa.array([1.5, None, float("inf")]),
            "s": ["x", None, "yy"],
            "v": pa.array(["x", None, "a longer text than that"], pa.string_view()),
            "d": pa.array([1, 2, None], pa.date32()),
            "ts": pa.array([1, 2, None], pa.timestamp("us", "UTC")),
            "dec": pa.array([None, 1, 2], pa.decimal128(9, 2)),
            "l": [[1, 2], None, []],
            "st": [{"a": 1}, None, {"a": 2}],
            "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
            "dict": pa.array(["x", "y", None]).dictionary_encode(),
            "n": pa.nulls(3),
        }
    )


EMPTY_ROWS = SCHEMA.empty_table()
SHAPES: dict[str, Callable[[], Any]] = {
    "no batches": lambda: stream(0),
    "empty table": lambda: EMPTY_ROWS,
    "one empty batch": lambda: pa.RecordBatchReader.from_batches(
        SCHEMA, [pa.record_batch({"id": pa.array([], pa.int64())})]
    ),
    "no columns": lambda: pa.table({}),
    "no columns but rows": lambda: TABLE.select([]),
    "empty batches between": lambda: pa.RecordBatchReader.from_batches(
        SCHEMA, [b.slice(0, n) for b, n in zip(batches(4), (0, 4, 0, 2), strict=True)]
    ),
    "slices": lambda: TABLE.slice(1, 1),
    "many fields": many_fields,
    "schema metadata": lambda: TABLE.replace_schema_metadata({"k": "v", "": ""}),
    "field metadata": lambda: TABLE.cast(
        pa.schema([pa.field("id", pa.int64(), metadata={"k": "v"})])
    ),
    "not nullable": lambda: TABLE.cast(
        pa.schema([pa.field("id", pa.int64(), nullable=False)])
    ),
    "names twice": lambda: pa.table([[1], [2]], names=["a", "a"]),
    "empty name": lambda: pa.table([[1]], names=[""]),
    "unicode names": lambda: pa.table([[1]], names=["é 😀\n"]),
    "extension type": lambda: pa.table({"u": pa.array([b"0" * 16], pa.uuid())}),
}


@each_of(
    {f"{shape} {tier}": (shape, tier) for shape in SHAPES for tier in ("memory", "disk")}
)
def shape(bc: Any, case: tuple[str, str], tmp: Path) -> Any:
    made = SHAPES[case[0]]()
    cache = TIERS[case[1]](bc, made, tmp)
    read = [pa.RecordBatchReader.from_stream(cache).read_all() for _ in range(2)]
    found = [cache.schema, cache.ingested_count, len(list(cache)), cache.ingest_all()]
    wanted = pa.table(SHAPES[case[0]]())
    same = [one.equals(wanted, check_metadata=True) for one in read]
    rows = [b.num_rows for b in cache]
    return [*found, rows, same]


@probe
def batches_keep_their_lengths(bc: Any) -> Any:
    made = [b.slice(0, n) for b, n in zip(batches(4), (1, 3, 0, 2), strict=True)]
    cache = bc.StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, made))
    return [b.num_rows for b in cache]


@probe
def metadata_of_batches(bc: Any) -> Any:
    """A batch has the stream's schema, with its metadata."""
    table = TABLE.replace_schema_metadata({"k": "v"})
    cache = bc.StreamCache(table)
    return [str(one.schema.metadata) for one in (*cache, pa.table(cache), cache)]


@probe
def buffers_are_the_sources(bc: Any) -> Any:
    """Memory is shared, not copied."""
    address = TABLE.column(0).chunk(0).buffers()[1].address
    cache = bc.StreamCache(TABLE)
    return [next(iter(cache)).column(0).buffers()[1].address == address for _ in range(2)]


@probe
def generator_that_gives_no_batch(bc: Any) -> Any:
    def generate() -> Iterator[Any]:
        yield batches(1)[0]
        yield 5

    cache = bc.StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    return kind_raised(lambda: ids(cache))


@probe
def batch_of_another_schema(bc: Any) -> Any:
    """Which pyarrow refuses, in the stream."""
    other = pa.record_batch({"x": ["a"]})
    cache = bc.StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, iter([other])))
    return kind_raised(cache.ingest_all)
