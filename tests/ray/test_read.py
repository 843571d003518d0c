"""Reading: rows, tasks and blocks, and columns and batches that are not read."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pytest
import ray
from ray.data.expressions import col

import batchcorder
from batchcorder.ray import _datasource, read_recordings
from batchcorder.ray._files import absolute, found
from batchcorder.ray._origins import FileOrigin
from batchcorder.ray._recording import even_cuts
from blocks import damage, ids_of, table_of
from helpers import mapped
from kinds import ALL, batch_of, slices_of

pytestmark = pytest.mark.usefixtures("local_ray")
Recorded = Callable[..., Path]
LENGTHS = [7, 200, 1, 0, 130, 50]
ROWS = sum(LENGTHS)


def datasource(*paths: Path, **options: object) -> _datasource.RecordingDatasource:
    files = [found(str(path))[0] for path in paths]
    origins = [FileOrigin(file) for file in files]
    return _datasource.RecordingDatasource(origins, **options)  # type: ignore[arg-type]


# ---- rows ----


def test_all_rows_once(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    other = recorded([5, 5], "y", ROWS)
    ways = [path, str(path), os.fsencode(path), [path], f"file://{path}"]
    for one in ways:
        assert ids_of(read_recordings(one)) == list(range(ROWS))
    (tmp_path / ".hidden.arrows").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    for both in (tmp_path, [path, other], tmp_path / "*.arrows", tmp_path / "[xy].*"):
        assert ids_of(read_recordings(both)) == list(range(ROWS + 10))
    dataset = read_recordings(tmp_path)
    assert dataset.count() == ROWS + 10
    assert dataset.schema().base_schema == table_of(dataset).schema


def test_a_relative_path(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    # A worker has another directory.
    path = recorded(LENGTHS)
    monkeypatch.chdir(path.parent)
    assert ids_of(read_recordings(path.name)) == list(range(ROWS))


def test_the_order(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        table = table_of(read_recordings(path, batches_per_task=1))
    finally:
        options.preserve_order = before
    assert table["id"].to_pylist() == list(range(ROWS))


def test_every_type(tmp_path: Path) -> None:
    wanted = {}
    for name in ALL:
        batches = slices_of(batch_of(name))
        wanted[name] = pa.Table.from_batches(batches)
        reader = pa.RecordBatchReader.from_batches(wanted[name].schema, batches)
        batchcorder.record(reader, tmp_path / f"{name}.arrows").close()
    for name, table in wanted.items():
        dataset = read_recordings(tmp_path / f"{name}.arrows", batches_per_task=100)
        got = table_of(dataset)
        assert got.schema.equals(table.schema, check_metadata=True), name
        got.validate(full=True)
        assert got.to_pylist() == table.to_pylist(), name


def test_files_of_other_writers(tmp_path: Path) -> None:
    table = pa.table({"id": range(1000)})
    with pa.ipc.new_stream(tmp_path / "a.arrows", table.schema) as stream:
        stream.write_table(table, max_chunksize=100)
    feather.write_feather(table, str(tmp_path / "b.arrow"), compression="lz4")
    for name in ("a.arrows", "b.arrow"):
        path = tmp_path / name
        assert ids_of(read_recordings(path)) == list(range(1000))
        some = read_recordings(path, filter=pc.field("id") < 5)
        assert ids_of(some) == list(range(5))


def test_files_without_rows(tmp_path: Path) -> None:
    schema = pa.schema({"id": pa.int64(), "s": pa.string()})
    path = tmp_path / "x.arrows"
    batchcorder.record(schema.empty_table(), path).close()
    dataset = read_recordings(path)
    assert dataset.count() == 0
    assert dataset.take_all() == []
    assert dataset.schema().base_schema == schema


# ---- tasks and blocks ----


def test_metadata_counts_are_true(recorded: Recorded) -> None:
    path, other = recorded(LENGTHS), recorded([10, 20], "y")
    source = datasource(path, other)
    with batchcorder.open(path) as one, batchcorder.open(other) as two:
        nbytes = one.nbytes + two.nbytes
    assert source.estimate_inmemory_data_size() == nbytes
    for asked in (1, 2, 5, 100):
        tasks = source.get_read_tasks(asked)
        assert len(tasks) == min(asked, len(LENGTHS) + 2)
        for task in tasks:
            tables = list(task())
            assert task.metadata.num_rows == sum(table.num_rows for table in tables)
            assert all(table.schema == task.schema for table in tables)
        sizes = [task.metadata.size_bytes for task in tasks]
        assert sum(sizes) == pytest.approx(nbytes, abs=len(tasks))
    (task,) = source.get_read_tasks(1)
    assert task.metadata.input_files == (str(path), str(other))


def test_a_filter_hides_the_count(recorded: Recorded) -> None:
    source = datasource(recorded(LENGTHS), filter=pc.field("id") == 3)
    (task,) = source.get_read_tasks(10)
    assert task.metadata.num_rows is None
    assert (
        datasource(recorded([3], "y"), filter=pc.field("id") < 0)
        .get_read_tasks(10)[0]
        .metadata.num_rows
        == 0
    )


def test_batches_per_task(recorded: Recorded) -> None:
    path = recorded([10] * 7)
    counts = [t.metadata.num_rows for t in datasource(path, batches_per_task=3)
              .get_read_tasks(100)]  # fmt: skip
    assert counts == [30, 30, 10]
    assert ids_of(read_recordings(path, batches_per_task=3)) == list(range(70))


def test_parts_are_even() -> None:
    random = np.random.default_rng(7)
    for _ in range(500):
        sizes = random.integers(1, random.choice([2, 1000]), random.integers(1, 30))
        sizes[random.integers(len(sizes))] *= random.choice([1, 1000])
        parts = int(random.integers(1, 40))
        bounds = [0, *even_cuts(sizes, parts).tolist(), len(sizes)]
        lengths = np.diff(bounds)
        assert len(lengths) == min(parts, len(sizes))
        assert (lengths > 0).all()
        # A part has at most its share and the element that crosses the end of it.
        if lengths.max() > 1:
            sums = np.add.reduceat(sizes, bounds[:-1])
            assert sums.max() <= sizes.sum() / len(lengths) + 2 * sizes.max()
    assert even_cuts(np.ones(0), 5).tolist() == []


def test_blocks_have_the_target_size(recorded: Recorded) -> None:
    path = recorded([1000] * 20 + [20_000])
    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 200_000
    (task,) = datasource(path).get_read_tasks(1, data_context=context)
    sizes = [table.nbytes for table in task()]
    # Small batches are grouped.
    assert all(200_000 <= size < 250_000 for size in sizes[:3])
    limited = datasource(path).get_read_tasks(1, 10, context)
    assert [table.num_rows for table in limited[0]()] == [10]


def test_blocks_are_mapped_pages(recorded: Recorded) -> None:
    path = recorded([1000] * 5)
    (task,) = datasource(path).get_read_tasks(1)
    (table,) = task()
    ranges = mapped(path)
    addresses = [
        buffer.address
        for column in table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    ]
    assert len(addresses) == 5 * (1 + 1 + 2)
    assert all(any(low <= a < high for low, high in ranges) for a in addresses)


# ---- projection and filter ----


def test_columns_that_are_not_read(recorded: Recorded) -> None:
    path = recorded([1000] * 5)
    damage(path, f"{'row 2500':20}".encode())
    dataset = read_recordings(path, columns=["x", "id"])
    assert dataset.columns() == ["x", "id"]
    assert ids_of(dataset) == list(range(5000))
    assert ids_of(read_recordings(path).select_columns(["id"])) == list(range(5000))
    assert read_recordings(path).count() == 5000
    with pytest.raises(Exception, match="Checksum mismatch"):
        table_of(read_recordings(path))


def test_batches_that_are_not_read(recorded: Recorded) -> None:
    path = recorded([1000] * 5)
    damage(path, struct.pack("<qq", 2500, 2501))
    for low, rows in ((3000, 2000), (4999, 1), (6000, 0)):
        wanted = list(range(5000 - rows, 5000))
        asked = read_recordings(path, filter=pc.field("id") >= low)
        pushed = read_recordings(path).filter(expr=col("id") >= low)
        for dataset in (asked, pushed):
            assert dataset.count() == rows
            assert [row["id"] for row in dataset.take_all()] == wanted
            names = dataset.select_columns(["s"])
            assert sorted(row["s"] for row in names.take_all()) == sorted(
                f"{f'row {i}':20}" for i in wanted
            )
    with pytest.raises(Exception, match="Checksum mismatch"):
        table_of(read_recordings(path, filter=pc.field("id") >= 2999))


def test_both_filters_hold(recorded: Recorded) -> None:
    dataset = read_recordings(recorded(LENGTHS), filter=pc.field("id") > 100)
    dataset = dataset.filter(expr=col("x") < 60).select_columns(["id"])
    assert ids_of(dataset) == list(range(101, 120))


def test_a_filter_by_another_column(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    dataset = read_recordings(path, columns=["s"], filter=pc.field("id") == 9)
    assert dataset.take_all() == [{"s": f"{'row 9':20}"}]


# ---- arguments ----


def test_paths() -> None:
    assert absolute("/a") == ["/a"]
    assert absolute(["/a", b"/b", Path("/c")]) == ["/a", "/b", "/c"]
    assert absolute("local:///a/b") == ["/a/b"]
    assert absolute("grpc://host:1/x.arrows") == ["grpc://host:1/x.arrows"]


@pytest.mark.parametrize(
    ("kind", "words", "paths", "options"),
    [
        (TypeError, "a list of paths", 5, {}),
        (ValueError, "is empty", [], {}),
        (FileNotFoundError, "bucket/x.arrows", "memory://bucket/x.arrows", {}),
        (TypeError, "filesystem", "/x", {"filesystem": object()}),
        (TypeError, "list of names", "/x", {"columns": "id"}),
        (ValueError, "repeated", "/x", {"columns": ["id", "x", "id"]}),
        (TypeError, "Expression", "/x", {"filter": "id > 3"}),
        (ValueError, "at least 1", "/x", {"batches_per_task": 0}),
        (TypeError, "a number", "/x", {"batches_per_task": "3"}),
        (FileNotFoundError, "No such file", "/nowhere/x.arrows", {}),
        (FileNotFoundError, "No such file", "/nowhere/*.arrows", {}),
    ],
)
def test_refused(
    kind: type[Exception], words: str, paths: object, options: dict[str, object]
) -> None:
    with pytest.raises(kind, match=words):
        read_recordings(paths, **options)  # type: ignore[arg-type]


def test_refused_files(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    with pytest.raises(KeyError, match="has 0 columns 'y'"):
        read_recordings(path, columns=["id", "y"])
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    batchcorder.record(twice, tmp_path / "twice.arrows").close()
    with pytest.raises(KeyError, match="has 2 columns 'a'"):
        read_recordings(tmp_path / "twice.arrows")
    batchcorder.record(pa.table({"a": [1]}), tmp_path / "a.arrows").close()
    with pytest.raises(ValueError, match=r"\['a'\], not \['id'"):
        read_recordings([path, tmp_path / "a.arrows"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"\*\.arrows"):
        read_recordings(tmp_path / "empty")
    (tmp_path / "text.arrows").write_text("id,x\n1,2\n" * 100)
    with pytest.raises(ValueError, match="Arrow"):
        read_recordings(tmp_path / "text.arrows")
    batchcorder.record(pa.table({"id": ["a"]}), tmp_path / "other.arrows").close()
    with pytest.raises(ValueError, match=r"other\.arrows' has other columns"):
        read_recordings([path, tmp_path / "other.arrows"], columns=["id"])
