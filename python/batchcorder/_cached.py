"""Recordings that are made once: opened where they are there, else recorded."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Literal

from . import _core, _recordings
from ._cache import StreamCache, absolute

_logger = logging.getLogger("batchcorder")


class _Deciding(threading.local):
    """The recordings whose making this thread is deciding upon."""

    def __init__(self) -> None:
        self.paths: set[bytes] = set()


_deciding = _Deciding()
# The locks that this process has; those of a fork's parent are not its child's.
_locks: set[int] = set()


def _forget_locks() -> None:
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_forget_locks)


def _lock(path: bytes) -> int:
    """
    Return a descriptor of the file `path`, locked.

    The file is there only as long as somebody has the lock, or waits for it: whoever has
    the lock of a file that lost its name tries again.
    """
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        _locks.add(number)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            held, named = os.fstat(number), os.stat(path, follow_symlinks=False)
            if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
                return number
        except FileNotFoundError:
            pass
        except BaseException:
            _unlock(number)
            raise
        _unlock(number)


def _unlock(number: int) -> None:
    _locks.discard(number)
    # By its word, not by closing: a fork's child may have the descriptor too.
    with contextlib.suppress(OSError):
        fcntl.flock(number, fcntl.LOCK_UN)
    os.close(number)


@contextlib.contextmanager
def _decision(path: bytes) -> Iterator[None]:
    """Keep others from making the recording `path` at the same time."""
    if path in _deciding.paths:
        raise RuntimeError(
            f"make_source asks for the recording that it is to make: {os.fsdecode(path)}"
        )
    directory, name = os.path.split(path)
    lock_path = os.path.join(directory, b"." + name + b".lock")
    process = os.getpid()
    try:
        number = _lock(lock_path)
    except OSError as error:
        # The hidden file's name would help nobody.
        words = error.strerror or str(error)
        raise type(error)(error.errno, words, os.fsdecode(path)) from None
    _deciding.paths.add(path)
    try:
        yield
    finally:
        _deciding.paths.discard(path)
        if os.getpid() == process:
            with contextlib.suppress(OSError):
                os.unlink(lock_path)
            _unlock(number)


def _is_lost(path: bytes) -> bool:
    """Return whether the file begins with zeros, or is empty: power was lost."""
    with open(path, "rb") as file:
        return not any(file.read(8))


def _there(path: bytes) -> StreamCache | None:
    """
    Return the recording, complete or being written; None where there is none.

    None too for what a run that was killed has left. Other files that are cut off are
    errors: they are not ours to replace.
    """
    try:
        return _recordings.open(path)
    except FileNotFoundError:
        return None
    except ValueError:
        if _is_lost(path):
            return None
        raise
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        cut_off = error
    try:
        cache = _recordings.open(path, follow=True)
    except FileNotFoundError:
        return None
    except OSError:
        if _is_lost(path):
            return None
        raise
    if cache._is_written():
        return cache
    kind = cache.info()["kind"]
    cache.close()
    # It may have been completed a moment ago.
    with contextlib.suppress(OSError):
        return _recordings.open(path)
    if kind != "recording":
        raise cut_off
    return None


def cached(
    path: _recordings.Path,
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
    if name.endswith(b"/"):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(name)
        )
    name = os.path.realpath(name)
    cache = _there(name)
    if cache is not None:
        return cache
    with _decision(name):
        cache = _there(name)
        if cache is not None:
            return cache
        source = make_source()
        # Which took its time, and somebody may have used `record` meanwhile.
        cache = _there(name)
        if cache is not None:
            return cache
        is_left = os.path.lexists(name)
        resumes = resume and is_left and not _is_lost(name)
        if is_left and not resumes:
            os.unlink(name)
        cache = _recordings.start(
            source,
            name,
            compression=compression,
            durable=durable,
            prefetch=prefetch,
            resume=resumes,
        )
    if resumes:
        _logger.warning(
            "%s: resumed; %d batches are there, and are skipped in the source",
            os.fsdecode(name),
            cache.stats()["resumed"],
        )
    return cache


__all__ = ["cached"]
