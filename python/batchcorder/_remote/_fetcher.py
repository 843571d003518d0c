"""
The bytes of a remote object, for the core.

    core ─▶ Fetcher ─┬─▶ local copy
                     ├─▶ pieces in memory
                     └─▶ requests ─▶ threads ─▶ store
                             ▲
    ahead, window ───────────┘

Ownership. A fetcher owns its store and its local copy, and closes them. A reader keeps
its pieces in the index while it waits and copies. The caller's buffers are slices of
a piece, and keep its bytes after the piece is dropped.

Invariants.

- A byte is in one piece at most, so no byte is requested twice at the same time.
- All returned bytes belong to the identity. Either the store checks it in each read,
  or the server confirms it after the answer arrived. Reads within `unconfirmed` are
  excepted.
- If the object has changed, all further reads raise ESTALE.
- A fork's child has no threads. There, all reads raise ECANCELED.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ._local import LocalCopy
from ._pieces import Piece, Pieces
from ._ranges import Range, joined, split
from ._requests import Requests, Store, is_own_thread
from ._window import Window

# A part of a range, and its piece. None: the local copy has it.
_Part = tuple[Piece | None, int, int]
# The parts of each range. None: some are missing.
_Found = list[list[_Part] | None]

_MEMORY = 256 << 20
_REQUESTS = 16
# The schema of most recordings.
_HEAD = 16 << 10
# The trailer of most recordings. It grows with the count of batches.
_TAIL_MIN = 64 << 10
_TAIL_MAX = 1 << 20
_TAIL_PART = 1024
# A smaller object is fetched whole when it is opened.
_SMALL = 128 << 10


class Fetcher:
    """
    Reads ranges of one object by few requests, several at once.

    `memory`: budget of the bytes kept in memory. `requests`: the most requests in flight.
    """

    def __init__(
        self,
        store: Store,
        identity: Any,
        *,
        local: LocalCopy | None = None,
        memory: int = _MEMORY,
        requests: int = _REQUESTS,
    ) -> None:
        self.size: int = identity.size
        self.pieces = Pieces(memory)
        self._store = store
        self._local = local
        self._requests = Requests(store, identity, self.pieces, local, requests)
        self._window = Window(memory // 4)
        self._opening = 0

    # ---- for the core ----

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Return the bytes of each range, given as offset and size."""
        wanted = self._checked(ranges)
        while True:
            requests = self._usable()
            # Not in a generator: an interrupt's traceback would keep the lock.
            with requests.lock:
                self._check()
                trusts = self._opening > 0
                found = self._started(wanted, urgent=True)
                used = _used(found)
                for piece in used:
                    self.pieces.pin(piece)
                    requests.hasten(piece)
                if not trusts:
                    self._fetch_window(wanted)
                # Only now: the readers have pinned their pieces.
                self.pieces.trim()
            data = None
            try:
                for piece in used:
                    piece.done.wait()
                    if piece.error is not None:
                        raise _again(piece.error, self._store.url)
                # An answer for opening alone is not confirmed yet.
                if _are_ready(found, trusts):
                    data = self._joined(found)
            finally:
                self._unpin(used, data is not None)
            if data is not None:
                return data

    def ahead(self, ranges: Sequence[tuple[int, int]]) -> bool | None:
        """
        Fetch ranges in the background, and return whether all are there.

        None: the memory has no room for them all.
        """
        wanted = self._checked(ranges)
        with self._usable().lock:
            self._check()
            found = self._started(wanted, urgent=False)
            self.pieces.trim()
            if None in found:
                return None
            return _are_ready(found, self._opening > 0)

    def distrust(self) -> None:
        """Forget all bytes, and remove the local copy: a checksum was wrong."""
        with self._usable().lock:
            # Also the pieces on their way: a reader may have had their bytes already,
            # from the local copy.
            self.pieces.clear()
        if self._local is not None:
            self._local.remove()

    def close(self) -> None:
        """Fail the reads that wait, and end the threads after their requests."""
        if self._requests.process != os.getpid():
            return
        if is_own_thread():
            # A collection of garbage in a thread that may have our locks.
            self._requests.drop()
            return
        self._requests.close()
        if self._local is not None:
            self._local.close()
        self._store.close()

    def __del__(self) -> None:
        requests = getattr(self, "_requests", None)
        if requests is not None:
            requests.drop()

    # ---- opening ----

    @contextlib.contextmanager
    def unconfirmed(self) -> Iterator[None]:
        """Return bytes without confirmation: the file's checksums tie them together."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    def prefetch_opening(self) -> None:
        """Request the first bytes, with the schema, and the last, with the trailer."""
        tail = min(max(self.size // _TAIL_PART, _TAIL_MIN), _TAIL_MAX)
        wanted = [(0, min(_HEAD, self.size)), (max(self.size - tail, 0), self.size)]
        if self.size <= _SMALL:
            wanted = [(0, self.size)]
        with self.unconfirmed(), self._usable().lock:
            self._check()
            self._started(wanted, urgent=True)
            self.pieces.trim()

    # ---- with the lock ----

    def _usable(self) -> Requests:
        """Return the requests. ECANCELED: in a fork's child, which may not lock them."""
        if self._requests.process != os.getpid():
            words = "the recording was opened before a fork: open it again"
            raise OSError(errno.ECANCELED, words, self._store.url)
        return self._requests

    def _check(self) -> None:
        if self._requests.error is not None:
            raise _again(self._requests.error, self._store.url)

    def _started(self, wanted: list[Range], urgent: bool) -> _Found:
        """
        Start requests for missing bytes, and return the parts of each range.

        The parts are None if a range does not fit into the memory for read-ahead.
        """
        found, missing = self._look(wanted)
        if missing:
            self._start(missing, urgent)
            found, missing = self._look(wanted)
        for piece in _used(found):
            if not self._opening and not piece.is_confirmed:
                if piece.done.is_set():
                    self._requests.confirm(piece)
                piece.confirms = True
        return found

    def _look(self, wanted: list[Range]) -> tuple[_Found, list[Range]]:
        found: _Found = []
        missing: list[Range] = []
        for start, end in wanted:
            parts: list[_Part] = []
            before = len(missing)
            at = start
            for low, high in self._holes(start, end):
                if at < low:
                    parts.append((None, at, low))
                for piece, first, last in self.pieces.within(low, high):
                    if piece is None:
                        missing.append((first, last))
                    parts.append((piece, first, last))
                at = high
            if at < end:
                parts.append((None, at, end))
            found.append(parts if len(missing) == before else None)
        return found, missing

    def _holes(self, start: int, end: int) -> list[Range]:
        if self._local is None:
            return [(start, end)]
        return self._local.missing(start, end - start)

    def _start(self, missing: list[Range], urgent: bool) -> None:
        new = []
        for request in joined(missing, self.pieces.is_free):
            for start, end, wanted in split(*request):
                if not urgent and not self.pieces.has_room(end - start):
                    break
                unused = 0 if urgent else wanted
                piece = Piece(start, end, unused, confirms=not self._opening)
                self.pieces.add(piece)
                new.append(piece)
        with contextlib.nullcontext() if urgent else contextlib.suppress(OSError):
            self._requests.start(new, urgent)

    def _fetch_window(self, wanted: list[Range]) -> None:
        window = self._window.after(wanted)
        if window is not None and window[0] < self.size:
            self._started([(window[0], min(window[1], self.size))], urgent=False)

    # ---- without the lock ----

    def _checked(self, ranges: Sequence[tuple[int, int]]) -> list[Range]:
        for offset, size in ranges:
            if offset < 0 or size < 0 or offset + size > self.size:
                words = f"bytes {offset} to {offset + size} are outside the object"
                raise OSError(errno.EINVAL, words, self._store.url)
        return [(offset, offset + size) for offset, size in ranges]

    def _joined(self, found: _Found) -> list[bytes | memoryview] | None:
        """Return the bytes of all ranges, or None: the local copy was given up."""
        data = []
        for parts in found:
            assert parts is not None
            buffers = [self._bytes(*part) for part in parts]
            known = [one for one in buffers if one is not None]
            if len(known) < len(buffers):
                return None
            data.append(known[0] if len(known) == 1 else b"".join(known))
        return data

    def _bytes(
        self, piece: Piece | None, start: int, end: int
    ) -> bytes | memoryview | None:
        if piece is not None:
            return piece.bytes(start, end)
        assert self._local is not None
        return self._local.read(start, end - start)

    def _unpin(self, used: Counter[Piece], is_read: bool) -> None:
        with self._requests.lock:
            for piece, size in used.items():
                self.pieces.unpin(piece, size if is_read else 0)


def _used(found: _Found) -> Counter[Piece]:
    """Return the pieces of all parts, and the bytes of each that the parts have."""
    used = Counter[Piece]()
    for parts in found:
        for piece, start, end in parts or ():
            if piece is not None:
                used[piece] += end - start
    return used


def _are_ready(found: _Found, trusts: bool) -> bool:
    return None not in found and all(
        piece.done.is_set() and (trusts or piece.is_confirmed) for piece in _used(found)
    )


def _again(error: BaseException, url: str) -> OSError:
    """Return a new error for another reader, so that no traceback grows."""
    if isinstance(error, OSError) and error.errno is not None:
        words = error.strerror or os.strerror(error.errno)
        return OSError(error.errno, words, error.filename or url)
    again = OSError(errno.EIO, f"{type(error).__name__}: {error}", url)
    again.__cause__ = error
    return again


__all__ = ["Fetcher"]
