"""The client: reads and records without a lost or doubled batch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from .._arguments import count, flag, stream_method
from .._stream_cache import StreamCache
from .._types import ArrowStream, StrOrBytesPath
from ._access import check_location, pem, token_bytes
from ._connection import Connection
from ._local import opened
from ._retries import FAILURES
from ._sending import send
from ._stream import RemoteBatches
from ._tickets import Ticket


class Client:
    """
    A connection to a server, made by :func:`connect`.

    It is a context manager, which closes it. Threads may share it. A process that was
    forked must connect for itself; a pickled client connects again where it is unpickled.

    Attributes
    ----------
    location : str
        The URI of the server.

    Examples
    --------
    >>> import tempfile
    >>> from batchcorder import flight
    >>> with flight.serve(tempfile.mkdtemp()) as server:
    ...     with flight.connect(server.location) as client:
    ...         client.list()
    []
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.location = connection.location

    def list(self) -> list[str]:
        """
        Return the names of the server's recordings.

        Returns
        -------
        list of str
            Names, sorted. Incomplete recordings without a writer are left out.

        Raises
        ------
        PermissionError
            The token is missing or wrong.
        ConnectionError
            There is no server, or the connection broke.

        Examples
        --------
        >>> import tempfile
        >>> from batchcorder import flight
        >>> with flight.serve(tempfile.mkdtemp()) as server:
        ...     flight.connect(server.location).list()
        []
        """
        try:
            found = self._connection.flights()
        except FAILURES as error:
            raise self._connection.error(error, None) from None
        return sorted("/".join(map(bytes.decode, one.descriptor.path)) for one in found)

    def info(self, name: str) -> dict[str, Any]:
        """
        Return a description of a recording.

        Parameters
        ----------
        name : str
            Name of the recording.

        Returns
        -------
        dict
            - name, schema: the name and the pyarrow.Schema
            - complete: whether the recording is complete
            - batches, rows: numbers of recorded batches and rows
            - bytes: about the size of the recorded batches in memory

        Raises
        ------
        FileNotFoundError
            There is no recording of this name.
        OSError
            The recording cannot be read; ENODATA: it is incomplete, and has no writer.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder import flight
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": [1, 2, 3]}), path): pass
        >>> with flight.serve(path) as server:
        ...     flight.connect(server.location).info("x.arrows")["rows"]
        3
        """
        try:
            info = self._connection.ask(Ticket(_name(name)))
        except FAILURES as error:
            raise self._connection.error(error, name) from None
        details = json.loads(info.app_metadata)
        return {
            "name": name,
            "schema": info.schema,
            "complete": details["complete"],
            "batches": details["batches"],
            "rows": info.total_records,
            "bytes": info.total_bytes,
        }

    def stream(
        self,
        name: str,
        *,
        columns: Sequence[str | int] | None = None,
        start: int = 0,
        stop: int | None = None,
        follow: bool = False,
    ) -> pa.RecordBatchReader:
        """
        Return a recording's batches as a stream, which survives broken connections.

        After a broken connection, the stream connects again and goes on with the next
        batch. No batch is lost or comes twice.

        Parameters
        ----------
        name : str
            Name of the recording.
        columns : sequence of str or int, optional
            Names or indices of columns. The server reads and sends no other column. None
            (default): all columns.
        start, stop : int, optional
            Range of the batches: the first one, and the one after the last. Default: all.
        follow : bool, default False
            Of a recording that is being written, wait for the next batches until it is
            complete.

        Returns
        -------
        pyarrow.RecordBatchReader
            The stream, for example the source of a :class:`StreamCache`. Reading raises
            OSError. ESTALE: the file on the server was replaced. EOWNERDEAD: the writer
            of the recording died. ConnectionError: the server cannot be reached again.

        Raises
        ------
        FileNotFoundError
            There is no recording of this name.
        OSError
            The recording cannot be read. ENODATA: it is incomplete, and `follow` is not
            set or it has no writer.
        KeyError, IndexError
            A column does not exist, or its name is repeated in the schema.
        PermissionError
            The token is missing or wrong.
        ConnectionError, TimeoutError
            The server cannot be reached.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder import flight
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": [1], "y": [2]}), path): pass
        >>> with flight.serve(path) as server, flight.connect(server.location) as client:
        ...     client.stream("x.arrows", columns=["y"]).read_all().to_pydict()
        {'y': [2]}
        """
        ticket = Ticket(
            _name(name),
            _columns(columns),
            count(start, "start"),
            None if stop is None else count(stop, "stop"),
            flag(follow, "follow"),
        )
        batches = RemoteBatches(self._connection, ticket)
        return pa.RecordBatchReader.from_batches(batches.schema, iter(batches))

    def open(
        self,
        name: str,
        *,
        path: StrOrBytesPath,
        columns: Sequence[str | int] | None = None,
    ) -> StreamCache:
        """
        Return a local recording of a server's recording, made while it is first read.

        A complete local recording is opened, and no batch is read from the server. If
        the process was killed before, the recording goes on after the batches that it
        has. If the file on the server is another one now, a new recording is made.

        Parameters
        ----------
        name : str
            Name of the server's recording. If it is being written, it is followed.
        path : str, bytes or os.PathLike
            Path of the local recording.
        columns : sequence of str or int, optional
            Names or indices of columns. None (default): all columns.

        Returns
        -------
        StreamCache
            The local recording, as :func:`batchcorder.cached` returns it. Keep this
            client open until the recording is complete.

        Raises
        ------
        FileNotFoundError
            There is no recording of this name, or no directory for the path.
        FileExistsError
            The file at the path is no recording.
        OSError, KeyError, IndexError, PermissionError, ConnectionError
            As :meth:`stream` does.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder import flight
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": [1, 2, 3]}), path): pass
        >>> with flight.serve(path) as server, flight.connect(server.location) as client:
        ...     with client.open("x.arrows", path=path + ".copy") as cache:
        ...         cache.to_table().num_rows
        3
        """
        ticket = Ticket(_name(name), _columns(columns), follow=True)
        return opened(self._connection, ticket, path)

    def record(self, source: ArrowStream, name: str) -> int:
        """
        Record a stream on the server, which must be writable.

        Other clients can follow the recording at once. After a broken connection, the
        stream goes on with the next batch. If the source fails, or if this client is gone
        for a minute, the server removes the recording.

        Parameters
        ----------
        source : ArrowStream
            The source: any object with ``__arrow_c_stream__``.
        name : str
            Name of the recording. No recording of this name may exist.

        Returns
        -------
        int
            Number of recorded batches.

        Raises
        ------
        FileExistsError
            A recording of this name exists.
        PermissionError
            The server is not writable, or the token is missing or wrong.
        OSError
            The server cannot write the recording.
        ConnectionError
            The server cannot be reached again.
        Exception
            The error of the source.

        Examples
        --------
        >>> import tempfile, pyarrow as pa
        >>> from batchcorder import flight
        >>> with flight.serve(tempfile.mkdtemp(), writable=True) as server:
        ...     client = flight.connect(server.location)
        ...     client.record(pa.table({"x": [1, 2, 3]}), "x.arrows")
        ...     client.list()
        1
        ['x.arrows']
        """
        stream_method(source, "argument 'source'")
        with StreamCache(source, max_readers=1) as cache:
            return send(self._connection, cache, _name(name))

    def close(self) -> None:
        """
        Close the connection. A stream that is being read may fail.

        Examples
        --------
        >>> import tempfile
        >>> from batchcorder import flight
        >>> with flight.serve(tempfile.mkdtemp()) as server:
        ...     client = flight.connect(server.location)
        ...     client.close()
        """
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _connected, self._connection.arguments

    def __repr__(self) -> str:
        return f"<batchcorder.flight.Client of {self.location}>"


