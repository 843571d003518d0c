"""
The directory of local copies: its files, their names and the bound of their bytes.

Names change only under the lock of the file `batchcorder.lock`. A file in use may lose
its name. Its users go on with the open file, which the system frees after the last user.

Only files named as copies are counted and removed. All files are opened relative to the
directory, links are not followed, and only regular files are used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

_LOCK = "batchcorder.lock"
_OURS = re.compile(r"([0-9a-f]{64})\.(?:part|log|arrows)")
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Errors of opening a name that has no regular file.
_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO}
# Seconds that a thread waits for the lock, and between two tries.
_LOCK_MAX = 10.0
_LOCK_PAUSE = 0.002
# The size of a block in `st_blocks`.
_BLOCK = 512


class _Locking(threading.local):
    """Whether this thread has the lock of a directory."""

    is_locked = False


_locking = _Locking()


class File:
    """A descriptor. It is closed when no thread uses it any more."""

    def __init__(self, name: str, flags: int, directory: int | None = None) -> None:
        self.number = -1
        self.number = os.open(name, flags | _FLAGS, 0o666, dir_fd=directory)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)

    @property
    def stat(self) -> os.stat_result:
        return os.fstat(self.number)

    def is_regular(self, size: int | None = None) -> bool:
        """Return whether this is a regular file, of this size."""
        found = self.stat
        return stat.S_ISREG(found.st_mode) and size in (None, found.st_size)

    def touch(self) -> None:
        """Update the time of use, and not the time of the last change."""
        with contextlib.suppress(OSError):
            os.utime(self.number, ns=(time.time_ns(), self.stat.st_mtime_ns))


class _Usage(NamedTuple):
    """The files of one copy."""

    used_ns: int
    size: int
    names: list[str]


def _wait_for_lock(file: File) -> None:
    end = time.monotonic() + _LOCK_MAX
    while True:
        try:
            return fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                words = f"another process keeps the lock of '{_LOCK}'"
                raise TimeoutError(errno.ETIMEDOUT, words) from None
        time.sleep(_LOCK_PAUSE)


class Directory:
    """A directory, made if it is missing. OSError: it cannot be used."""

    def __init__(self, path: str, limit: int | None) -> None:
        os.makedirs(path, exist_ok=True)
        self._file = File(path, os.O_RDONLY | os.O_DIRECTORY)
        with self.locked():
            self.limit = self._half() if limit is None else limit

    def _half(self) -> int:
        """Return half of the space that the file system would have without the copies."""
        system = os.fstatvfs(self._file.number)
        copies = sum(one.size for one in self._usage().values())
        return (system.f_bavail * system.f_frsize + copies) // 2

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """
        Keep other processes and threads from changing names.

        EDEADLK: a finalizer, in a thread that has the lock.
        ETIMEDOUT: another process has kept the lock for long, for example a stopped one.
        """
        if _locking.is_locked:
            raise OSError(errno.EDEADLK, os.strerror(errno.EDEADLK))
        lock = self.open(_LOCK, os.O_RDWR | os.O_CREAT)
        _locking.is_locked = True
        try:
            _wait_for_lock(lock)
            yield
        finally:
            _locking.is_locked = False
            # By its word, not by closing: a fork's child may have the descriptor too.
            fcntl.flock(lock.number, fcntl.LOCK_UN)

    def open(self, name: str, flags: int) -> File:
        file = File(name, flags, self._file.number)
        if not file.is_regular():
            raise OSError(errno.EINVAL, "the name belongs to no regular file", name)
        return file

    def opened(self, name: str, flags: int) -> File | None:
        """Open a file, or return None: the name has no regular file."""
        try:
            return self.open(name, flags)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise

    def rename(self, old: str, new: str) -> None:
        number = self._file.number
        os.rename(old, new, src_dir_fd=number, dst_dir_fd=number)

    def remove(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._file.number)

    def has(self, name: str, file: File) -> bool:
        """Return whether the name belongs to the file."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self._named(name), file.stat)
        return False

    def make_room(self, size: int, kept: str) -> bool:
        """
        Remove the copies that were used least recently, until `size` bytes fit.

        `kept`: the key of the copy that is not removed.
        """
        with self.locked():
            copies = self._usage()
            total = size + sum(one.size for one in copies.values())
            for key, copy in sorted(copies.items(), key=lambda item: item[1]):
                if total > self.limit and key != kept:
                    self.remove(*copy.names)
                    total -= copy.size
            return total <= self.limit

    def _named(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._file.number, follow_symlinks=False)

    def _usage(self) -> dict[str, _Usage]:
        """Return the files of each copy by its key."""
        copies: dict[str, _Usage] = {}
        for name in os.listdir(self._file.number):
            match = _OURS.fullmatch(name)
            if match is None:
                continue
            try:
                found = self._named(name)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                used, size, names = copies.get(match[1], _Usage(0, 0, []))
                used = max(used, found.st_atime_ns, found.st_mtime_ns)
                size += found.st_blocks * _BLOCK
                copies[match[1]] = _Usage(used, size, [*names, name])
        return copies


__all__ = ["Directory", "File"]
