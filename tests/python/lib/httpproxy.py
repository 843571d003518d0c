"""An HTTP proxy before a server of this machine, which is slow or wrong on purpose."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

_RECEIVE_BYTES = 1 << 20
_HEAD_BYTES_MAX = 1 << 20


class Request(NamedTuple):
    """A request. `first` and `last` are the ends of its range, both included."""

    number: int
    method: str
    target: str
    headers: dict[str, str]
    first: int | None
    last: int | None

    @property
    def is_read(self) -> bool:
        """Whether the request is for more than the first byte of an object."""
        return self.method == "GET" and self.first is not None and self.last != 0


@dataclass
class Answer:
    """A request with its status (0 until it is known), and the bytes of both bodies."""

    request: Request
    status: int = 0
    sent: int = 0
    received: int = 0


@dataclass
class Fault:
    """
    A wrong answer. The first field that is set counts.

    Attributes
    ----------
    status : int or None
        The answer, without asking the server.
    cut : int or None
        The bytes of the body after which the connection is reset.
    stall : int or None
        The bytes of the body after which nothing comes any more.
    shift : int or None
        The bytes by which another range is answered, with the headers of the right one.
    claim : int or None
        The bytes by which the answer's `Content-Range` is wrong.
    whole : bool
        Whether the whole object is answered, with status 200.
    drop : bool
        Whether the connection is closed without an answer.
    times : int
        The number of requests.
    when : callable
        Tells whether a request is one of these.
    """

    status: int | None = None
    cut: int | None = None
    stall: int | None = None
    shift: int | None = None
    claim: int | None = None
    whole: bool = False
    drop: bool = False
    times: int = 1
    when: Callable[[Request], bool] = field(default=lambda request: request.is_read)


class _ClosedError(Exception):
    """The connection ended."""


class _Connection:
    """A socket with the bytes that were received too early."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._early = bytearray()
        self._block = memoryview(bytearray(_RECEIVE_BYTES))

    def renew(self, sock: socket.socket) -> None:
        """Go on with another socket."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._early.clear()

    def head(self) -> tuple[str, dict[str, str], list[str]]:
        """Return the first line, the headers, and the headers' lines."""
        while (end := self._early.find(b"\r\n\r\n")) < 0:
            self._more()
            if len(self._early) > _HEAD_BYTES_MAX:
                raise _ClosedError
        text = self._early[:end].decode("latin-1")
        del self._early[: end + 4]
        first, *lines = text.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return first, {name.lower(): value.strip() for name, _, value in pairs}, lines

    def _more(self) -> None:
        count = self.sock.recv_into(self._block)
        if count == 0:
            raise _ClosedError
        self._early += self._block[:count]

    def blocks(self, size: int | None) -> Iterator[memoryview | bytes]:
        """Yield the next bytes: so many, or all until the connection ends."""
        left = size
        while left is None or left > 0:
            if self._early:
                block: memoryview | bytes = bytes(self._early[:left])
                del self._early[: len(block)]
            else:
                most = _RECEIVE_BYTES if left is None else min(left, _RECEIVE_BYTES)
                count = self.sock.recv_into(self._block[:most])
                if count == 0:
                    if left is None:
                        return
                    raise _ClosedError
                block = self._block[:count]
            if left is not None:
                left -= len(block)
            yield block

    def line(self) -> bytes:
        while (end := self._early.find(b"\r\n")) < 0:
            self._more()
        found = bytes(self._early[: end + 2])
        del self._early[: end + 2]
        return found

    def chunked(self) -> Iterator[memoryview | bytes]:
        """Yield a chunked body as it comes, with the sizes and the trailers."""
        while True:
            line = self.line()
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            yield from self.blocks(size + 2)
        while (line := self.line()) != b"\r\n":
            yield line
        yield b"\r\n"

    def body(
        self, headers: dict[str, str], endless: bool
    ) -> Iterator[memoryview | bytes]:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self.chunked()
        if "content-length" in headers:
            return self.blocks(int(headers["content-length"]))
        return self.blocks(None if endless else 0)


