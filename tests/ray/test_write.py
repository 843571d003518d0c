"""Writing: which files there are after a job, a failed job, and a retried task."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
from pyarrow import fs
from ray.data.datasource import WriteResult

import batchcorder
from batchcorder.ray import read_recordings, write_recordings
from batchcorder.ray._datasink import RecordingDatasink
from blocks import ids_of, words_of
from helpers import check_python
from kinds import ALL

pytestmark = pytest.mark.usefixtures("local_ray")
Recorded = Callable[..., Path]


def all_below(folder: Path) -> list[str]:
    """Return all files and directories, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_all_rows_once(recorded: Recorded, tmp_path: Path) -> None:
    path, folder = recorded([10] * 8), tmp_path / "made/here"
    paths = write_recordings(read_recordings(path, batches_per_task=2), folder)
    assert paths == sorted(paths)
    assert [Path(one).name for one in paths] == all_below(folder)
    assert len(paths) == 4
    rows = [batchcorder.open(one).to_table()["id"].to_pylist() for one in paths]
    assert rows == [list(range(i, i + 20)) for i in range(0, 80, 20)]
    assert [batchcorder.verify(one) for one in paths] == [2] * 4
    assert ids_of(read_recordings(folder)) == list(range(80))


def test_files_that_are_there_are_kept(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded([10])
    before = path.read_bytes()
    first = write_recordings(read_recordings(path), tmp_path)
    second = write_recordings(read_recordings(path), tmp_path)
    assert path.read_bytes() == before
    names = [Path(one).name for one in (*first, *second, path)]
    assert sorted(names) == all_below(tmp_path)


def test_compression(recorded: Recorded, tmp_path: Path) -> None:
    (path,) = write_recordings(
        read_recordings(recorded([5000])), tmp_path / "o", compression="zstd"
    )
    with batchcorder.open(path) as cache:
        assert cache.info()["compression"] == "zstd"
        assert cache.num_rows == 5000


def test_every_type(tmp_path: Path) -> None:
    for name, values in ALL.items():
        table, source = pa.table({name: values}), tmp_path / f"{name}.arrows"
        batchcorder.record(table, source).close()
        (path,) = write_recordings(read_recordings(source), tmp_path / name)
        with batchcorder.open(path) as cache:
            got = cache.to_table()
        assert got.schema.equals(table.schema, check_metadata=True), name
        assert got.to_pylist() == table.to_pylist(), name


def test_blocks_of_pandas_and_tensors(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(10), "s": list("abcdefghij")})
    write_recordings(ray.data.from_pandas(frame), tmp_path / "frame")
    assert ids_of(read_recordings(tmp_path / "frame")) == list(range(10))
    tensors = ray.data.from_numpy(np.arange(40).reshape(10, 2, 2))
    write_recordings(tensors, tmp_path / "tensors")
    rows = read_recordings(tmp_path / "tensors").take_all()
    arrays = sorted(row["data"].tolist() for row in rows)
    assert arrays == np.arange(40).reshape(10, 2, 2).tolist()


# ---- no rows ----


def test_a_dataset_without_rows_keeps_its_schema(
    recorded: Recorded, tmp_path: Path
) -> None:
    nothing = read_recordings(recorded([10]), filter=pc.field("id") < 0)
    (path,) = write_recordings(nothing, tmp_path / "o")
    with batchcorder.open(path) as cache:
        assert cache.num_rows == 0
        assert cache.schema.names == ["id", "x", "s"]
    # Without a column there is nothing to keep.
    assert write_recordings(ray.data.from_items([]), tmp_path / "p") == []
    assert all_below(tmp_path / "p") == []


def test_blocks_without_rows_have_no_file(recorded: Recorded, tmp_path: Path) -> None:
    dataset = read_recordings(recorded([10] * 4), batches_per_task=1)

    def some(table: pa.Table) -> pa.Table:
        return table.filter(pc.field("id") >= 35)

    dataset = dataset.map_batches(some, batch_format="pyarrow")
    (path,) = write_recordings(dataset, tmp_path / "o")
    assert ids_of(read_recordings(path)) == list(range(35, 40))


# ---- failures ----


def test_nothing_is_left_of_a_failed_job(recorded: Recorded, tmp_path: Path) -> None:
    path, folder = recorded([10] * 20), tmp_path / "o"
    folder.mkdir()
    (folder / "other.arrows").write_bytes(b"kept")

    def fail(table: pa.Table) -> pa.Table:
        if 150 in table["id"].to_pylist():
            raise RuntimeError("no such row")
        return table

    dataset = read_recordings(path, batches_per_task=1)
    for concurrency in (1, 2):
        failing = dataset.map_batches(
            fail, batch_format="pyarrow", concurrency=concurrency
        )
        with pytest.raises(Exception, match="UDF") as caught:
            write_recordings(failing, folder)
        assert "no such row" in words_of(caught.value)
        assert all_below(folder) == ["other.arrows"]


