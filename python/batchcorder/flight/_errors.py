"""
Errors on their way from the server to the client.

Flight has a few types of errors, and a field for details. In the field, the server puts
the errno, the type and the message of a Python exception as JSON. The client raises that
exception again. Other clients get Flight's error with the same message.

    raised on the server              Flight's error
    a wrong token                     FlightUnauthenticatedError
    BusyError: limits, shutdown       FlightUnavailableError
    any other exception               FlightServerError
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

_TYPES = {
    kind.__name__: kind
    for kind in (IndexError, KeyError, MemoryError, NotImplementedError, OverflowError,
                 RuntimeError, TypeError, ValueError)
}  # fmt: skip
# The words that gRPC and pyarrow add to a server's message.
_ADDED = re.compile(
    r"\.? (Detail: |gRPC client debug context: |Client context: ).*", re.S
)
# gRPC drops longer messages, and the error with them.
_LENGTH_MAX = 1000


class BusyError(Exception):
    """The server cannot take the call now, but may take it later."""


def incomplete(name: str) -> OSError:
    """Return the error of a growing recording that is read without `follow`."""
    return OSError(
        errno.ENODATA,
        "the recording is not complete: it is being written; follow=True waits for its "
        "next batches",
        name,
    )


def to_flight(error: BaseException) -> Any:
    """Return the error of Flight for an exception of the server."""
    if isinstance(error, fl.FlightError):
        return error
    if isinstance(error, BusyError):
        return fl.FlightUnavailableError(str(error))
    message = str(error)
    details: dict[str, Any] = {"type": type(error).__name__}
    if isinstance(error, OSError) and error.errno is not None:
        message = error.strerror or message
        details["errno"] = error.errno
    elif isinstance(error, KeyError | IndexError) and error.args:
        message = str(error.args[0])
    if len(message) > _LENGTH_MAX:
        message = message[:_LENGTH_MAX] + " ..."
    details["message"] = message
    return fl.FlightServerError(message, json.dumps(details).encode())


@contextlib.contextmanager
def raised_as_flight() -> Iterator[None]:
    """Raise the exceptions of the block as errors of Flight."""
    try:
        yield
    except Exception as error:
        # A chain of tracebacks would tell clients about this machine.
        raise to_flight(error) from None


def is_broken(error: BaseException) -> bool:
    """Return whether the connection failed, so that a new one may do better."""
    return isinstance(
        error,
        fl.FlightUnavailableError | fl.FlightTimedOutError | fl.FlightInternalError
        | fl.FlightCancelledError,
    )  # fmt: skip


def _details(error: BaseException) -> dict[str, Any]:
    try:
        found = json.loads(getattr(error, "extra_info", b"") or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def from_flight(error: BaseException, location: str, name: str | None) -> Exception:
    """Return the exception that a user expects for an error of Flight."""
    details = _details(error)
    message = details.get("message")
    if isinstance(message, str):
        if isinstance(details.get("errno"), int):
            return OSError(details["errno"], message, name)
        return _TYPES.get(str(details.get("type")), OSError)(message)
    words = _ADDED.sub("", str(error)).strip() or type(error).__name__
    if isinstance(error, fl.FlightUnauthenticatedError | fl.FlightUnauthorizedError):
        return PermissionError(errno.EACCES, words, location)
    if isinstance(error, fl.FlightTimedOutError):
        return TimeoutError(errno.ETIMEDOUT, "the server does not answer", location)
    if is_broken(error):
        return ConnectionError(errno.ECONNABORTED, words, location)
    if isinstance(error, OSError | pa.ArrowException):
        return OSError(errno.EIO, words, name or location)
    return ValueError(words)


__all__ = ["BusyError", "from_flight", "incomplete", "is_broken", "raised_as_flight"]
