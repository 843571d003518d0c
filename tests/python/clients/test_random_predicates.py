"""Random predicates over every ordered type: DuckDB's answers over caches and tables."""

from __future__ import annotations

import datetime
import itertools
import math
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchcorder import StreamCache
from batchcorder._duckdb import parts

duckdb = pytest.importorskip("duckdb")

MOMENTS = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1))
WHOLE = MOMENTS.map(lambda moment: moment.replace(microsecond=0))
WORDS = st.text("aZé\U0001f600\x00", max_size=3)
LONG = st.builds(lambda word, times: ("é" * times) + word, WORDS, st.integers(0, 40))
FLOATS = st.sampled_from([0.0, -0.0, 1.5, -2.5, math.inf, -math.inf, math.nan, 5e-324])


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Any]:
    top = 10**digits - 1
    return st.integers(-top, top).map(lambda n: Decimal(n).scaleb(-scale, CONTEXT))


CONTEXT = Context(prec=80)
UTC = datetime.UTC

# For each type: its Arrow type, values, and the name that DuckDB reads it as.
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], str]] = {
    "tinyint": (pa.int8(), st.integers(-128, 127), "tinyint"),
    "utinyint": (pa.uint8(), st.integers(0, 255), "utinyint"),
    "smallint": (pa.int16(), st.integers(-9, 9), "smallint"),
    "usmallint": (pa.uint16(), st.integers(0, 65535), "usmallint"),
    "integer": (pa.int32(), st.integers(-(1 << 31), (1 << 31) - 1), "integer"),
    "uinteger": (pa.uint32(), st.integers(0, 9), "uinteger"),
    "bigint": (pa.int64(), st.integers(-(1 << 63), (1 << 63) - 1), "bigint"),
    "ubigint": (pa.uint64(), st.integers(0, (1 << 64) - 1), "ubigint"),
    "float": (pa.float32(), FLOATS.filter(lambda n: n != 5e-324), "float"),
    "double": (pa.float64(), FLOATS, "double"),
    "boolean": (pa.bool_(), st.booleans(), "boolean"),
    "date": (pa.date32(), MOMENTS.map(lambda moment: moment.date()), "date"),
    "time_s": (pa.time32("s"), WHOLE.map(lambda moment: moment.time()), "time"),
    "time_ms": (pa.time32("ms"), WHOLE.map(lambda moment: moment.time()), "time"),
    "time_us": (pa.time64("us"), MOMENTS.map(lambda moment: moment.time()), "time"),
    "timestamp_s": (pa.timestamp("s"), WHOLE, "timestamp_s"),
    "timestamp_ms": (pa.timestamp("ms"), WHOLE, "timestamp_ms"),
    "timestamp_us": (pa.timestamp("us"), MOMENTS, "timestamp"),
    "timestamp_ns": (pa.timestamp("ns"), MOMENTS, "timestamp_ns"),
    "zoned_s": (
        pa.timestamp("s", "Europe/Paris"),
        WHOLE.map(lambda moment: moment.replace(tzinfo=UTC)),
        "timestamptz",
    ),
    "zoned_us": (
        pa.timestamp("us", "UTC"),
        MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
        "timestamptz",
    ),
    "zoned_ms": (
        pa.timestamp("ms", "+02:00"),
        WHOLE.map(lambda moment: moment.replace(tzinfo=UTC)),
        "timestamptz",
    ),
    "decimal32": (pa.decimal32(9, 2), _decimals(9, 2), "decimal(9, 2)"),
    "decimal_4": (pa.decimal128(4, 1), _decimals(4, 1), "decimal(4, 1)"),
    "decimal_38": (pa.decimal128(38, 10), _decimals(38, 10), "decimal(38, 10)"),
    "decimal64": (pa.decimal64(18, 3), _decimals(18, 3), "decimal(18, 3)"),
    "varchar": (pa.string(), LONG, "varchar"),
    "large": (pa.large_string(), LONG, "varchar"),
    "view": (pa.string_view(), LONG, "varchar"),
    "blob": (pa.binary(), LONG.map(str.encode), "blob"),
    "large_blob": (pa.large_binary(), LONG.map(str.encode), "blob"),
    "blob_view": (pa.binary_view(), LONG.map(str.encode), "blob"),
    "fixed": (pa.binary(2), st.binary(min_size=2, max_size=2), "blob"),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), LONG, "varchar"),
    "dictionary_of_numbers": (
        pa.dictionary(pa.uint16(), pa.int64()),
        st.integers(-9, 9),
        "bigint",
    ),
    "runs": (pa.run_end_encoded(pa.int32(), pa.int16()), st.integers(-9, 9), "smallint"),
}


@st.composite
def conditions(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[str, list[Any]]:
    """Return a condition on column x, and the values of its parameters."""
    if draw(st.integers(0, 3)) == 0:
        one, some = draw(conditions(values))
        other, more = draw(conditions(values))
        return f"({one} {draw(st.sampled_from(['and', 'or']))} {other})", some + more
    text = draw(
        st.sampled_from(
            [
                *(f"x {sign} ?" for sign in ("=", "<>", "<", "<=", ">", ">=")),
                "x between ? and ?",
                "x in (?, ?, ?)",
                "x not in (?, ?)",
                "x is null",
                "x is not null",
                "x is distinct from ?",
                "not (x < ? or x = ?)",
            ]
        )
    )
    return text, draw(
        st.lists(values, min_size=text.count("?"), max_size=text.count("?"))
    )


def ascending(value: Any) -> Any:
    """Return a key that has nulls and NaN last."""
    if value is None:
        return 2, 0
    return (1, 0) if value != value else (0, value)


def rows_of(connection: Any, query: str, parameters: list[Any]) -> list[str]:
    """Return the rows of a query in some order, as text that tells NaN and -0.0."""
    table = connection.execute(query, parameters).to_arrow_table()
    return sorted(map(repr, table.to_pylist()))


def empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.nulls(0, kind) for kind in schema.types], schema=schema
    )


@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("costs", ["eager", "default"])
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_predicates(
    kind: str, costs: str, data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of sorted or shuffled batches returns the rows that a table returns."""
    arrow, values, name = KINDS[kind]
    if costs == "eager":
        monkeypatch.setattr(parts, "_FILTER_COST", 0)
        monkeypatch.setattr(parts, "_BATCH_COST", 0)
    column = data.draw(st.lists(st.none() | values, max_size=24))
    if data.draw(st.booleans()):
        column.sort(key=ascending)
    table = pa.table(
        {"x": pa.array(column, arrow), "n": pa.array(range(len(column)), pa.int32())}
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(column)), max_size=6)))
    edges = [0, *cuts, len(column)]
    batches = [
        batch
        for start, stop in itertools.pairwise(edges)
        for batch in table.slice(start, stop - start).to_batches()
        or [empty(table.schema)]
    ]
    cache = StreamCache(pa.RecordBatchReader.from_batches(table.schema, batches))
    cache.ingest_all()
    literals = values | st.sampled_from(
        [value for value in column if value is not None] or [None]
    )
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        cache.register(connection, "c")
        connection.register("t", table)
        for _ in range(3):
            text, parameters = data.draw(conditions(literals))
            text = text.replace("?", f"cast(? as {name})")
            for columns in ("n", "count(*)", "x, n"):
                query = f"select {columns} from NAME where {text}"
                ours, theirs = (query.replace("NAME", one) for one in "ct")
                wanted = rows_of(connection, theirs, parameters)
                assert rows_of(connection, ours, parameters) == wanted, (text, parameters)
