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

from . import _core, _remote
from ._arguments import absolute, flag, stream_method
from ._origin import Origin
from ._stream_cache import StreamCache, open_cache, record_to
from ._types import ArrowStream, StrOrBytesPath

# A stream begins with its schema, whose size is below this number of bytes.
SCHEMA_MAX = 16 << 20
# Bytes that the core needs to name the format of another file.
_HEAD = 4096
# Formats whose first bytes could be the size of a schema.
_NO_SIZES = (b"\x1f\x8b", b"ORC", b"BZh", b"PK")


def may_be_arrow(head: bytes) -> bool:
    """Return whether an Arrow stream or file may begin with these eight bytes."""
    if len(head) < 8:
        return False
    if head.startswith((b"\xff\xff\xff\xff", b"ARROW1")):
        return True
    # Before Arrow 0.15 the size came first, then the message: where its table is.
    size = int.from_bytes(head[:4], "little")
    table = int.from_bytes(head[4:8], "little")
    is_inside = 4 <= table < size <= SCHEMA_MAX and table % 4 == 0
    return is_inside and not head.startswith(_NO_SIZES)


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
    filesystem: Any = None,
    local: StrOrBytesPath | None = None,
) -> StreamCache:
    """
    Open a recording, or any Arrow IPC stream or file, as a StreamCache.

    Batches are pages of the mapped file. They are not copied, and processes that open
    the file share them. A complete recording of any size opens at once. In other
    files, the metadata of all messages is read first.

    Parameters
    ----------
    path : str, bytes, os.PathLike or binary file
        A recording, or an Arrow IPC stream or file (Feather V2) of any library. An
        open file is read from its first byte, not from its position. A pipe or a
        file in memory is copied. A text such as ``"s3://bucket/x.arrows"`` is a URL. It
        names an object of a store, which is read in ranges: see docs/object-stores.md.
    columns : sequence of str or int, optional
        Names or indices of the columns of the cache, in this order. Bytes of other
        columns are never read, except to verify a batch of up to 4 KiB. None (default):
        all columns.
    verify : bool, default False
        When a batch is first read, check all its offsets, texts and dictionary indices.
        Set it for files that you do not trust. Checksums are verified in any case.
    partial : bool, default False
        Open an incomplete recording, or a file that is cut off, up to the first
        incomplete batch.
    mmap : bool, default True
        Map the file. False: read batches into memory, for files that another process may
        shorten.
    follow : bool, default False
        Replay a recording that another process is writing: readers wait for its next
        batch.
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem, optional
        The store that has the object `path`. None (default): a local file, or the store
        that the URL names.
    local : str, bytes or os.PathLike, optional
        A directory that keeps fetched bytes, for later readings in any process of this
        machine. None (default): memory keeps the last bytes.

    Returns
    -------
    StreamCache
        The recording. Its source is exhausted, unless `follow` is set.

    Raises
    ------
    FileNotFoundError, PermissionError, IsADirectoryError, OSError
        The file cannot be opened. ENODATA: it is incomplete. EBADMSG: it is damaged.
        Reading raises OSError too. EIO: the file was shortened. EOWNERDEAD: with
        `follow`, the writer died. ESTALE: an object of a store has changed.
    ValueError
        The file is no Arrow stream or file, or both `partial` and `follow` are set. An
        object of a store cannot be followed.
    ImportError
        A package for the store is not installed.
    NotImplementedError
        The file has Arrow data that this version cannot read.
    KeyError, IndexError
        A column does not exist, or its name is repeated in the schema.
    TypeError
        `path` is neither a path nor an open file.

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
    remote, path = _remote.resolved(path, filesystem, local)
    if remote is not None:
        if flag(follow, "follow"):
            raise ValueError(
                "argument 'follow': an object of a store is complete, so it cannot be "
                "followed: follow the recording where it is made"
            )
        origin = origin_of(os.fsencode(remote.url))._replace(remote=remote)
        return open_cache(StreamCache, origin, columns)
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
    statistics: bool | None = None,
    key: bytes | None = None,
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
        statistics=statistics,
        key=key,
    )


def record(
    source: ArrowStream,
    path: StrOrBytesPath,
    *,
    progress: bool = False,
    compression: Literal["lz4", "zstd"] | None = None,
    durable: bool = False,
    prefetch: int | None = None,
    statistics: bool = True,
    filesystem: Any = None,
) -> StreamCache:
    """
    Read a stream to its end into a recording.

    Other processes can read a local file meanwhile.

    Parameters
    ----------
    source : ArrowStream
        The source: any object with ``__arrow_c_stream__``.
    path : str, bytes or os.PathLike
        Name of the recording. No file of this name may exist. A URL names an object of a
        store: the recording is made in a temporary file, and uploaded in the end.
    progress : bool, default False
        Show a progress bar on standard error.
    compression : {None, 'lz4', 'zstd'}, default None
        Compress the buffers, as the Arrow IPC format defines it.
    durable : bool, default False
        Synchronise each batch with the disk before other processes can see it, and the
        whole recording before this returns. A loss of power then loses no batch.
    prefetch : int, optional
        Number of batches that a background thread reads ahead. None (default): no thread.
    statistics : bool, default True
        Store the bounds of each batch's columns in the file, by which filters skip
        batches: see :meth:`StreamCache.statistics`.
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem, optional
        The store of the object `path`, as for :func:`open`.

    Returns
    -------
    StreamCache
        The complete recording.

    Raises
    ------
    FileExistsError
        A file of that name exists. It is not changed.
    OSError
        The file cannot be made or written.
    Exception
        The error of the source. The batches before it stay in the file, as an incomplete
        recording: :func:`open` reads it with ``partial=True``, and :func:`cached` resumes
        it. At a URL, no object is made.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> batchcorder.record(pa.table({"x": [1, 2, 3]}), path).num_rows
    3
    """
    shows = flag(progress, "progress")
    options: dict[str, Any] = {
        "compression": compression,
        "durable": durable,
        "prefetch": prefetch,
        "statistics": flag(statistics, "statistics"),
    }
    remote, path = _remote.resolved(path, filesystem)
    if remote is not None:
        stream_method(source, "argument 'source'")
        with remote.uploaded(overwrite=False) as name:
            _ingested(start(source, name, **options), shows).close()
        return open_recording(remote.path, filesystem=filesystem)
    return _ingested(start(source, path, **options), shows)


def _ingested(cache: StreamCache, shows: bool) -> StreamCache:
    """Read the source to its end; close the cache if that fails."""
    try:
        cache.ingest_all(progress=shows)
    except BaseException:
        cache.close()
        raise
    return cache


def verify(
    path: StrOrBytesPath | IO[bytes],
    *,
    progress: bool = False,
    filesystem: Any = None,
) -> int:
    """
    Read a whole recording, or an Arrow IPC stream or file, and check all its data.

    This verifies the checksums, if the file has them, and all values that a consumer
    trusts: offsets, texts, dictionary indices, run ends and type ids.

    Parameters
    ----------
    path : str, bytes, os.PathLike or binary file
        A recording, or an Arrow IPC stream or file of any library. May be a URL.
    progress : bool, default False
        Show a progress bar on standard error.
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem, optional
        The store of the object `path`, as for :func:`open`.

    Returns
    -------
    int
        Number of batches, all valid.

    Raises
    ------
    OSError
        EBADMSG: a batch is invalid; the message has the index of the first one. ENODATA:
        the recording is incomplete. Other errors as :func:`open`.
    ValueError, NotImplementedError
        As :func:`open` does.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": [1, 2, 3]}), path): pass
    >>> batchcorder.verify(path)
    1
    """
    with open_recording(path, verify=True, filesystem=filesystem) as cache:
        batches: Any = range(len(cache))
        if flag(progress, "progress"):
            from tqdm import tqdm

            batches = tqdm(batches, unit=" batches", desc="verifying")
        for number in batches:
            _core.check_batch(cache, number)
        _core.verify_statistics(cache)
        return len(cache)


__all__ = ["is_being_written", "open_recording", "record", "start", "verify"]
