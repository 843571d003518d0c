"""
Record a query result once, and scan it many times.

    python examples/quickstart.py DIRECTORY

DIRECTORY holds TPC-H tables as Parquet files (`tpchgen-cli parquet -s 0.1`). DuckDB reads
them as a stream that can be consumed once; DuckDB, Polars, pandas and plain Python then
scan the recording.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from tqdm import tqdm

from batchcorder import StreamCache

QUERY = """
    select l_orderkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_shipdate,
           l_returnflag, l_shipmode
    from read_parquet('{path}')
"""

SELF_JOIN = """
    select count(*) as pairs, count(*) filter (later.l_shipdate > earlier.l_shipdate)
    from lines earlier join lines later using (l_orderkey)
    where later.l_linenumber = earlier.l_linenumber + 1
"""


class CountedSource:
    """A single-use stream that counts the requests for it."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.reader = reader
        self.times_read = 0

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        self.times_read += 1
        return self.reader.__arrow_c_stream__(requested_schema)


def self_join(cache: StreamCache) -> str:
    connection = duckdb.connect()
    cache.register(connection, "lines")
    [(pairs, later)] = connection.sql(SELF_JOIN).fetchall()
    return f"{pairs:,} neighbours within an order, {later:,} shipped after the other"


def with_polars(cache: StreamCache) -> str:
    modes = pl.DataFrame(cache).group_by("l_shipmode").agg(pl.len()).sort("l_shipmode")
    return ", ".join(f"{mode} {count:,}" for mode, count in modes.iter_rows())


def with_pandas(cache: StreamCache) -> str:
    frame: pd.DataFrame = pa.RecordBatchReader.from_stream(cache).read_pandas()
    by_flag = frame.groupby("l_returnflag")["l_quantity"].sum()
    return ", ".join(f"{flag} {total:,.0f}" for flag, total in by_flag.items())


def plain_python(cache: StreamCache) -> str:
    rows = sum(batch.num_rows for batch in cache)
    return f"{rows:,} rows counted"


CONSUMERS: dict[str, Callable[[StreamCache], str]] = {
    "DuckDB self-join": self_join,
    "Polars": with_polars,
    "pandas": with_pandas,
    "Python loop": plain_python,
    "Python loop, again": plain_python,
}


def with_progress(cache: StreamCache) -> Iterator[pa.RecordBatch]:
    """Iterate over the cache, which reads the source, and show a progress bar."""
    with tqdm(unit=" rows", unit_scale=True, desc="recording") as bar:
        for batch in cache:
            bar.update(batch.num_rows)
            yield batch


def main(directory: Path) -> None:
    connection = duckdb.connect()
    relation = connection.sql(QUERY.format(path=directory / "lineitem.parquet"))
    source = CountedSource(relation.to_arrow_reader(16_384))
    with tempfile.TemporaryDirectory() as folder:
        cache = StreamCache(
            source, memory_capacity="16MB", disk_path=folder, disk_capacity="1GB"
        )
        start = time.perf_counter()
        batches = sum(1 for _ in with_progress(cache))
        seconds = time.perf_counter() - start
        held = cache.stats()
        print(
            f"recorded {batches} batches, {held['rows']:,} rows in {seconds:.2f} s: "
            f"{held['memory_bytes'] / 1e6:.1f} MB in memory, "
            f"{held['disk_bytes'] / 1e6:.1f} MB on disk"
        )
        for name, consume in CONSUMERS.items():
            start = time.perf_counter()
            result = consume(cache)
            milliseconds = (time.perf_counter() - start) * 1e3
            print(f"{name:>18}  {milliseconds:7.1f} ms  {result}")
        calls = cache.stats()["source_calls"]
        print(
            f"the source was read {source.times_read} time: it was asked {calls} times, "
            f"for {batches} batches and the end"
        )
        cache.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
