"""write_recordings: the rows of a dataset of Ray as recordings."""

from __future__ import annotations

import os
from typing import Any, Literal

import ray
from pyarrow import fs

from .._types import StrOrBytesPath
from ._datasink import RecordingDatasink


def write_recordings(
    dataset: ray.data.Dataset,
    directory: StrOrBytesPath,
    *,
    filesystem: Any = None,
    compression: Literal["lz4", "zstd"] | None = None,
) -> list[str]:
    """
    Write the rows of a dataset as recordings, and return their paths.

    Each write task writes one file. The files appear when all are complete. If the job
    fails, no file of the job is left. Other files of the directory are not changed.

    Parameters
    ----------
    dataset : ray.data.Dataset
        The rows.
    directory : str, bytes or os.PathLike
        The directory, which is made if there is none. A directory that the nodes do not
        share has the files of its node.
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
        File system of the directory. None (default): paths of the nodes.
    compression : {None, 'lz4', 'zstd'}, default None
        Compress the buffers, as the Arrow IPC format defines it.

    Returns
    -------
    list of str
        The paths, in the order of the blocks. Blocks without rows have no file, unless
        the whole dataset has no row: then one file keeps the schema.

    Raises
    ------
    OSError
        A file cannot be written.
    TypeError, ValueError
        An argument has the wrong type, or is invalid.
    Exception
        The error of the dataset.

    Examples
    --------
    >>> import tempfile, ray
    >>> from batchcorder.ray import read_recordings, write_recordings
    >>> directory = tempfile.mkdtemp()
    >>> paths = write_recordings(ray.data.range(100), directory)
    >>> read_recordings(directory).count()
    100
    """
    if not isinstance(dataset, ray.data.Dataset):
        raise TypeError(
            "argument 'dataset': expected a ray.data.Dataset, got "
            f"{type(dataset).__name__!r}"
        )
    if compression not in (None, "lz4", "zstd"):
        raise ValueError(
            f"argument 'compression': expected None, 'lz4' or 'zstd', got {compression!r}"
        )
    path = os.fsdecode(directory)
    if filesystem is None:
        path = os.path.abspath(path)
    elif not isinstance(filesystem, fs.FileSystem):
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
    sink = RecordingDatasink(path.rstrip("/"), filesystem, compression)
    try:
        sink.prepare()
        dataset.write_datasink(sink)
    except BaseException:
        sink.clean()
        raise
    return sink.paths
