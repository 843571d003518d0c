"""
Errors of the stores, with an errno and the store's cleaned URL.

pyarrow, fsspec, aiohttp and botocore have errors of their own. Some texts contain the URL
with its credentials. So a message here is made of an errno, an HTTP status or a code, and
never of such a text. No library is imported for its errors: the class names tell.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator

_MESSAGES = {
    errno.EACCES: "access is denied: check the keys, the permissions and the clock",
    errno.EBUSY: "the server is busy: try again later",
    errno.ECONNREFUSED: "the server refuses connections: check the address and the port",
    errno.ECONNRESET: "the server closed the connection: try again",
    errno.EEXIST: "the object exists: overwrite=True replaces it",
    errno.EHOSTUNREACH: "the host name has no address: check the URL and the network",
    errno.EINVAL: "the store does not accept the request: check the URL and the options",
    errno.EIO: "the server's answer is not complete: try again",
    errno.EISDIR: "the path is a directory: name an object",
    errno.ENOENT: "no such object: check the URL",
    errno.EOPNOTSUPP: "the store does not have this operation",
    errno.EPROTO: "no secure connection: check the server's certificate",
    errno.EROFS: "the store cannot write: save to a local file or to an object store",
    errno.ESTALE: "the object changed since it was opened: open it again",
    errno.ETIMEDOUT: "the server does not answer: check the network, and try again",
}
_TRANSIENT = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}
_STATUSES = {
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    405: errno.EOPNOTSUPP,
    407: errno.EACCES,
    408: errno.ETIMEDOUT,
    409: errno.EBUSY,
    410: errno.ENOENT,
    412: errno.ESTALE,
    416: errno.ESTALE,
    425: errno.EBUSY,
    429: errno.EBUSY,
    501: errno.EOPNOTSUPP,
    503: errno.EBUSY,
    504: errno.ETIMEDOUT,
}
# Classes of aiohttp, botocore, fsspec and s3fs. A subclass precedes its base.
_CLASSES = {
    "ClientConnectorCertificateError": errno.EPROTO,
    "ClientConnectorDNSError": errno.EHOSTUNREACH,
    "ClientConnectorSSLError": errno.EPROTO,
    "ClientPayloadError": errno.EIO,
    "ConnectTimeoutError": errno.ETIMEDOUT,
    "ConnectionTimeoutError": errno.ETIMEDOUT,
    "FSTimeoutError": errno.ETIMEDOUT,
    "FileExpired": errno.ESTALE,
    "IncompleteReadError": errno.EIO,
    "InvalidURL": errno.EINVAL,
    "NoCredentialsError": errno.EACCES,
    "ParamValidationError": errno.EINVAL,
    "PartialCredentialsError": errno.EACCES,
    "ReadTimeoutError": errno.ETIMEDOUT,
    "ResponseStreamingError": errno.EIO,
    "SSLError": errno.EPROTO,
    "ServerDisconnectedError": errno.ECONNRESET,
    "ServerTimeoutError": errno.ETIMEDOUT,
    "TooManyRedirects": errno.EINVAL,
}
# Codes of curl and of the AWS SDK in pyarrow's texts.
_CURL = {
    6: errno.EHOSTUNREACH,
    7: errno.ECONNREFUSED,
    28: errno.ETIMEDOUT,
    35: errno.EPROTO,
    52: errno.ECONNRESET,
    56: errno.ECONNRESET,
    58: errno.EPROTO,
    60: errno.EPROTO,
}
_AWS = {
    "ACCESS_DENIED": errno.EACCES,
    "EXPIRED_TOKEN": errno.EACCES,
    "INVALID_ACCESS_KEY_ID": errno.EACCES,
    "INVALID_CLIENT_TOKEN_ID": errno.EACCES,
    "INVALID_SIGNATURE": errno.EACCES,
    "MISSING_AUTHENTICATION_TOKEN": errno.EACCES,
    "NO_SUCH_BUCKET": errno.ENOENT,
    "NO_SUCH_KEY": errno.ENOENT,
    "REQUEST_EXPIRED": errno.EACCES,
    "REQUEST_TIMEOUT": errno.ETIMEDOUT,
    "REQUEST_TIME_TOO_SKEWED": errno.EACCES,
    "RESOURCE_NOT_FOUND": errno.ENOENT,
    "SERVICE_UNAVAILABLE": errno.EBUSY,
    "SIGNATURE_DOES_NOT_MATCH": errno.EACCES,
    "SLOW_DOWN": errno.EBUSY,
    "THROTTLING": errno.EBUSY,
    "UNRECOGNIZED_CLIENT": errno.EACCES,
}


def store_error(number: int, url: str, message: str | None = None) -> OSError:
    """
    Return an error of a store.

    Parameters
    ----------
    number : int
        The errno. It selects the class, for example FileNotFoundError.
    url : str
        The cleaned URL.
    message : str or None, default None
        A sentence without credentials. None is the usual one of the errno.

    Returns
    -------
    OSError
        With the attribute `is_of_store`.
    """
    text = message or _MESSAGES.get(number) or "the store failed"
    error = OSError(number, text, url)
    error.is_of_store = True  # type: ignore[attr-defined]
    return error


def status_error(status: int, url: str) -> OSError:
    """Return the error of an HTTP status."""
    number = _STATUSES.get(status)
    if number is None:
        number = errno.EIO if status >= 500 else errno.EINVAL
    text = _MESSAGES[number]
    if status >= 500 and number == errno.EIO:
        text = "the server failed: try again later"
    return store_error(number, url, f"HTTP status {status}: {text}")


def is_transient(error: BaseException) -> bool:
    """Return whether a second try may succeed."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    found: BaseException | None = error
    for _ in range(8):
        if found is None:
            return
        yield found
        found = (
            getattr(found, "os_error", None)
            or getattr(found, "kwargs", {}).get("error")
            or found.__cause__
            or found.__context__
        )


