"""Recordings that are made once: opened where they are there, else recorded."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from . import _core, _recordings
from ._arguments import absolute, flag, stream_method
from ._key import has_key, key_text
from ._maker import check, digest, is_made_by_cached, remember
from ._stream_cache import StreamCache
from ._takeover import allow, refuse
from ._takeover import resume as resume_recording
from ._types import ArrowStream, StrOrBytesPath

_logger = logging.getLogger("batchcorder")


# Errors by which a system refuses a lock.
_REFUSALS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_NO_LOCKS = (
    "The file system refuses locks, so whether another process is writing the recording "
    "cannot be told: use a path on another file system"
)


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


def _call_lock(number: int, command: int, kind: int) -> None:
    """Lock a whole file, by the locks that recordings have too (struct flock)."""
    fcntl.fcntl(number, command, struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0))


def _lock(directory: int, name: bytes, waits: bool) -> int:
    """
    Return a descriptor of the file `name`, locked; BlockingIOError: another has the lock.

    The file is there only as long as a process has the lock, or waits for it. A process
    that gets the lock of a file without a name tries again.
    """
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        number = os.open(name, flags, 0o666, dir_fd=directory)
        _locks.add(number)
        try:
            command = fcntl.F_OFD_SETLKW if waits else fcntl.F_OFD_SETLK
            _call_lock(number, command, fcntl.F_WRLCK)
            held = os.fstat(number)
            # It would be removed in the end.
            if held.st_size > 0:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            named = os.stat(name, dir_fd=directory, follow_symlinks=False)
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
        _call_lock(number, fcntl.F_OFD_SETLK, fcntl.F_UNLCK)
    os.close(number)


def _lock_in(directory: int, name: bytes, waits: bool) -> tuple[int, bytes]:
    """Return the locked file that guards the recording `name`, and the file's name."""
    # A name that is long already has no room for more.
    short = b".batchcorder-" + sha256(name).hexdigest()[:16].encode() + b".lock"
    for lock_name in (b"." + name + b".lock", short):
        try:
            return _lock(directory, lock_name, waits), lock_name
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG and lock_name != short:
                continue
            words = error.strerror or str(error)
            if error.errno in _REFUSALS:
                with contextlib.suppress(OSError):
                    os.unlink(lock_name, dir_fd=directory)
                raise OSError(errno.ENOLCK, _NO_LOCKS) from None
            if error.errno in (errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENXIO):
                words += f": '{os.fsdecode(lock_name)}' is kept for this recording's lock"
            raise type(error)(error.errno, words) from None
    raise AssertionError


@contextlib.contextmanager
def _decision(path: bytes, waits: bool = True) -> Iterator[None]:
    """
    Keep other processes from making the recording `path` at the same time.

    If another process or thread decides, this waits, or raises BlockingIOError.
    """
    if path in _deciding.paths:
        raise RuntimeError(
            f"make_source asks for the recording that it is to make: {os.fsdecode(path)}"
        )
    folder, name = os.path.split(path)
    process = os.getpid()
    # The path of the hidden file may be too long where that of the recording is not.
    try:
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            number, lock_name = _lock_in(directory, name, waits)
        except BaseException:
            os.close(directory)
            raise
    except OSError as error:
        error.filename = os.fsdecode(path)
        raise
    _deciding.paths.add(path)
    try:
        yield
    finally:
        _deciding.paths.discard(path)
        if os.getpid() == process:
            with contextlib.suppress(OSError):
                os.unlink(lock_name, dir_fd=directory)
            _unlock(number)
        os.close(directory)


def _is_lost(path: bytes) -> bool:
    """
    Return whether the file is gone, empty, or begins with zeros.

    A loss of power may leave such a file. `discard` then checks the rest of the file.
    """
    # A pipe that took the name must not make this wait.
    with contextlib.suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(number, "rb", buffering=0) as file:
            return not any(file.read(8) or b"")
    return True


def _discard_lost(path: bytes) -> None:
    """Remove a file that a loss of power left; ValueError: it is another program's."""
    if _is_lost(path):
        with contextlib.suppress(FileNotFoundError):
            _core.discard(path)


def _there(path: bytes) -> StreamCache | None:
    """
    Return the recording, complete or being written, or None.

    None too if a killed process left it incomplete. Other incomplete files are errors,
    because another program made them.
    """
    try:
        return _recordings.open_recording(path)
    except FileNotFoundError:
        return None
    except ValueError:
        if _is_lost(path):
            return None
        raise
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return _unfinished(path, error)


