"""pyarrow, pandas, nanoarrow and arro3, as sources and as consumers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batchcorder import StreamCache
from helpers import ROWS, TABLE, ids, orders, recorded
from tiers import MakeCache


def csv_file() -> pa.RecordBatchReader:
    """Return a CSV reader over a Python file object, which needs the GIL to read."""
    text = io.BytesIO()
    pa.csv.write_csv(TABLE, text)
    return pa.csv.open_csv(
        pa.PythonFile(io.BytesIO(text.getvalue()), mode="r"),
        read_options=pa.csv.ReadOptions(block_size=4096),
        convert_options=pa.csv.ConvertOptions(strings_can_be_null=True),
    )


def parquet_batches() -> pa.RecordBatchReader:
    file = io.BytesIO()
    pq.write_table(TABLE, file, row_group_size=300)
    batches = pq.ParquetFile(file).iter_batches(batch_size=100)
    return pa.RecordBatchReader.from_batches(TABLE.schema, batches)


def ipc_stream() -> pa.RecordBatchReader:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE, 300)
    return pa.ipc.open_stream(file.getvalue())


def scanner() -> ds.Scanner:
    return ds.dataset(TABLE).scanner(batch_size=100)


PYARROW_SOURCES: dict[str, Callable[[], Any]] = {
    "Table": lambda: TABLE,
    "RecordBatchReader": lambda: TABLE.to_reader(max_chunksize=100),
    "from_batches": lambda: pa.RecordBatchReader.from_batches(
        TABLE.schema, iter(TABLE.to_batches())
    ),
    "ChunkedArray": lambda: pa.chunked_array(
        [batch.to_struct_array() for batch in TABLE.to_batches()]
    ),
    "scanner": lambda: scanner().to_reader(),
    "scanner batches": lambda: pa.RecordBatchReader.from_batches(
        TABLE.schema, (tagged.record_batch for tagged in scanner().scan_batches())
    ),
    "csv": csv_file,
    "parquet": parquet_batches,
    "ipc": ipc_stream,
}


@pytest.mark.parametrize("source", PYARROW_SOURCES.values(), ids=PYARROW_SOURCES)
def test_pyarrow_as_a_source(source: Callable[[], Any], make_cache: MakeCache) -> None:
    recorded(make_cache(source()), TABLE)


def written_dataset(cache: StreamCache, path: Path) -> pa.Table:
    reader = pa.RecordBatchReader.from_stream(cache)
    ds.write_dataset(
        reader, path, format="parquet", existing_data_behavior="delete_matching"
    )
    return ds.dataset(path).to_table().sort_by("id")


def written_parquet(cache: StreamCache, path: Path) -> pa.Table:
    with pq.ParquetWriter(path.with_suffix(".parquet"), cache.schema) as writer:
        for batch in cache:
            writer.write_batch(batch)
    return pq.read_table(path.with_suffix(".parquet"))


PYARROW_CONSUMERS: dict[str, Callable[[StreamCache, Path], pa.Table]] = {
    "table": lambda c, _: pa.table(c),
    "RecordBatchReader": lambda c, _: pa.RecordBatchReader.from_stream(c).read_all(),
    "chunked_array": lambda c, _: pa.Table.from_struct_array(pa.chunked_array(c)),
    "scanner": lambda c, _: ds.Scanner.from_batches(c).to_table(),
    "batches": lambda c, _: pa.Table.from_batches(c),
    "dataset": written_dataset,
    "parquet": written_parquet,
}


@pytest.mark.parametrize("read", PYARROW_CONSUMERS.values(), ids=PYARROW_CONSUMERS)
def test_pyarrow(
    read: Callable[[StreamCache, Path], pa.Table], make_cache: MakeCache, tmp_path: Path
) -> None:
    source = orders()
    cache = make_cache(source)
    for _ in range(2):
        assert read(cache, tmp_path / "written").equals(TABLE)
    assert pa.schema(cache) == TABLE.schema
    assert (source.given, source.streams) == (10, 1)


def test_a_dataset_scanner_as_a_source(make_cache: MakeCache) -> None:
    some = ds.dataset(TABLE).scanner(columns=["id"], filter=ds.field("grp") == 1)
    cache = make_cache(some.to_reader())
    for _ in range(2):
        assert ids(cache) == list(range(1, ROWS, 5))


def test_pandas(make_cache: MakeCache) -> None:
    pandas = pytest.importorskip("pandas")
    cache = make_cache(orders())
    wanted = TABLE.to_pandas()
    for _ in range(2):
        frame = pa.table(cache).to_pandas()
        pandas.testing.assert_frame_equal(frame, wanted)
        reader = pa.RecordBatchReader.from_stream(cache)
        pandas.testing.assert_frame_equal(reader.read_pandas(), wanted)
        assert pandas.DataFrame.from_arrow(cache)["id"].tolist() == list(range(ROWS))


def test_pandas_as_a_source(make_cache: MakeCache) -> None:
    pandas = pytest.importorskip("pandas")
    frame = TABLE.to_pandas()
    cache = make_cache(frame)
    for _ in range(2):
        pandas.testing.assert_frame_equal(pa.table(cache).to_pandas(), frame)
    assert b"pandas" in cache.schema.metadata


def test_nanoarrow(make_cache: MakeCache) -> None:
    nanoarrow = pytest.importorskip("nanoarrow")
    cache = make_cache(orders())
    for _ in range(2):
        assert len(nanoarrow.Array(cache)) == ROWS
        with nanoarrow.ArrayStream(cache) as stream:
            assert ids(pa.RecordBatchReader.from_stream(stream)) == list(range(ROWS))
        assert sum(array.length for array in nanoarrow.c_array_stream(cache)) == ROWS
    assert nanoarrow.Schema(cache).n_fields == 4


@pytest.mark.parametrize("make", ["ArrayStream", "Array", "c_array_stream"])
def test_nanoarrow_as_a_source(make: str, make_cache: MakeCache) -> None:
    nanoarrow = pytest.importorskip("nanoarrow")
    recorded(make_cache(getattr(nanoarrow, make)(TABLE)), TABLE)


def test_arro3(make_cache: MakeCache) -> None:
    core = pytest.importorskip("arro3.core")
    cache = make_cache(orders())
    for _ in range(2):
        assert pa.table(core.Table.from_arrow(cache)).equals(TABLE)
        batches = core.RecordBatchReader.from_arrow(cache)
        assert pa.Table.from_batches(map(pa.record_batch, batches)).equals(TABLE)


@pytest.mark.parametrize("make", ["Table", "RecordBatchReader"])
def test_arro3_as_a_source(make: str, make_cache: MakeCache) -> None:
    core = pytest.importorskip("arro3.core")
    recorded(make_cache(getattr(core, make).from_arrow(TABLE)), TABLE)


def test_caches_of_caches(make_cache: MakeCache) -> None:
    source = orders()
    inner = make_cache(source)
    outer = make_cache(make_cache(inner.cast(TABLE.schema)).reader())
    for _ in range(2):
        assert pa.table(outer).equals(TABLE)
    assert source.given == 10
    inner.close()
    assert pa.table(outer).equals(TABLE)
