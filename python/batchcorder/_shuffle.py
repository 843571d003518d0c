"""
The batches of a recording in another order, in shards.

A permutation of the batches is a pure function of seed and epoch. Shard i of n has the
places i, i + n, i + 2n, ... of it:

    permutation    3 0 5 2 4 1
    shard (0, 2)   3   5   4
    shard (1, 2)     0   2   1

With a buffer, consecutive batches of a shard are a group if they have enough rows. The
rows of a group are mixed, and become batches of the same lengths. A group is therefore
read as a whole, also if a stream starts within it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from . import _core
from ._arguments import UNLIMITED

if TYPE_CHECKING:
    from ._random_access import RowIndex
    from ._stream_cache import StreamCache

_GOLDEN = 0x9E3779B97F4A7C15


class Shuffled(Iterator[pa.RecordBatch]):
    """
    The batches of :meth:`StreamCache.shuffle`: an iterator, and an Arrow stream.

    Parameters
    ----------
    stream : StreamCacheReader or pyarrow.RecordBatchReader
        The batches of the shard that are left.
    position : int
        Number of batches of the shard before them.
    end : int
        Number of batches of the shard.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import StreamCache
    >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
    >>> stream = cache.shuffle(seed=7)
    >>> next(stream)["x"][0].as_py(), next(stream)["x"][0].as_py()
    (3, 1)
    >>> rest = cache.shuffle(seed=7, start=stream.position)
    >>> rest.read_all()["x"].to_pylist()
    [0, 2, 5, 4]
    """

    def __init__(self, stream: Any, position: int, end: int) -> None:
        self._stream, self._position, self._end = stream, position, end

    @property
    def schema(self) -> pa.Schema:
        """
        Return the schema of the batches.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).shuffle(seed=7).schema.names
        ['x']
        """
        return self._stream.schema

    @property
    def position(self) -> int:
        """
        Return the number of batches of the shard that came before the next one.

        Given to :meth:`StreamCache.shuffle` as `start`, it goes on with the next one.
        The batches of an exported stream are not counted.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
        >>> cache.shuffle(seed=7, start=4).position
        4
        """
        return self._position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pa.RecordBatch:
        batch = next(self._stream)
        self._position += 1
        return batch

    def read_next_batch(self) -> pa.RecordBatch:
        """
        Return the next batch.

        Returns
        -------
        pyarrow.RecordBatch
            The next batch of the shard.

        Raises
        ------
        StopIteration
            There is no batch any more.
        Exception
            As reading a cache does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).shuffle(seed=7).read_next_batch().num_rows
        1
        """
        return next(self)

    def read_all(self) -> pa.Table:
        """
        Return the remaining batches as a table.

        Returns
        -------
        pyarrow.Table
            All remaining batches of the shard.

        Raises
        ------
        Exception
            As reading a cache does.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> cache = StreamCache(pa.table({"x": range(6)}).to_reader(max_chunksize=1))
        >>> cache.shuffle(seed=7, start=4).read_all()["x"].to_pylist()
        [5, 4]
        """
        table = self._stream.read_all()
        self._position = self._end
        return table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the remaining batches. The iterator has none any more."""
        return self._stream.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """Export the schema of the batches."""
        return self.schema.__arrow_c_schema__()


def groups_of(lengths: list[int], buffer_size: int) -> Iterator[tuple[int, int]]:
    """Yield the first place of each group, and the place after its last."""
    first = rows = 0
    for place, length in enumerate(lengths):
        rows += length
        if rows >= buffer_size:
            yield first, place + 1
            first, rows = place + 1, 0
    if first < len(lengths):
        yield first, len(lengths)


def group_seed(seed: int, number: int) -> int:
    """Return the seed for the rows of a group; `number` counts all groups from 1."""
    # A seed of its own: the rows must not repeat the order of the batches.
    return (seed + _GOLDEN * number) & UNLIMITED


def _mixed(
    batches: list[pa.RecordBatch], schema: pa.Schema, seed: int, epoch: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the batches in a random order, as batches of their lengths."""
    from . import _rows  # pyarrow.compute, which it needs, takes long to import

    table = pa.Table.from_batches(batches, schema)
    order = _core.permutation(seed, epoch, table.num_rows)
    buffers = [None, pa.py_buffer(order)]
    numbers = pa.Array.from_buffers(pa.uint64(), table.num_rows, buffers)
    try:
        rows: pa.Table | None = _rows.of(table, numbers).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        rows = None  # one dictionary cannot hold the values of all
    first = 0
    for batch in batches:
        length = batch.num_rows
        if rows is not None:
            some = rows.slice(first, length)
        else:
            some = _rows.of(table, numbers.slice(first, length))
        yield from some.to_batches() or [batch]
        first += length


class Order:
    """The batches of one shard in one epoch."""

    def __init__(
        self, cache: StreamCache, seed: int, epoch: int, shard: tuple[int, int]
    ) -> None:
        self._cache, self._seed, self._epoch = cache, seed, epoch
        self._number, self._shards = shard
        self._batches = cache.ingested_count
        self._order = _core.permutation(seed, epoch, self._batches)
        self.length = len(range(self._number, self._batches, self._shards))

    def _reader(self, columns: tuple[int, ...] | None, start: int) -> Any:
        first = self._number + min(start, self.length) * self._shards
        return _core.open_reader(
            self._cache, first, UNLIMITED, self._shards, columns, self._order
        )

    def batches(self, columns: tuple[int, ...] | None, start: int) -> Shuffled:
        """Return the batches from a place of the shard on."""
        start = min(start, self.length)
        return Shuffled(self._reader(columns, start), start, self.length)

    def mixed(
        self, columns: tuple[int, ...] | None, start: int, index: RowIndex, rows: int
    ) -> Shuffled:
        """Return batches whose rows are mixed among at least so many."""
        start = min(start, self.length)
        starts = index.starts(self._cache)
        numbers = memoryview(self._order).cast("Q")
        places = itertools.islice(numbers, self._number, None, self._shards)
        lengths = [starts[n + 1] - starts[n] for n in places]
        all_groups = list(groups_of(lengths, rows))
        groups = [group for group in all_groups if group[1] > start]
        counted = len(all_groups) - len(groups)
        reader = self._reader(columns, groups[0][0] if groups else self.length)
        schema = reader.schema

        def batches() -> Iterator[pa.RecordBatch]:
            for place, (first, end) in enumerate(groups, counted):
                some = list(itertools.islice(reader, end - first))
                seed = group_seed(self._seed, place * self._shards + self._number + 1)
                ready = _mixed(some, schema, seed, self._epoch)
                yield from itertools.islice(ready, max(start - first, 0), None)

        stream = pa.RecordBatchReader.from_batches(schema, batches())
        return Shuffled(stream, start, self.length)