def _connected(*arguments: Any) -> Client:
    return Client(Connection(*arguments))


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"argument 'name': expected str, got '{type(value).__name__}'")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"argument 'name': {value!r} is no Unicode text") from None
    return value


def _columns(columns: Any) -> tuple[str | int, ...] | None:
    if columns is None:
        return None
    if isinstance(columns, str | bytes):
        raise TypeError(
            f"argument 'columns': expected a list of names or indices, got {columns!r}"
        )
    found = tuple(columns)
    for one in found:
        if isinstance(one, bool) or not isinstance(one, str | int):
            raise TypeError(
                "argument 'columns': expected names or indices, got "
                f"'{type(one).__name__}'"
            )
    return found


def connect(
    location: str,
    *,
    token: str | None = None,
    tls_root: Any = None,
    timeout: float = 60.0,
    retries: int = 8,
) -> Client:
    """
    Return a client of a Flight server of this package.

    Parameters
    ----------
    location : str
        URI of the server: 'grpc://host:port', 'grpc+tls://host:port' or
        'grpc+unix:///path'.
    token : str, optional
        The server's token. None (default): none is sent.
    tls_root : bytes, str or os.PathLike, optional
        Root certificates, as PEM text or the path of a PEM file. None (default): the
        system's.
    timeout : float, default 60.0
        Seconds after which a call is taken for broken. A stream then goes on with another
        call.
    retries : int, default 8
        Number of connections that may break one after the other, without a batch in
        between. The pauses before them add up to about 20 seconds.

    Returns
    -------
    Client
        The client. The server is first called when it is used.

    Raises
    ------
    ValueError
        The URI is invalid, or an argument has a wrong value.

    Examples
    --------
    >>> import tempfile
    >>> from batchcorder import flight
    >>> with flight.serve(tempfile.mkdtemp(), token="s3cret") as server:
    ...     flight.connect(server.location, token="s3cret").list()
    []
    """
    check_location(location)
    if tls_root is not None and not location.startswith("grpc+tls:"):
        raise ValueError("argument 'tls_root': TLS needs a location grpc+tls://host:port")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"argument 'timeout': expected seconds, got '{type(timeout).__name__}'"
        )
    seconds = float(timeout)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"argument 'timeout': expected seconds above 0, got {timeout!r}")
    root = None if tls_root is None else pem(tls_root, "tls_root")
    return _connected(
        location, token_bytes(token), root, seconds, count(retries, "retries")
    )


__all__ = ["Client", "connect"]
