"""read_recordings of object stores: nginx, by pyarrow's client of S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import fs

import batchcorder
from batchcorder.ray import read_recordings
from batchcorder.ray._objects import objects
from servers import KEY, REGION, SECRET, nginx, nginx_path

ROWS, BATCHES = 1000, 12
TABLE = pa.table(
    {
        "id": np.arange(ROWS * BATCHES),
        "x": np.arange(ROWS * BATCHES) / 2,
        "text": [f"row {i}" for i in range(ROWS * BATCHES)],
    }
)


def record(path: Path, table: pa.Table = TABLE) -> None:
    batches = table.to_batches(ROWS)
    reader = pa.RecordBatchReader.from_batches(table.schema, batches)
    path.unlink(missing_ok=True)
    batchcorder.record(reader, path).close()


class Store:
    """A bucket: the folder of the objects, and a filesystem that reads them."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.filesystem: Any = fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            region=REGION,
        )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if nginx_path() is None:
        pytest.skip("there is no nginx")
    with nginx(tmp_path) as server:
        bucket = tmp_path / "root/bucket"
        bucket.mkdir()
        record(bucket / "x.arrows")
        yield Store(bucket, server.port)


@pytest.mark.usefixtures("local_ray")
def test_rows_columns_and_filters(store: Store) -> None:
    dataset = read_recordings("bucket/x.arrows", filesystem=store.filesystem)
    assert dataset.count() == ROWS * BATCHES
    assert sorted(row["id"] for row in dataset.take_all()) == list(range(ROWS * BATCHES))
    some = read_recordings(
        "bucket/x.arrows",
        columns=["x"],
        filter=pc.field("id") >= ROWS * (BATCHES - 1),
        filesystem=store.filesystem,
        batches_per_task=1,
    )
    assert some.sum("x") == sum(
        i / 2 for i in range(ROWS * (BATCHES - 1), ROWS * BATCHES)
    )


@pytest.mark.usefixtures("local_ray")
def test_a_changed_object(store: Store) -> None:
    dataset = read_recordings("bucket/x.arrows", filesystem=store.filesystem)
    record(store.folder / "x.arrows", TABLE.slice(ROWS))
    with pytest.raises(Exception, match="object changed"):
        dataset.take_all()


@pytest.mark.usefixtures("local_ray")
def test_a_missing_object(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="bucket/none"):
        read_recordings("bucket/none", filesystem=store.filesystem)


def test_a_directory() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b", "a"):
        batchcorder.record(TABLE, f"memory://directory/{name}.arrows").close()
    memory.pipe("/directory/other.txt", b"x")
    for filesystem in (memory, fs.PyFileSystem(fs.FSSpecHandler(memory))):
        found = objects("directory", filesystem)
        assert [Path(one.path).name for one in found] == ["a.arrows", "b.arrows"]
        with found[0].opened() as cache:
            assert cache.num_rows == ROWS * BATCHES
    memory.mkdir("/empty")
    with pytest.raises(FileNotFoundError, match=r"\*.arrows"):
        objects("/empty", memory)


@pytest.mark.usefixtures("local_ray")
def test_a_local_filesystem_is_mapped(tmp_path: Path) -> None:
    record(tmp_path / "x.arrows")
    dataset = read_recordings(
        "x.arrows", filesystem=fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    )
    assert dataset.input_files() == [str(tmp_path / "x.arrows")]
    assert dataset.count() == ROWS * BATCHES
