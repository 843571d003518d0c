"""StreamCache: the recording in C, and its Python methods."""

from __future__ import annotations

import errno
import operator
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import pyarrow as pa

from . import _arguments, _core, _display, _remote
from ._arguments import UNLIMITED, renamed
from ._cast import CastingStreamCache
from ._origin import Origin
from ._types import ArrowStream, Indices, Info, Stats, StrOrBytesPath

if TYPE_CHECKING:
    import duckdb
    import numpy
    import pandas as pd
    import polars as pl

    from ._dataset import CacheDataset
    from ._random_access import RowIndex
    from ._shuffle import Shuffled
    from ._statistics import Statistics

_C = TypeVar("_C", bound="StreamCache")


def _rows_of(source: object) -> int | None:
    """Return the number of rows of a source that has it as an attribute."""
    for name in ("num_rows", "height"):
        try:
            rows = getattr(source, name, None)
        except Exception:  # a property of the source, which is not needed yet
            continue
        if isinstance(rows, int):
            return rows
    return None


def _check_connection(con: Any) -> None:
    if not hasattr(con, "register") or not hasattr(con, "from_arrow"):
        raise TypeError(
            "argument 'con': expected a connection of DuckDB, such as backend.con of "
            f"Ibis, got '{type(con).__name__}'"
        )


