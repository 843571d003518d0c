"""
Objects in stores: the object of a URL, its identity, and reads of ranges.

A store is one object. No method asks the server twice if the first answer is good:

    identity            one request the first time, none later
    renewed_identity    one request
    read                one request

If a read fails for an unclear reason, a store asks once more for the object's identity. A
deleted or changed object is then the error.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from . import is_url
from ._store_errors import explained, is_transient, store_error

# Schemes of pyarrow.fs.
_ARROW_SCHEMES = {"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "mock"}
# Packages with a scheme of fsspec.
_PACKAGES = {
    "abfs": "fsspec and adlfs",
    "az": "fsspec and adlfs",
    "gs": "fsspec and gcsfs",
    "hf": "fsspec and huggingface_hub",
    "http": "fsspec and aiohttp",
    "https": "fsspec and aiohttp",
    "ftp": "fsspec",
    "memory": "fsspec",
    "s3": "fsspec and s3fs",
    "sftp": "fsspec and paramiko",
    "ssh": "fsspec and paramiko",
}
# Parameters of a query for the access to an object. They do not name the object.
_ACCESS = re.compile(
    r"x-amz-|x-goog-|x-ms-|sig|token|key|secret|pass|auth|cred|expire|policy|"
    r"^s[a-z]{1,2}$|^sp[r]?$|endpoint|scheme|region|timeout",
    re.I,
)


class Identity(NamedTuple):
    """Tells one state of an object from another: size, ETag, and time in nanoseconds."""

    size: int
    etag: str | None
    modified: int | None

    @property
    def is_strong(self) -> bool:
        """Whether equal ETags mean equal bytes."""
        return self.etag is not None and not self.etag.startswith("W/")

    def is_same(self, other: Identity) -> bool:
        """Return whether both are identities of the same bytes, as far as they tell."""
        if self.size != other.size:
            return False
        if self.etag is not None and other.etag is not None:
            if self.etag != other.etag:
                return False
            if self.is_strong:
                return True
        return (
            self.modified is None
            or other.modified is None
            or self.modified == other.modified
        )


class Store:
    """
    One object of a store.

    `url` is for messages: it has no password and no query. `key` names the object for
    caches. `checks_reads` says whether each read fails by itself if the object changed.

    Making a store sends no request. All methods may be called from several threads.
    """

    checks_reads = False

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self._identity: Identity | None = None
        self._opening = threading.Lock()

    def identity(self) -> Identity:
        """Return the identity that the object had at the first call."""
        with self._opening:
            if self._identity is None:
                self._identity = self._explain(self._ask_first)
            return self._identity

    def renewed_identity(self) -> Identity:
        """Return the identity that the object has now."""
        return self._explain(self._ask)

    def read(self, offset: int, size: int) -> Any:
        """
        Return bytes of the object.

        Parameters
        ----------
        offset : int
            The first byte.
        size : int
            The number of bytes.

        Returns
        -------
        bytes-like
            Exactly `size` bytes.

        Raises
        ------
        OSError
            With the errno ESTALE if the object changed, and EIO if the answer is wrong.
        """
        if size == 0:
            return b""
        opened = self.identity()
        if offset < 0 or size < 0 or offset + size > opened.size:
            text = f"bytes {offset} to {offset + size} are not in the object"
            raise store_error(errno.EINVAL, self.url, text)
        try:
            data = self._read(offset, size)
            if len(data) != size:
                text = f"the server sent {len(data)} bytes instead of {size}: try again"
                raise store_error(errno.EIO, self.url, text)
        except Exception as error:
            raise self._doubted(explained(error, self.url)) from None
        return data

    def upload(self, path: str | int, *, overwrite: bool) -> None:
        """Write a local file to the object: see `upload` of `_upload.py`."""
        raise store_error(errno.EROFS, self.url)

    def close(self) -> None:
        """Free the connection, if the store has one of its own."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _explain(self, function: Callable[[], Identity]) -> Identity:
        try:
            return function()
        except Exception as error:
            raise explained(error, self.url) from None

    def _doubted(self, error: BaseException) -> BaseException:
        """Return a failed read's error, or the reason for it if the object changed."""
        vague = isinstance(error, OSError) and error.errno in (errno.EIO, errno.EINVAL)
        if not vague or self.checks_reads:
            return error
        try:
            found = self.renewed_identity()
        except OSError as reason:
            return error if is_transient(reason) else reason
        return error if found.is_same(self.identity()) else self.changed()

    def changed(self) -> OSError:
        """Return the error of an object with another identity."""
        return store_error(errno.ESTALE, self.url)

    def _ask_first(self) -> Identity:
        return self._ask()

    def _ask(self) -> Identity:
        raise NotImplementedError

    def _read(self, offset: int, size: int) -> Any:
        raise NotImplementedError


