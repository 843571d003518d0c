"""A TCP proxy that breaks connections: at a byte, at once, or by silence."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

# An endless connection.
NEVER = 1 << 62


class Proxy:
    """
    Forwards connections to a port of this machine.

    `limits` has a number of bytes for each connection, in order: after so many bytes, in
    both directions together, the connection is reset. Later connections are not broken.
    """

    def __init__(self, port: int, limits: Iterable[int] = ()) -> None:
        self._target = ("127.0.0.1", port)
        self._limits: Iterator[int] = itertools.chain(limits, itertools.repeat(NEVER))
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._spoken = threading.Event()
        self._spoken.set()
        self.connections = 0
        self.broken = 0
        self.bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                left = [next(self._limits)]
                with self._lock:
                    self.connections += 1
                    self._pairs.append((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._pump, args=(*pair, left), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                # A machine that vanished: nothing comes, and nothing is closed.
                self._spoken.wait()
                with self._lock:
                    part = data[: left[0]]
                    left[0] -= len(part)
                    is_over = left[0] <= 0
                    self.bytes += len(part)
                    self.broken += is_over and len(part) > 0
                sink.sendall(part)
                if is_over:
                    break
        self._reset(source, sink)

    @staticmethod
    def _reset(*pair: socket.socket) -> None:
        for one in pair:
            with contextlib.suppress(OSError):
                one.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def break_all(self) -> None:
        """Reset all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._reset(*pair)

    def silence(self, is_silent: bool) -> None:
        """Forward nothing more, on any connection, or go on."""
        (self._spoken.clear if is_silent else self._spoken.set)()

    def retarget(self, port: int) -> None:
        """Forward later connections to another port."""
        self._target = ("127.0.0.1", port)

    def close(self) -> None:
        self._listener.close()
        self._spoken.set()
        self.break_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


__all__ = ["NEVER", "Proxy"]
