"""The calls of a client, and their errors."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from ._access import headers
from ._errors import from_flight
from ._tickets import Ticket

# A connection of its own for each client, tried again soon after it broke.
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Connection:
    """Calls a server."""

    def __init__(
        self,
        location: str,
        token: bytes | None,
        root: bytes | None,
        timeout: float,
        retries: int,
    ) -> None:
        self.location = location
        self.timeout = timeout
        self.retries = retries
        self.arguments = (location, token, root, timeout, retries)
        self._headers = headers(token)
        self._is_closed = False
        try:
            self._client = self._made()
        except pa.ArrowException as error:
            raise ValueError(f"argument 'location': {error}") from None

    def _made(self) -> Any:
        root = self.arguments[2]
        return fl.FlightClient(
            self.location, tls_root_certs=root, generic_options=_OPTIONS
        )

    def renew(self) -> None:
        """Use another TCP connection from now on: this one does not answer."""
        if not self._is_closed:
            self._client = self._made()

    def _open_client(self) -> Any:
        if self._is_closed:
            raise ValueError("the client is closed")
        return self._client

    def error(self, error: BaseException, name: str | None) -> Exception:
        """Return the exception that a user expects."""
        return from_flight(error, self.location, name)

    def _options(self, seconds: float) -> Any:
        return fl.FlightCallOptions(timeout=seconds, headers=self._headers)

    def flights(self) -> list[Any]:
        """Return the FlightInfo of each recording."""
        return list(self._open_client().list_flights(options=self._options(self.timeout)))

    def ask(self, ticket: Ticket) -> Any:
        """Return the FlightInfo of a ticket."""
        descriptor = fl.FlightDescriptor.for_command(ticket.to_bytes())
        return self._open_client().get_flight_info(
            descriptor, self._options(self.timeout)
        )

    def get(self, ticket: Ticket, seconds: float) -> Any:
        """Return Flight's reader of a ticket's batches."""
        return self._open_client().do_get(
            fl.Ticket(ticket.to_bytes()), self._options(seconds)
        )

    def put(self, descriptor: Any, schema: pa.Schema, seconds: float) -> Any:
        """Return Flight's writer, and the reader of the server's answers."""
        return self._open_client().do_put(descriptor, schema, self._options(seconds))

    def close(self) -> None:
        self._is_closed = True
        self._client.close()


__all__ = ["Connection"]
