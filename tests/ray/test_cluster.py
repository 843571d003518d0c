"""Clusters of three nodes: files of one node, and nodes that are killed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers import check_python

START = """
import os, pathlib, threading
import pyarrow as pa, pyarrow.compute as pc, ray
import batchcorder
from batchcorder.ray import read_recordings, write_recordings
from blocks import ids_of
from clusters import add_node, cluster, node_with, nodes_of, quiet
from helpers import wait_until

quiet()
path = pathlib.Path({path!r})
"""

# Files of one node: this code runs where only that node sees the directory.
RECORD = """
import pyarrow as pa, batchcorder
table = pa.table({{"id": range(10_000), "x": [i / 2 for i in range(10_000)]}})
batchcorder.record(table.to_reader(max_chunksize=100), "{path}/x.arrows").close()
"""


def run(code: str, path: Path) -> list[str]:
    """Run a script with these names and a directory. Return its results."""
    printed = check_python(START.format(path=str(path)) + code)
    # Ray prints the last words of a killed node.
    return re.findall(r"^result: (.*)$", printed, re.M)


def needs_mounts() -> None:
    mount = ["unshare", "--mount", "--pid", "--fork", "true"]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root can give a node its own files")


def test_files_of_one_node(tmp_path: Path) -> None:
    needs_mounts()
    code = f"""
record = {RECORD.format(path=tmp_path)!r}
with cluster() as made, node_with(made, path, record) as (process, owner):
    add_node(made)
    assert os.listdir(path) == []

    # Where the file is, tasks run.
    dataset = read_recordings(path, batches_per_task=1000).materialize()
    assert nodes_of(dataset) == {{owner}}
    assert dataset.count() == 10_000
    assert ids_of(dataset) == list(range(10_000))

    # While that node is busy, they may run elsewhere.
    dataset = read_recordings(path, batches_per_task=5, filter=pc.field("id") >= 5000)
    assert dataset.count() == 5000
    assert ids_of(dataset) == list(range(5000, 10_000))

    # Each node keeps the files that it writes, and a read finds all files.
    paths = write_recordings(ray.data.range(1000, override_num_blocks=12), path / "o")
    assert len(paths) >= 12
    assert ids_of(read_recordings(path / "o")) == list(range(1000))
    assert len(os.listdir(path / "o")) <= len(paths)
    try:
        write_recordings(read_recordings(path / "o").map(lambda row: 1 / 0), path / "p")
    except Exception:
        assert os.listdir(path / "p") == []

    # Another file of that name.
    batchcorder.record(pa.table({{"id": [1]}}), path / "x.arrows").close()
    try:
        read_recordings(path / "x.arrows")
    except ValueError as error:
        print("result:", error)
"""
    (line,) = run(code, tmp_path)
    assert line.startswith(f"nodes have different files at '{tmp_path}/x.arrows'")


def test_a_file_of_a_node_without_processors(tmp_path: Path) -> None:
    needs_mounts()
    code = f"""
record = {RECORD.format(path=tmp_path)!r}
with cluster() as made, node_with(made, path, record, cpus=0) as (process, owner):
    add_node(made)
    # No task can run there: the rows come by Flight.
    dataset = read_recordings(path, batches_per_task=30).materialize()
    assert ids_of(dataset) == list(range(10_000))
    assert owner not in nodes_of(dataset)
    some = read_recordings(path, columns=["x"], filter=pc.field("id") > 9000)
    assert some.count() == 999
    assert some.columns() == ["x"]

    planned = read_recordings(path)
    process.kill()
    wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
    for action in (planned.take_all, lambda: read_recordings(path)):
        try:
            action()
        except OSError as error:
            print("result:", str(error).strip().splitlines()[-1])
"""
    gone, missing = run(code, tmp_path)
    assert "the node that has it is gone" in gone
    assert "no file with the name *.arrows" in missing


KILLED = """
def gate(table, victim, marks):
    node = ray.get_runtime_context().get_node_id()
    (marks / node).touch()
    # A task of each node runs when the victim is killed.
    wait_until(lambda: (marks / victim).exists())
    if node == victim:
        wait_until(lambda: (marks / "never").exists())
    return table

def kill(node, marks):
    wait_until(lambda: (marks / node.node_id).exists())
    made.remove_node(node, allow_graceful=False)

def killing(node, marks):
    marks.mkdir()
    thread = threading.Thread(target=kill, args=(node, marks))
    thread.start()
    dataset = read_recordings(path / "x.arrows", batches_per_task=5)
    victim = {"victim": node.node_id, "marks": marks}
    return thread, dataset.map_batches(gate, batch_format="pyarrow", fn_kwargs=victim)

table = pa.table({"id": range(10_000)})
batchcorder.record(table.to_reader(max_chunksize=100), path / "x.arrows").close()
with cluster() as made:
    first, second = add_node(made), add_node(made)

    thread, dataset = killing(first, path / "reading")
    assert ids_of(dataset) == list(range(10_000))
    thread.join()

    thread, dataset = killing(second, path / "writing")
    paths = write_recordings(dataset, path / "o")
    thread.join()
    assert sorted(os.listdir(path / "o")) == [os.path.basename(one) for one in paths]
    assert ids_of(read_recordings(path / "o")) == list(range(10_000))
    print("result:", sum(node["Alive"] for node in ray.nodes()))
"""


def test_nodes_are_killed_in_the_middle(tmp_path: Path) -> None:
    assert run(KILLED, tmp_path) == ["1"]
