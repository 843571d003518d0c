"""
The log of the ranges that a local copy has.

    log ::= head entry*
    head ::= magic, size of the text, text
    entry ::= start, end, checksum of the text and of this range

The text names the object, its identity and the boot. A process appends an entry after it
has written the bytes, and reads the entries of other processes when the log has grown. If
an entry is torn, its checksum is wrong. The next entry is then looked for at each byte.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib

from ._directory import File
from ._ranges import Range, Ranges

_MAGIC = b"bcrange1"
_SIZE = struct.Struct("<I")
_PAIR = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")
_ENTRY_SIZE = _PAIR.size + _CHECK.size
# Entries that are read at a time.
_ENTRIES = 1 << 16


def head(text: bytes) -> bytes:
    return _MAGIC + _SIZE.pack(len(text)) + text


def write_whole(file: File, data: bytes) -> None:
    """Append bytes in one write."""
    if os.write(file.number, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Log:
    """The log with this text, opened for appending. `size`: the object's bytes."""

    def __init__(self, file: File, text: bytes, size: int) -> None:
        self._file = file
        self._size = size
        self._seed = zlib.crc32(text)
        self._at = len(head(text))
        self._lock = threading.Lock()
        self._ranges = Ranges()

    def missing(self, start: int, end: int) -> list[Range]:
        """Return the ranges that neither this process nor another has appended."""
        with self._lock:
            holes = self._ranges.missing(start, end)
            if holes and self._refresh():
                holes = self._ranges.missing(start, end)
            return holes

    def is_whole(self) -> bool:
        """Return whether the copy has all bytes."""
        with self._lock:
            if not self._ranges.has(0, self._size):
                self._refresh()
            return self._ranges.has(0, self._size)

    def append(self, start: int, end: int) -> None:
        write_whole(self._file, self._entry(start, end))
        with self._lock:
            self._ranges.add(start, end)

    def _entry(self, start: int, end: int) -> bytes:
        pair = _PAIR.pack(start, end)
        return pair + _CHECK.pack(zlib.crc32(pair, self._seed))

    def _refresh(self) -> bool:
        """Read new entries, with the lock. Return whether there are any."""
        has_grown = False
        while self._file.stat.st_size >= self._at + _ENTRY_SIZE:
            data = os.pread(self._file.number, _ENTRIES * _ENTRY_SIZE, self._at)
            i = 0
            while i + _ENTRY_SIZE <= len(data):
                start, end = _PAIR.unpack_from(data, i)
                is_range = start < end <= self._size
                if is_range and data.startswith(self._entry(start, end), i):
                    self._ranges.add(start, end)
                    has_grown = True
                    i += _ENTRY_SIZE
                else:
                    i += 1
            self._at += i
            if i == 0:
                break
        return has_grown


__all__ = ["Log", "head", "write_whole"]