def _unfinished(path: bytes, cut_off: OSError) -> StreamCache | None:
    """Return the recording that is being written; raise `cut_off` for other files."""
    try:
        cache = _recordings.open_recording(path, follow=True)
    except FileNotFoundError:
        return None
    except OSError:
        if _is_lost(path):
            return None
        raise
    is_written = _recordings.is_being_written(cache)
    if is_written:
        return cache
    kind = _core.file_info(cache, False)["kind"]
    cache.close()
    # The writer may have completed it a moment ago.
    with contextlib.suppress(OSError):
        return _recordings.open_recording(path)
    if kind != "recording":
        raise cut_off
    if is_written is None:
        raise OSError(errno.ENOLCK, _NO_LOCKS, os.fsdecode(path))
    return None


class _Begun(NamedTuple):
    """A recording, and how this process got it."""

    cache: StreamCache
    # Another process made the recording, or makes it.
    is_opened: bool
    is_resumed: bool = False


class _Replaced(NamedTuple):
    """The file of a recording that is to be made anew."""

    status: os.stat_result
    is_complete: bool

    def is_at(self, path: bytes) -> bool:
        """Return whether the path still has the file."""
        now = os.stat(path)
        # If another file has the path, it may have the number of a file that is gone.
        is_unchanged = now.st_mtime_ns == self.status.st_mtime_ns
        return os.path.samestat(now, self.status) and (
            is_unchanged or not self.is_complete
        )


def _replaced(cache: StreamCache, path: bytes) -> _Replaced:
    """Close a recording that is to be made anew."""
    is_ours = _core.recording_key(cache) is not None or is_made_by_cached(path)
    replaced = _Replaced(os.stat(path), cache.upstream_exhausted)
    cache.close()
    if not is_ours:
        raise FileExistsError(
            errno.EEXIST,
            "The file is no recording that cached made, so it is not replaced: remove "
            "it, or use another path",
            os.fsdecode(path),
        )
    return replaced


def _remove(path: bytes, replaced: _Replaced) -> None:
    """
    Take its name from a recording.

    Caches that have it open keep its batches. A process that is writing it goes on, but
    no other process will find its file.
    """
    with contextlib.suppress(FileNotFoundError):
        if replaced.is_at(path):
            os.unlink(path)


def _is_wanted(cache: StreamCache, key: bytes | None, refresh: bool) -> bool:
    """Return whether a recording that is there is to be used."""
    # A recording in progress is as new as another one would be.
    return has_key(cache, key) and not (refresh and cache.upstream_exhausted)


def _may_resume(path: bytes, key: bytes | None) -> bool:
    """Return whether the incomplete recording has the wanted key."""
    if _is_lost(path):
        return False
    with _recordings.open_recording(path, partial=True) as cache:
        return has_key(cache, key)


def _begin(source: ArrowStream, path: bytes, resume: bool, **options: Any) -> _Begun:
    """Begin the recording, unless another process has begun it meanwhile."""
    tries = 16
    while True:
        # While `make_source` ran, another process may have called `record`.
        cache = _there(path)
        if cache is not None:
            return _Begun(cache, True)
        is_left = os.path.lexists(path)
        resumes = resume and is_left and _may_resume(path, options["key"])
        try:
            if is_left and not resumes:
                _core.discard(path)
            cache = _recordings.start(source, path, resume=resumes, **options)
            return _Begun(cache, False, resumes)
        except OSError as error:
            # Another process replaced the file at the path.
            moved = error.errno in (errno.EEXIST, errno.EBUSY, errno.ENOENT)
            tries -= 1
            if not moved or tries == 0:
                raise


def _opened(path: bytes) -> _Begun | None:
    cache = _there(path)
    return None if cache is None else _Begun(cache, True)


def _opened_at_once(path: bytes, key: bytes | None) -> _Begun | None:
    """
    Return the recording if no decision is needed, and if it has the key.

    A complete recording needs none. The lock of an incomplete one may belong to a process
    in the middle of discarding it: a follower would never get the rest. Without write
    access to the directory, a process cannot decide, so it follows.
    """
    if not os.access(os.path.dirname(path), os.W_OK):
        begun = _opened(path)
    else:
        try:
            begun = _Begun(_recordings.open_recording(path), True)
        except (OSError, ValueError):
            return None
    if begun is not None and not has_key(begun.cache, key):
        begun.cache.close()
        return None
    return begun


def _decided(
    path: bytes,
    make_source: Callable[[], ArrowStream],
    *,
    resume: bool,
    refresh: bool,
    **options: Any,
) -> _Begun:
    """Open the recording, or begin it: one process at a time decides which."""
    with _decision(path):
        begun = _opened(path)
        if begun is not None and _is_wanted(begun.cache, options["key"], refresh):
            return begun
        replaced = None if begun is None else _replaced(begun.cache, path)
        _discard_lost(path)
        # Other processes follow a resumed recording before this function returns.
        if resume and os.path.lexists(path):
            remember(path, digest(make_source))
        source = make_source()
        stream_method(source, "make_source's result")
        if replaced is not None:
            _remove(path, replaced)
        return _begin(source, path, resume, **options)


