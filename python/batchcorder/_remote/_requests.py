"""
The threads that send requests to a store, and ask for the object's identity.

                 urgent ─┐
    queued ──────────────┼─▶ read, again after a transient error ─▶ arrived
                 ahead ──┘                                             │
                             the store checks each read, or opening ───┤
                                                                       ▼
    published ◀── written to the local copy ◀── the identity is the same ◀── asked

One call of `renewed_identity` confirms all answers that arrived before it began. Answers
that arrive during the call wait for the next call.

A thread ends when there is no work, so an idle fetcher has no threads. The lock guards
the queues, the state of all pieces, and their index. It is never held during a call of
the store or of the local copy.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from ._local import LocalCopy
from ._pieces import Latch, Piece, Pieces
from ._store_errors import is_transient, store_error

T = TypeVar("T")

# Calls of the store for one request.
_TRIES = 5
# Seconds before the second call. Each further pause is twice as long.
_PAUSE = 0.2
# Read-ahead leaves this part of all requests to readers.
_RESERVED = 4
# Confirmations at the same time. With one, an answer would wait for two round trips.
_CONFIRMATIONS = 2
# Seconds that a process waits for its requests when it exits.
_EXIT_MAX = 5.0


class Store(Protocol):
    """The object, as this package's stores give it."""

    url: str
    checks_reads: bool

    def renewed_identity(self) -> Any: ...
    def read(self, offset: int, size: int) -> Any: ...
    def close(self) -> None: ...


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def repeated(call: Callable[[], T], pause: Callable[[float], bool] = _slept) -> T:
    """
    Call the store, and again after a pause if the error is transient.

    `pause`: waits for seconds, and returns whether the error is raised at once.
    """
    for number in range(_TRIES):
        try:
            return call()
        except OSError as error:
            is_last = number == _TRIES - 1 or not is_transient(error)
            if is_last or pause(_PAUSE * 2**number * random.uniform(0.5, 1.0)):
                raise
    raise AssertionError


class _Own(threading.local):
    is_own = False


_own = _Own()


def is_own_thread() -> bool:
    """Return whether this thread is one that sends requests."""
    return _own.is_own


