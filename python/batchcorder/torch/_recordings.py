"""
The recordings of a dataset: which files, their batches, and their handles.

Batches of all recordings are numbered as one sequence. Each process opens the files for
itself, when it first reads them: a forked worker must not use its parent's handles.

A file has two handles. A batch of `own` has memory of its own, which may be written: its
columns become tensors without a copy. Batches of `shared` are pages that all reads share,
and rows are copied from these.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from .. import _core, _rows
from .._arguments import UNLIMITED, absolute
from .._origin import Origin
from .._stream_cache import StreamCache, open_cache

# An identity is taken from so many blocks of the file, of so many bytes.
_BLOCKS, _BLOCK = 64, 4096


def _identity(path: bytes) -> str:
    """Return a digest of the file's size, and of blocks all over it."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "little"))
        last = max(size - _BLOCK, 0)
        for offset in sorted({last * i // (_BLOCKS - 1) for i in range(_BLOCKS)}):
            digest.update(os.pread(file.fileno(), _BLOCK, offset))
    return digest.hexdigest()[:32]


def _file_of(recording: Any) -> tuple[Origin, int]:
    """Return a file, and how many of its batches belong to the recording."""
    if not isinstance(recording, StreamCache):
        return Origin(absolute(recording)), UNLIMITED
    recording.ingest_all()
    try:
        _, (_, origin, wanted, _) = recording.__reduce__()
    except TypeError as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise TypeError(
            "argument 'recording': worker processes need a file, and this cache has none "
            f"({reason}): save it with cache.save(path), and give the path"
        ) from None
    return origin._replace(follow=False), wanted["batches"]


def _list(recording: Any) -> list[Any]:
    is_one = isinstance(recording, str | bytes | os.PathLike | StreamCache)
    if not is_one and not isinstance(recording, Iterable):
        raise TypeError(
            "argument 'recording': expected a path, a cache with a file, or a list of "
            f"these, got {type(recording).__name__!r}"
        )
    recordings = [recording] if is_one else list(recording)
    if not recordings:
        raise ValueError("argument 'recording': the list is empty")
    return recordings


class Recordings:
    """Files with the same columns, as one sequence of batches."""

    def __init__(self, recording: Any, columns: Iterable[str | int] | None) -> None:
        recordings = _list(recording)
        self._files = [_file_of(one) for one in recordings]
        # The file of a cache may end with the cache.
        self._caches = [one for one in recordings if isinstance(one, StreamCache)]
        self._columns = None if columns is None else list(columns)
        self.identities = [_identity(origin.path) for origin, _ in self._files]
        self._process = 0
        self._compressed: bool | None = None
        self._open()

    # ---- handles ----

    def _open(self) -> None:
        """Open the files, unless this process has."""
        if self._process == os.getpid():
            return
        self.shared = [self._handle(*file, False) for file in self._files]
        self._own: list[StreamCache] = []
        self.schema = self.shared[0].schema
        for (origin, _), cache in zip(self._files, self.shared, strict=True):
            if not cache.schema.equals(self.schema):
                raise ValueError(
                    f"{os.fsdecode(origin.path)!r} has other columns than "
                    f"{os.fsdecode(self._files[0][0].path)!r}:\n{cache.schema}\n"
                    f"instead of:\n{self.schema}"
                )
        starts = [np.frombuffer(_core.row_starts(c, 0), np.int64) for c in self.shared]
        # Rows of each batch, and the first batch and row of each recording.
        self.lengths = np.concatenate([np.diff(some) for some in starts])
        self.filled = int(np.count_nonzero(self.lengths))  # batches with rows
        self.first_batches = np.cumsum([0] + [len(some) - 1 for some in starts])
        self.first_rows = np.cumsum([0] + [int(some[-1]) for some in starts])
        self._process = os.getpid()

    def _handle(self, origin: Origin, batches: int, writable: bool) -> StreamCache:
        origin = origin._replace(writable=writable)
        columns = origin.columns if self._columns is None else self._columns
        if self._columns is None or origin.columns is None:
            return open_cache(StreamCache, origin, columns, batches=batches)
        # Columns of a cache that has a selection of columns itself.
        cache = open_cache(StreamCache, origin, origin.columns, batches=batches)
        names = cache._column_indices(self._columns)  # noqa: SLF001 - our own class
        chosen = [origin.columns[number] for number in names or ()]
        return open_cache(StreamCache, origin, chosen, batches=batches)

    def own(self, number: int) -> StreamCache:
        """Return the handle of a recording whose batches may be written."""
        if not self._own:
            self._own = [self._handle(*file, True) for file in self._files]
        return self._own[number]

    def check(self) -> None:
        """Open the files in this process, and check that they are the same."""
        if self._process == os.getpid():
            return
        for (origin, _), identity in zip(self._files, self.identities, strict=True):
            if _identity(origin.path) != identity:
                raise OSError(
                    f"the recording has changed: {os.fsdecode(origin.path)!r}; make the "
                    "dataset again"
                )
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        names = ("_files", "_columns", "_compressed", "identities")
        return {name: getattr(self, name) for name in names} | {"_process": 0}

    # ---- rows ----

    @property
    def rows(self) -> int:
        """The number of rows of all recordings."""
        return int(self.first_rows[-1])

    @property
    def is_compressed(self) -> bool:
        """Whether each read of a batch decompresses it; the first batches tell."""
        if self._compressed is None:
            firsts = [
                open_cache(StreamCache, origin, batches=min(batches, 1))
                for origin, batches in self._files
            ]
            infos = [_core.file_info(cache, True) for cache in firsts]
            self._compressed = any(info["compression"] for info in infos)
        return self._compressed

    def take_values(
        self, rows: np.ndarray, columns: tuple[int, ...], bits: tuple[int, ...]
    ) -> bytearray | None:
        """Return the bytes of rows of plain columns; None: take() has to return them."""
        if len(self.shared) > 1 or not columns:
            return None
        numbers = memoryview(np.ascontiguousarray(rows, np.int64))
        return _core.take_values(self.shared[0], numbers, columns, bits)

    def take(self, rows: np.ndarray, columns: list[int] | None = None) -> pa.RecordBatch:
        """Return a copy of rows. Their numbers count through all recordings."""
        of = np.searchsorted(self.first_rows, rows, "right") - 1
        tables, places = [], []
        for number in sorted(set(of.tolist())):
            found = np.flatnonzero(of == number)
            within = rows[found] - self.first_rows[number]
            tables.append(self.shared[number].take(within, columns))
            places.append(found)
        if not tables:
            tables = [self.shared[0].take([], columns)]
        if len(tables) == 1:
            return _batch(tables[0])
        order = np.empty(len(rows), np.int64)
        order[np.concatenate(places)] = np.arange(len(rows))
        return _batch(_rows.of(pa.concat_tables(tables), pa.array(order)))


def _batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch."""
    batches = table.to_batches()
    if not batches:
        columns = [pa.array([], field.type) for field in table.schema]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)
    return batches[0] if len(batches) == 1 else joined(batches)


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of several batches as one."""
    table = pa.Table.from_batches(batches)
    try:
        return table.unify_dictionaries().combine_chunks().to_batches()[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        numbers = pa.array(np.arange(table.num_rows))
        return _rows.of(table, numbers).combine_chunks().to_batches()[0]
