"""Public bug reports of other libraries, reproduced with this package in their place."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import nanoarrow
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from arro3.core import Table as Arro3Table

import batchcorder
from batchcorder import StreamCache
from tiers import maker

WAYS = ("memory", "disk", "both", "evict", "recording", "lz4", "dataset", "cast")
Replay = Callable[[Any], Any]


@pytest.fixture(params=WAYS)
def replay(request: pytest.FixtureRequest, tmp_path: Path) -> Replay:
    """Return a function that passes a source through one of the package's replays."""

    def again(source: Any) -> Any:
        if request.param in ("recording", "lz4"):
            compression = "lz4" if request.param == "lz4" else None
            path = tmp_path / "x.arrows"
            batchcorder.record(source, path, compression=compression).close()
            return batchcorder.open(path, verify=True)
        if request.param == "dataset":
            return StreamCache(source).dataset().scanner().to_reader()
        if request.param == "cast":
            cache = StreamCache(source)
            return cache.cast(cache.schema)
        return maker(request.param, tmp_path)(source)

    return again


def batches_of(*sizes: int) -> pa.RecordBatchReader:
    """Return a stream of batches with these row counts."""
    schema = pa.schema({"x": pa.int64(), "s": pa.string()})
    batches = [
        pa.record_batch({"x": range(n), "s": ["a"] * n}, schema=schema) for n in sizes
    ]
    return pa.RecordBatchReader.from_batches(schema, batches)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0, 0, 2), (0,), (2, 0)])
def test_an_empty_batch_is_not_the_end(replay: Replay, sizes: tuple[int, ...]) -> None:
    """An engine took an empty batch for the end of the stream and lost the next ones."""
    assert pa.table(replay(batches_of(*sizes))).num_rows == sum(sizes)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0, 0, 2), (2, 0)])
def test_engines_read_behind_an_empty_batch(sizes: tuple[int, ...]) -> None:
    cache = StreamCache(batches_of(*sizes))
    assert duckdb.connect().from_arrow(cache).count("*").fetchall() == [(sum(sizes),)]
    assert cache.scan_polars().select(pl.len()).collect().item() == sum(sizes)
    assert cache.dataset().count_rows(pc.field("x") >= 0) == sum(sizes)
    assert len(Arro3Table.from_arrow(cache)) == sum(sizes)


def test_rows_without_columns_keep_their_number(replay: Replay) -> None:
    """Readers and bindings dropped the row count if there was no column."""
    batch = pa.record_batch({"x": range(7)}).select([])
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch, batch])
    assert pa.table(replay(reader)).num_rows == 14


def test_rows_without_columns_reach_rust() -> None:
    batch = pa.record_batch({"x": range(7)}).select([])
    cache = StreamCache(pa.RecordBatchReader.from_batches(batch.schema, [batch]))
    assert Arro3Table.from_arrow(cache).num_rows == 7


