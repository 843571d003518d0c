"""
A follower of `cached` continues the recording of a dead writer.

The core calls a function of this process when a reader needs the next batch and no writer
is left. The function decides under the lock of `cached`:

    another follower decides, or a writer is there, or the recording is complete
        ─▶ None: the core looks again
    otherwise ─▶ make_source ─▶ a cache that resumes the recording

If `make_source` raises, a source that raises the same exception resumes the recording.
Every reader of this process then gets the exception, as from any other source.
The lock of the recording is free again, and another process may go on.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pyarrow as pa

from . import _core, _recordings
from ._arguments import stream_method
from ._maker import digest, remember
from ._stream_cache import StreamCache
from ._types import ArrowStream

_logger = logging.getLogger("batchcorder")

# Another process has resumed, completed or removed the recording meanwhile.
_MEANWHILE = {errno.EBUSY, errno.EEXIST, errno.ENOENT}
# This process may not write the file or the directory.
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def allow(
    follower: StreamCache, begin: Callable[[pa.Schema | None], StreamCache | None]
) -> None:
    """Let a follower call `begin` with its schema, if its writer dies."""
    if follower.upstream_exhausted:
        return
    try:
        schema = follower.schema
    except Exception:
        schema = None  # pyarrow refuses it
    _core.allow_takeover(follower, functools.partial(begin, schema))


def refuse(path: bytes, error: OSError) -> NoReturn:
    """Raise the error of a follower that may not take over."""
    if error.errno not in _FORBIDDEN:
        raise error
    words = (
        "The recording's writer died before it was complete, and this process may not "
        f"continue it: {error.strerror}"
    )
    raise OSError(errno.EOWNERDEAD, words, os.fsdecode(path)) from error


def _raising(schema: pa.Schema, error: BaseException) -> pa.RecordBatchReader:
    """Return a stream that fails with `error` at once."""
    # The traceback of the exception gets the frame below, which must not refer to it.
    errors = [error]

    def generate() -> Iterator[pa.RecordBatch]:
        raise errors.pop()
        yield

    return pa.RecordBatchReader.from_batches(schema, generate())


def _start_failing(
    path: bytes, schema: pa.Schema, error: BaseException, **options: Any
) -> StreamCache | None:
    """Resume the recording by a source that fails; None: the core looks again."""
    try:
        source = _raising(schema, error)
        return _recordings.start(source, path, resume=True, **options)
    except OSError as refusal:
        if refusal.errno in _MEANWHILE:
            return None
        refuse(path, refusal)


def resume(
    path: bytes,
    make_source: Callable[[], ArrowStream],
    schema: pa.Schema | None,
    **options: Any,
) -> StreamCache | None:
    """
    Return a cache that resumes the recording; None: the core looks again.

    `schema` is the recording's, or None if pyarrow refuses it. The caller has the lock of
    the decision.
    """
    made_by = digest(make_source)
    try:
        source = make_source()
        stream_method(source, "make_source's result")
        cache = _recordings.start(source, path, resume=True, **options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if schema is None:
            raise
        # If the file is the cause, this fails in the same way.
        return _start_failing(path, schema, error, **options)
    remember(path, made_by)
    n = cache.stats()["resumed"]
    _logger.warning(
        "%s: the writer died, and this process continues the recording; the first %s of "
        "the source will be skipped",
        os.fsdecode(path),
        "batch" if n == 1 else f"{n} batches",
    )
    return cache


__all__ = ["allow", "refuse", "resume"]
