"""
A local copy of a remote object, filled range by range by any number of processes.

    KEY.part     the object's bytes, sparse        ─┐  once all bytes are there
    KEY.log      the ranges that KEY.part has       ├─▶ KEY.arrows, a whole recording
    batchcorder.lock    guards the names           ─┘

KEY is a digest of the object's name and identity, so a changed object has another copy.

Invariants.

- The log has a range only after the part has its bytes. All processes write the same
  bytes at the same offsets.
- After a loss of power, the disk may have the log without the bytes. If the log is from
  another boot, both files are therefore made anew.
- KEY.arrows is synchronised before it gets its name.
- After opening, no error of the disk reaches a reader. The copy is given up, with one
  warning, and the bytes come from the store.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from .._types import StrOrBytesPath
from ._directory import Directory, File
from ._log import Log, head, write_whole
from ._ranges import Range

_logger = logging.getLogger("batchcorder")

# The bytes between two looks at the directory: a part of the limit, and at least so many.
_LOOKS = 32
_LOOK_MIN = 64 << 10
# Seconds between two updates of a copy's time of use.
_TOUCH = 60.0


def _text(name: str, identity: Any, boot: str) -> bytes:
    parts = [identity.size, identity.etag, identity.modified]
    text = {"object": name, "identity": parts, "boot": boot}
    return json.dumps(text, default=str).encode()


def _key(name: str, identity: Any) -> str:
    return sha256(_text(name, identity, "")).hexdigest()


def _boot() -> str:
    """Return the name of this boot, or a new name: no log is then trusted."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.urandom(16).hex()


class LocalCopy:
    """
    The bytes of one object that are in a directory.

    `name`: tells the object from all other objects, for example its URL.
    `limit`: bytes of all copies in the directory. None: half of the space that is free or
    that the copies use. Each process that writes may exceed the limit by a 32nd part.

    OSError: the directory cannot be used. EOPNOTSUPP: the identity has only a size.
    """

    def __init__(
        self,
        directory: StrOrBytesPath,
        name: str,
        identity: Any,
        *,
        limit: int | None = None,
    ) -> None:
        if identity.etag is None and identity.modified is None:
            words = "the store gives neither an ETag nor a time, so no local copy is kept"
            raise OSError(errno.EOPNOTSUPP, words, os.fsdecode(directory))
        self._size: int = identity.size
        self._key = _key(name, identity)
        self._lock = threading.Lock()
        self._completing = threading.Lock()
        # Bytes that may be written before the next look at the directory.
        self._room = 0
        self._reads = True
        self._writes = True
        self._has_warned = False
        self._touched = time.monotonic()
        text = _text(name, identity, _boot())
        try:
            self._directory = Directory(os.fsdecode(directory), limit)
            with self._directory.locked():
                self._part, log = self._joined(text) or self._made(text)
            self._log = Log(log, text, self._size)
        except OSError as error:
            words = f"no local copy can be kept here: {error.strerror}"
            raise OSError(error.errno, words, os.fsdecode(directory)) from None
        self._part.touch()
        # The process that wrote the last bytes may have died.
        self.complete()

    @staticmethod
    def complete_path(directory: StrOrBytesPath, name: str, identity: Any) -> str | None:
        """Return the path of the complete copy. The bound may remove the file later."""
        path = os.path.join(os.fsdecode(directory), f"{_key(name, identity)}.arrows")
        with contextlib.suppress(OSError):
            file = File(path, os.O_RDONLY)
            if file.is_regular(identity.size):
                file.touch()
                return path
        return None

    # ---- opening, under the directory's lock ----

    @property
    def _names(self) -> tuple[str, str]:
        return f"{self._key}.part", f"{self._key}.log"

    def _joined(self, text: bytes) -> tuple[File, File] | None:
        """Open the files of other processes, if the log has this text."""
        part, log = (
            self._directory.opened(name, os.O_RDWR | os.O_APPEND * name.endswith(".log"))
            for name in self._names
        )
        if part is None or log is None or not part.is_regular(self._size):
            return None
        wanted = head(text)
        return (part, log) if os.pread(log.number, len(wanted), 0) == wanted else None

    def _made(self, text: bytes) -> tuple[File, File]:
        self._directory.remove(*self._names)
        part, log = (
            self._directory.open(
                name,
                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND * name.endswith(".log"),
            )
            for name in self._names
        )
        os.ftruncate(part.number, self._size)
        write_whole(log, head(text))
        return part, log

    # ---- for the fetcher ----

    def missing(self, offset: int, size: int) -> list[Range]:
        """Return the ranges, as starts and ends, that the copy lacks."""
        try:
            if self._reads:
                return self._log.missing(offset, offset + size)
        except OSError as error:
            self._give_up(error)
        return [(offset, offset + size)] if size > 0 else []

    def read(self, offset: int, size: int) -> bytes | None:
        """Return bytes that are not missing, or None: the copy was given up."""
        if not self._reads:
            return None
        try:
            parts = []
            while size > 0:
                part = os.pread(self._part.number, size, offset)
                if not part:
                    raise OSError(errno.EIO, "the file was truncated")
                parts.append(part)
                offset += len(part)
                size -= len(part)
        except OSError as error:
            self._give_up(error)
            return None
        self._touch()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Keep bytes of the object. If there is no room for them, they are not kept."""
        size = len(data)
        try:
            if not self._writes or not self.missing(offset, size):
                return
            if not self._has_room(size):
                self._writes = False
                return
            done = 0
            while done < size:
                rest = memoryview(data)[done:]
                done += os.pwrite(self._part.number, rest, offset + done)
            self._log.append(offset, offset + size)
        except OSError as error:
            self._writes = False
            self._warn(error)

    def complete(self) -> None:
        """Give the copy its final name if it has all bytes."""
        with self._completing:
            part, log = self._names
            try:
                if not self._writes or not self._log.is_whole():
                    return
                self._writes = False
                os.fsync(self._part.number)
                with self._directory.locked():
                    if self._directory.has(part, self._part):
                        self._directory.rename(part, f"{self._key}.arrows")
                        self._directory.remove(log)
            except OSError as error:
                self._warn(error)

    def remove(self) -> None:
        """Remove the copy, because bytes of it are wrong."""
        self._reads = self._writes = False
        part, log = self._names
        try:
            with self._directory.locked():
                for name in (part, f"{self._key}.arrows"):
                    if self._directory.has(name, self._part):
                        self._directory.remove(name, log)
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Complete the copy if it has all bytes, and use it no more."""
        self.complete()
        self._reads = self._writes = False

    # ---- inside ----

    def _has_room(self, size: int) -> bool:
        """Return whether the bound allows so many bytes more."""
        with self._lock:
            if size <= self._room:
                self._room -= size
                return True
        more = max(self._directory.limit // _LOOKS, _LOOK_MIN)
        for room in (size + more, size):
            if self._directory.make_room(room, self._key):
                with self._lock:
                    self._room = room - size
                return True
        return False

    def _touch(self) -> None:
        now = time.monotonic()
        if now - self._touched > _TOUCH:
            self._touched = now
            self._part.touch()

    def _give_up(self, error: OSError) -> None:
        self._reads = self._writes = False
        self._warn(error)

    def _warn(self, error: OSError) -> None:
        with self._lock:
            has_warned, self._has_warned = self._has_warned, True
        if not has_warned:
            _logger.warning("the local copy of a remote recording is given up: %s", error)


__all__ = ["LocalCopy"]
