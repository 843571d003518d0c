"""Addresses of servers, tokens of calls, and the certificates of TLS."""

from __future__ import annotations

import hmac
import os
from os import PathLike
from typing import Any
from urllib.parse import urlsplit

import pyarrow.flight as fl

_HEADER = "authorization"


def pem(value: Any, name: str) -> bytes:
    """Return PEM text that is given itself, or as the path of its file."""
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN"):
        return value.encode()
    if isinstance(value, bytes) and value.lstrip().startswith(b"-----BEGIN"):
        return value
    if not isinstance(value, str | bytes | PathLike):
        raise TypeError(
            f"argument '{name}': expected PEM text or a path, got "
            f"'{type(value).__name__}'"
        )
    with open(os.fspath(value), "rb") as file:
        found = file.read()
    if b"-----BEGIN" not in found:
        raise ValueError(f"argument '{name}': {os.fsdecode(value)} is no PEM file")
    return found


def token_bytes(token: Any) -> bytes | None:
    """Return a token as the bytes of a header."""
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError(
            f"argument 'token': expected str or None, got '{type(token).__name__}'"
        )
    # A header cannot have other characters.
    if (
        not token.isascii()
        or not token.isprintable()
        or token != token.strip()
        or not token
    ):
        raise ValueError("argument 'token': expected printable ASCII characters")
    return token.encode()


def headers(token: bytes | None) -> list[tuple[bytes, bytes]]:
    """Return the headers of a client's calls."""
    if token is None:
        return []
    return [(_HEADER.encode(), b"Bearer " + token)]


def check_location(location: Any) -> None:
    """Raise TypeError or ValueError if this is no address of a server."""
    if not isinstance(location, str):
        raise TypeError(
            f"argument 'location': expected str, got '{type(location).__name__}'"
        )
    parts = urlsplit(location)
    wrong = ValueError(
        f"argument 'location': expected 'grpc://host:port', got {location!r}"
    )
    if parts.scheme == "grpc+unix":
        if not parts.path:
            raise wrong
        return
    try:
        has_port = parts.hostname is not None and parts.port is not None
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("grpc", "grpc+tcp", "grpc+tls") or not has_port:
        raise wrong


class TokenCheck(fl.ServerMiddlewareFactory):
    """Refuses each call without the token, before anything is looked up."""

    def __init__(self, token: bytes) -> None:
        super().__init__()
        self._wanted = b"Bearer " + token

    def start_call(self, info: Any, found: dict[str, list[Any]]) -> None:
        values = [
            value
            for key, several in found.items()
            if key.lower() == _HEADER
            for value in several
        ]
        given = values[0] if len(values) == 1 else ""
        data = given if isinstance(given, bytes) else str(given).encode()
        if not hmac.compare_digest(data, self._wanted):
            raise fl.FlightUnauthenticatedError("the token is missing or wrong")


__all__ = ["TokenCheck", "check_location", "headers", "pem", "token_bytes"]
