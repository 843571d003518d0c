"""StreamCache: the recording in C, and what is convenient on top of it."""

from __future__ import annotations

import errno
import operator
import os
import tempfile
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import pyarrow as pa

from . import _core, _display
from ._arguments import renamed
from ._types import ArrowStream, Info, Stats, StrOrBytesPath

if TYPE_CHECKING:
    from ._dataset import CacheDataset

UNLIMITED = (1 << 64) - 1


def absolute(path: StrOrBytesPath) -> bytes:
    """Return the name of a file, as of now: the working directory may change."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("path: embedded null byte")
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "")
    # What ends with a slash is a directory, and stays one.
    slash = b"/" if name.endswith(b"/") else b""
    return os.path.abspath(name).rstrip(b"/") + slash or b"/"


def _rows_of(source: Any) -> int | None:
    """Return how many rows a source has, where it knows without being asked for them."""
    for name in ("num_rows", "height"):
        try:
            rows = getattr(source, name, None)
        except Exception:  # nobody asked for it yet
            continue
        if isinstance(rows, int):
            return rows
    return None


def column_numbers(names: list[str], columns: Any) -> tuple[int, ...]:
    """Return the numbers of columns that are given by name or by number."""
    if isinstance(columns, (str, bytes)):
        raise TypeError(
            f"argument 'columns': expected a list of names or numbers, got {columns!r}"
        )
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        places.setdefault(name, []).append(number)
    numbers = []
    for column in columns:
        if isinstance(column, str):
            found = places.get(column, [])
            if len(found) != 1:
                times = "does not exist" if not found else f"stands {len(found)} times"
                raise KeyError(f'Field "{column}" {times} in schema')
            numbers += found
            continue
        try:
            number = operator.index(column)
        except TypeError:
            raise TypeError(
                "argument 'columns': expected names or numbers, got "
                f"'{type(column).__name__}'"
            ) from None
        if not -len(names) <= number < len(names):
            raise IndexError(f"column {number} of {len(names)} columns")
        numbers.append(number % len(names))
    return tuple(numbers)


def check_progress(progress: object) -> None:
    if not isinstance(progress, bool):
        raise TypeError(
            f"argument 'progress': '{type(progress).__name__}' object is not an "
            "instance of 'bool'"
        )


class StreamCache(_core.StreamCache):
    """
    Record a single-use Arrow stream once and replay it to any number of readers.

    The source is read lazily, once, by whichever reader needs its next batch first.
    Batches stay in memory as the source's own buffers, on disk as an Arrow IPC stream
    that is mapped back; neither is copied for a reader.

    A cache is an Arrow stream itself, as often as it is asked for one, and can be
    indexed: ``cache[i]`` is one batch, ``cache[i:j]`` a list of them.

    Parameters
    ----------
    reader : object with ``__arrow_c_stream__``
        Such as a pyarrow.RecordBatchReader, a DuckDB relation, a Polars DataFrame.
    memory_capacity : int or str, optional
        Budget of the memory tier in bytes, or as ``"512MB"``, ``"2GiB"``. Counted are
        the bytes that batches reference, each once. Default: what the machine, or the
        process's control group, has, less a reserve of an eighth.
    disk_path : str, bytes or os.PathLike, optional
        Directory in which a private directory with the file ``cache.arrow`` is made.
    disk_capacity : int or str, optional
        Budget of that file in bytes; given together with `disk_path`.
    write_policy : {'on_insertion', 'on_eviction'}
        Write every batch to disk, or only those for which memory has no room.
    max_readers : int, optional
        Number of readers that may ever be made. A batch is freed once all of them exist
        and have passed it; its memory, and its part of the file, are room again. Every
        iteration, exported stream, `to_table` and scan of an engine is a reader;
        ``stats()["readers"]`` counts them, and :func:`tee` makes them all at once.
    checksum : bool, optional
        Keep XXH3 checksums in the cache file, and verify a batch when it is first read
        back from there.
    compression : {None, 'lz4', 'zstd'}, optional
        Compress the buffers in the cache file, as the Arrow IPC format defines it. A
        batch is then decompressed into memory when it is read, instead of read where it
        stands. Of no effect without a disk tier.
    prefetch : int, optional
        Batches that a background thread keeps ahead of the fastest reader. The source is
        then asked from that thread alone. Default: readers ask when they need a batch.

    Raises
    ------
    TypeError
        `reader` is no Arrow stream, or an argument is of the wrong type.
    ValueError
        Arguments that make no sense.
    OverflowError
        A number that is negative or does not fit into 64 bits.
    OSError
        The directory or the file cannot be made.
    NotImplementedError
        A disk tier, and a type that the Arrow IPC format cannot hold.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import StreamCache
    >>> source = pa.table({"x": [1, 2, 3]}).to_reader(max_chunksize=1)
    >>> cache = StreamCache(source, memory_capacity="64MB")
    >>> pa.table(cache).equals(pa.table(cache))
    True
    >>> cache[1].to_pydict()
    {'x': [2]}

    """

    __module__ = "batchcorder"

    def __init__(
        self,
        reader: ArrowStream,
        memory_capacity: int | str | None = None,
        disk_path: StrOrBytesPath | None = None,
        disk_capacity: int | str | None = None,
        write_policy: Literal["on_insertion", "on_eviction"] = "on_insertion",
        max_readers: int | None = None,
        *,
        checksum: bool = True,
        compression: Literal["lz4", "zstd"] | None = None,
        prefetch: int | None = None,
    ) -> None:
        super().__init__(
            reader,
            memory_capacity,
            disk_path,
            disk_capacity,
            write_policy,
            max_readers,
            checksum=checksum,
            compression=compression,
            prefetch=prefetch,
        )
        self._source_rows = _rows_of(reader)
        if disk_path is not None and self._is_unlocked():
            warnings.warn(
                "the file system refuses locks: the cache works, but its file stays in "
                f"{os.fsdecode(disk_path)!r} if this process is killed; disk_path= of "
                "another file system avoids that",
                RuntimeWarning,
                stacklevel=2,
            )

    # How `open` opened it; None: it records.
    _opened: dict[str, bool] | None = None
    # Opened from an open file, which has no name to open it by again.
    _is_nameless = False
    _columns: tuple[int, ...] | None = None
    _source_rows: int | None = None
    # What `take` has read of the index: see `_random`.
    _known_starts = b""

    def _record(
        self,
        source: ArrowStream,
        path: bytes,
        *,
        compression: Literal["lz4", "zstd"] | None,
        durable: bool,
        prefetch: int | None,
        resume: bool,
    ) -> None:
        """Make a fresh object one whose file is the recording `path`."""
        super().__init__(
            source,
            memory_capacity=0,
            compression=compression,
            prefetch=prefetch,
            record_path=path,
            durable=durable,
            resume=resume,
        )
        self._source_rows = _rows_of(source)

    def _narrow(self, columns: tuple[int, ...]) -> None:
        """Have these columns only."""
        self._select(columns)
        self._columns = columns

    @classmethod
    def in_memory(
        cls,
        reader: ArrowStream,
        *,
        capacity: int | str | None = None,
        max_readers: int | None = None,
        prefetch: int | None = None,
    ) -> Self:
        """
        Make a cache without a disk tier.

        Parameters
        ----------
        reader : object with ``__arrow_c_stream__``
        capacity : int or str, optional
            Budget of the memory tier, in bytes or as ``"1GB"``.
        max_readers, prefetch : optional
            As :class:`StreamCache` has them.

        Returns
        -------
        StreamCache

        Raises
        ------
        TypeError, ValueError, OverflowError
            As the class does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache.in_memory(pa.table({"x": [1]}), capacity="1MB").ingest_all()
        1

        """
        return cls(reader, capacity, max_readers=max_readers, prefetch=prefetch)

    @classmethod
    def on_disk(
        cls,
        reader: ArrowStream,
        *,
        path: StrOrBytesPath | None = None,
        disk_capacity: int | str | None = None,
        memory_capacity: int | str | None = None,
        write_policy: Literal["on_insertion", "on_eviction"] = "on_insertion",
        max_readers: int | None = None,
        checksum: bool = True,
        compression: Literal["lz4", "zstd"] | None = None,
        prefetch: int | None = None,
    ) -> Self:
        """
        Make a cache with a disk tier.

        Parameters
        ----------
        reader : object with ``__arrow_c_stream__``
        path : str, bytes or os.PathLike, optional
            Default: the directory for temporary files.
        disk_capacity : int or str, optional
            Budget of the file, in bytes or as ``"1GB"``. Default: no limit.
        memory_capacity, write_policy, max_readers : optional
            As :class:`StreamCache` has them, like those that follow.

        Returns
        -------
        StreamCache

        Raises
        ------
        TypeError, ValueError, OverflowError, OSError, NotImplementedError
            As the class does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> with StreamCache.on_disk(pa.table({"x": [1]}), memory_capacity=0) as cache:
        ...     print(pa.table(cache).num_rows)
        1

        """
        return cls(
            reader,
            memory_capacity,
            tempfile.gettempdir() if path is None else path,
            UNLIMITED if disk_capacity is None else disk_capacity,
            write_policy,
            max_readers,
            checksum=checksum,
            compression=compression,
            prefetch=prefetch,
        )

    def reader(
        self,
        from_start: bool = True,
        *,
        columns: Sequence[str | int] | None = None,
        start: int | None = None,
        stop: int | None = None,
        step: int | None = None,
    ) -> _core.StreamCacheReader:
        """
        Return a new, independent reader.

        Parameters
        ----------
        from_start : bool, optional
            True (default): from batch 0. False: from the first batch that is not
            recorded yet.
        columns : sequence of str or int, optional
            Names or numbers of the columns to give, in their order. Of the others no
            byte is read, in either tier, but that batches of up to 4 KiB are verified as
            a whole. Default: all.
        start : int, optional
            Number of the first batch to give, instead of `from_start`.
        stop : int, optional
            End before this batch. Default: with the stream.
        step : int, optional
            From one batch that is given to the next, at least 1. Default: 1.

        Returns
        -------
        StreamCacheReader

        Raises
        ------
        ValueError
            The cache is closed, has given out `max_readers` readers, or the first batch
            was evicted; both `start` and ``from_start=False`` are given; `step` is 0.
        KeyError, IndexError
            A column does not exist, or its name stands twice in the schema.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3], "y": list("abc")}))
        >>> [batch.num_rows for batch in cache.reader()]
        [3]
        >>> next(cache.reader(columns=["y"])).to_pydict()
        {'y': ['a', 'b', 'c']}

        """
        if columns is None and start is None and stop is None and step is None:
            return super().reader(from_start)
        if type(from_start).__name__ not in ("bool", "bool_"):
            raise TypeError(
                f"argument 'from_start': '{type(from_start).__name__}' object is not an "
                "instance of 'bool'"
            )
        if not from_start:
            if start is not None:
                raise ValueError(
                    "from_start=False and start both say where the reader starts: "
                    "give one of them"
                )
            start = UNLIMITED
        elif start == UNLIMITED:
            start -= 1  # the core's word for the frontier
        numbers = None if columns is None else column_numbers(self._names(), columns)
        return self._open_reader(start, stop, step, numbers)

    def ingest_all(self, *, progress: bool = False) -> int:
        """
        Read the source to its end.

        Parameters
        ----------
        progress : bool, optional
            Show a bar of the rows recorded, with batches and bytes, on standard error;
            with their total, where the source knows it.

        Returns
        -------
        int
            Number of batches recorded in all, however often called.

        Raises
        ------
        MemoryError
            A budget is used up; the batch that did not fit is kept, and the next call
            goes on with it.
        OSError
            The disk, or the source.
        ValueError
            The cache is closed, or the source's data is invalid.
        Exception
            Whatever a source written in Python raised.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2, 3]})).ingest_all()
        1

        """
        check_progress(progress)
        if not progress:
            return super().ingest_all()
        from ._progress import ingest

        return ingest(self, self._source_rows)

    def stats(self) -> Stats:
        """
        Return what the cache holds now, and what it did; never waits.

        Returns
        -------
        dict
            state : 'open', 'exhausted', 'failed' or 'closed'

            batches, rows, bytes : recorded so far; bytes that the batches reference,
            each by itself

            evicted : batches freed because all readers have passed them

            memory_bytes : charged to the memory budget, for batches and for the Python
            objects that are kept of them

            disk_bytes : of the cache file, holes not counted

            memory_hits, disk_hits : batches given to readers, by where they were

            source_calls, source_seconds : times the source was asked for a batch, and
            how long it took in all, about

            readers : ever made

            waiting : threads that wait for a batch that another one brings

            resumed : batches that the recording had before it was resumed; 0 if it was
            not

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}))
        >>> cache.stats()["state"], cache.ingest_all(), cache.stats()["rows"]
        ('open', 1, 3)

        """
        return super().stats()

    @property
    def num_rows(self) -> int | None:
        """Number of rows in all, or None before the source is exhausted; never waits."""
        return self.stats()["rows"] if self.upstream_exhausted else None

    @property
    def nbytes(self) -> int | None:
        """
        Bytes that the batches reference, or None before the source is exhausted.

        Each batch counts by itself, what it shares with others (dictionaries, say) too;
        never waits.
        """
        return self.stats()["bytes"] if self.upstream_exhausted else None

    @overload
    def __getitem__(self, key: int) -> pa.RecordBatch: ...
    @overload
    def __getitem__(self, key: slice) -> list[pa.RecordBatch]: ...
    def __getitem__(self, key: int | slice) -> pa.RecordBatch | list[pa.RecordBatch]:
        """
        Return one batch, or a list of some.

        Asks the source for what is not recorded yet. What counts from the end needs the
        number of batches, and so an exhausted source.
        """
        if isinstance(key, slice):
            return self._slice(key)
        number = min(operator.index(key), UNLIMITED - 1)
        if number < 0:
            number += len(self)
        batch = self._get(number) if number >= 0 else None
        if batch is None:
            raise IndexError(f"batch {key} of {len(self)} batches")
        return batch

    def _slice(self, key: slice) -> list[pa.RecordBatch]:
        bounds = [b for b in (key.start, key.stop, key.step) if b is not None]
        if any(operator.index(bound) < 0 for bound in bounds):
            numbers = range(*key.indices(len(self)))
        else:
            numbers = range(*key.indices(UNLIMITED >> 1))
        batches = []
        for number in numbers:
            batch = self._get(number)
            if batch is None:
                break
            batches.append(batch)
        return batches

    def to_table(self, columns: Sequence[str | int] | None = None) -> pa.Table:
        """
        Return all of the stream as a table, reading the source to its end.

        Parameters
        ----------
        columns : sequence of str or int, optional
            As :meth:`reader` takes them.

        Returns
        -------
        pyarrow.Table
            Without copying: over the cache's own buffers, which it keeps alive.

        Raises
        ------
        ValueError, KeyError, IndexError
            As :meth:`reader` does.
        Exception
            As :meth:`ingest_all` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1], "y": [2]})).to_table(["y"]).to_pydict()
        {'y': [2]}

        """
        reader = self.reader(columns=columns)
        return pa.Table.from_batches(reader, reader.schema)

    def to_pandas(
        self, columns: Sequence[str | int] | None = None, **options: Any
    ) -> Any:
        """
        Return all of the stream as a pandas.DataFrame.

        Parameters
        ----------
        columns : sequence of str or int, optional
            As :meth:`reader` takes them.
        **options
            Of :meth:`pyarrow.Table.to_pandas`.

        Raises
        ------
        Exception
            As :meth:`to_table` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).to_pandas()["x"].sum().item()
        3

        """
        return self.to_table(columns).to_pandas(**options)

    def to_polars(self, columns: Sequence[str | int] | None = None) -> Any:
        """
        Return all of the stream as a polars.DataFrame.

        Parameters
        ----------
        columns : sequence of str or int, optional
            As :meth:`reader` takes them.

        Raises
        ------
        ImportError
            Polars is not installed.
        NotImplementedError
            Polars has no such type.
        polars.exceptions.DuplicateError
            Several of the columns have one name.
        Exception
            As :meth:`to_table` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2]})).to_polars()["x"].sum()
        3

        """
        from ._polars import check_height, frame

        table = self.to_table(columns)
        made = frame(table.to_reader(), table.schema).rechunk()
        check_height(made, table.num_rows if made.width == 0 else made.height)
        return made

    def dataset(self) -> CacheDataset:
        """
        Return the recording as a dataset, for engines that push work down.

        Projections read only their columns. Filters are exact, and whole batches that a
        filter excludes, by the minimum and maximum of their columns, are not read.
        DuckDB, Polars (``polars.scan_pyarrow_dataset``), DataFusion and pyarrow know
        what to do with it.

        Returns
        -------
        CacheDataset
            A pyarrow.dataset.Dataset, which keeps the cache.

        Examples
        --------
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2], "y": [3, 4]})).dataset()
        >>> dataset.to_table(columns=["y"], filter=pc.field("x") > 1).to_pydict()
        {'y': [4]}

        """
        from ._dataset import CacheDataset

        return CacheDataset(self)

    def save(
        self, path: StrOrBytesPath, *, overwrite: bool = False, durable: bool = False
    ) -> None:
        """
        Read the source to its end, and leave all of it as a recording with a name.

        The file appears at once and complete. Where it can be, it is a link to the
        cache's own file, which takes no time and no room; else it is written anew.

        Parameters
        ----------
        path : str, bytes or os.PathLike
        overwrite : bool, optional
            Replace a file of that name, in one step. Whoever has it open keeps it.
        durable : bool, optional
            See to it that the recording is on the disk when this returns.

        Raises
        ------
        FileExistsError
            There is a file of that name, which stays as it is.
        ValueError
            The cache is closed, or has evicted batches.
        OSError, NotImplementedError
            The file cannot be written.
        Exception
            As :meth:`ingest_all` does.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> batchcorder.StreamCache(pa.table({"x": [1, 2, 3]})).save(path)
        >>> batchcorder.open(path).num_rows
        3

        """
        super()._save(absolute(path), overwrite, durable)

    def info(self) -> Info:
        """
        Return what the cache's file is, and what is in it; never asks the source.

        Returns
        -------
        dict
            kind : 'memory' (no file), 'cache' (goes with the cache), 'recording',
            'stream' or 'file' (Arrow IPC, by another library)

            path, bytes : of the file

            complete : nothing is missing at its end

            checksums, compression : of its messages (compression of the first batch)

            schema, batches, rows : recorded so far

            columns : for each, its name, type, and bytes in the file, dictionaries
            included

            dictionary_batches, dictionary_bytes : messages of dictionaries

        Raises
        ------
        ValueError
            The cache is closed.
        OSError
            The file cannot be read, or is damaged.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2, 3]})).info()["kind"]
        'memory'

        """
        file = super()._describe()
        stats = self.stats()
        schema = self.schema
        return {
            "kind": file["kind"],
            "path": self.path,
            "bytes": file["bytes"],
            "complete": file["complete"],
            "checksums": file["checksums"],
            "compression": file["compression"],
            "schema": schema,
            "batches": stats["batches"],
            "rows": stats["rows"],
            "columns": [
                {"name": field.name, "type": str(field.type), "bytes": size}
                for field, size in zip(schema, file["column_bytes"], strict=True)
            ],
            "dictionary_batches": file["dictionary_batches"],
            "dictionary_bytes": file["dictionary_bytes"],
        }

    @renamed("rows", "indices")
    def take(self, indices: Any) -> pa.Table:
        """
        Return the rows with the given indices, in the given order.

        Parameters
        ----------
        indices : sequence of int, numpy.ndarray or pyarrow.Array
            Row indices in the whole stream, from 0. Negative indices count from its end.
            An index may be repeated. Batches that are not recorded yet are read from
            the source. Former name: `rows`, deprecated.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        IndexError
            The stream has no such row.
        TypeError
            Not integers.
        Exception
            As :meth:`ingest_all` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [10, 20, 30]})).take([2, 0, -1])["x"].to_pylist()
        [30, 10, 30]

        """
        from ._random import take

        return take(self, indices)

    @renamed("window", "buffer_size")
    def shuffle(
        self, seed: int, epoch: int = 0, *, buffer_size: int | None = None
    ) -> pa.RecordBatchReader:
        """
        Return the recording in another order, as a stream, for an epoch of training.

        The order is a pure function of `seed`, `epoch`, `buffer_size` and the recording:
        the same on every machine and in every version. Batches come in a random order.
        With `buffer_size`, rows of batches that are neighbours in this order are mixed.

        Parameters
        ----------
        seed, epoch : int
            From 0 to 2**64 - 1. What differs in either is an order of its own.
        buffer_size : int, optional
            Number of rows that are mixed with each other. Consecutive batches of the
            new order are collected until they have this many rows. Their rows are
            shuffled and copied into batches of the same lengths. None (default) or 0:
            rows stay in their batches, and nothing is copied. Former name: `window`,
            deprecated.

        Returns
        -------
        pyarrow.RecordBatchReader
            Every row of the stream once.

        Raises
        ------
        OverflowError, TypeError
            Not such numbers.
        Exception
            As :meth:`ingest_all` does: the source is read to its end first.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
        >>> [b["x"][0].as_py() for b in cache.shuffle(seed=7)]
        [3, 1, 0, 2, 5, 4]

        """
        from ._random import shuffle

        return shuffle(self, seed, epoch, buffer_size)

    def __repr__(self) -> str:
        return _display.cache_text(self)

    def _repr_html_(self) -> str:
        return _display.cache_html(self)

    def _is_written(self) -> bool | None:
        """Return whether a recording that is followed has a writer; None: unknown."""
        return not self.upstream_exhausted and super()._has_writer()

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Pickle by path: the other process maps the same pages.

        What is in memory only cannot be pickled. Of a recording whose source may have
        more, the batches recorded so far are handed over, and a warning says so. Where
        the file of that name is another one by then, with other batches, rows or
        columns, unpickling raises OSError (ESTALE).
        """
        from ._recordings import reopen

        if self._is_nameless:
            raise TypeError(
                "a cache over an open file cannot be pickled: open it by its path"
            )
        how = self._opened or {"verify": False, "partial": True, "mmap": True}
        how = {"follow": False, **how}
        try:
            batches = super()._share()
        except ValueError as error:
            raise TypeError(f"cannot pickle this StreamCache: {error}") from None
        if how["follow"]:
            batches = UNLIMITED
        elif not self.upstream_exhausted:
            state, advice = "is still open", "; ingest_all() first hands over all"
            if self.stats()["state"] == "failed":
                state, advice = "failed", ""
            warnings.warn(
                f"the source of this StreamCache {state}: the {batches} batches recorded "
                f"so far are handed over{advice}",
                stacklevel=2,
            )
        path = os.fsencode(self.path or "")
        hidden = ("_opened", "_columns", "_statistics")
        attributes = {k: v for k, v in vars(self).items() if k not in hidden}
        wanted = {"batches": batches, "rows": self.num_rows, "schema": self.schema}
        return reopen, (type(self), path, self._columns, how, wanted, attributes)

    def scan_polars(self) -> Any:
        """
        Return a polars.LazyFrame over the recording, to be collected as often as wanted.

        Polars asks it for the columns, the rows and the number of rows that a query
        needs.

        Returns
        -------
        polars.LazyFrame

        Raises
        ------
        ImportError
            Polars is not installed, or does not have such scans: Polars 1.24 or later
            is needed. Some older versions scan, with errors of their own.
        NotImplementedError
            Polars has no such type.
        polars.exceptions.DuplicateError
            Several columns have one name.

        Examples
        --------
        >>> import polars as pl, pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> frame = StreamCache(pa.table({"x": [1, 2, 3]})).scan_polars()
        >>> frame.filter(pl.col("x") > 1).collect()["x"].to_list()
        [2, 3]

        """
        from ._polars import scan

        return scan(self)


