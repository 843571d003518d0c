"""
Objects of the filesystems of pyarrow.

With Amazon S3, opening a file is a HEAD request, and a read is a GET request. The GET is
not conditional. A failed GET loses its HTTP status if the error's text is longer than the
read: such a read has the errno EIO, unless the object is found to be gone or changed.

If an answer of S3 is too short, pyarrow returns the asked size all the same. The last
bytes are then old bytes of the memory. So a read goes to memory with a known last byte.
If the byte is the same after the read, a second read with another byte finds out why.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as fs

from ._store import Identity, Store, cleaned, is_url, key_of
from ._store_errors import arrow_error
from ._upload import arrow_upload, uploaded

_SCHEMES = {
    "abfs": ("abfs", "abfss"),
    "gcs": ("gs", "gcs"),
    "hdfs": ("hdfs", "viewfs"),
    "s3": ("s3", "s3a", "s3n"),
}

# The last byte of a read's memory. If the data ends so, the read needs two requests.
_UNLIKELY = 0xA7


def nanoseconds(value: Any) -> int | None:
    """Return a time as nanoseconds since 1970: a date of HTTP or ISO, or a number."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        text, value = value, None
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(text)
        if value is None:
            with contextlib.suppress(ValueError, TypeError):
                value = parsedate_to_datetime(text)
    if isinstance(value, datetime):
        moment: datetime = value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        past = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return ((past.days * 86400 + past.seconds) * 10**6 + past.microseconds) * 1000
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * 10**9)
    return None


class ArrowStore(Store):
    """An object of a filesystem of pyarrow."""

    def __init__(self, url: str, key: str, filesystem: fs.FileSystem, path: str) -> None:
        super().__init__(url, key)
        self.filesystem = filesystem
        self.path = path
        self._file: Any = None

    def _ask_first(self) -> Identity:
        if self.filesystem.type_name == "abfs":
            # Without credentials, open_input_file ends the process.
            self.filesystem.get_file_info(self.path)
        self._file = self.filesystem.open_input_file(self.path)
        return self._identity_of(self._file)

    def _ask(self) -> Identity:
        with self.filesystem.open_input_file(self.path) as file:
            return self._identity_of(file)

    def _identity_of(self, file: Any) -> Identity:
        found = {
            name.decode().lower() if isinstance(name, bytes) else name.lower(): value
            for name, value in (file.metadata() or {}).items()
        }
        etag = found.get("etag")
        if isinstance(etag, bytes):
            etag = etag.decode("ascii", "replace")
        modified = nanoseconds(found.get("last-modified"))
        if etag is None and modified is None:
            modified = self.filesystem.get_file_info(self.path).mtime_ns
        return Identity(file.size(), etag or None, modified)

    def _read(self, offset: int, size: int) -> Any:
        data = bytearray(size)
        data[-1] = _UNLIKELY
        # A stream of its own, since threads share the file.
        count = self._file.get_stream(offset, size).readinto(data)
        if count == size and data[-1] == _UNLIKELY:
            last = bytearray((_UNLIKELY ^ 0xFF,))
            self._file.get_stream(offset + size - 1, 1).readinto(last)
            if last[0] != _UNLIKELY:
                count -= 1
        return data if count == size else data[:count]

    def upload(self, path: str | int, *, overwrite: bool) -> None:
        uploaded(arrow_upload(self.filesystem, self.path, self.url), path, overwrite)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def arrow_store_of_url(url: str) -> Store | None:
    """Return the object of a URL, or None if this pyarrow cannot reach the scheme."""
    wanted = url
    parts = urlsplit(url)
    if "#" in url:
        # pyarrow drops the rest of the name, and reaches another object.
        raise ValueError(f"the URL {cleaned(url)}#... has a '#': write %23 instead")
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
        # By default, the client of Google tries for a quarter of an hour.
        wanted += ("&" if parts.query else "?") + "retry_limit_seconds=15"
    try:
        filesystem, path = fs.FileSystem.from_uri(wanted)
    except (ImportError, pa.ArrowNotImplementedError):
        return None
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        if "Unrecognized filesystem type" in str(error):
            return None
        found = arrow_error(str(error), cleaned(url))
        if isinstance(error, OSError) and found is not None:
            # The client of S3 asks for the region of the bucket.
            raise found from None
        # The text may contain the secret key.
        advice = "check its host and parameters"
        if not re.fullmatch(r"[!-~]+", url):
            advice = "percent-encode it, such as %20 for a space"
        raise ValueError(f"pyarrow refuses the URL {cleaned(url)}: {advice}") from None
    return ArrowStore(cleaned(url), key_of(url), filesystem, path)


def arrow_store(path: str, filesystem: fs.FileSystem) -> Store:
    """Return the object of a path or URL in a filesystem."""
    kind = filesystem.type_name
    if not is_url(path):
        if kind in ("s3", "gcs", "abfs") and path.startswith("/"):
            raise ValueError(
                f"argument 'path': remove the slash at the start of {path!r}"
            )
        url = f"{kind}://{path.lstrip('/')}"
        return ArrowStore(url, key_of(url), filesystem, path)
    parts = urlsplit(path)
    if parts.scheme not in _SCHEMES.get(kind, (kind,)):
        raise ValueError(
            f"argument 'filesystem': the URL {cleaned(path)} is not of a {kind!r} one"
        )
    user, _, host = parts.netloc.rpartition("@")
    bucket = user.partition(":")[0] if kind == "abfs" and user else host
    if kind in ("hdfs", "mock"):
        bucket = ""
    place = bucket + unquote(parts.path)
    return ArrowStore(cleaned(path), key_of(path), filesystem, place)


__all__ = ["ArrowStore", "arrow_store", "arrow_store_of_url", "nanoseconds"]