class Crashing(RecordingDatasink):
    """A sink whose workers die once: when their file is written, and not reported."""

    def __init__(self, folder: Path, marks: Path) -> None:
        super().__init__(str(folder), None, None)
        self._marks = marks

    def write(self, blocks: Any, ctx: Any) -> Any:
        written = super().write(blocks, ctx)
        try:
            (self._marks / str(ctx.task_idx)).touch(exist_ok=False)
        except FileExistsError:
            return written
        os._exit(1)


def test_a_retried_task_does_not_double_its_rows(
    recorded: Recorded, tmp_path: Path
) -> None:
    path, folder, marks = recorded([10] * 2), tmp_path / "o", tmp_path / "marks"
    marks.mkdir()
    sink = Crashing(folder, marks)
    sink.prepare()
    read_recordings(path, batches_per_task=1).write_datasink(sink)
    assert len(all_below(marks)) == 2
    assert all_below(folder) == [Path(one).name for one in sink.paths]
    assert ids_of(read_recordings(sink.paths)) == list(range(20))


def test_both_attempts_of_a_task_end(tmp_path: Path) -> None:
    # A node is taken for dead, and goes on.
    sink = RecordingDatasink(str(tmp_path), None, None)
    sink.prepare()
    blocks = [pa.table({"id": range(10)})]
    context = types.SimpleNamespace(task_idx=3)
    first, second = sink.write(blocks, context), sink.write(blocks, context)
    assert first != second
    sink.on_write_complete(WriteResult(10, 80, [second]))
    assert all_below(tmp_path) == [Path(one).name for one in sink.paths]
    assert ids_of(read_recordings(sink.paths)) == list(range(10))
    # An attempt after the job adds nothing.
    with pytest.raises(FileNotFoundError):
        sink.write(blocks, context)
    assert len(all_below(tmp_path)) == 1


def test_the_end_of_the_job_fails(tmp_path: Path) -> None:
    sink = RecordingDatasink(str(tmp_path), None, None)
    sink.prepare()
    blocks = [pa.table({"id": range(10)})]
    written = [sink.write(blocks, types.SimpleNamespace(task_idx=i)) for i in range(2)]
    lost = written[1]._replace(name="lost.arrows")
    with pytest.raises(FileNotFoundError):
        sink.on_write_complete(WriteResult(20, 160, [written[0], lost]))
    assert len(all_below(tmp_path)) > 0
    sink.clean()
    assert all_below(tmp_path) == []


def test_an_interrupted_driver(recorded: Recorded, tmp_path: Path) -> None:
    path, folder = recorded([10] * 4), tmp_path / "o"

    class Interrupted(ray.data.Dataset):  # type: ignore[misc]
        def write_datasink(self, sink: Any, **options: Any) -> None:
            super().write_datasink(sink, **options)
            raise KeyboardInterrupt

    dataset = read_recordings(path)
    dataset.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        write_recordings(dataset, folder)
    assert all_below(folder) == []


def test_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    code = f"""
        import os, ray
        from batchcorder.ray import write_recordings
        ray.init(num_cpus=1, object_store_memory=100 << 20, include_dashboard=False)
        dataset = ray.data.range(1_000_000, override_num_blocks=4)
        try:
            write_recordings(dataset, {str(tmp_path)!r})
        except OSError as error:
            print("No space left" in str(error), os.listdir({str(tmp_path)!r}))
        """
    mount = f'mount -t tmpfs -o size=3m none {tmp_path} && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    assert check_python(code, before=before).splitlines()[-1] == "True []"


# ---- other file systems, arguments ----


@pytest.mark.parametrize("kind", ["pyarrow", "fsspec"])
def test_a_file_system(recorded: Recorded, tmp_path: Path, kind: str) -> None:
    folder: Any = tmp_path / "o"
    folder.mkdir()
    filesystem: Any = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
    place = "inner"
    if kind == "fsspec":
        filesystem, place = fsspec.filesystem("file"), str(folder / "inner")
    dataset = read_recordings(recorded([10] * 4), batches_per_task=2)
    paths = write_recordings(dataset, place, filesystem=filesystem)
    assert paths == [f"{place}/{Path(one).name}" for one in paths]
    assert len(all_below(folder)) == 3
    assert ids_of(read_recordings(folder / "inner")) == list(range(40))


def test_refused(recorded: Recorded, tmp_path: Path) -> None:
    dataset = read_recordings(recorded([1]))
    with pytest.raises(TypeError, match=r"ray\.data\.Dataset"):
        write_recordings(pa.table({"x": [1]}), tmp_path)
    with pytest.raises(ValueError, match="'lz4' or 'zstd'"):
        write_recordings(dataset, tmp_path, compression="gzip")  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        write_recordings(dataset, tmp_path / "file/below")
