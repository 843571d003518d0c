"""Several readers of one stream."""

from __future__ import annotations

import operator

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
