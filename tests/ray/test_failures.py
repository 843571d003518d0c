"""Vanished, growing and changed files; killed workers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from test_read import datasource

import batchcorder
from batchcorder import flight
from batchcorder.ray import read_recordings
from blocks import ids_of, words_of
from helpers import Gate, Task, numbered

pytestmark = pytest.mark.usefixtures("local_ray")
Recorded = Callable[..., Path]


def failure_of(dataset: ray.data.Dataset) -> str:
    with pytest.raises(Exception, match="ReadRecording") as caught:
        dataset.take_all()
    return words_of(caught.value)


def test_a_path_that_vanished(recorded: Recorded) -> None:
    path = recorded([10] * 4)
    dataset = read_recordings(path)
    path.unlink()
    assert f"No such file or directory: '{path}'" in failure_of(dataset)
    with pytest.raises(FileNotFoundError):
        read_recordings(path)


def test_a_recording_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    gate = Gate(numbered(3), 2)
    task = Task(batchcorder.record, gate, path)
    gate.reached.wait()
    for paths in (path, tmp_path):
        with pytest.raises(OSError, match="not complete") as caught:
            read_recordings(paths)
        with pytest.raises(OSError, match="not complete") as wanted:
            batchcorder.open(path)
        assert caught.value.errno == errno.ENODATA
        assert str(caught.value) == str(wanted.value)
    gate.opened.set()
    task.result().close()
    assert ids_of(read_recordings(path)) == list(range(12))


@pytest.mark.parametrize("way", ["replaced", "touched", "cut", "longer"])
def test_a_file_that_changed(recorded: Recorded, way: str) -> None:
    path = recorded([10] * 4)
    dataset = read_recordings(path, batches_per_task=1)
    if way == "replaced":
        os.replace(recorded([20] * 2, "y"), path)
    elif way == "touched":
        os.utime(path, ns=(1, 1))
    elif way == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        with open(path, "ab") as file:
            file.write(b"more")
    assert "has changed since read_recordings() was called" in failure_of(dataset)


def test_a_file_that_is_replaced_while_it_is_read(recorded: Recorded) -> None:
    # A task that has opened the file goes on with the planned one.
    path, other = recorded([1000] * 4), recorded([2000] * 2, "y")
    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    (task,) = datasource(path).get_read_tasks(1, data_context=context)
    tables = iter(task())
    rows = next(tables).num_rows
    os.replace(other, path)
    assert [rows, *(table.num_rows for table in tables)] == [1000] * 4


def test_a_worker_that_is_killed(recorded: Recorded, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def kill_once(table: pa.Table) -> pa.Table:
        try:
            (marks / str(table["id"][0])).touch(exist_ok=False)
        except FileExistsError:
            return table
        os._exit(1)

    dataset = read_recordings(recorded([10] * 4), batches_per_task=2)
    dataset = dataset.map_batches(kill_once, batch_format="pyarrow", batch_size=None)
    assert ids_of(dataset) == list(range(40))
    assert len(list(marks.iterdir())) == 2


# ---- servers ----


def test_recordings_of_a_server(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded([10] * 8)
    recorded([5], "y", 80)
    with flight.serve(tmp_path) as server:
        urls = [f"{server.location}/{name}.arrows" for name in "xy"]
        dataset = read_recordings(urls, columns=["id"], batches_per_task=2)
        assert dataset.count() == 85
        assert ids_of(dataset) == list(range(85))
        assert ids_of(read_recordings([path, urls[1]])) == list(range(85))
        with pytest.raises(FileNotFoundError):
            read_recordings(f"{server.location}/z.arrows")
        planned = read_recordings(urls)
        os.replace(recorded([3], "z"), path)
        assert "has changed" in failure_of(planned)
    with pytest.raises(ConnectionError):
        read_recordings(urls)
