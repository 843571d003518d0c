"""read_recordings: a dataset of Ray over recordings."""

from __future__ import annotations

import errno
import math
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow.compute as pc
import ray

from .._remote._store import local_path
from .._types import StrOrBytesPath
from . import _nodes
from ._datasource import RecordingDatasource
from ._files import File, absolute, found
from ._objects import objects
from ._origins import FileOrigin, FlightOrigin, connected, served
from ._serving import Serving


def read_recordings(
    paths: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    columns: Sequence[str] | None = None,
    filter: pc.Expression | None = None,
    filesystem: Any = None,
    batches_per_task: int | None = None,
) -> ray.data.Dataset:
    """
    Return a dataset of Ray over recordings.

    A read task reads a range of batches. Its blocks are Arrow tables, whose memory is the
    mapped file until Ray stores the block. ``select_columns`` and ``filter(expr=...)`` of
    the dataset are pushed down, as the arguments here are.

    Parameters
    ----------
    paths : str, bytes, os.PathLike or list
        Recordings, or Arrow IPC streams or files of any library. A directory means its
        files with the name ``*.arrows``, in the order of their names. A pattern of local
        files is expanded. A file may be on some nodes of the cluster only. A URL names an
        object of a store, such as ``"s3://bucket/x.arrows"``, or a recording of a Flight
        server.
    columns : list of str, optional
        Names of the columns, in this order. None (default): all columns.
    filter : pyarrow.compute.Expression, optional
        Read only rows for which it is true. Batches whose statistics exclude it are not
        read. None (default): all rows.
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
        The store of the paths. Every node reads from it. None (default): local files, or
        the stores that URLs name.
    batches_per_task : int, optional
        Number of batches of a read task. None (default): a task has about Ray's target
        size of a block. But there are two tasks for each processor, if there are as many
        batches.

    Returns
    -------
    ray.data.Dataset
        The rows. Nothing is read yet, but the descriptions of the files.

    Raises
    ------
    FileNotFoundError
        No node has a file at a path.
    OSError
        As :func:`batchcorder.open`. ENODATA: a recording is incomplete. A task raises
        ESTALE if the file at a path has changed meanwhile.
    ValueError
        A file is no Arrow stream or file, or has other columns than the first
        file. Nodes have different files at one path. An argument is out of range.
    KeyError
        A file has no such column, or several of that name.
    TypeError
        An argument has the wrong type.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder, ray
    >>> from batchcorder.ray import read_recordings
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": [1, 2], "y": [3, 4]}), path): pass
    >>> read_recordings(path, columns=["y"]).take_all()
    [{'y': 3}, {'y': 4}]
    """
    _check(columns, filter, batches_per_task)
    names = None if columns is None else list(columns)
    groups: dict[tuple[str, ...], list[FileOrigin | FlightOrigin]] = {}
    for origin in _origins(*_placed(paths, filesystem)):
        groups.setdefault(origin.nodes, []).append(origin)
    datasets = []
    for nodes, origins in groups.items():
        if nodes:
            origins = served(origins, Serving.on(nodes[0]))
        source = RecordingDatasource(origins, names, filter, batches_per_task)
        datasets.append(_dataset(source, nodes))
    first, *other = datasets
    return first.union(*other) if other else first


def _check(columns: Any, filter: Any, batches_per_task: Any) -> None:
    if isinstance(columns, str | bytes) or not isinstance(columns, Sequence | None):
        raise TypeError(f"argument 'columns': expected a list of names, got {columns!r}")
    if columns is not None and len({*columns}) < len(columns):
        raise ValueError(f"argument 'columns': a name is repeated in {columns!r}")
    if not isinstance(filter, pc.Expression | None):
        raise TypeError(
            "argument 'filter': expected a pyarrow.compute.Expression, got "
            f"{type(filter).__name__!r}"
        )
    if batches_per_task is not None and not isinstance(batches_per_task, int):
        raise TypeError(
            f"argument 'batches_per_task': expected a number, got {batches_per_task!r}"
        )
    if batches_per_task is not None and batches_per_task < 1:
        raise ValueError(
            f"argument 'batches_per_task': expected at least 1, got {batches_per_task}"
        )


def _placed(paths: Any, filesystem: Any) -> tuple[list[str], Any]:
    """Return the paths, and their filesystem; None: local paths and URLs."""
    names = absolute(paths, filesystem is None)
    if filesystem is None:
        return names, None
    local = [local_path(name, filesystem) for name in names]
    own = [name for name in local if name is not None]
    return (absolute(own), None) if len(own) == len(names) else (names, filesystem)


def _found(paths: list[str]) -> list[list[File]]:
    return [found(path) for path in paths]


def _origins(paths: list[str], filesystem: Any) -> list[FileOrigin | FlightOrigin]:
    """Find the files of paths, and the nodes that have each."""
    if not ray.is_initialized():
        ray.init()
    origins: list[FileOrigin | FlightOrigin] = []
    if filesystem is not None:
        return [FileOrigin(one) for path in paths for one in objects(path, filesystem)]
    answers = _nodes.everywhere(_found, paths)
    for number, path in enumerate(paths):
        if "://" in path and not path.startswith("grpc"):
            origins += [FileOrigin(one) for one in objects(path, None)]
            continue
        if "://" in path:
            with ExitStack() as stack:
                origins.append(connected(path, stack)[0])
            continue
        owners: dict[File, list[str]] = {}
        for node, files in answers.items():
            for file in files[number]:
                owners.setdefault(file, []).append(node)
        if not owners:
            raise _missing(path)
        _check_single(list(owners))
        for file in sorted(owners):
            nodes = owners[file]
            everywhere = len(nodes) == len(answers)
            origins.append(FileOrigin(file, () if everywhere else tuple(nodes)))
    return origins


def _missing(path: str) -> OSError:
    if os.path.isdir(path):
        words = "The directory has no file with the name *.arrows"
        return FileNotFoundError(errno.ENOENT, words, path)
    try:
        os.stat(path)
    except OSError as error:
        return error
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _check_single(files: list[File]) -> None:
    """Raise ValueError if nodes have different files at one path."""
    for path, count in Counter(file.path for file in files).items():
        if count > 1:
            raise ValueError(
                f"nodes have different files at {path!r}: if these are copies, give them "
                "the same time of modification (cp -p), or else different names"
            )


def _dataset(source: RecordingDatasource, nodes: tuple[str, ...]) -> ray.data.Dataset:
    """Return the dataset of files that all nodes have, or only some."""
    target = ray.data.DataContext.get_current().target_max_block_size
    processors = int(ray.cluster_resources().get("CPU", 1))
    size = source.estimate_inmemory_data_size()
    tasks = max(2 * processors, math.ceil(size / target) if target else 0)
    options: dict[str, Any] = {}
    if nodes:
        # If no such node is left, a task runs on another one.
        options["label_selector"] = {"ray.io/node-id": f"in({','.join(nodes)})"}
        options["fallback_strategy"] = [{"label_selector": {}}]
    return ray.data.read_datasource(
        source, override_num_blocks=source.tasks(tasks), **options
    )
