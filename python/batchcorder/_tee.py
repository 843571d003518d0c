"""Several readers of one stream."""

from __future__ import annotations

import operator

from ._arguments import stream_method
from ._core import StreamCacheReader
from ._stream_cache import StreamCache
from ._types import ArrowStream, StrOrBytesPath


def tee(
    stream: ArrowStream,
    n: int = 2,
    *,
    memory_capacity: int | str | None = "256MB",
    disk_path: StrOrBytesPath | None = None,
    disk_capacity: int | str | None = None,
    prefetch: int | None = None,
) -> tuple[StreamCacheReader, ...]:
    """
    Return `n` independent readers of one stream; batches that all have read are freed.

    A batch is freed once the slowest reader has passed it. Batches that do not fit into
    memory until then go to a file.

    Parameters
    ----------
    stream : ArrowStream
        The source: any object with ``__arrow_c_stream__``.
    n : int, default 2
        Number of readers, at least 1.
    memory_capacity : int or str, default '256MB'
        Budget of the memory tier in bytes. None: as for :class:`StreamCache`.
    disk_path : str, bytes or os.PathLike, optional
        Directory of the file. None (default): the directory for temporary files.
    disk_capacity : int or str, optional
        Budget of the file in bytes. None (default): no limit.
    prefetch : int, optional
        Number of batches that a background thread reads ahead. None (default): no thread.

    Returns
    -------
    tuple of StreamCacheReader
        The `n` readers. Each one keeps the cache alive.

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
    stream_method(stream, "argument 'stream'")
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
