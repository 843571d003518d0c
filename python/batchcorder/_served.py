"""
The batches of a dataset, served as a file to code in C++ that scans the dataset.

pyarrow's C++ code does not call the methods of a Python class. It finds a dataset of one
file instead, in a file system of this module. Opening the file makes it: all rows, copied
into memory. All threads of pyarrow's pools may open files at once. The code that makes
the file therefore needs no thread of a pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow import fs

_NAME = "batches"


class _Files(fs.FileSystemHandler):  # type: ignore[misc]
    """A file system with one file, which can only be read."""

    def __init__(self, read: Callable[[], pa.Table]) -> None:
        self._read = read

    def get_type_name(self) -> str:
        return "batchcorder"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [fs.FileInfo(path, fs.FileType.File) for path in paths]

    def get_file_info_selector(self, selector: Any) -> list[fs.FileInfo]:
        return [fs.FileInfo(_NAME, fs.FileType.File)]

    def open_input_file(self, path: str) -> pa.NativeFile:
        table = self._read()
        sink = pa.BufferOutputStream()
        # A file, unlike a stream, has one dictionary for all batches.
        options = pa.ipc.IpcWriteOptions(unify_dictionaries=True)
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        return pa.BufferReader(sink.getvalue())

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError("the batches of a dataset can only be read")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


def dataset(schema: pa.Schema, read: Callable[[], pa.Table]) -> pads.FileSystemDataset:
    """Return a dataset of the table that `read` returns, called at each scan."""
    return pads.FileSystemDataset.from_paths(
        [_NAME],
        schema=schema,
        format=pads.IpcFileFormat(),
        filesystem=fs.PyFileSystem(_Files(read)),
    )
