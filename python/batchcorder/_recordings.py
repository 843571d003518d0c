"""Recordings: files with names, opened, written, resumed and verified."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import logging
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import IO, Any, Literal

from . import _core
from ._cache import UNLIMITED, StreamCache, absolute, column_numbers

_logger = logging.getLogger("batchcorder")

Path = str | bytes | PathLike[str] | PathLike[bytes]


@contextlib.contextmanager
def _descriptor(file: Any) -> Iterator[int]:
    """Yield a descriptor of a regular file with what an open file holds."""
    raw = getattr(file, "raw", file)
    # The descriptor of others, as of gzip.GzipFile, is not that of what they give.
    if isinstance(raw, io.FileIO) and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        file.flush()
        yield raw.fileno()
        return
    if not hasattr(file, "read"):
        raise TypeError(
            "argument 'path': expected a path or an open file, got "
            f"'{type(file).__name__}'"
        )
    # A pipe, or memory: a mapping needs a file, which has no name and goes by itself.
    with contextlib.suppress(AttributeError, OSError):
        file.seek(0)
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        yield copy.fileno()


def open(
    path: Path | IO[bytes],
    columns: Sequence[str | int] | None = None,
    verify: bool = False,
    partial: bool = False,
    mmap: bool = True,
    *,
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
    how = {"verify": verify, "partial": partial, "mmap": mmap, "follow": follow}
    if isinstance(path, str | bytes | PathLike):
        cache = _open_path(StreamCache, absolute(path), -1, how)
        cache._opened = how
    else:
        with _descriptor(path) as number:
            name = getattr(path, "name", None)
            name = name if isinstance(name, str) else f"<{type(path).__name__}>"
            cache = _open_path(StreamCache, os.fsencode(name), number, how)
        cache._is_nameless = True
    if columns is not None:
        cache._narrow(column_numbers(cache.schema, columns))
    return cache


def _open_path(
    kind: type[StreamCache],
    path: bytes,
    number: int,
    how: dict[str, bool],
    batches: int = UNLIMITED,
) -> StreamCache:
    cache = kind.__new__(kind)
    cache._open_file(
        path,
        number,
        how["verify"],
        how["partial"],
        not how["mmap"],
        how["follow"],
        batches,
    )
    return cache


def reopen(
    kind: type[StreamCache],
    path: bytes,
    columns: tuple[int, ...] | None,
    how: dict[str, bool],
    batches: int,
    attributes: dict[str, Any],
) -> StreamCache:
    """Open what another process pickled."""
    cache = _open_path(kind, path, -1, how, batches)
    vars(cache).update(attributes)
    cache._opened = how
    if columns is not None:
        cache._narrow(columns)
    return cache


def _start(
    source: _core.ArrowStream,
    path: Path,
    *,
    compression: Literal["lz4", "zstd"] | None,
    durable: bool,
    prefetch: int | None = None,
    resume: bool = False,
) -> StreamCache:
    """Return a cache whose file is the recording `path`."""
    cache = StreamCache.__new__(StreamCache)
    cache._record(
        source,
        absolute(path),
        compression=compression,
        durable=durable,
        prefetch=prefetch,
        resume=resume,
    )
    return cache


def record(
    source: _core.ArrowStream,
    path: Path,
    progress: bool = False,
    compression: Literal["lz4", "zstd"] | None = None,
    durable: bool = False,
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
    cache = _start(source, path, compression=compression, durable=durable)
    try:
        cache.ingest_all(progress)
    except BaseException:
        cache.close()
        raise
    return cache


class _Deciding(threading.local):
    """The recordings whose making this thread is deciding upon."""

    def __init__(self) -> None:
        self.paths: set[bytes] = set()


_deciding = _Deciding()


@contextlib.contextmanager
def _decision(path: bytes) -> Iterator[None]:
    """
    Keep others from making the recording `path` at the same time.

    The lock is a hidden file beside it, which is there only as long as somebody decides:
    whoever has the lock of a file that lost its name tries again.
    """
    if path in _deciding.paths:
        raise RuntimeError(
            f"make_source asks for the recording that it is to make: {os.fsdecode(path)}"
        )
    directory, name = os.path.split(path)
    lock_path = os.path.join(directory, b"." + name + b".lock")
    while True:
        number = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            held, named = os.fstat(number), os.stat(lock_path, follow_symlinks=False)
            if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
                break
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(number)
            raise
        os.close(number)
    _deciding.paths.add(path)
    try:
        yield
    finally:
        _deciding.paths.discard(path)
        with contextlib.suppress(OSError):
            os.unlink(lock_path)
        os.close(number)


def _is_left_recording(path: bytes) -> bool:
    with open(path, partial=True) as cache:
        return bool(cache.info()["kind"] == "recording")


def _there(path: bytes) -> StreamCache | None:
    """Return the recording, complete or being written; None where neither is so."""
    try:
        return open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        # A file of somebody else's that is cut off is nothing to go on with.
        if error.errno != errno.ENODATA or not _is_left_recording(path):
            raise
    with contextlib.suppress(FileNotFoundError):
        cache = open(path, follow=True)
        if cache._is_written():
            return cache
        # Nobody does; or it was completed a moment ago.
        cache.close()
        with contextlib.suppress(OSError):
            return open(path)
    return None


def cached(
    path: Path,
    make_source: Callable[[], _core.ArrowStream],
    *,
    resume: bool = False,
    compression: Literal["lz4", "zstd"] | None = None,
    durable: bool = False,
    prefetch: int | None = None,
) -> StreamCache:
    """
    Open the recording `path`; where there is none, make it while it is first read.

    A complete recording is opened. One that another process is writing is followed: its
    batches are replayed as they come. Otherwise `make_source` is called, and the cache
    that is returned records its stream, which counts as complete when it has ended. A
    run that is killed, or a cache that is closed before, leaves what is never
    taken for complete; the next call starts anew, or resumes.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    make_source : callable
        Returns an object with ``__arrow_c_stream__``; not called where the recording is
        there.
    resume : bool, optional
        Go on behind the batches that an earlier run left. The source must give the same
        stream again: its schema and the numbers of rows of the batches that are skipped
        are compared. How many are skipped is logged, as a warning of the logger
        ``batchcorder``, and stands in ``stats()["resumed"]``.
    compression, durable, prefetch : optional
        As `record` and :class:`StreamCache` have them.

    Returns
    -------
    StreamCache

    Raises
    ------
    ValueError
        `resume`, and the source is not the one that was recorded.
    OSError
        The recording cannot be opened, made or written.
    Exception
        Whatever `make_source` raised.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> def query(): print("asked"); return pa.table({"x": [1, 2, 3]})
    >>> batchcorder.cached(path, query).to_table().num_rows
    asked
    3
    >>> batchcorder.cached(path, query).to_table().num_rows
    3

    """
    name = absolute(path)
    cache = _there(name)
    if cache is not None:
        return cache
    with _decision(name):
        cache = _there(name)
        if cache is not None:
            return cache
        is_left = os.path.lexists(name)
        source = make_source()
        if is_left and not resume:
            os.unlink(name)
        cache = _start(
            source,
            name,
            compression=compression,
            durable=durable,
            prefetch=prefetch,
            resume=is_left and resume,
        )
    skipped = cache.stats()["resumed"]
    if is_left and resume:
        _logger.warning(
            "%s: resumed; %d batches are there, and are skipped in the source",
            os.fsdecode(name),
            skipped,
        )
    return cache


def verify(path: Path | IO[bytes], progress: bool = False) -> int:
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
    with open(path, verify=True) as cache:
        batches: Any = cache
        if progress:
            from tqdm import tqdm

            batches = tqdm(cache, total=len(cache), unit=" batches", desc="verifying")
        return sum(1 for _ in batches)


__all__ = ["cached", "open", "record", "reopen", "verify"]
