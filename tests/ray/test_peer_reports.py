"""Situations of public reports about reading and writing with Ray Data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
from ray.data.expressions import col

import batchcorder
from batchcorder.ray import read_recordings, write_recordings
from blocks import ids_of, table_of, words_of

pytestmark = pytest.mark.usefixtures("local_ray")
Recorded = Callable[..., Path]


def test_the_count_of_filtered_rows(recorded: Recorded) -> None:
    # ray 33766 and 65175: count() took the rows of the file, or none.
    path = recorded([100] * 5)
    few = col("id") < 10
    asked = read_recordings(path, filter=pc.field("id") < 10)
    assert asked.count() == 10
    assert asked.select_columns(["x"]).count() == 10
    assert read_recordings(path).filter(expr=few).count() == 10
    assert read_recordings(path).filter(expr=few).select_columns(["s"]).count() == 10
    assert read_recordings(path).select_columns(["s"]).count() == 500
    assert read_recordings(path).filter(lambda row: row["id"] < 10).count() == 10


def test_a_filter_after_a_limit(recorded: Recorded) -> None:
    # ray 66142: the filter went before the limit.
    dataset = read_recordings(recorded([100] * 5), batches_per_task=5)
    assert dataset.limit(3).filter(expr=col("id") >= 3).take_all() == []
    rows = dataset.filter(expr=col("id") >= 300).limit(3).take_all()
    assert [row["id"] for row in rows] == [300, 301, 302]


def test_the_first_block_has_no_rows(recorded: Recorded) -> None:
    # ray 46712: limit() and schema() looked at the first block only.
    def late(table: pa.Table) -> pa.Table:
        return table.filter(pc.field("id") >= 450)

    dataset = read_recordings(recorded([100] * 5), batches_per_task=1)
    dataset = dataset.map_batches(late, batch_format="pyarrow")
    assert dataset.limit(1).count() == 1
    assert dataset.schema().names == ["id", "x", "s"]


def test_no_rows_have_a_schema(recorded: Recorded) -> None:
    # ray 28505 and 61857: the schema of a dataset without rows was lost.
    nothing = read_recordings(recorded([10]), filter=pc.field("id") < 0)
    assert nothing.schema().names == ["id", "x", "s"]
    assert nothing.materialize().schema().names == ["id", "x", "s"]


def test_blocks_without_rows_are_not_files(recorded: Recorded, tmp_path: Path) -> None:
    # ray 36123: each block had a file, also those without rows.
    dataset = read_recordings(recorded([10] * 5), batches_per_task=1)
    paths = write_recordings(dataset.filter(lambda row: row["id"] == 7), tmp_path / "o")
    assert len(paths) == 1


def test_a_block_without_rows_has_another_schema(tmp_path: Path) -> None:
    # ray 50915: it did not fit the file of its neighbours.
    def some(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["id"] < 5] if 0 in frame["id"].values else pd.DataFrame()

    dataset = ray.data.range(100, override_num_blocks=1)
    dataset = dataset.map_batches(some, batch_format="pandas", batch_size=10)
    write_recordings(dataset, tmp_path)
    assert ids_of(read_recordings(tmp_path)) == list(range(5))


def test_a_column_of_nulls_in_one_block(tmp_path: Path) -> None:
    # ray 48630: blocks with a column of nulls have another type for it.
    tables = [pa.table({"id": [1], "s": pa.nulls(1)}), pa.table({"id": [2], "s": ["b"]})]
    write_recordings(ray.data.from_arrow(tables), tmp_path / "two")
    rows = read_recordings(tmp_path / "two").take_all()
    assert sorted(rows, key=str) == [{"id": 1, "s": None}, {"id": 2, "s": "b"}]
    one = ray.data.from_arrow(tables).repartition(1)
    (path,) = write_recordings(one, tmp_path / "one")
    with batchcorder.open(path) as cache:
        assert cache.schema.field("s").type == pa.string()


def test_blocks_that_do_not_fit(tmp_path: Path) -> None:
    # ray 28897: the error did not name the columns.
    tables = [pa.table({"id": [1]}), pa.table({"id": ["b"]})]
    dataset = ray.data.from_arrow(tables).map_batches(lambda b: b, batch_size=None)
    with pytest.raises(Exception, match="id") as caught:
        write_recordings(dataset.repartition(1), tmp_path)
    assert "int64" in words_of(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_two_writes_into_one_directory(recorded: Recorded, tmp_path: Path) -> None:
    # ray 55043 and 52954: tasks, or jobs, took each other's names.
    dataset = read_recordings(recorded([10] * 10), batches_per_task=1)
    folder = tmp_path / "o"
    first, second = (write_recordings(dataset, folder) for _ in range(2))
    assert len({*first, *second}) == 20
    assert ids_of(read_recordings(folder)) == sorted([*range(100), *range(100)])


def test_slices_have_their_own_bytes(recorded: Recorded) -> None:
    # ray 29055, ARROW-10739: a slice was stored with the whole buffer.
    path = recorded([100_000])
    table = table_of(read_recordings(path).limit(10))
    assert table.nbytes < 1000
    assert sum(column.get_total_buffer_size() for column in table.columns) < 10_000


def test_a_column_of_nothing_but_nulls(tmp_path: Path) -> None:
    # Its bytes are none, and Ray takes a dataset of no bytes for one without rows.
    batchcorder.record(pa.table({"n": pa.nulls(10)}), tmp_path / "x.arrows").close()
    dataset = read_recordings(tmp_path)
    assert dataset.count() == 10
    assert dataset.take_all() == [{"n": None}] * 10


def test_more_processors_than_batches(recorded: Recorded) -> None:
    # One large batch is one task, and several blocks.
    dataset = read_recordings(recorded([20_000]))
    assert ids_of(dataset.repartition(4)) == list(range(20_000))
    parts = dataset.split(2, equal=True)
    assert sorted(i for part in parts for i in ids_of(part)) == list(range(20_000))


def test_datasets_that_are_used_twice(recorded: Recorded) -> None:
    dataset = read_recordings(recorded([100] * 5))
    for _ in range(2):
        batches = dataset.iter_batches(batch_size=64, batch_format="numpy")
        rows = np.concatenate([batch["id"] for batch in batches])
        assert sorted(rows.tolist()) == list(range(500))
    both = dataset.union(dataset)
    assert both.count() == 1000
    assert sorted(ids_of(dataset.random_shuffle())) == list(range(500))
    sums = dataset.groupby("s").count()
    assert sums.count() == 500


def test_a_renamed_and_a_new_column(recorded: Recorded) -> None:
    # The names of pushed-down columns are the names of the file.
    dataset = read_recordings(recorded([10])).rename_columns({"id": "number"})
    dataset = dataset.with_column("double", col("number") * 2)
    dataset = dataset.filter(expr=col("double") > 14).select_columns(["double"])
    assert sorted(row["double"] for row in dataset.take_all()) == [16, 18]
