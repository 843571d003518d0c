"""
The bytes of an object that are in memory, or on their way.

A piece is the range of one request. Pieces are disjoint.

    queued ─▶ in flight ─┬─▶ arrived ─▶ published ─▶ dropped
                         └─▶ failed, and no longer in the index

A published piece is in one of two lists, or in none.

- none: a reader waits for it. It is not dropped.
- ahead: it was fetched ahead, and has unused bytes. It becomes idle once later pieces
  have twice the bytes of the budget.
- idle: any other. The least recently used piece is dropped first.

The sizes of all pieces are at most the budget, and the pieces that readers wait for. A
piece that is fetched ahead is made only if it fits beside the unused bytes of its list.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator

# Seconds after which a waiting thread runs the handlers of signals.
_LOOK = 0.5


class Latch:
    """
    An event that stays usable after an interrupt of a waiting thread.

    An interrupt can leave `threading.Event` locked. Here, each waiting thread has a lock
    of its own.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[threading.Lock] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        with contextlib.suppress(IndexError):
            while True:
                self._waiting.pop().release()

    @property
    def waiting(self) -> int:
        """The number of waiting threads."""
        return len(self._waiting)

    def wait(self) -> None:
        own = threading.Lock()
        own.acquire()
        self._waiting.append(own)
        # If `set` missed the lock, the flag is set already.
        # A signal that comes just before the wait does not end it.
        while not self._is_set and not own.acquire(timeout=_LOOK):
            pass


class Piece:
    """One request, and its answer."""

    def __init__(self, start: int, end: int, unused: int, confirms: bool) -> None:
        self.start = start
        self.end = end
        # None: not arrived.
        self.data: memoryview | None = None
        self.error: BaseException | None = None
        # Set once the piece is published or failed.
        self.done = Latch()
        # Whether it is published only after the object's identity is confirmed.
        self.confirms = confirms
        self.is_confirmed = False
        self.is_started = False
        self.is_urgent = False
        # Readers that wait for it or copy its bytes.
        self.readers = 0
        # Bytes that were fetched ahead and that no reader has used; 0 for other pieces.
        self.unused = unused
        # The count of bytes of all pieces made before it.
        self.age = 0

    @property
    def size(self) -> int:
        return self.end - self.start

    def bytes(self, start: int, end: int) -> memoryview:
        assert self.data is not None
        return self.data[start - self.start : end - self.start]


class Pieces:
    """An index of pieces with a budget. Its caller has the lock."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        # Bytes of all pieces, and the most there were after `trim`.
        self.size = 0
        self.size_max = 0
        self._made = 0
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        self._ahead: OrderedDict[Piece, None] = OrderedDict()
        self._ahead_size = 0
        self._idle: OrderedDict[Piece, None] = OrderedDict()

    def all(self) -> list[Piece]:
        return self._pieces.copy()

    def within(self, start: int, end: int) -> Iterator[tuple[Piece | None, int, int]]:
        """Yield the parts of a range with their pieces; None: no piece has the part."""
        i = max(bisect_right(self._starts, start) - 1, 0)
        while start < end:
            while i < len(self._pieces) and self._pieces[i].end <= start:
                i += 1
            piece = self._pieces[i] if i < len(self._pieces) else None
            if piece is None or piece.start >= end:
                yield None, start, end
                return
            if piece.start > start:
                yield None, start, piece.start
            stop = min(piece.end, end)
            yield piece, max(piece.start, start), stop
            start = stop

    def is_free(self, start: int, end: int) -> bool:
        return all(piece is None for piece, _, _ in self.within(start, end))

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes may be fetched ahead."""
        self._expire()
        return self._ahead_size == 0 or self._ahead_size + size <= self.budget

    def add(self, piece: Piece) -> None:
        i = bisect_left(self._starts, piece.start)
        self._starts.insert(i, piece.start)
        self._pieces.insert(i, piece)
        self.size += piece.size
        piece.age = self._made
        self._made += piece.size
        if piece.unused > 0:
            self._ahead[piece] = None
            self._ahead_size += piece.size

    def remove(self, piece: Piece) -> None:
        """Drop a piece. Readers that have it keep its bytes."""
        i = bisect_left(self._starts, piece.start)
        if i == len(self._pieces) or self._pieces[i] is not piece:
            return
        del self._starts[i], self._pieces[i]
        self.size -= piece.size
        self._leave_ahead(piece)
        self._idle.pop(piece, None)

    def pin(self, piece: Piece) -> None:
        piece.readers += 1
        self._idle.pop(piece, None)

    def unpin(self, piece: Piece, used: int) -> None:
        """Undo one `pin` of a reader that used so many bytes."""
        piece.readers -= 1
        piece.unused = max(piece.unused - used, 0)
        self.settle(piece)
        self.trim()

    def settle(self, piece: Piece) -> None:
        """Put a piece into the list of its state."""
        if piece.unused == 0:
            self._leave_ahead(piece)
        if piece.readers or piece in self._ahead or not piece.done.is_set():
            return
        i = bisect_left(self._starts, piece.start)
        if i < len(self._pieces) and self._pieces[i] is piece:
            self._idle[piece] = None

    def trim(self) -> None:
        """Drop idle pieces until the rest fits into the budget."""
        self._expire()
        while self.size > self.budget and self._idle:
            self.remove(next(iter(self._idle)))
        self.size_max = max(self.size_max, self.size)

    def clear(self) -> None:
        for piece in self.all():
            self.remove(piece)

    def _leave_ahead(self, piece: Piece) -> None:
        if piece in self._ahead:
            del self._ahead[piece]
            self._ahead_size -= piece.size

    def _expire(self) -> None:
        while self._ahead:
            oldest = next(iter(self._ahead))
            if self._made - oldest.age < 2 * self.budget:
                return
            oldest.unused = 0
            self.settle(oldest)


__all__ = ["Latch", "Piece", "Pieces"]
