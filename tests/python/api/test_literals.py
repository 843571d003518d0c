"""Arrays of few values that pyarrow makes without converting Python objects."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import _literals
from helpers import check_python

CASES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, False, True, True, False, True, False, False, True]),
    (pa.int8(), [-128, 127]),
    (pa.uint8(), [0, 255]),
    (pa.int16(), [-(1 << 15), 1]),
    (pa.uint16(), [(1 << 16) - 1]),
    (pa.int32(), [-(1 << 31), 1]),
    (pa.uint32(), [(1 << 32) - 1]),
    (pa.int64(), [-(1 << 63), (1 << 63) - 1]),
    (pa.uint64(), [(1 << 64) - 1]),
    (pa.float16(), [1.5, -0.0]),
    (pa.float32(), [1.5, float("inf")]),
    (pa.float64(), [0.1, -0.0, 5e-324]),
    (pa.date32(), [-1, 20_000]),
    (pa.date64(), [86_400_000]),
    (pa.time32("ms"), [1]),
    (pa.time64("us"), [86_399_999_999]),
    (pa.timestamp("us", "Europe/Paris"), [-1, 1 << 50]),
    (pa.duration("s"), [-7]),
    (pa.string(), ["", "é", "a\0b"]),
    (pa.large_string(), ["xyz", ""]),
    (pa.binary(), [b"\xff", b""]),
    (pa.large_binary(), [b"abc"]),
]


@pytest.mark.parametrize(("kind", "values"), CASES, ids=lambda case: str(case)[:20])
def test_arrays_are_like_pyarrows(kind: pa.DataType, values: list[Any]) -> None:
    stored = [one.encode() if isinstance(one, str) else one for one in values]
    for n in range(len(values) + 1):
        made = _literals.array(stored[:n], kind)
        made.validate(full=True)
        assert made.equals(pa.array(values[:n], kind))
    assert _literals.scalar(stored[0], kind).equals(pa.scalar(values[0], kind))


@pytest.mark.parametrize("make", [pa.decimal32, pa.decimal64, pa.decimal128])
def test_decimals(make: Any) -> None:
    made = _literals.array([-5, 0, 12_345], make(9, 2))
    assert list(map(str, made.to_pylist())) == ["-0.05", "0.00", "123.45"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(128, pa.int8()), (-1, pa.uint64()), (1 << 63, pa.timestamp("s"))],
)
def test_values_out_of_range(value: int, kind: pa.DataType) -> None:
    with pytest.raises((OverflowError, struct.error)):
        _literals.array([value], kind)


def test_too_long_a_decimal() -> None:
    with pytest.raises(OverflowError):
        _literals.array([1 << 31], pa.decimal32(9, 2))


CACHE = """
import sys
import pyarrow as pa
from batchcorder import StreamCache, _literals

def batch(start):
    numbers = _literals.array(range(start, start + 10), pa.int64())
    text = _literals.array([b"a"] * 10, pa.string())
    return pa.record_batch([numbers, text], names=["x", "y"])

batches = [batch(10 * n) for n in range(10)]
cache = StreamCache(pa.RecordBatchReader.from_batches(batches[0].schema, batches))
cache.ingest_all()
"""

FIRST_QUERIES = {
    "duckdb": """
import duckdb
connection = duckdb.connect()
cache.register(connection, "c")
assert connection.execute("from c where x > 90 and y in ('b', 'c')").fetchall() == []
rows = connection.execute("from c where x < 2 or x is null").fetchall()
""",
    "polars": """
import polars
rows = cache.scan_polars().filter(polars.col("x") < 2).collect().rows()
""",
}


@pytest.mark.parametrize("name", FIRST_QUERIES)
def test_a_first_query_imports_no_pandas(name: str) -> None:
    """pyarrow imports pandas to convert its first Python object."""
    pytest.importorskip(name)
    check = 'assert rows == [(0, "a"), (1, "a")]\nassert "pandas" not in sys.modules'
    check_python(CACHE + FIRST_QUERIES[name] + check)
