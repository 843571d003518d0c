"""
The server: starts, refuses new streams, and ends.

    close() ─▶ no new streams ─▶ streams of complete recordings end ─┬─▶ stopped
               followers get FlightUnavailableError                  │
                                             after `timeout` seconds └─▶ connections are
                                                                         shut down
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow as pa

from .._arguments import count, flag, size
from .._types import StrOrBytesPath
from ._access import TokenCheck, check_location, pem, token_bytes
from ._names import Names
from ._service import Service

# Attempts to end the connections of clients that read nothing, a second apart.
_TRIES = 10


class _Ending:
    """
    Ends a server: by close(), when it is dropped, or when the interpreter ends.

    pyarrow waits for all streams, in a thread. The thread is there from the beginning,
    because an interpreter starts no thread at its end.
    """

    def __init__(self, service: Service, location: str) -> None:
        self._service = service
        self._location = location
        # gRPC's server must not be used in the child of a fork.
        self._process = os.getpid()
        self._begun, self._ended = threading.Event(), threading.Event()
        name = "batchcorder-flight-ending"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        self._begun.wait()
        self._service.shutdown()
        self._ended.set()

    def __call__(self, timeout: float = 0.0) -> None:
        if os.getpid() != self._process:
            return
        self._service.refuse()
        self._begun.set()
        try:
            self._ended.wait(timeout)
        finally:
            for _ in range(_TRIES):
                if self._ended.is_set():
                    break
                # A client that reads nothing would keep its stream for ever.
                _shut_down_connections(self._location, self._service.port)
                self._ended.wait(1.0)
            self._service.discard()


class Server:
    """
    A running server, made by :func:`serve`.

    It is a context manager, which closes it. All methods may be called by any thread.

    Attributes
    ----------
    location : str
        The URI under which clients connect.

    Examples
    --------
    >>> import tempfile
    >>> from batchcorder import flight
    >>> with flight.serve(tempfile.mkdtemp()) as server:
    ...     with flight.connect(server.location) as client:
    ...         client.list()
    []
    """

    def __init__(self, service: Service, location: str) -> None:
        self.location = location
        if urlsplit(location).port == 0:
            self.location = f"{location.rpartition(':')[0]}:{service.port}"
        self._end = _Ending(service, self.location)
        self._finalizer = weakref.finalize(self, self._end)

    def close(self, timeout: float = 30.0) -> None:
        """
        Stop the server.

        New streams are refused, and followers get an error, after which they may connect
        to another server. Streams of complete recordings and uploads may end.

        Parameters
        ----------
        timeout : float, default 30.0
            Seconds until the connections of unfinished streams are closed.

        Examples
        --------
        >>> import tempfile
        >>> from batchcorder import flight
        >>> server = flight.serve(tempfile.mkdtemp())
        >>> server.close()
        """
        self._end(timeout)
        self._finalizer.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<batchcorder.flight.Server at {self.location}>"


def _shut_down_connections(location: str, port: int) -> None:
    """End the connections of this process's server at a location."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), _socket_of(int(number)) as one:
            if _is_at(one, location, port):
                one.getpeername()
                one.shutdown(socket.SHUT_RDWR)


def _is_at(one: socket.socket, location: str, port: int) -> bool:
    """Return whether a socket has the address of a server as its own."""
    parts = urlsplit(location)
    if one.family == socket.AF_UNIX:
        return parts.scheme == "grpc+unix" and one.getsockname() == parts.path
    if one.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host, own = one.getsockname()[:2]
    if own != port:
        return False
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return True
    return address.is_unspecified or host.removeprefix("::ffff:") == str(address)


def _socket_of(number: int) -> socket.socket:
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _check_unused(location: str) -> None:
    # The library would take the path from a running server.
    with socket.socket(socket.AF_UNIX) as one:
        if one.connect_ex(urlsplit(location).path) == 0:
            words = os.strerror(errno.EADDRINUSE)
            raise OSError(errno.EADDRINUSE, words, location)


