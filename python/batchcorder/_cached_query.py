"""Recordings that are made once: opened where they are there, else recorded."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from . import _core, _recordings, _remote
from ._arguments import absolute, flag, stream_method
from ._decision import NO_LOCKS, decision
from ._key import has_key, key_text
from ._maker import check, digest, is_made_by_cached, remember
from ._stream_cache import StreamCache
from ._takeover import allow, refuse
from ._takeover import resume as resume_recording
from ._types import ArrowStream, StrOrBytesPath

_logger = logging.getLogger("batchcorder")


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
        raise OSError(errno.ENOLCK, NO_LOCKS, os.fsdecode(path))
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
    with decision(path):
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
            stack.enter_context(decision(path, waits=False))
        except BlockingIOError:
            return None
        except OSError as error:
            refuse(path, error)
        there = _there(path)
        if there is None:
            return resume_recording(path, make_source, schema, **options)
        there.close()
        return None


def _cached_remotely(
    remote: Any,
    make_source: Callable[[], ArrowStream],
    key: bytes | None,
    refresh: bool,
    **options: Any,
) -> StreamCache:
    from ._remote import _objects

    def opened() -> StreamCache:
        return _recordings.open_recording(
            remote.path, filesystem=remote.filesystem, local=remote.local
        )

    def record(path: str, key: bytes) -> None:
        source = make_source()
        stream_method(source, "make_source's result")
        with _recordings.start(source, path, key=key, **options) as cache:
            cache.ingest_all()

    cache: StreamCache = _objects.cached(remote, opened, record, key, refresh)
    return cache


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
    filesystem: Any = None,
    local: StrOrBytesPath | None = None,
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
        Name of the recording. A URL names an object of a store. It is recorded as a
        whole, uploaded and then opened. No process follows it meanwhile, and two
        processes may both record it: with s3fs the first upload stays, else the last one.
    make_source : callable
        Returns an object with ``__arrow_c_stream__``. If the recording exists,
        the function is called only if another function made the recording: its code or
        its values differ. Then the schemas are compared, and no batch is read. If that
        call fails, the recording is used.
    key : JSON value or bytes, optional
        Identifies the query of the recording, for example ``{"sql": sql,
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
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem, optional
        The store of the object `path`, as for :func:`open`.
    local : str, bytes or os.PathLike, optional
        A directory that keeps the bytes read from a store, as for :func:`open`.

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
    remote, path = _remote.resolved(path, filesystem, local)
    if remote is not None:
        if flag(resume, "resume"):
            raise ValueError(
                "argument 'resume': an object of a store is complete, so there is no "
                "recording to resume"
            )
        return _cached_remotely(
            remote,
            make_source,
            text,
            renews,
            compression=compression,
            durable=durable,
            prefetch=prefetch,
            statistics=gathers,
        )
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
