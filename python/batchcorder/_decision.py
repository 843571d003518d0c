"""
The lock under which `cached` decides: one process or thread at a time for a recording.

The lock is on a file beside the recording. The file is there only while a process has the
lock, or waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from hashlib import sha256

# Errors by which a system refuses a lock.
_REFUSALS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
NO_LOCKS = (
    "The file system refuses locks, so whether another process is writing the recording "
    "cannot be told: use a path on another file system"
)


class _Deciding(threading.local):
    """The recordings whose making this thread is deciding upon."""

    def __init__(self) -> None:
        self.paths: set[bytes] = set()


_deciding = _Deciding()
# Descriptors of this process's locks. A fork's child closes its parent's descriptors.
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
                raise OSError(errno.ENOLCK, NO_LOCKS) from None
            if error.errno in (errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENXIO):
                words += f": '{os.fsdecode(lock_name)}' is kept for this recording's lock"
            raise type(error)(error.errno, words) from None
    raise AssertionError


@contextlib.contextmanager
def decision(path: bytes, waits: bool = True) -> Iterator[None]:
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


__all__ = ["NO_LOCKS", "decision"]
