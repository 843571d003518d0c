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
import os
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pyarrow as pa

from .._arguments import count, flag, size
from .._types import StrOrBytesPath
from ._access import TokenCheck, pem, token_bytes
from ._names import Names
from ._service import Service


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
        self._service = service
        self.location = location
        if urlsplit(location).port == 0:
            self.location = f"{location.rpartition(':')[0]}:{service.port}"

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
        self._service.refuse()
        ending = threading.Thread(target=self._service.shutdown, daemon=True)
        ending.start()
        ending.join(timeout)
        while ending.is_alive():
            # A client that reads nothing would keep its stream for ever.
            _shut_down_connections(self._service.port)
            ending.join(1.0)
        self._service.discard()

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


def _shut_down_connections(port: int) -> None:
    """End the TCP connections of a port of this process."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), _socket_of(int(number)) as one:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                one.getpeername()
                if one.getsockname()[1] == port:
                    one.shutdown(socket.SHUT_RDWR)


def _socket_of(number: int) -> socket.socket:
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _refusal(location: str) -> Exception:
    """Return why the system refuses an address; the library does not tell."""
    parts = urlsplit(location)
    try:
        for family, kind, _, _, address in socket.getaddrinfo(
            parts.hostname, parts.port or 0, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind) as one:
                one.bind(address)
    except OSError as error:
        return type(error)(error.errno, error.strerror or str(error), location)
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
    options: dict[str, Any] = {}
    if secret is not None:
        options["middleware"] = {"token": TokenCheck(secret)}
    if tls is not None:
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
