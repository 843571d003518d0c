"""
The 22 queries, the tables that they read, and the comparison of answers.

The texts are those of the TPC-H standard, in the dialect of DuckDB. The substitution
parameters are those of its validation run (section "Query Validation" of each query).
Q15 has a common table expression for its view, and row counts to return are a LIMIT.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

TABLES = (
    "customer",
    "lineitem",
    "nation",
    "orders",
    "part",
    "partsupp",
    "region",
    "supplier",
)
NUMBERS = range(1, 23)
BATCH_ROWS = 1 << 16
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Query:
    """A query's text, and the columns that its answer is ordered by."""

    number: int
    text: str
    order: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Column names, and rows of values for JSON, with decimals and dates as text."""

    names: list[str]
    rows: list[list[Any]]


def load(scale: float) -> dict[int, Query]:
    """Return the queries by number, with the parameters of a scale factor."""
    queries = {}
    for number in NUMBERS:
        path = Path(__file__).with_name(f"q{number:02}.sql")
        text = Template(path.read_text()).substitute(fraction=f"{0.0001 / scale:.10f}")
        _, _, order = text.partition("\norder by\n")
        columns = re.findall(r"^    (\w+)(?: desc)?,?$", order, flags=re.MULTILINE)
        queries[number] = Query(number, text, tuple(columns))
    return queries


def generate(folder: Path, scale: float) -> None:
    """Make the tables as Parquet files in `folder`, unless it is there already."""
    if folder.exists():
        return
    program = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    if program is None:
        raise FileNotFoundError("tpchgen-cli is not installed")
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    command = [program, "parquet", "-s", f"{scale:g}", "--output-dir", str(partial)]
    subprocess.run(command, check=True, capture_output=True)
    partial.rename(folder)


def stream(folder: Path, table: str, rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
    """Return a table as a single-use stream."""
    file = pq.ParquetFile(folder / f"{table}.parquet")
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(rows))


def connect(tables: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Return a new database in which the tables' names are the Python objects."""
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def connect_parquet(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a database that reads the Parquet files themselves."""
    connection = duckdb.connect()
    for name in TABLES:
        path = str(folder / f"{name}.parquet").replace("'", "''")
        connection.execute(f"create view {name} as from read_parquet('{path}')")
    return connection


def as_answer(connection: duckdb.DuckDBPyConnection, rows: list[Any]) -> Answer:
    """Return the rows of the last query in a form that can be compared."""

    def plain(value: Any) -> Any:
        return value if value is None or isinstance(value, int | float) else str(value)

    names = [column[0] for column in connection.description or []]
    return Answer(names, [[plain(value) for value in row] for row in rows])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    return bool(one == other)


def _all_same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(_same, one, other))


def _exact_first(row: list[Any]) -> tuple[list[str], list[float]]:
    exact = [repr(value) for value in row if not isinstance(value, float)]
    return exact, [value for value in row if isinstance(value, float)]


def compare(query: Query, wanted: Answer, got: Answer) -> None:
    """
    Raise AssertionError unless both are the same answer.

    The columns of the query's ORDER BY must be in the same order. Rows that are equal in
    these columns may be in any order. Floats may differ by TOLERANCE.
    """
    name = f"Q{query.number}"
    if wanted.names != got.names:
        raise AssertionError(f"{name}: columns {got.names} instead of {wanted.names}")
    if len(wanted.rows) != len(got.rows):
        raise AssertionError(
            f"{name}: {len(got.rows)} rows instead of {len(wanted.rows)}"
        )
    keys = [wanted.names.index(column) for column in query.order]
    for number, (one, other) in enumerate(zip(wanted.rows, got.rows, strict=True)):
        if not _all_same([one[key] for key in keys], [other[key] for key in keys]):
            raise AssertionError(
                f"{name}: row {number} is out of order: {other}, not {one}"
            )
    pairs = zip(
        sorted(wanted.rows, key=_exact_first),
        sorted(got.rows, key=_exact_first),
        strict=True,
    )
    for one, other in pairs:
        if not _all_same(one, other):
            raise AssertionError(f"{name}: {other} instead of {one}")
