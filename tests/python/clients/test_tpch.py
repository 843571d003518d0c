"""Caches of single-use streams answer every query of TPC-H."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import StreamCache
from tiers import maker

pytest.importorskip("duckdb")

from tpch.queries import (
    NUMBERS,
    TABLES,
    Answer,
    Query,
    as_answer,
    compare,
    connect,
    connect_parquet,
    generate,
    load,
    stream,
)

SCALE = 0.01
ROWS = 4096
QUERIES = load(SCALE)
MODES = ["memory", "disk"]
if hasattr(StreamCache, "dataset"):
    MODES += ["dataset.memory", "dataset.disk"]


class Once:
    """A single-use stream that counts its exports and batches."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.reader = reader
        self.opened = 0
        self.given = 0

    def _generate(self) -> Iterator[pa.RecordBatch]:
        for batch in self.reader:
            self.given += 1
            yield batch

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        self.opened += 1
        reader = pa.RecordBatchReader.from_batches(self.reader.schema, self._generate())
        return reader.__arrow_c_stream__()


class Recorded:
    """The tables as caches in one mode, and a database that queries them."""

    def __init__(self, mode: str, folder: Path, path: Path) -> None:
        kind, _, tier = mode.rpartition(".")
        make = maker(tier, path)
        self.sources = {name: Once(stream(folder, name, ROWS)) for name in TABLES}
        self.caches = {name: make(source) for name, source in self.sources.items()}
        objects: dict[str, Any] = dict(self.caches)
        if kind == "dataset":
            objects = {name: cache.dataset() for name, cache in self.caches.items()}
        self.connection = connect(objects)

    def ask(self, number: int) -> Answer:
        rows = self.connection.execute(QUERIES[number].text).fetchall()
        return as_answer(self.connection, rows)

    def close(self) -> None:
        self.connection.close()
        for cache in self.caches.values():
            cache.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables as Parquet files."""
    path = tmp_path_factory.mktemp("tpch") / "tables"
    generate(path, SCALE)
    return path


@pytest.fixture(scope="module")
def parquet(folder: Path) -> Iterator[Any]:
    """Return DuckDB on the Parquet files."""
    connection = connect_parquet(folder)
    yield connection
    connection.close()


@pytest.fixture(scope="module", params=MODES)
def recorded(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """Record the tables in each mode. The first queries start with empty caches."""
    recorded = Recorded(request.param, folder, tmp_path_factory.mktemp("cache"))
    yield recorded
    recorded.close()


@pytest.mark.parametrize("number", NUMBERS)
def test_the_answers_are_those_on_parquet_files(
    number: int, parquet: Any, recorded: Recorded
) -> None:
    rows = parquet.execute(QUERIES[number].text).fetchall()
    wanted = as_answer(parquet, rows)
    for _ in range(2):
        compare(QUERIES[number], wanted, recorded.ask(number))
    for name, source in recorded.sources.items():
        assert source.opened == 1
        assert source.given == recorded.caches[name].stats()["batches"]


def test_each_source_is_read_once(folder: Path, recorded: Recorded) -> None:
    for number in NUMBERS:
        recorded.ask(number)
    for name, source in recorded.sources.items():
        batches = sum(1 for _ in stream(folder, name, ROWS))
        assert recorded.caches[name].ingest_all() == batches
        assert (source.opened, source.given) == (1, batches)


def answer(*rows: list[Any]) -> Answer:
    return Answer(["nation", "revenue"], list(rows))


def test_answers_are_compared_as_the_queries_order_them() -> None:
    (by_year,) = [query for query in QUERIES.values() if query.order == ("o_year",)]
    assert by_year.number == 8
    assert [QUERIES[n].order for n in (6, 13)] == [(), ("custdist", "c_count")]
    query = Query(0, "", ("revenue",))
    wanted = answer(["a", 3.0], ["b", 2.0], ["c", 2.0])
    compare(query, wanted, answer(["a", 3.0 + 1e-12], ["c", 2.0], ["b", 2.0]))
    for other in (
        answer(["b", 2.0], ["c", 2.0], ["a", 3.0]),
        answer(["a", 3.0], ["b", 2.0], ["d", 2.0]),
        answer(["a", 3.1], ["b", 2.0], ["c", 2.0]),
        answer(["a", 3.0], ["b", 2.0]),
        Answer(["nation", "volume"], wanted.rows),
    ):
        with pytest.raises(AssertionError):
            compare(query, wanted, other)
