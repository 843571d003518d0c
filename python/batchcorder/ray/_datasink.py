"""
Recordings as a datasink of Ray Data.

While a job runs, its files are in a hidden directory. A write task records its blocks
there, under a name that no other attempt of the task has. If the whole job succeeds, one
file of each task is moved out. In either case, the hidden directory is removed. A file in
the directory is therefore complete, and no task has two.

    .JOB/000003-9f2c.arrows   ── the job is complete ──▶  JOB-000003.arrows
    .JOB/000003-51d0.arrows   ── an attempt that was killed: removed
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import ray
from pyarrow import fs
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import Datasink, WriteResult

from .._recordings import record
from . import _nodes


class Written(NamedTuple):
    """The file of a write task: the task's number, its name, and its node."""

    task: int
    name: str
    node: str


class Folder(NamedTuple):
    """
    The directory of a job's files. `filesystem`: None for paths of this machine.

    `job` is a name that no other job has.
    """

    path: str
    filesystem: fs.FileSystem | None
    job: str

    @property
    def files(self) -> fs.FileSystem:
        """The file system."""
        return self.filesystem or fs.LocalFileSystem()

    @property
    def hidden(self) -> str:
        """The directory of unfinished files."""
        return f"{self.path}/.{self.job}"

    def final(self, task: int) -> str:
        """Return the path of a task's finished file."""
        return f"{self.path}/{self.job}-{task:06}.arrows"

    def prepare(self) -> None:
        """Make the directory, and the one of unfinished files."""
        self.files.create_dir(self.hidden)

    def record(self, table: pa.Table, name: str, compression: Any) -> None:
        """Record a table as an unfinished file."""
        place = f"{self.hidden}/{name}"
        if self.filesystem is None:
            record(table, place, compression=compression).close()
            return
        with tempfile.TemporaryDirectory() as local:
            path = os.path.join(local, name)
            record(table, path, compression=compression).close()
            fs.copy_files(path, place, fs.LocalFileSystem(), self.filesystem)

    def move(self, file: Written) -> str:
        """Move a file to its final path, and return the path."""
        self.files.move(f"{self.hidden}/{file.name}", self.final(file.task))
        return self.final(file.task)

    def clean(self, keeps_final: bool) -> None:
        """Remove the unfinished files; without `keeps_final`, all of the job."""
        place = fs.FileSelector(self.path, allow_not_found=True)
        for one in self.files.get_file_info(place):
            # Several nodes may share the directory, and clean it at once.
            with contextlib.suppress(FileNotFoundError):
                if one.base_name == f".{self.job}":
                    self._remove_hidden()
                elif one.base_name.startswith(f"{self.job}-") and not keeps_final:
                    self.files.delete_file(one.path)

    def _remove_hidden(self) -> None:
        """Remove the hidden directory, though tasks of a failed job may still write."""
        if self.filesystem is None:
            # The tasks lose their paths, so that they add no file.
            os.rename(self.hidden, f"{self.hidden}-removed")
            shutil.rmtree(f"{self.hidden}-removed", ignore_errors=True)
        else:
            self.files.delete_dir(self.hidden)


class RecordingDatasink(Datasink):
    """
    A datasink that writes a recording for each write task.

    Parameters
    ----------
    path : str
        The directory.
    filesystem : pyarrow.fs.FileSystem, optional
        Its file system. None (default): paths of the nodes.
    compression : str, optional
        The codec. None (default): no compression.
    """

    def __init__(
        self, path: str, filesystem: fs.FileSystem | None, compression: Any
    ) -> None:
        self._folder = Folder(path, filesystem, secrets.token_hex(8))
        self._compression = compression
        self.paths: list[str] = []

    def write(self, blocks: Iterable[Block], ctx: Any) -> Written | pa.Schema | None:
        """Record the blocks of a task; without rows, return only their schema."""
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        filled = [table for table in tables if table.num_rows > 0]
        if not filled:
            return tables[0].schema if tables else None
        table = pa.concat_tables(filled, promote_options="default")
        return self._record(table, ctx.task_idx)

    def _record(self, table: pa.Table, task: int) -> Written:
        name = f"{task:06}-{secrets.token_hex(8)}.arrows"
        self._folder.record(table, name, self._compression)
        return Written(task, name, ray.get_runtime_context().get_node_id())

    def on_write_complete(self, write_result: WriteResult) -> None:
        """Give the files their names. A dataset without rows gets one for its schema."""
        results = write_result.write_returns
        files = sorted(one for one in results if isinstance(one, Written))
        schemas = [one for one in results if isinstance(one, pa.Schema) and one.names]
        if schemas and not files:
            files = [self._record(schemas[0].empty_table(), 0)]
        self.paths = [self._moved(file) for file in files]
        self._everywhere(self._folder.clean, True)

    def _moved(self, file: Written) -> str:
        """Move a file here, or where it was written if the directory is not shared."""
        try:
            return self._folder.move(file)
        except FileNotFoundError:
            return _nodes.call(file.node, self._folder.move, file)

    def clean(self) -> None:
        """Remove all files of the job."""
        self._everywhere(self._folder.clean, False)

    def prepare(self) -> None:
        """Make the directories, on each node."""
        self._everywhere(self._folder.prepare)

    def _everywhere(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on each node that may have files of the job."""
        if self._folder.filesystem is None:
            _nodes.everywhere(function, *arguments)
        else:
            function(*arguments)