def cleaned(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    scheme, _, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    # abfs://container@account/path has no password there.
    if not scheme.startswith("abfs") or ":" in host.partition("@")[0]:
        host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}"


def key_of(url: str) -> str:
    """Return a name of 32 digits for a URL's object, the same with other credentials."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    kept = sorted(pair for pair in query if not _ACCESS.search(pair[0]))
    return hashlib.sha256(repr((cleaned(url), kept)).encode()).hexdigest()[:32]


def local_path_of(url: str) -> str:
    """Return the path of a `file://` URL."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise ValueError(f"not a local file: {cleaned(url)}")
    return unquote(url[len("file://") + len(parts.netloc) :])


def _instance(filesystem: Any, module: str, name: str) -> bool:
    """Return whether an object is of a class, without an import of the class."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(filesystem, kind)


def _unwrapped(filesystem: Any) -> Any:
    """Return the filesystem of fsspec inside of one of pyarrow, if there is one."""
    inner = getattr(getattr(filesystem, "handler", None), "fs", None)
    return filesystem if inner is None else inner


def local_path(path: Any, filesystem: Any = None) -> str | None:
    """
    Return the local path of a file, or None if the file is in a store.

    Parameters
    ----------
    path : str or PathLike
        A path or URL.
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem or None, default None
        The place of the path. None is this machine, unless the path is a URL.

    Returns
    -------
    str or None
        The path for the functions of the os module.
    """
    filesystem = _unwrapped(filesystem)
    url = isinstance(path, str) and path.lower().startswith("file://")
    if filesystem is None:
        if url:
            return local_path_of(path)
        return None if is_url(path) else os.fsdecode(path)
    if _instance(filesystem, "pyarrow.fs", "SubTreeFileSystem"):
        base = local_path("", filesystem.base_fs)
        if base is None or url:
            return None
        return os.path.join(filesystem.base_path, os.fsdecode(path))
    is_local = _instance(filesystem, "pyarrow.fs", "LocalFileSystem") or _instance(
        filesystem, "fsspec.implementations.local", "LocalFileSystem"
    )
    if not is_local:
        return None
    return local_path_of(path) if url else os.fsdecode(path)


def store_of(url: Any, filesystem: Any = None) -> Store:
    """
    Return the object of a URL, or of a path in a filesystem.

    Parameters
    ----------
    url : str or PathLike
        A URL. With a filesystem, also a path in it.
    filesystem : pyarrow.fs.FileSystem or fsspec filesystem or None, default None
        The place of the object. None is the place that the URL names.

    Returns
    -------
    Store
        The object. No request was sent for it.

    Raises
    ------
    ImportError
        If a package for the scheme is not installed.
    TypeError
        If the filesystem is of another library.
    ValueError
        If the URL is wrong, or is not of the filesystem.
    """
    url = os.fsdecode(url)
    filesystem = _unwrapped(filesystem)
    if filesystem is None:
        return _store_of_url(url)
    if _instance(filesystem, "pyarrow.fs", "FileSystem"):
        from ._arrow_store import arrow_store

        return arrow_store(url, filesystem)
    if _instance(filesystem, "fsspec.spec", "AbstractFileSystem"):
        from ._fsspec_store import fsspec_store

        return fsspec_store(url, filesystem)
    raise TypeError(
        "argument 'filesystem': a filesystem of pyarrow.fs or of fsspec expected, "
        f"not {type(filesystem).__name__}: for example fsspec.filesystem('s3')"
    )


def _store_of_url(url: str) -> Store:
    if not is_url(url):
        raise ValueError(f"not a URL: {url!r}")
    scheme = url.partition(":")[0].lower()
    url = scheme + url[len(scheme) :]
    if scheme in _ARROW_SCHEMES:
        from ._arrow_store import arrow_store_of_url

        found = arrow_store_of_url(url)
        if found is not None:
            return found
    needed = _PACKAGES.get(scheme, f"fsspec, and its package for {scheme!r}")
    try:
        from ._fsspec_store import fsspec_store_of_url

        return fsspec_store_of_url(url)
    except ImportError as error:
        text = f"URLs with {scheme}:// need packages: install {needed}"
        if error.name:
            text += f" (missing: {error.name})"
        raise ImportError(text, name=error.name) from None


__all__ = [
    "Identity",
    "Store",
    "cleaned",
    "is_transient",
    "is_url",
    "key_of",
    "local_path",
    "local_path_of",
    "store_of",
]