class HttpProxy:
    """
    Forwards requests of HTTP/1.1 to a port of this machine.

    Parameters
    ----------
    port : int
        The port of the server.
    latency : float, default 0
        Seconds before each answer.
    bandwidth : float or None, default None
        Bytes a second of all answers together. None is no limit.
    """

    def __init__(
        self, port: int, latency: float = 0, bandwidth: float | None = None
    ) -> None:
        self._target = ("127.0.0.1", port)
        self.latency = latency
        self.bandwidth = bandwidth
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._faults: list[Fault] = []
        self._is_closed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._count = 0
        self.answers: list[Answer] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    # ---- for tests ----

    def fail(self, fault: Fault) -> None:
        """Answer the next requests of a kind with a fault."""
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Forget the faults."""
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Count from zero again."""
        with self._lock:
            self.answers.clear()

    def counts(self) -> dict[str, int]:
        """Return the number of requests of each method."""
        with self._lock:
            found: dict[str, int] = {}
            for answer in self.answers:
                method = answer.request.method
                found[method] = found.get(method, 0) + 1
            return found

    @property
    def sent(self) -> int:
        """The bytes of the answers' bodies."""
        with self._lock:
            return sum(answer.sent for answer in self.answers)

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges of the reads, in order, without their ends."""
        with self._lock:
            return [
                (answer.request.first, answer.request.last + 1)
                for answer in self.answers
                if answer.request.first is not None and answer.request.last is not None
            ]

    def close(self) -> None:
        self._is_closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- threads ----

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near_socket: socket.socket) -> None:
        far = None
        try:
            far = _Connection(socket.create_connection(self._target))
            with self._lock:
                self._sockets |= {near_socket, far.sock}
            near = _Connection(near_socket)
            while self._one(near, far):
                pass
        except (OSError, ValueError, _ClosedError):
            pass
        finally:
            sockets = {near_socket} if far is None else {near_socket, far.sock}
            for sock in sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            with self._lock:
                self._sockets -= sockets

    def _head(
        self, far: _Connection, asked: bytes, answer: Answer
    ) -> tuple[str, dict[str, str], list[str]]:
        """Return the head of the server's answer, on a new connection if needed."""
        try:
            return far.head()
        except (OSError, _ClosedError):
            if answer.received:
                raise
        sock = socket.create_connection(self._target)
        with self._lock:
            self._sockets = self._sockets - {far.sock} | {sock}
        far.sock.close()
        far.renew(sock)
        sock.sendall(asked)
        return far.head()

    def _fault(self, request: Request) -> Fault:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.when(request):
                    fault.times -= 1
                    return fault
        return Fault()

    def _one(self, near: _Connection, far: _Connection) -> bool:
        """Answer a request. Return whether the connection goes on."""
        line, headers, lines = near.head()
        method, target, _ = line.split(" ", 2)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        first, last = (int(span[1]), int(span[2])) if span else (None, None)
        with self._lock:
            self._count += 1
            request = Request(self._count, method, target, headers, first, last)
            answer = Answer(request)
            self.answers.append(answer)
        fault = self._fault(request)
        if "100-continue" in headers.get("expect", "").lower():
            near.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            lines = [one for one in lines if not one.lower().startswith("expect:")]
        forwarded = fault.status is None and not fault.drop
        lines = self._asked(lines, request, fault)
        asked = "\r\n".join([line, *lines, "", ""]).encode("latin-1")
        if forwarded:
            # An idle connection may have ended: then `_head` makes another one.
            with contextlib.suppress(OSError):
                far.sock.sendall(asked)
        for block in near.body(headers, endless=False):
            answer.received += len(block)
            if forwarded:
                far.sock.sendall(block)
        if self.latency:
            time.sleep(self.latency)  # sleep: the network is slow
        if not forwarded:
            return self._refuse(near, answer, fault)
        return self._answer(near, far, asked, answer, fault)

    @staticmethod
    def _asked(lines: list[str], request: Request, fault: Fault) -> list[str]:
        """Return the lines of the headers that the server gets."""
        if request.first is None or request.last is None:
            return lines
        if fault.whole:
            return [one for one in lines if not one.lower().startswith("range:")]
        if fault.shift is not None:
            moved = (
                f"Range: bytes={request.first + fault.shift}-{request.last + fault.shift}"
            )
            return [moved if one.lower().startswith("range:") else one for one in lines]
        return lines

    @staticmethod
    def _refuse(near: _Connection, answer: Answer, fault: Fault) -> bool:
        if fault.drop:
            return False
        answer.status = status = fault.status or 0
        near.sock.sendall(
            f"HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n".encode()
        )
        return True

    def _answer(
        self,
        near: _Connection,
        far: _Connection,
        asked: bytes,
        answer: Answer,
        fault: Fault,
    ) -> bool:
        request = answer.request
        line, headers, lines = self._head(far, asked, answer)
        while line.split(" ", 2)[1] == "100":
            line, headers, lines = far.head()
        answer.status = status = int(line.split(" ", 2)[1])
        lines = self._told(lines, request, fault)
        near.sock.sendall("\r\n".join([line, *lines, "", ""]).encode("latin-1"))
        has_body = request.method != "HEAD" and status not in (204, 304)
        if has_body:
            for block in far.body(headers, endless=True):
                block = self._limited(block, answer.sent, fault)
                near.sock.sendall(block)
                answer.sent += len(block)
                if fault.cut is not None and answer.sent >= fault.cut:
                    return False
                if fault.stall is not None and answer.sent >= fault.stall:
                    self._is_closed.wait()
                    return False
        closes = "close" in headers.get("connection", "").lower()
        is_framed = "content-length" in headers or "transfer-encoding" in headers
        return (
            not closes and (is_framed or not has_body) and not line.startswith("HTTP/1.0")
        )

    @staticmethod
    def _told(lines: list[str], request: Request, fault: Fault) -> list[str]:
        """Return the lines of the headers that the client gets."""
        moved = fault.claim if fault.shift is None else -fault.shift
        if moved is None:
            return lines

        def move(found: re.Match[str]) -> str:
            return f"{int(found[1]) + moved}-{int(found[2]) + moved}/"

        return [
            re.sub(r"(\d+)-(\d+)/", move, one)
            if one.lower().startswith("content-range:")
            else one
            for one in lines
        ]

    def _limited(
        self, block: memoryview | bytes, sent: int, fault: Fault
    ) -> memoryview | bytes:
        """Return as much of a block as is sent, when the bandwidth allows it."""
        limits = [one - sent for one in (fault.cut, fault.stall) if one is not None]
        if limits:
            block = block[: min(limits)]
        if self.bandwidth:
            now = time.monotonic()  # clock: of the bandwidth
            with self._lock:
                start = max(now, self._free_at)
                self._free_at = start + len(block) / self.bandwidth
                pause = self._free_at - now
            time.sleep(pause)  # sleep: the bandwidth is limited
        return block


__all__ = ["Answer", "Fault", "HttpProxy", "Request"]
