"""
Objects of the filesystems of fsspec.

    HTTPFileSystem    `_http_store.py`
    S3FileSystem      one open file, whose reads send `If-Match`
    all other ones    `info` and `cat_file`

Some S3 servers ignore `If-Match`. With the option `local_expiry_check`, s3fs compares the
ETag of each answer instead. Only then, reads are checked by themselves.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import Any

import fsspec
import fsspec.core

from ._arrow_store import nanoseconds
from ._store import Identity, Store, cleaned, is_url, key_of
from ._store_errors import explained, store_error
from ._upload import FsspecUpload, S3fsUpload, uploaded

_ETAGS = ("ETag", "etag", "md5Hash", "content_md5", "checksum")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "modified",
          "mtime", "created")  # fmt: skip


def identity_of(info: dict[str, Any], url: str) -> Identity:
    """Return the identity that `info` of a filesystem describes."""
    if info.get("type") == "directory":
        raise store_error(errno.EISDIR, url)
    if info.get("size") is None:
        raise store_error(
            errno.EOPNOTSUPP, url, "the store does not tell the size of the object"
        )
    etag = next((str(info[name]) for name in _ETAGS if info.get(name)), None)
    times = (nanoseconds(info[name]) for name in _TIMES if info.get(name))
    return Identity(int(info["size"]), etag, next(times, None))


class FsspecStore(Store):
    """An object of a filesystem of fsspec."""

    def __init__(self, url: str, key: str, filesystem: Any, path: str) -> None:
        super().__init__(url, key)
        self.filesystem = filesystem
        self.path = path
        # A blocking filesystem has one connection, which threads cannot share.
        is_shared = filesystem.async_impl or "memory" in _protocols(filesystem)
        self._lock: Any = contextlib.nullcontext() if is_shared else threading.Lock()

    def _ask(self) -> Identity:
        with self._lock:
            # Listings may be old.
            self.filesystem.invalidate_cache(self.path)
            return identity_of(self.filesystem.info(self.path), self.url)

    def _read(self, offset: int, size: int) -> Any:
        with self._lock:
            return self.filesystem.cat_file(self.path, start=offset, end=offset + size)

    def upload(self, path: str | int, *, overwrite: bool) -> None:
        uploaded(FsspecUpload(self.filesystem, self.path, self.url), path, overwrite)


class S3fsStore(FsspecStore):
    """An object of s3fs: one open file, whose fetcher sends `If-Match`."""

    def __init__(self, url: str, key: str, filesystem: Any, path: str) -> None:
        super().__init__(url, key, filesystem, path)
        self._file: Any = None

    @property
    def checks_reads(self) -> bool:  # type: ignore[override]
        """Whether s3fs compares the ETag of each answer."""
        return bool(getattr(self.filesystem, "local_expiry_check", False))

    def _ask_first(self) -> Identity:
        self.filesystem.invalidate_cache(self.path)
        self._file = self.filesystem.open(self.path, "rb", cache_type="none")
        return identity_of(self._file.details, self.url)

    def _read(self, offset: int, size: int) -> Any:
        return self._file.cache.fetcher(offset, offset + size)

    def upload(self, path: str | int, *, overwrite: bool) -> None:
        uploaded(S3fsUpload(self.filesystem, self.path, self.url), path, overwrite)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _protocols(filesystem: Any) -> tuple[str, ...]:
    found = filesystem.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _store(url: str, filesystem: Any, path: str) -> Store:
    protocols = _protocols(filesystem)
    arguments = (cleaned(url), key_of(url), filesystem, path)
    if "http" in protocols and hasattr(filesystem, "set_session"):
        from ._http_store import HttpStore

        return HttpStore(*arguments)
    if "s3" in protocols and hasattr(filesystem, "call_s3"):
        return S3fsStore(*arguments)
    return FsspecStore(*arguments)


def fsspec_store_of_url(url: str) -> Store:
    """Return the object of a URL, in the filesystem of its scheme."""
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ValueError:
        scheme = url.partition(":")[0]
        raise ValueError(f"no filesystem has URLs with {scheme}://") from None
    except OSError as error:
        # Some filesystems connect at once.
        raise explained(error, cleaned(url)) from None
    return _store(url, filesystem, path)


def fsspec_store(path: str, filesystem: Any) -> Store:
    """Return the object of a path or URL in a filesystem."""
    if not is_url(path):
        url = f"{_protocols(filesystem)[0]}://{path.lstrip('/')}"
        return _store(url, filesystem, path)
    scheme = path.partition("://")[0]
    if scheme not in _protocols(filesystem):
        raise ValueError(
            f"argument 'filesystem': the URL {cleaned(path)} is not of a "
            f"{_protocols(filesystem)[0]!r} one"
        )
    return _store(path, filesystem, fsspec.core.strip_protocol(path))


__all__ = ["FsspecStore", "S3fsStore", "fsspec_store", "fsspec_store_of_url"]