def arrow_error(text: str, url: str) -> OSError | None:
    """Return the error for a text of pyarrow's, if the text has a code."""
    status = re.search(r"HTTP status (\d{3})", text)
    code = re.search(r"AWS Error (\w+)", text)
    curl = re.search(r"curlCode: (\d+)", text)
    # The clients of Google and Azure find no credentials.
    if re.search(r"not create a OAuth2 access token|Failed to get token from", text):
        return store_error(errno.EACCES, url)
    if curl:
        return store_error(_CURL.get(int(curl[1]), errno.EIO), url)
    if code and code[1] in _AWS:
        return store_error(_AWS[code[1]], url)
    if status:
        return status_error(int(status[1]), url)
    if re.search(r"Not a regular file|Is a directory", text):
        return store_error(errno.EISDIR, url)
    if code:
        return store_error(errno.EIO, url)
    return None


def _number(error: BaseException) -> int | None:
    """Return the errno of one error of a chain."""
    if isinstance(error, socket.gaierror):
        return errno.EHOSTUNREACH
    for kind in type(error).__mro__:
        if kind.__name__ in _CLASSES:
            return _CLASSES[kind.__name__]
    if isinstance(error, OSError) and error.errno:
        if error.errno == errno.EINVAL and "pre-condition" in str(error).lower():
            return errno.ESTALE
        return errno.EIO if error.errno == errno.EREMOTEIO else error.errno
    simple = {
        FileExistsError: errno.EEXIST,
        FileNotFoundError: errno.ENOENT,
        IsADirectoryError: errno.EISDIR,
        NotImplementedError: errno.EOPNOTSUPP,
        PermissionError: errno.EACCES,
        TimeoutError: errno.ETIMEDOUT,
        ValueError: errno.EINVAL,
    }
    return next((simple[kind] for kind in type(error).__mro__ if kind in simple), None)


def explained(error: BaseException, url: str) -> BaseException:
    """Return the error that a user expects, or the error itself if no store made it."""
    if getattr(error, "is_of_store", False) or not isinstance(error, Exception):
        return error
    if isinstance(error, MemoryError | ImportError | TypeError):
        return error
    for one in _chain(error):
        if isinstance(one, RuntimeError) and "fork-safe" in str(one):
            text = "the filesystem was made before a fork: make it in the child"
            return store_error(errno.ECANCELED, url, text)
        status = getattr(one, "status", None)
        if isinstance(status, int) and status >= 400:
            return status_error(status, url)
        if type(one).__module__ in ("builtins", "pyarrow.lib"):
            found = arrow_error(str(one), url)
            if found is not None:
                return found
        number = _number(one)
        if number is not None:
            return store_error(number, url)
    return store_error(errno.EIO, url, f"the store failed: {type(error).__name__}")


__all__ = ["arrow_error", "explained", "is_transient", "status_error", "store_error"]
