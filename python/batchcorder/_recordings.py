"""Recordings: files with names, opened, written, resumed and verified."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import IO, Any, Literal

from . import _core
from ._arguments import absolute, flag
from ._origin import Origin
from ._stream_cache import StreamCache, open_cache, record_to
from ._types import ArrowStream, StrOrBytesPath

# A stream begins with its schema, whose size is below this number of bytes.
SCHEMA_MAX = 16 << 20
# Bytes from which the core tells the format of a file that is no Arrow file.
_HEAD = 4096
# Formats whose first bytes could be the size of a schema.
_NO_SIZES = (b"\x1f\x8b", b"ORC", b"BZh", b"PK")


def may_be_arrow(head: bytes) -> bool:
    """Return whether an Arrow stream or file may begin with these eight bytes."""
    if len(head) < 8:
        return False
    if head.startswith((b"\xff\xff\xff\xff", b"ARROW1")):
        return True
    # Before Arrow 0.15 the size came first.
    size = int.from_bytes(head[:4], "little")
    return 0 < size <= SCHEMA_MAX and not head.startswith(_NO_SIZES)


def _is_seekable(file: Any) -> bool:
    with contextlib.suppress(AttributeError, OSError):
        return bool(file.seekable())
    return False


def copied(file: Any) -> IO[bytes]:
    """
    Return an unnamed file with the contents of a pipe or of a file in memory.

    If a pipe has no Arrow data, the file has only its first bytes: enough to refuse it.
    """
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        head = b""
        while len(head) < 8 and (part := file.read(8 - len(head))):
            head += part
        copy.write(head)
        if may_be_arrow(head) or _is_seekable(file):
            shutil.copyfileobj(file, copy, 1 << 20)
        else:
            copy.write(file.read(_HEAD) or b"")
        copy.flush()
    except BaseException:
        copy.close()
        raise
    return copy


@contextlib.contextmanager
def _descriptor(file: Any) -> Iterator[int]:
    """Yield a descriptor of a regular file with the contents of an open file."""
    raw = getattr(file, "raw", file)
    # Other objects may have the descriptor of other bytes: gzip.GzipFile does.
    if isinstance(raw, io.FileIO) and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        file.flush()
        yield raw.fileno()
        return
    if not hasattr(file, "read"):
        raise TypeError(
            "argument 'path': expected a path or an open file, got "
            f"'{type(file).__name__}'"
        )
    # A pipe, or memory: it is copied into an unnamed file, which can be mapped.
    with contextlib.suppress(AttributeError, OSError):
        file.seek(0)
    with copied(file) as copy:
        yield copy.fileno()


def open_recording(
    path: StrOrBytesPath | IO[bytes],
    columns: Sequence[str | int] | None = None,
    *,
    verify: bool = False,
    partial: bool = False,
    mmap: bool = True,
    follow: bool = False,
) -> StreamCache:
    """
    Open a recording, or any Arrow IPC stream or file, as a StreamCache.

    Nothing is copied: batches are the mapped file's pages, which all processes that
    open it share. A complete recording is ready at once, whatever its size; of other
    files, the metadata of all messages is read first.

    Parameters
    ----------
    path : str, bytes, os.PathLike or binary file
        A recording, or an Arrow IPC stream or file (Feather V2) that any library wrote.
        Of an open file, all of it counts; one that is no regular file is copied.
    columns : sequence of str or int, optional
        The columns that the cache has, in their order. Of the others no byte is read.
    verify : bool, optional
        Look at all of a batch when it is first read: offsets, text, indices of
        dictionaries and the like. For files of others that you do not trust.
        Checksums, where a file has them, are looked at in any case.
    partial : bool, optional
        Open what there is of a recording that is not complete, or of a file that is cut
        off, up to the first batch that is not whole.
    mmap : bool, optional
        False: read batches into memory instead of mapping them, for files that somebody
        may shorten while they are read.
    follow : bool, optional
        Replay a recording that another process is writing: readers wait for what comes.

    Returns
    -------
    StreamCache
        `upstream_exhausted`, unless it follows.

    Raises
    ------
    FileNotFoundError, PermissionError, IsADirectoryError, OSError
        The file cannot be opened; errno ENODATA: it is not complete; EBADMSG: it is
        damaged. Reading raises OSError as well: EIO for a file that was shortened,
        EOWNERDEAD when it follows and the writer died.
    ValueError
        Not an Arrow stream or file; both `partial` and `follow`.
    NotImplementedError
        Arrow data that cannot be read here.
    KeyError, IndexError
        A column does not exist.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": [1, 2], "y": [3, 4]}), path): pass
    >>> pa.table(batchcorder.open(path, columns=["y"])).to_pydict()
    {'y': [3, 4]}

    """
    origin_of = functools.partial(
        Origin, verify=verify, partial=partial, mmap=mmap, follow=follow
    )
    if isinstance(path, str | bytes | PathLike):
        return open_cache(StreamCache, origin_of(absolute(path)), columns)
    with _descriptor(path) as number:
        name = getattr(path, "name", None)
        name = name if isinstance(name, str) else f"<{type(path).__name__}>"
        origin = origin_of(os.fsencode(name), is_nameless=True)
        return open_cache(StreamCache, origin, columns, file=number)


def is_being_written(cache: StreamCache) -> bool | None:
    """Return whether a recording that is followed has a writer; None: unknown."""
    return not cache.upstream_exhausted and _core.is_being_written(cache)


def start(
    source: ArrowStream,
    path: StrOrBytesPath,
    *,
    compression: Literal["lz4", "zstd"] | None,
    durable: bool,
    prefetch: int | None = None,
    resume: bool = False,
) -> StreamCache:
    """Return a cache whose file is the recording `path`."""
    if os.fsencode(path).endswith(b"/"):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return record_to(
        source,
        absolute(path),
        compression=compression,
        durable=durable,
        prefetch=prefetch,
        resume=resume,
    )


def record(
    source: ArrowStream,
    path: StrOrBytesPath,
    *,
    progress: bool = False,
    compression: Literal["lz4", "zstd"] | None = None,
    durable: bool = False,
    prefetch: int | None = None,
) -> StreamCache:
    """
    Read a stream to its end into a recording, which other processes can read meanwhile.

    Parameters
    ----------
    source : object with ``__arrow_c_stream__``
    path : str, bytes or os.PathLike
        A name that is not taken.
    progress : bool, optional
        Show a bar on standard error.
    compression : {None, 'lz4', 'zstd'}, optional
        Compress the buffers, as the Arrow IPC format defines it.
    durable : bool, optional
        See to it that every batch is on the disk before others can see it, and all of
        the recording when this returns; a loss of power costs none of it then.
    prefetch : int, optional
        Number of batches that a background thread reads ahead. Default: no thread.

    Returns
    -------
    StreamCache
        The recording, complete.

    Raises
    ------
    FileExistsError
        There is a file of that name, which stays as it is.
    OSError
        The file cannot be made or written.
    Exception
        Whatever the source raised. What was recorded before stays, as a recording that
        is not complete: `open` reads it with ``partial=True``, and `cached` goes on with
        it.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> batchcorder.record(pa.table({"x": [1, 2, 3]}), path).num_rows
    3

    """
    shows = flag(progress, "progress")
    cache = start(
        source, path, compression=compression, durable=durable, prefetch=prefetch
    )
    try:
        cache.ingest_all(progress=shows)
    except BaseException:
        cache.close()
        raise
    return cache


def verify(path: StrOrBytesPath | IO[bytes], *, progress: bool = False) -> int:
    """
    Read all of a recording, or of an Arrow IPC stream or file, and look at all of it.

    Looked at are checksums, where the file has them, offsets, text, indices of
    dictionaries, and whatever else a consumer takes on trust.

    Parameters
    ----------
    path : str, bytes, os.PathLike or binary file
    progress : bool, optional
        Show a bar on standard error.

    Returns
    -------
    int
        Number of batches, all of which are right.

    Raises
    ------
    OSError
        errno EBADMSG: the first batch that is wrong, by its number; ENODATA: the
        recording is not complete. Else as `open`.
    ValueError, NotImplementedError
        As `open`.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": [1, 2, 3]}), path): pass
    >>> batchcorder.verify(path)
    1

    """
    with open_recording(path, verify=True) as cache:
        batches: Any = range(len(cache))
        if flag(progress, "progress"):
            from tqdm import tqdm

            batches = tqdm(batches, unit=" batches", desc="verifying")
        for number in batches:
            _core.check_batch(cache, number)
        return len(cache)


__all__ = ["is_being_written", "open_recording", "record", "start", "verify"]
