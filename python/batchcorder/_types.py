"""Types that annotations of a user's program name."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Union

import pyarrow as pa

StrOrBytesPath = str | bytes | PathLike[str] | PathLike[bytes]
"""A path: text, bytes of the file system's encoding, or an object that returns one."""


if TYPE_CHECKING:
    import numpy as np

# By name, because NumPy may be missing when this module is imported.
Indices = Union[
    Sequence[int], "np.ndarray[Any, np.dtype[Any]]", pa.Array, pa.ChunkedArray
]


class ArrowStream(Protocol):
    """
    An object that exports an Arrow stream: the source of a cache.

    A protocol of the PyCapsule interface. A pyarrow.RecordBatchReader, a DuckDB relation
    and a Polars DataFrame implement it, as do caches and their readers.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import ArrowStream, StreamCache
    >>> def count_rows(source: ArrowStream) -> int:
    ...     return StreamCache(source).to_table().num_rows
    >>> count_rows(pa.table({"x": [1, 2, 3]}))
    3
    """

    def __arrow_c_stream__(self) -> object:
        """Return a PyCapsule of an ArrowArrayStream."""


class Stats(TypedDict):
    """
    The result of :meth:`StreamCache.stats`, which documents the keys.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import Stats, StreamCache
    >>> stats: Stats = StreamCache(pa.table({"x": [1, 2, 3]})).stats()
    >>> stats["batches"]
    0
    """

    state: Literal["open", "exhausted", "failed", "closed"]
    batches: int
    rows: int
    bytes: int
    evicted: int
    memory_bytes: int
    disk_bytes: int
    memory_hits: int
    disk_hits: int
    source_calls: int
    source_seconds: float
    readers: int
    waiting: int
    resumed: int


class ColumnInfo(TypedDict):
    """
    One entry of ``info()["columns"]``: a column of a cache's file.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import ColumnInfo, StreamCache
    >>> columns: list[ColumnInfo] = StreamCache(pa.table({"x": [1]})).info()["columns"]
    >>> columns
    [{'name': 'x', 'type': 'int64', 'bytes': 0}]
    """

    name: str
    type: str
    bytes: int


class Info(TypedDict):
    """
    The result of :meth:`StreamCache.info`, which documents the keys.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import Info, StreamCache
    >>> info: Info = StreamCache(pa.table({"x": [1, 2, 3]})).info()
    >>> info["kind"], info["path"]
    ('memory', None)
    """

    kind: Literal["memory", "cache", "recording", "stream", "file"]
    path: str | None
    bytes: int
    complete: bool
    checksums: bool
    compression: Literal["lz4", "zstd"] | None
    schema: pa.Schema
    batches: int
    rows: int
    columns: list[ColumnInfo]
    dictionary_batches: int
    dictionary_bytes: int