def _refusal(location: str) -> Exception:
    """Return why the system refuses an address; the library does not tell."""
    parts = urlsplit(location)
    if parts.scheme == "grpc+unix":
        return OSError(errno.EADDRNOTAVAIL, "the server cannot be started", location)
    try:
        for family, kind, _, _, address in socket.getaddrinfo(
            parts.hostname, parts.port or 0, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind) as one:
                one.bind(address)
    except OSError as error:
        return type(error)(error.errno, error.strerror or str(error), location)
    if parts.scheme == "grpc+tls":
        return ValueError("argument 'tls': the certificate or the key is invalid")
    return OSError(errno.EADDRNOTAVAIL, "the server cannot be started", location)


def serve(
    paths_or_directory: StrOrBytesPath | Sequence[StrOrBytesPath],
    location: str = "grpc://127.0.0.1:0",
    *,
    token: str | None = None,
    tls: tuple[Any, Any] | None = None,
    writable: bool = False,
    max_streams: int | None = None,
    max_message_bytes: int | str = 1 << 30,
) -> Server:
    """
    Serve recordings over Arrow Flight, in threads of this process.

    Any Flight client lists and reads the recordings. They are read from the mapped files
    and not copied. A recording that another process writes is sent while it grows.

    Parameters
    ----------
    paths_or_directory : path or sequence of paths
        A directory, a file, or several of these. Of a directory, all Arrow IPC files
        below it are served, but no hidden files and no links. A recording's name is its
        path below the directory. Of several paths, each name begins with the path's last
        component.
    location : str, default 'grpc://127.0.0.1:0'
        The address: 'grpc://host:port', 'grpc+tls://host:port' or 'grpc+unix:///path'.
        Port 0: a free port.
    token : str, optional
        Clients must send this token in the header ``authorization: Bearer TOKEN``.
        Without TLS, the network can read it. None (default): no token.
    tls : tuple of certificate and key, optional
        PEM text, or paths of PEM files. None (default): no TLS.
    writable : bool, default False
        Let clients record new recordings. They cannot change or remove recordings.
    max_streams : int, optional
        Streams at the same time; each has a thread. Further ones are refused: a client of
        this package tries again. None (default): no limit.
    max_message_bytes : int or str, default 1 GiB
        Larger batches are sent as several messages, and clients must not send them. Some
        clients accept only messages of up to 4 MiB.

    Returns
    -------
    Server
        The running server. Close it, or use it as a context manager.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    OSError
        The address is in use, or not an address of this machine.
    ValueError
        Two paths would have the same name, or an argument has a wrong value.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> from batchcorder import flight
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": [1, 2, 3]}), path): pass
    >>> with flight.serve(path) as server, flight.connect(server.location) as client:
    ...     pa.table(client.stream("x.arrows")).num_rows
    3
    """
    secret = token_bytes(token)
    most = size(max_message_bytes, "max_message_bytes")
    if not 1 << 10 <= most < 1 << 31:
        raise ValueError("argument 'max_message_bytes': expected 1 KiB to 2 GiB")
    streams = None if max_streams is None else count(max_streams, "max_streams")
    check_location(location)
    if location.startswith("grpc+unix:"):
        _check_unused(location)
    options: dict[str, Any] = {}
    if secret is not None:
        options["middleware"] = {"token": TokenCheck(secret)}
    if streams == 0:
        raise ValueError("argument 'max_streams': expected at least 1")
    if tls is not None:
        if not isinstance(tls, tuple | list) or len(tls) != 2:
            raise TypeError(
                "argument 'tls': expected a pair of the certificate and its key"
            )
        certificate, key = tls
        options["tls_certificates"] = [(pem(certificate, "tls"), pem(key, "tls"))]
        if location.startswith(("grpc://", "grpc+tcp://")):
            location = "grpc+tls://" + location.partition("://")[2]
    elif location.startswith("grpc+tls:"):
        raise ValueError("argument 'tls': grpc+tls needs a certificate and its key")
    names = Names(paths_or_directory)
    writes = flag(writable, "writable")
    try:
        service = Service(
            names,
            location,
            options,
            writable=writes,
            max_streams=streams,
            message_bytes=most,
        )
    except pa.ArrowException:
        raise _refusal(location) from None
    return Server(service, location)


__all__ = ["Server", "serve"]