SLICED = {
    "large list of views": pa.array(
        [[f"value number {i} {j}" for j in range(i % 4)] for i in range(20)],
        pa.large_list(pa.string_view()),
    ),
    "list of lists": pa.array([[[i] * 3, [], None] for i in range(20)]),
    "fixed binary": pa.array([bytes([i] * 5) for i in range(20)], pa.binary(5)),
    "fixed list": pa.array([[i, None] for i in range(20)], pa.list_(pa.int8(), 2)),
    "views": pa.array([f"a longer text {i}" for i in range(20)], pa.string_view()),
    "booleans": pa.array([None if i % 3 else i % 2 == 0 for i in range(20)]),
    "map": pa.array([[("k", i)] * (i % 3) for i in range(20)], pa.map_("string", "int8")),
    "dictionary": pa.array(["a", "b", None, "c"] * 5).dictionary_encode(),
    "struct": pa.array([{"x": i, "y": [str(i)]} for i in range(20)]),
    "list view": pa.array([[i] * (i % 3) for i in range(20)], pa.list_view(pa.int16())),
    "run ends": pc.run_end_encode(pa.array([i // 5 for i in range(20)])),
}


@pytest.mark.parametrize("kind", SLICED)
@pytest.mark.parametrize(("offset", "length"), [(3, 9), (8, 8), (19, 1), (20, 0)])
def test_slices(replay: Replay, kind: str, offset: int, length: int) -> None:
    """IPC writers wrote whole buffers of slices, or offsets that did not begin at 0."""
    part = SLICED[kind].slice(offset, length)
    got = pa.table(replay(pa.table({"x": part})))
    got.validate(full=True)
    assert got["x"].to_pylist() == part.to_pylist()


def test_a_validity_buffer_without_nulls(replay: Replay) -> None:
    """A kernel crashed if a validity buffer was present and had no null."""
    bits = pa.py_buffer(b"\xff\xff")
    values = pa.array(range(12), pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.int32(), 12, [bits, values], null_count=-1)
    got = pa.table(replay(pa.table({"x": column})))
    assert got["x"].to_pylist() == list(range(12))
    assert pc.run_end_encode(got["x"]).length() == 12


def test_unknown_null_count_without_a_validity_buffer(replay: Replay) -> None:
    """A reader refused arrays with a null count of -1 and no validity buffer."""
    values = pa.array(["a", "bb", "ccc", "dddd"]).buffers()
    whole = pa.Array.from_buffers(pa.string(), 4, [None, *values[1:]], null_count=-1)
    got = pa.table(replay(pa.table({"x": whole.slice(1, 2)})))
    assert got["x"].null_count == 0
    assert got["x"].to_pylist() == ["bb", "ccc"]


def test_no_row_and_no_buffers(replay: Replay) -> None:
    """An importer leaked empty arrays whose buffers are NULL."""
    schema = nanoarrow.struct({"x": nanoarrow.binary(), "y": nanoarrow.string()})
    array = nanoarrow.c_array_from_buffers(
        schema,
        0,
        [None],
        children=[
            nanoarrow.c_array_from_buffers(nanoarrow.binary(), 0, [None, None, None]),
            nanoarrow.c_array_from_buffers(nanoarrow.string(), 0, [None, None, None]),
        ],
        validation_level="none",
    )
    stream = nanoarrow.ArrayStream(nanoarrow.Array(array))
    assert pa.table(replay(stream)).num_rows == 0


def test_categoricals_that_grow(replay: Replay) -> None:
    """A writer replaced dictionaries in files, which hold one dictionary a field."""
    frames = [
        pl.DataFrame({"c": pl.Series(words, dtype=pl.Categorical)})
        for words in ([None, "c0"], ["c0", "c1"], [], ["c2", None], ["c0"])
    ]
    tables = [pa.table(frame) for frame in frames]
    schema = tables[0].schema
    batches = [batch for table in tables for batch in table.to_batches()]
    got = pa.table(replay(pa.RecordBatchReader.from_batches(schema, batches)))
    wanted = [word for frame in frames for word in frame["c"].to_list()]
    assert got["c"].to_pylist() == wanted


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_blocks_of_many_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Any
) -> None:
    """A reader took the metadata of every block to be as long as that of the first."""
    monkeypatch.setenv("POLARS_IDEAL_SINK_MORSEL_SIZE_ROWS", "1")
    words = ["A", 13 * "B", "", 300 * "C", None]
    path = tmp_path / "x.arrow"
    pl.LazyFrame({"a": words}).sink_ipc(path, compression=compression)
    assert pa.table(batchcorder.open(path, verify=True))["a"].to_pylist() == words


def test_buffers_compressed_and_not_in_one_batch() -> None:
    """A reader decompressed buffers that the writer had left uncompressed."""
    table = pa.table(
        {"small": [1], "large": [b"0" * 10000], "random": [bytes(range(64))]}
    )
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    assert pa.table(batchcorder.open(sink, verify=True)).equals(table)


def test_a_stream_reader_of_pyarrow_is_a_source() -> None:
    """An engine accepted RecordBatchReader, but not the class for IPC streams."""
    sink = pa.BufferOutputStream()
    table = pa.table({"a": range(10)})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for reader in (
        pa.ipc.open_stream(sink.getvalue()),
        pa.ipc.RecordBatchStreamReader(sink.getvalue()),
    ):
        assert pa.table(StreamCache(reader)).equals(table)


def test_queries_that_scan_twice() -> None:
    """A query that reads a registered stream twice found no rows the second time."""
    connection = duckdb.connect()
    connection.register("events", StreamCache(batches_of(400, 300)))
    query = """
        with sums as (select s, sum(x) as n from events group by s)
        select count(*) from events join sums using (s) where x <= n
        union all select count(*) from events
    """
    assert connection.sql(query).fetchall() == [(700,), (700,)]


NAN = float("nan")


def test_batches_of_nan_alone() -> None:
    """Batches with only NaN were excluded if NaN counts as null."""
    table = pa.table({"x": [NAN, NAN, None, 1.0, 2.0, NAN]})
    dataset = StreamCache(table.to_reader(max_chunksize=2)).dataset()
    for _ in range(2):
        assert dataset.count_rows(pc.field("x").is_null(nan_is_null=True)) == 4


@pytest.mark.parametrize(
    "filter", ["= 'NaN'", "<= 'NaN'", "> 1", ">= 'NaN'", "< 2", "in ('NaN', 1)", "<> 1"]
)
def test_nan_in_queries_of_duckdb(filter: str) -> None:
    """Filters that DuckDB pushes into Arrow data took NaN or null for another value."""
    table = pa.table({"x": [NAN, NAN, None, 1.0, 2.0, NAN, 0.5, None]})
    cache = StreamCache(table.to_reader(max_chunksize=2))
    cache.ingest_all()
    dataset = cache.dataset()
    connection = duckdb.connect()
    connection.register("recorded", dataset)
    connection.register("streamed", cache)
    connection.execute("create table plain as select * from streamed")
    query = f"select count(*) from {{}} where x {filter}"
    plain = connection.sql(query.format("plain")).fetchall()

    assert connection.sql(query.format("streamed")).fetchall() == plain
    assert connection.sql(query.format("recorded")).fetchall() == plain