class Requests:
    """The queue of pieces and the threads that fetch them."""

    def __init__(
        self,
        store: Store,
        identity: Any,
        pieces: Pieces,
        local: LocalCopy | None,
        requests: int,
    ) -> None:
        self.lock = threading.Lock()
        self.process = os.getpid()
        # Why no request can be made any more: closed, or the object has changed.
        self.error: OSError | None = None
        self._store = store
        self._identity = identity
        self._pieces = pieces
        self._local = local
        self._requests = requests
        self._ahead_max = max(requests - requests // _RESERVED, 1)
        self._ahead_running = 0
        self._urgent: deque[Piece] = deque()
        self._ahead: deque[Piece] = deque()
        self._arrived: list[Piece] = []
        self._confirming = 0
        self._threads: set[threading.Thread] = set()
        self._is_dropped = False
        self._closing = threading.Event()
        _all.add(self)

    # ---- with the lock ----

    def start(self, pieces: Iterable[Piece], urgent: bool) -> None:
        """Queue new pieces."""
        for piece in pieces:
            piece.is_urgent = urgent
            (self._urgent if urgent else self._ahead).append(piece)
        self._hire()

    def hasten(self, piece: Piece) -> None:
        """Put a piece, for which a reader waits, before all read-ahead."""
        if piece.is_started or piece.done.is_set():
            return
        if not piece.is_urgent:
            piece.is_urgent = True
            self._urgent.append(piece)
        # Also for an urgent piece: the call that queued it may have been interrupted.
        self._hire()

    def confirm(self, piece: Piece) -> None:
        """Confirm a piece that was published for opening alone."""
        piece.confirms = True
        piece.done = Latch()
        self._arrived.append(piece)
        self._hire()

    def fail(self, error: OSError) -> None:
        """End all pieces with the error, and refuse further ones."""
        self.error = self.error or error
        self._end_all(self.error)

    def _end_all(self, error: OSError) -> None:
        self._urgent.clear()
        self._ahead.clear()
        self._arrived.clear()
        for piece in self._pieces.all():
            self._end(piece, error)

    def _end(self, piece: Piece, error: BaseException | None) -> None:
        if piece.done.is_set():
            return
        piece.error = error
        if error is not None:
            self._pieces.remove(piece)
        piece.done.set()
        self._pieces.settle(piece)

    def _hire(self) -> None:
        """Start a thread for each piece of work, up to the limit. EAGAIN: none runs."""
        wanted = len(self._urgent) + len(self._ahead) + bool(self._arrived)
        for _ in range(min(wanted, self._requests - len(self._threads))):
            name = "batchcorder-remote"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except BaseException as error:
                # An interrupted thread that runs in spite of it discards itself.
                self._threads.discard(thread)
                if not isinstance(error, RuntimeError):
                    raise
                if self._threads:
                    return
                words = f"no thread can be started: {error}"
                failure = OSError(errno.EAGAIN, words, self._store.url)
                self._end_all(failure)
                raise failure from None

    def _next(self) -> Callable[[], None] | None:
        """Take the next work from the queues."""
        if self._is_dropped:
            return None
        if self._arrived and self._confirming < _CONFIRMATIONS:
            self._confirming += 1
            arrived, self._arrived = self._arrived, []
            return partial(self._confirm, arrived)
        while self._urgent:
            piece = self._urgent.popleft()
            if not piece.is_started:
                piece.is_started = True
                return partial(self._fetch, piece)
        while self._ahead and self._ahead_running < self._ahead_max:
            piece = self._ahead.popleft()
            if not piece.is_started:
                piece.is_started = True
                self._ahead_running += 1
                return partial(self._fetch, piece, is_ahead=True)
        return None

    # ---- in a thread, without the lock ----

    def _run(self) -> None:
        _own.is_own = True
        try:
            while (work := self._take()) is not None:
                work()
        finally:
            with self.lock:
                self._threads.discard(threading.current_thread())

    def _take(self) -> Callable[[], None] | None:
        with self.lock:
            work = self._next()
            if work is None:
                # At once, or new work would count on this thread.
                self._threads.discard(threading.current_thread())
            return work

    def _fetch(self, piece: Piece, is_ahead: bool = False) -> None:
        call = partial(self._read, piece.start, piece.size)
        piece.data, error = self._outcome(call)
        with self.lock:
            self._ahead_running -= is_ahead
            if self._failed([piece], error):
                return
            if piece.confirms and not self._store.checks_reads:
                self._arrived.append(piece)
                return
        self._publish([piece], is_confirmed=self._store.checks_reads)

    def _read(self, offset: int, size: int) -> memoryview:
        data = memoryview(self._store.read(offset, size)).toreadonly().cast("B")
        if len(data) != size:
            words = f"the store sent {len(data)} bytes of {size} at byte {offset}"
            raise OSError(errno.ECONNRESET, words, self._store.url)
        return data

    def _confirm(self, pieces: list[Piece]) -> None:
        identity, error = self._outcome(self._store.renewed_identity)
        if error is None and not self._identity.is_same(identity):
            error = store_error(errno.ESTALE, self._store.url)
        with self.lock:
            self._confirming -= 1
            self._hire()
            if self._failed(pieces, error):
                return
        self._publish(pieces, is_confirmed=True)

    def _failed(self, pieces: list[Piece], error: BaseException | None) -> bool:
        """End pieces with an error, if there is one."""
        if isinstance(error, OSError) and error.errno == errno.ESTALE:
            self.fail(error)
        error = self.error or error
        if error is not None:
            for piece in pieces:
                self._end(piece, error)
        return error is not None

    def _publish(self, pieces: list[Piece], is_confirmed: bool) -> None:
        local = self._local if is_confirmed else None
        error: BaseException | None = None
        try:
            if local is not None:
                for piece in pieces:
                    local.write(piece.start, piece.bytes(piece.start, piece.end))
        except BaseException as failure:
            error = failure
        with self.lock:
            if self._failed(pieces, error):
                return
            for piece in pieces:
                piece.is_confirmed = is_confirmed
                self._end(piece, None)
            self._pieces.trim()
        if local is not None:
            local.complete()

    def _outcome(
        self, call: Callable[[], T]
    ) -> tuple[T, None] | tuple[None, BaseException]:
        """Call the store, and again after a pause if the error is transient."""
        try:
            return repeated(call, self._closing.wait), None
        except OSError as error:
            return None, error.with_traceback(None)
        except BaseException as error:
            return None, error

    # ---- the end ----

    def drop(self) -> None:
        """End the threads after their requests. This takes no lock, for finalizers."""
        self._is_dropped = True

    def close(self) -> None:
        """Fail all pieces. Requests in flight end later, and nothing waits for them."""
        with self.lock:
            words = "the recording is closed"
            self.fail(OSError(errno.ECANCELED, words, self._store.url))
            self._pieces.clear()
        self._closing.set()

    def join(self, end: float) -> None:
        """Wait for the threads until the monotonic time `end`."""
        with self.lock:
            threads = [*self._threads]
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))


_all: weakref.WeakSet[Requests] = weakref.WeakSet()


def _close_all() -> None:
    """Close all fetchers. A thread in a library's code could abort the exit."""
    end = time.monotonic() + _EXIT_MAX
    found = [one for one in list(_all) if one.process == os.getpid()]
    for requests in found:
        requests.close()
    for requests in found:
        with contextlib.suppress(RuntimeError):
            requests.join(end)


atexit.register(_close_all)

__all__ = ["Requests", "Store", "is_own_thread", "repeated"]