class StreamCache(_core.StreamCache):
    """
    Record a single-use Arrow stream once and replay it to any number of readers.

    The source is read lazily and once: the reader that first needs a batch asks for it.
    The memory tier keeps the source's own buffers. The disk tier is an Arrow IPC stream
    that is mapped. Neither is copied for a reader.

    A cache exports any number of Arrow streams. It can also be indexed: ``cache[i]`` is
    a batch, ``cache[i:j]`` a list of batches.

    Parameters
    ----------
    reader : ArrowStream
        The source: any object with ``__arrow_c_stream__``, such as a
        pyarrow.RecordBatchReader, a DuckDB relation or a Polars DataFrame.
    memory_capacity : int or str, optional
        Budget of the memory tier in bytes, or as ``"512MB"`` or ``"2GiB"``. Buffers that
        batches share are counted once. Default: 7/8 of the machine's memory, or of its
        control group's limit if that is lower.
    disk_path : str, bytes or os.PathLike, optional
        Directory of the disk tier. The file is ``cache.arrow`` in a private directory
        below it. None (default): no disk tier.
    disk_capacity : int or str, optional
        Budget of the file in bytes, or as ``"1GB"``. Required with `disk_path`.
    write_policy : {'on_insertion', 'on_eviction'}, default 'on_insertion'
        Write every batch to disk, or only batches that do not fit into memory.
    max_readers : int, optional
        Number of readers that may ever be made. Once all exist, a batch that every
        reader has passed is freed, in memory and in the file. Each iteration,
        exported stream, `to_table` and scan of an engine is a reader, and
        ``stats()["readers"]`` counts them. None (default): no limit, and no batch is
        freed. :func:`tee` makes all readers at once.
    checksum : bool, default True
        Write XXH3 checksums to the file, and verify a batch when it is first read back.
    compression : {None, 'lz4', 'zstd'}, default None
        Compress the buffers in the file, as the Arrow IPC format defines it. Reading a
        compressed batch decompresses it into memory. Without a disk tier, no effect.
    prefetch : int, optional
        Number of batches that a background thread reads ahead of the fastest reader.
        Then only this thread calls the source. None (default): no thread.
    statistics : bool, optional
        Gather :meth:`statistics`, by which filters skip batches. None (default): when a
        column's are first needed. True: as each batch is recorded. False: never.

    Raises
    ------
    TypeError
        `reader` is no Arrow stream, or an argument has the wrong type.
    ValueError
        An argument has an invalid value, or only one of `disk_path` and `disk_capacity`
        is given.
    OverflowError
        A number is negative, or does not fit into 64 bits.
    OSError
        The directory or the file cannot be made.
    NotImplementedError
        With a disk tier: the Arrow IPC format cannot hold a type of the stream.

    Warns
    -----
    RuntimeWarning
        The file system of `disk_path` refuses locks, so a killed process leaves its file.

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

    # How the file was opened; None: this cache records a source.
    _origin: Origin | None = None
    # Number of rows of the source, for progress bars; None: unknown.
    _source_rows: int | None = None
    # Made on first use, by `take` and by `dataset`.
    _index: RowIndex | None = None
    _statistics: Statistics | None = None
    # Whether statistics may be gathered.
    _has_statistics: bool = True

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
        statistics: bool | None = None,
    ) -> None:
        policy = _arguments.statistics_policy(statistics)
        method = _arguments.stream_method(reader)
        options = _arguments.cache_options(
            memory_capacity,
            disk_path,
            disk_capacity,
            write_policy,
            max_readers,
            checksum,
            compression,
            prefetch,
        )
        super().__init__(method, *options, None, False, False, policy)
        self._has_statistics = statistics is not False
        self._source_rows = _rows_of(reader)
        if disk_path is not None and _core.is_unlocked(self):
            warnings.warn(
                "the file system refuses locks: if this process is killed, the cache's "
                f"file stays in {os.fsdecode(disk_path)!r}; use a disk_path= on another "
                "file system",
                RuntimeWarning,
                stacklevel=2,
            )

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
        reader : ArrowStream
            The source.
        capacity : int or str, optional
            Budget of the memory tier, in bytes or as ``"1GB"``. Default: as for
            `memory_capacity` of :class:`StreamCache`.
        max_readers : int, optional
            Number of readers that may ever be made. None (default): no limit.
        prefetch : int, optional
            Number of batches that a background thread reads ahead. None (default): no
            thread.

        Returns
        -------
        StreamCache
            The cache. No batch is read yet.

        Raises
        ------
        TypeError, ValueError, OverflowError
            As :class:`StreamCache` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache.in_memory(pa.table({"x": [1]}), capacity="1MB").ingest_all()
        1
        """
        if capacity is not None:
            _arguments.size(capacity, "capacity")
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
        reader : ArrowStream
            The source.
        path : str, bytes or os.PathLike, optional
            Directory of the disk tier. None (default): the directory for temporary files.
        disk_capacity : int or str, optional
            Budget of the file, in bytes or as ``"1GB"``. None (default): no limit.
        memory_capacity : int or str, optional
            Budget of the memory tier, as for :class:`StreamCache`.
        write_policy : {'on_insertion', 'on_eviction'}, default 'on_insertion'
            Write every batch to disk, or only batches that do not fit into memory.
        max_readers : int, optional
            Number of readers that may ever be made. None (default): no limit.
        checksum : bool, default True
            Write checksums to the file, and verify a batch when it is first read back.
        compression : {None, 'lz4', 'zstd'}, default None
            Compress the buffers in the file.
        prefetch : int, optional
            Number of batches that a background thread reads ahead. None (default): no
            thread.

        Returns
        -------
        StreamCache
            The cache. No batch is read yet.

        Raises
        ------
        TypeError, ValueError, OverflowError, OSError, NotImplementedError
            As :class:`StreamCache` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> with StreamCache.on_disk(pa.table({"x": [1]}), memory_capacity=0) as cache:
        ...     print(pa.table(cache).num_rows)
        1
        """
        if path is not None:
            _arguments.directory(path, "path")
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

    # ---- limits ----

    @property
    def memory_capacity(self) -> int:
        """
        Budget of the memory tier in bytes.

        It may be set while the cache is in use, to every value that the constructor
        takes. A lower budget frees no batch. If an ingest stopped for lack of room, the
        next call that needs a batch continues it.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2]}), memory_capacity="64MB")
        >>> cache.memory_capacity = "1GB"
        >>> cache.memory_capacity
        1000000000
        """
        return super().memory_capacity

    @memory_capacity.setter
    def memory_capacity(self, bytes: int | str | None) -> None:
        limit = UNLIMITED if bytes is None else _arguments.size(bytes, "memory_capacity")
        _core.set_memory_limit(self, limit)

    @property
    def disk_capacity(self) -> int | None:
        """
        Budget of the cache file in bytes; None without a limit or a disk tier.

        It may be set while the cache is in use, as `memory_capacity` may.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> with StreamCache.on_disk(pa.table({"x": [1]}), disk_capacity="1MB") as cache:
        ...     cache.disk_capacity
        1000000
        """
        return super().disk_capacity

    @disk_capacity.setter
    def disk_capacity(self, bytes: int | str | None) -> None:
        limit = UNLIMITED if bytes is None else _arguments.size(bytes, "disk_capacity")
        _core.set_disk_limit(self, limit)

    # ---- reading ----

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
        from_start : bool, default True
            True: start at batch 0. False: start at the first batch that is not recorded
            yet.
        columns : sequence of str or int, optional
            Names or indices of the columns to return, in this order. Bytes of other
            columns are never read, except to verify a batch of up to 4 KiB. None
            (default): all columns.
        start : int, optional
            Index of the first batch, in place of `from_start`.
        stop : int, optional
            Index of the batch before which the reader ends. None (default): the end of
            the stream.
        step : int, optional
            Distance between two batches, at least 1. Default: 1.

        Returns
        -------
        StreamCacheReader
            An iterator of pyarrow.RecordBatch, and an Arrow stream.

        Raises
        ------
        ValueError
            The cache is closed, `max_readers` readers were made, or the first batch was
            evicted. Also if `start` and ``from_start=False`` are given, or `step` is 0.
        KeyError, IndexError
            A column does not exist, or its name is repeated in the schema.
        TypeError, OverflowError
            An argument has the wrong type, or is negative.

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
        is_plain = columns is None and start is None and stop is None and step is None
        if is_plain and from_start is True:
            return _core.open_reader(self)
        if not _arguments.flag(from_start, "from_start"):
            if start is not None:
                raise ValueError(
                    "from_start=False and start are mutually exclusive: both name the "
                    "first batch"
                )
            first = UNLIMITED  # the core's constant for the first batch not recorded yet
        else:
            first = 0 if start is None else _arguments.count(start, "start")
            # No stream has so many batches: the constant above is free.
            first = min(first, UNLIMITED - 1)
        end = UNLIMITED if stop is None else _arguments.count(stop, "stop")
        every = 1 if step is None else _arguments.count(step, "step")
        indices = self._column_indices(columns)
        return _core.open_reader(self, first, end, every, indices, None)

    def cast(self, target_schema: object) -> CastingStreamCache:
        """
        Return a replayable view whose streams are cast to another schema.

        Parameters
        ----------
        target_schema : pyarrow.Schema or object with ``__arrow_c_schema__``
            A schema with the same field names.

        Returns
        -------
        CastingStreamCache
            A view that keeps the cache.

        Raises
        ------
        TypeError
            `target_schema` is no schema.
        ValueError
            The object was made without ``__init__``.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> view = StreamCache(pa.table({"x": [1]})).cast(pa.schema({"x": pa.int8()}))
        >>> pa.table(view).schema.field("x").type
        DataType(int8)
        """
        _ = self.ingested_count  # raises if there is no cache
        return CastingStreamCache(self, target_schema)

    def ingest_all(self, *, progress: bool = False) -> int:
        """
        Read the source to its end.

        Parameters
        ----------
        progress : bool, default False
            Show a progress bar on standard error: rows, batches and bytes recorded. It
            has a total if the source has an attribute `num_rows`.

        Returns
        -------
        int
            Number of batches recorded in total. A second call returns it again.

        Raises
        ------
        MemoryError
            A budget is used up. The batch that did not fit is kept, and the next call
            continues with it.
        OSError
            The disk or the source failed.
        ValueError
            The cache is closed, or the source's data is invalid.
        Exception
            The exception of a source written in Python.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1, 2, 3]})).ingest_all()
        1
        """
        if not _arguments.flag(progress, "progress"):
            return _core.ingest_to(self, UNLIMITED)
        from ._progress import ingest

        return ingest(self, self._source_rows)

    def stats(self) -> Stats:
        """
        Return the cache's counters; never waits.

        Returns
        -------
        Stats
            A dict with these keys:

            - state: 'open', 'exhausted', 'failed' or 'closed'
            - batches, rows: numbers of recorded batches and rows
            - bytes: bytes that the recorded batches reference; shared bytes count for
              each batch
            - evicted: batches freed because all readers have passed them
            - memory_bytes: bytes charged to the memory budget, for batches and for
              their Python objects
            - disk_bytes: bytes of the cache file, without holes
            - memory_hits, disk_hits: batches returned to readers, by tier
            - source_calls: number of calls of the source for a batch
            - source_seconds: estimated duration of these calls, in seconds
            - readers: number of readers ever made
            - waiting: threads that wait for a batch of another thread
            - resumed: batches that the recording had before it was resumed, or 0

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
        """
        Number of rows; None before the source is exhausted. Never waits.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}))
        >>> cache.num_rows, cache.ingest_all(), cache.num_rows
        (None, 1, 3)
        """
        return self.stats()["rows"] if self.upstream_exhausted else None

    @property
    def nbytes(self) -> int | None:
        """
        Bytes that the batches reference; None before the source is exhausted.

        Bytes that several batches share, such as dictionaries, count for each batch.
        Never waits.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}))
        >>> cache.nbytes, cache.ingest_all(), cache.nbytes
        (None, 1, 24)
        """
        return self.stats()["bytes"] if self.upstream_exhausted else None

    def __len__(self) -> int:
        """Return the number of batches; TypeError if the source has not ended."""
        if self.upstream_exhausted:
            return self.ingested_count
        if self.stats()["state"] == "failed":
            raise TypeError(
                "the number of batches is not known, since the source failed "
                f"({self.ingested_count} recorded): ingest_all() raises its error"
            )
        raise TypeError(
            "the number of batches is not known before the source is exhausted: "
            "call ingest_all() first"
        )

    @overload
    def __getitem__(self, key: int) -> pa.RecordBatch: ...
    @overload
    def __getitem__(self, key: slice) -> list[pa.RecordBatch]: ...
    def __getitem__(self, key: int | slice) -> pa.RecordBatch | list[pa.RecordBatch]:
        """
        Return one batch, or the list of batches of a slice.

        Batches that are not recorded yet are read from the source. A negative index
        counts from the end, and needs an exhausted source.
        """
        if isinstance(key, slice):
            return self._slice(key)
        index = min(operator.index(key), UNLIMITED - 1)
        if index < 0:
            index += len(self)
        batch = _core.get_batch(self, index) if index >= 0 else None
        if batch is None:
            raise IndexError(f"batch index {key} is out of range ({len(self)} batches)")
        return batch

    def _slice(self, key: slice) -> list[pa.RecordBatch]:
        bounds = [b for b in (key.start, key.stop, key.step) if b is not None]
        if any(operator.index(bound) < 0 for bound in bounds):
            indices = range(*key.indices(len(self)))
        else:
            indices = range(*key.indices(UNLIMITED >> 1))
        batches = []
        for index in indices:
            batch = _core.get_batch(self, index)
            if batch is None:
                break
            batches.append(batch)
        return batches

    # ---- conversions ----

    def to_table(self, columns: Sequence[str | int] | None = None) -> pa.Table:
        """
        Return the whole stream as a table, reading the source to its end.

        Parameters
        ----------
        columns : sequence of str or int, optional
            Names or indices of the columns, in this order. None (default): all columns.

        Returns
        -------
        pyarrow.Table
            The cache's own buffers, not copied. The table keeps them alive.

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
    ) -> pd.DataFrame:
        """
        Return the whole stream as a pandas.DataFrame.

        Parameters
        ----------
        columns : sequence of str or int, optional
            Names or indices of the columns, in this order. None (default): all columns.
        **options : Any
            Options of :meth:`pyarrow.Table.to_pandas`.

        Returns
        -------
        pandas.DataFrame
            One row for each row of the stream.

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

    def to_polars(self, columns: Sequence[str | int] | None = None) -> pl.DataFrame:
        """
        Return the whole stream as a polars.DataFrame.

        Parameters
        ----------
        columns : sequence of str or int, optional
            Names or indices of the columns, in this order. None (default): all columns.

        Returns
        -------
        polars.DataFrame
            One row for each row of the stream.

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

    def scan_polars(self) -> pl.LazyFrame:
        """
        Return a polars.LazyFrame over the recording.

        Each collection of the frame is a reader of the cache. Polars asks it for the
        columns and the number of rows that a query needs. If the statistics of a batch
        exclude the filter of a query, the batch is not read.

        Returns
        -------
        polars.LazyFrame
            A frame that keeps the cache.

        Raises
        ------
        ImportError
            Polars is not installed, or is too old. Polars 1.24 and later work.
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

        return scan(self, self._filter_statistics())

    def dataset(self) -> CacheDataset:
        """
        Return the recording as a pyarrow dataset, for engines that push work down.

        A projection reads only its columns. Filters are exact. If a filter excludes a
        batch by the minimum and maximum of its columns, the batch is not read. DuckDB,
        Polars (``polars.scan_pyarrow_dataset``), DataFusion and pyarrow use datasets.

        Returns
        -------
        CacheDataset
            A pyarrow.dataset.Dataset that keeps the cache.

        Examples
        --------
        >>> import pyarrow as pa, pyarrow.compute as pc
        >>> from batchcorder import StreamCache
        >>> dataset = StreamCache(pa.table({"x": [1, 2], "y": [3, 4]})).dataset()
        >>> dataset.to_table(columns=["y"], filter=pc.field("x") > 1).to_pydict()
        {'y': [4]}
        """
        from ._dataset import CacheDataset

        return CacheDataset(self, None, self._filter_statistics())

    def to_duckdb(
        self, con: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """
        Return the recording as a DuckDB relation, scanned as often as it is used.

        DuckDB 2 knows the number of rows, and reads only the columns of a query. If the
        minimum and maximum of a column exclude a batch, the batch is not read. DuckDB 1
        scans a table, or the :meth:`dataset` of a cache whose table would be a copy.

        Parameters
        ----------
        con : duckdb.DuckDBPyConnection, optional
            The relation's connection. None (default): DuckDB's default connection.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A relation that keeps the cache.

        Raises
        ------
        ImportError
            DuckDB is not installed.
        TypeError
            `con` is no connection.
        ValueError
            The cache is closed.

        Examples
        --------
        >>> import duckdb, pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}).to_reader())
        >>> relation = cache.to_duckdb()
        >>> relation.filter("x > 1").fetchall()
        [(2,), (3,)]
        >>> duckdb.sql("select count(*) from relation").fetchall()
        [(3,)]
        """
        import duckdb

        connection = duckdb.default_connection() if con is None else con
        _check_connection(connection)
        return connection.from_arrow(self._scanned_by_duckdb())

    def register(
        self, con: duckdb.DuckDBPyConnection, name: str
    ) -> duckdb.DuckDBPyConnection:
        """
        Register the recording under a name in a DuckDB connection.

        Queries by that name scan the recording as a relation of :meth:`to_duckdb` does.

        Parameters
        ----------
        con : duckdb.DuckDBPyConnection
            The connection, which keeps the cache until ``con.unregister(name)``. For
            Ibis, the ``con`` of its DuckDB backend.
        name : str
            Name of the view.

        Returns
        -------
        duckdb.DuckDBPyConnection
            The connection.

        Raises
        ------
        ImportError
            DuckDB is not installed.
        TypeError
            `con` is no connection.
        ValueError
            The cache is closed.

        Examples
        --------
        >>> import duckdb, pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> con = duckdb.connect()
        >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}).to_reader())
        >>> cache.register(con, "recorded").sql("select sum(x) from recorded").fetchall()
        [(6,)]
        """
        _check_connection(con)
        return con.register(name, self._scanned_by_duckdb())

    def _scanned_by_duckdb(self) -> Any:
        from ._duckdb.source import scanned

        if self.stats()["state"] == "closed":
            raise ValueError("Dataset has been closed")
        return scanned(self, self._filter_statistics(), self._source_rows)

    def _filter_statistics(self) -> Statistics:
        """Return the statistics that the scans of all engines share."""
        if self._statistics is None:
            from ._statistics import Statistics

            self._statistics = Statistics()
        return self._statistics

    # ---- rows in any order ----

    @renamed("rows", "indices")
    def take(
        self, indices: Indices, columns: Iterable[str | int] | None = None
    ) -> pa.Table:
        """
        Return the rows with the given indices, in the given order.

        Parameters
        ----------
        indices : sequence of int, numpy.ndarray or pyarrow.Array
            Row indices in the whole stream, from 0, of shape (n,). Negative indices
            count from its end. An index may be repeated. Batches that are not recorded
            yet are read from the source. Former name: `rows`, deprecated.
        columns : sequence of str or int, optional
            The columns to return, by name or by index, in this order. None (default):
            all.

        Returns
        -------
        pyarrow.Table
            A copy of the n rows.

        Raises
        ------
        IndexError
            The stream has no such row.
        KeyError
            The stream has no such column, or several of that name.
        TypeError
            `indices` are not integers.
        Exception
            As :meth:`ingest_all` does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [10, 20, 30]})).take([2, 0, -1])["x"].to_pylist()
        [30, 10, 30]
        """
        from ._random_access import take

        selected = self._column_indices(columns)
        return take(self, self._row_index(), indices, selected)

    def _column_indices(
        self, columns: Iterable[str | int] | None
    ) -> tuple[int, ...] | None:
        if columns is None:
            return None
        return _arguments.column_indices(_core.column_names(self), columns)

    def _row_index(self) -> RowIndex:
        from ._random_access import RowIndex

        if self._index is None:
            self._index = RowIndex()
        return self._index

    @renamed("window", "buffer_size")
    def shuffle(
        self,
        seed: int,
        epoch: int = 0,
        *,
        buffer_size: int | None = None,
        columns: Iterable[str | int] | None = None,
        shard: tuple[int, int] = (0, 1),
        start: int = 0,
    ) -> Shuffled:
        """
        Return the recording in another order, as a stream, for an epoch of training.

        The order is a pure function of the arguments and the recording: the same on
        every machine and in every version. Batches come in a random order. With
        `buffer_size`, rows of batches that are neighbours in this order are mixed.

        Parameters
        ----------
        seed : int
            Seed of the order, from 0 to 2**64 - 1.
        epoch : int, default 0
            Number of the epoch, from 0 to 2**64 - 1. Each pair of seed and epoch has its
            own order.
        buffer_size : int, optional
            Number of rows that are mixed with each other. Consecutive batches of the
            shard are collected until they have this many rows. Their rows are
            shuffled and copied into batches of the same lengths. None (default) or 0:
            rows stay in their batches, and nothing is copied. Former name: `window`,
            deprecated.
        columns : sequence of str or int, optional
            The columns to return, by name or by index, in this order. None (default):
            all. Other columns are not read.
        shard : tuple of int, default (0, 1)
            Index of the shard, from 0, and number of shards. The shards of one seed and
            epoch have each row of the recording once, together. The numbers of
            batches of two shards differ by at most 1.
        start : int, default 0
            Number of the shard's batches to leave out. They are not read, but with
            `buffer_size` those that are mixed with the first one.

        Returns
        -------
        Shuffled
            The batches of the shard: an iterator, and an Arrow stream.

        Raises
        ------
        KeyError
            The stream has no such column, or several of that name.
        OverflowError, TypeError, ValueError
            An argument is out of range, or has another type.
        Exception
            As :meth:`ingest_all` does: the source is read to its end first.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
        >>> [b["x"][0].as_py() for b in cache.shuffle(seed=7)]
        [3, 1, 0, 2, 5, 4]
        >>> [b["x"][0].as_py() for b in cache.shuffle(seed=7, shard=(1, 2), start=1)]
        [2, 4]
        """
        from ._shuffle import Order

        numbers = (_arguments.count(seed, "seed"), _arguments.count(epoch, "epoch"))
        if isinstance(buffer_size, bool):
            raise TypeError(
                f"argument 'buffer_size': expected a number, got {buffer_size}"
            )
        rows = 0 if buffer_size is None else _arguments.count(buffer_size, "buffer_size")
        part, first = _arguments.shard(shard), _arguments.count(start, "start")
        selected = self._column_indices(columns)
        self.ingest_all()
        order = Order(self, *numbers, part)
        if rows == 0:
            return order.batches(selected, first)
        return order.mixed(selected, first, self._row_index(), rows)

    def permutation(self, seed: int, epoch: int = 0) -> numpy.ndarray:
        """
        Return the order of the batches that `shuffle` uses.

        Parameters
        ----------
        seed, epoch : int
            As :meth:`shuffle` takes them.

        Returns
        -------
        numpy.ndarray
            Indices of all batches, 64-bit integers of shape (n,).

        Raises
        ------
        OverflowError, TypeError
            An argument is out of range, or not an integer.
        Exception
            As :meth:`ingest_all` does: the source is read to its end first.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
        >>> cache.permutation(seed=7)
        array([3, 1, 0, 2, 5, 4])
        """
        import numpy as np

        numbers = (_arguments.count(seed, "seed"), _arguments.count(epoch, "epoch"))
        self.ingest_all()
        order = _core.permutation(*numbers, self.ingested_count)
        # A copy, because the bytes are read-only.
        indices: numpy.ndarray = np.frombuffer(order, np.int64).copy()
        return indices

    # ---- files ----

    def save(
        self,
        path: StrOrBytesPath,
        *,
        overwrite: bool = False,
        durable: bool = False,
        filesystem: Any = None,
    ) -> None:
        """
        Read the source to its end, and save the stream as a recording.

        The file appears at once and complete. If the file system allows it, the
        recording is a link to the cache's own file, which takes no time and no space.
        Otherwise the stream is written again.

        Parameters
        ----------
        path : str, bytes or os.PathLike
            Name of the recording. A URL names an object of a store: the recording is
            saved to a temporary file, and uploaded.
        overwrite : bool, default False
            Replace a file of that name, atomically. Processes that have the replaced
            file open keep it.
        durable : bool, default False
            Synchronise the recording with the disk before this returns.
        filesystem : pyarrow.fs.FileSystem or fsspec filesystem, optional
            The store of the object `path`, as for :func:`open`.

        Raises
        ------
        FileExistsError
            A file of that name exists. It is not changed.
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
        remote, path = _remote.resolved(path, filesystem)
        if remote is None:
            _core.save(self, _arguments.absolute(path), overwrite, durable)
            return
        with remote.uploaded(_arguments.flag(overwrite, "overwrite")) as name:
            _core.save(self, os.fsencode(name), False, False)

    def info(self) -> Info:
        """
        Return a description of the cache's file; never calls the source.

        Returns
        -------
        Info
            A dict with these keys:

            - kind: 'memory' (no file), 'cache' (removed with the cache), 'recording',
              'stream' or 'file' (Arrow IPC of another library)
            - path, bytes: the file's name and size
            - complete: whether the end of the stream is in the file; a cache's file
              gets it when the cache is saved or pickled
            - checksums: whether the file has checksums
            - compression: the codec of the first batch, or None
            - schema: the pyarrow.Schema
            - batches, rows: numbers of recorded batches and rows
            - columns: a dict for each column: its name, its type as text, and the
              size of its buffers and dictionaries in the file
            - dictionary_batches, dictionary_bytes: number and size of the messages
              with dictionaries

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
        file = _core.file_info(self, True)
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

    def statistics(self, columns: Sequence[str | int] | None = None) -> pa.Table:
        """
        Return bounds of the columns of each recorded batch; never calls the source.

        Filters of :meth:`dataset`, :meth:`to_duckdb` and :meth:`scan_polars` skip batches
        by them. The file of a complete recording has them, unless it was written with
        ``statistics=False``. Otherwise the first call reads the columns, and later calls
        read batches that were recorded since.

        Parameters
        ----------
        columns : sequence of str or int, optional
            Names or indices of columns. None (default): all columns.

        Returns
        -------
        pyarrow.Table
            One row for each batch that is not evicted, with the columns `batch` (index in
            the stream) and `row_count`. Then a struct for each ordered column, or ordered
            field inside structs, named by its path. Two may have the same name. The
            metadata of each has its indices under ``batchcorder.path``:

            - null_count: number of rows without a value
            - min, max: bounds of the values, NaN excluded; null if there is no value.
              Bounds of text and binary have at most 32 bytes. If a longer one cannot be
              cut, `max` is null, and `exact` is false
            - exact: whether both bounds are values of the column
            - nan_count: of floats, number of NaN

            Numbers, booleans, dates, times, durations, text and binary have an order, and
            dictionaries have that of their values.

        Raises
        ------
        ValueError
            The cache is closed, or was made with ``statistics=False``.
        KeyError, IndexError
            A column does not exist, or its name is repeated in the schema.
        OSError
            The file cannot be read, or is damaged.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": [3, None, 1]}))
        >>> cache.ingest_all()
        1
        >>> cache.statistics(["x"])["x"][0].as_py()
        {'null_count': 1, 'min': 1, 'max': 3, 'exact': True}
        """
        if not self._has_statistics:
            raise ValueError(
                "the cache was made with statistics=False: leave the argument out to "
                "gather them when they are needed; of a recording, open its file again"
            )
        indices = self._column_indices(columns)
        return pa.Table.from_batches([_core.statistics(self, indices)])

    # ---- text, pickles ----

    def __repr__(self) -> str:
        return _display.cache_text(self)

    def _repr_html_(self) -> str:
        return _display.cache_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Pickle by path: the other process maps the same pages.

        A cache in memory cannot be pickled. If the source of a recording may have more
        batches, the pickle has the batches recorded so far, and a warning says so. If
        the file of that name has other batches, rows or columns when it is unpickled,
        that raises OSError (ESTALE).
        """
        origin = self._origin
        if origin is not None and origin.is_nameless:
            raise TypeError(
                "a cache over an open file cannot be pickled: open it by its path"
            )
        try:
            batches = _core.publish(self)
        except ValueError as error:
            hints = getattr(error, "__notes__", [])
            reason = "; ".join([str(error), *hints])
            raise TypeError(f"cannot pickle this StreamCache: {reason}") from None
        if origin is None:
            origin = Origin(os.fsencode(self.path or ""), partial=True)
        if origin.follow:
            batches = UNLIMITED
        elif not self.upstream_exhausted:
            state, advice = "has not ended", "; call ingest_all() first to include all"
            if self.stats()["state"] == "failed":
                state, advice = "failed", ""
            warnings.warn(
                f"the source of this StreamCache {state}: the pickle includes only the "
                f"{batches} batches recorded so far{advice}",
                stacklevel=2,
            )
        wanted = {"batches": batches, "rows": self.num_rows, "schema": self.schema}
        own = ("_origin", "_index", "_statistics")
        attributes = {k: v for k, v in vars(self).items() if k not in own}
        return reopen, (type(self), origin, wanted, attributes)


# ---- other constructors ----


def open_cache(
    kind: type[_C],
    origin: Origin,
    columns: Iterable[str | int] | None = None,
    *,
    file: int = -1,
    batches: int = UNLIMITED,
) -> _C:
    """Return a cache over a file; `columns` are those of :func:`batchcorder.open`."""
    cache = kind.__new__(kind)
    origin.open(cache, file, batches)
    if columns is not None:
        indices = _arguments.column_indices(_core.column_names(cache), columns)
        _core.select_columns(cache, indices)
        origin = origin._replace(columns=indices)
    cache._origin = origin  # noqa: SLF001 - this module's class
    return cache


def record_to(
    source: ArrowStream,
    path: bytes,
    *,
    compression: Literal["lz4", "zstd"] | None,
    durable: bool,
    prefetch: int | None,
    resume: bool,
    statistics: bool | None = None,
    key: bytes | None = None,
) -> StreamCache:
    """Return a cache that records its source into the file `path`."""
    policy = _arguments.statistics_policy(statistics)
    method: Callable[[], object] = _arguments.stream_method(source, "argument 'source'")
    options = _arguments.cache_options(
        0, None, None, "on_insertion", None, True, compression, prefetch
    )
    cache = StreamCache.__new__(StreamCache)
    _core.StreamCache.__init__(
        cache, method, *options, path, durable, resume, policy, key
    )
    cache._has_statistics = statistics is not False  # noqa: SLF001 - this module's class
    cache._source_rows = _rows_of(source)  # noqa: SLF001 - this module's class
    return cache


def reopen(
    kind: type[_C], origin: Origin, wanted: dict[str, Any], attributes: dict[str, Any]
) -> _C:
    """Open the file of a cache that another process pickled."""
    stale = OSError(
        errno.ESTALE,
        "The pickled recording is not there any more: the file at its path has other "
        "batches, rows or columns",
        os.fsdecode(origin.path),
    )
    try:
        cache = open_cache(kind, origin, origin.columns, batches=wanted["batches"])
    except IndexError:
        raise stale from None
    if not _is_same(cache, origin.follow, wanted):
        cache.close()
        raise stale
    vars(cache).update(attributes)
    return cache


def _is_same(cache: StreamCache, follows: bool, wanted: dict[str, Any]) -> bool:
    """Return whether an opened file has the contents of the pickled cache."""
    if not cache.schema.equals(wanted["schema"], check_metadata=True):
        return False
    if follows:
        return True
    return len(cache) == wanted["batches"] and wanted["rows"] in (None, cache.num_rows)