def _taken_over(
    path: bytes,
    make_source: Callable[[], ArrowStream],
    schema: pa.Schema | None,
    **options: Any,
) -> StreamCache | None:
    """Resume the recording of a writer that died; None: look at the file again."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_decision(path, waits=False))
        except BlockingIOError:
            return None
        except OSError as error:
            refuse(path, error)
        there = _there(path)
        if there is None:
            return resume_recording(path, make_source, schema, **options)
        there.close()
        return None


def cached(
    path: StrOrBytesPath,
    make_source: Callable[[], ArrowStream],
    *,
    key: Any = None,
    refresh: bool = False,
    resume: bool = False,
    compression: Literal["lz4", "zstd"] | None = None,
    durable: bool = False,
    prefetch: int | None = None,
    statistics: bool = True,
) -> StreamCache:
    """
    Open the recording `path`; if there is none, make it while it is first read.

    A complete recording is opened. A recording that another process is writing is
    followed: its batches are replayed as they arrive. Otherwise `make_source` is called,
    and the returned cache records its stream. The recording is complete once the stream
    has ended. If the process is killed or the cache is closed before, the recording is
    incomplete: the next call makes it again, or resumes it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        Name of the recording.
    make_source : callable
        Returns an object with ``__arrow_c_stream__``. If the recording exists,
        the function is called only if another function made the recording: its code or
        its values differ. Then the schemas are compared, and no batch is read. If that
        call fails, the recording is used.
    key : JSON value or bytes, optional
        Tells the recording from those of other queries, for example ``{"sql": sql,
        "day": "2026-11-30"}``. The file keeps it. If `cached` made a recording with
        another key, or with none, the recording is replaced: `make_source` is called. If
        the keys are equal, the functions are not compared. None (default): any recording
        is used.
    refresh : bool, default False
        Replace a complete recording, even if it has the key. A recording that another
        process is writing is followed.
    resume : bool, default False
        Continue an incomplete recording. The source must produce the same stream again:
        its schema is compared, and the row counts of the recorded batches, which are
        skipped. Their number is logged as a warning of the logger ``batchcorder``, and
        is ``stats()["resumed"]``. If the recording is followed and its writer dies, one
        of the followers calls its `make_source` and continues in the same way. The
        readers of all followers go on.
    compression : {None, 'lz4', 'zstd'}, default None
        Compress the buffers, as :func:`record` does.
    durable : bool, default False
        Synchronise each batch with the disk, as :func:`record` does.
    prefetch : int, optional
        Number of batches that a background thread reads ahead. None (default): no thread.
    statistics : bool, default True
        Store the bounds of each batch's columns in the file, as :func:`record` does. A
        recording that is opened or followed stays as it is.

    Returns
    -------
    StreamCache
        The recording: opened, followed, or recorded while it is read.

    Raises
    ------
    TypeError
        `make_source` is no function, its result is no Arrow stream, `key` is no JSON
        value, or an argument is not a bool.
    FileExistsError
        `cached` did not make the file that `key` or `refresh` would replace.
    ValueError
        `key` is too long. With `resume`, the source is not the source of the recording.
        Or the stream of another `make_source` has another schema than the recording.
    OSError
        The recording cannot be opened, made or written. Reading raises OSError too.
        EOWNERDEAD: without `resume`, the writer that is followed died.
    RuntimeError
        `make_source` asks for the recording that it is to make.
    Exception
        The error of `make_source`.

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
    if not callable(make_source):
        kind = type(make_source)
        raise TypeError(
            "argument 'make_source': expected a function that returns an Arrow stream, "
            f"got {kind.__module__}.{kind.__qualname__}"
        )
    gathers = flag(statistics, "statistics")
    text = key_text(key)
    renews = flag(refresh, "refresh")
    name = absolute(path)
    if name.endswith(b"/"):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(name)
        )
    name = os.path.realpath(name)
    options: dict[str, Any] = {
        "key": text,
        "compression": compression,
        "durable": durable,
        "prefetch": prefetch,
        "statistics": gathers,
    }
    begun = None if renews else _opened_at_once(name, text)
    begun = begun or _decided(name, make_source, refresh=renews, resume=resume, **options)
    if begun.is_opened and text is None:
        check(name, begun.cache, make_source)
    if begun.is_opened and resume:
        go_on = functools.partial(_taken_over, name, make_source, **options)
        allow(begun.cache, go_on)
    if not begun.is_opened:
        remember(name, digest(make_source))
    if begun.is_resumed:
        n = begun.cache.stats()["resumed"]
        _logger.warning(
            "%s: resumed; the first %s of the source will be skipped",
            os.fsdecode(name),
            "batch" if n == 1 else f"{n} batches",
        )
    return begun.cache


__all__ = ["cached"]
