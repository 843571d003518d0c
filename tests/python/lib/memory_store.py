"""An object in memory as a store, with faults and waits that a test injects."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable
from typing import NamedTuple

URL = "memory://bucket/object"


class Identity(NamedTuple):
    size: int
    etag: str | None
    modified: int | None

    def is_same(self, other: Identity) -> bool:
        return self == other


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def ignore(_number: int) -> None:
    """Do nothing before a call of the store."""


class MemoryStore:
    """
    An object that counts its calls.

    `before(number)` is called in call `number` of `read` or `renewed_identity`. It may
    raise, wait, or change the object. The ETag changes with the content.
    """

    url = URL

    def __init__(
        self,
        data: bytes,
        checks_reads: bool = True,
        before: Callable[[int], object] = ignore,
    ) -> None:
        self.data = data
        self.checks_reads = checks_reads
        self.before = before
        self.version = 0
        self.calls = 0
        self.requests: list[tuple[int, int]] = []
        self.confirmations = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.is_closed = False
        self._lock = threading.Lock()
        self.identity = self._identity()

    def _identity(self) -> Identity:
        return Identity(len(self.data), f"v{self.version}", None)

    def change(self, data: bytes) -> None:
        """Replace the object."""
        self.version += 1
        self.data = data

    def _call(self) -> None:
        with self._lock:
            number = self.calls
            self.calls += 1
        self.before(number)

    def renewed_identity(self) -> Identity:
        with self._lock:
            self.confirmations += 1
        self._call()
        return self._identity()

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self.requests.append((offset, size))
            self.in_flight += 1
            self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            self._call()
            if self.checks_reads and self._identity() != self.identity:
                raise OSError(errno.ESTALE, "the ETag has changed", self.url)
            return self.data[offset : offset + size]
        finally:
            with self._lock:
                self.in_flight -= 1

    def close(self) -> None:
        self.is_closed = True

    @property
    def fetched(self) -> int:
        """Return the bytes of all requests."""
        return sum(size for _, size in self.requests)


__all__ = ["URL", "Identity", "MemoryStore", "content"]