def tee(
    stream: ArrowStream,
    n: int = 2,
    *,
    memory_capacity: int | str | None = "256MB",
    disk_path: StrOrBytesPath | None = None,
    disk_capacity: int | str | None = None,
    prefetch: int | None = None,
) -> tuple[_core.StreamCacheReader, ...]:
    """
    Return `n` independent readers of one stream, which hold only what is between them.

    A batch is freed once all of them have passed it, or are gone. What the slower ones
    still need, and memory has no room for, goes to a file.

    Parameters
    ----------
    stream : object with ``__arrow_c_stream__``
    n : int
        Number of readers, at least 1.
    memory_capacity : int or str, optional
        Bytes that may wait in memory; None: as :class:`StreamCache` has it.
    disk_path, disk_capacity : optional
        Where the file is, and how large it may be. Default: in the directory for
        temporary files, without a limit.
    prefetch : int, optional
        As :class:`StreamCache` has it.

    Returns
    -------
    tuple of StreamCacheReader

    Raises
    ------
    ValueError
        `n` is less than 1.
    TypeError, OverflowError, OSError, NotImplementedError
        As :class:`StreamCache` does.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import tee
    >>> first, second = tee(pa.table({"x": [1, 2, 3]}), 2)
    >>> sum(b.num_rows for b in first), sum(b.num_rows for b in second)
    (3, 3)

    """
    if operator.index(n) < 1:
        raise ValueError("n must be at least 1")
    cache = StreamCache.on_disk(
        stream,
        path=disk_path,
        disk_capacity=disk_capacity,
        memory_capacity=memory_capacity,
        write_policy="on_eviction",
        max_readers=n,
        prefetch=prefetch,
    )
    return tuple(cache.reader() for _ in range(n))
