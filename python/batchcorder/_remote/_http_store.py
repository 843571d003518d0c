"""
Objects of HTTP servers, by the session of fsspec's filesystem.

`cat_file` of fsspec shows neither the status nor the headers of an answer. So a store
sends its own requests on the session, and checks each answer: the status, the range, the
size, the ETag and the time. The session, its options and its credentials are fsspec's.
"""

from __future__ import annotations

import errno
import re
from typing import Any

import aiohttp
from fsspec.asyn import sync

from ._arrow_store import nanoseconds
from ._store import Identity, Store
from ._store_errors import status_error, store_error

# Seconds for a connection, and between two parts of an answer.
_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 30
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")


class HttpStore(Store):
    """An object of an HTTP server."""

    def __init__(self, url: str, key: str, filesystem: Any, path: str) -> None:
        super().__init__(url, key)
        self.filesystem = filesystem
        self.path = path

    @property
    def checks_reads(self) -> bool:  # type: ignore[override]
        """Whether the server sends an ETag or a time to compare."""
        opened = self._identity
        return opened is not None and (opened.etag or opened.modified) is not None

    def _ask(self) -> Identity:
        found: Identity = sync(self.filesystem.loop, self._identify)
        return found

    def _read(self, offset: int, size: int) -> Any:
        return sync(self.filesystem.loop, self._fetch, offset, size)

    async def _answer(self, first: int, last: int, etag: str | None) -> Any:
        """Return the context of a request for a range, both ends included."""
        options = dict(self.filesystem.kwargs)
        headers = dict(options.pop("headers", {}))
        headers |= {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
        if etag is not None:
            headers["If-Match"] = etag
        if "timeout" not in self.filesystem.client_kwargs:
            silence = aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
            )
            options.setdefault("timeout", silence)
        session = await self.filesystem.set_session()
        return session.get(
            self.filesystem.encode_url(self.path), headers=headers, **options
        )

    def _no_ranges(self) -> OSError:
        text = "the server does not have range requests: download the file first"
        return store_error(errno.EOPNOTSUPP, self.url, text)

    def _wrong(self) -> OSError:
        text = "the server sent other bytes than asked: try again"
        return store_error(errno.EIO, self.url, text)

    async def _identify(self) -> Identity:
        # A range of one byte: a server without ranges is found at once, and a URL that is
        # signed for GET refuses HEAD.
        async with await self._answer(0, 0, None) as answer:
            span = _RANGE.match(answer.headers.get("Content-Range", ""))
            if answer.status == 416 and span and span[3] == "0":
                return self._identity_of(answer, 0)
            if answer.status >= 400:
                raise status_error(answer.status, self.url)
            if answer.status == 200 and answer.content_length == 0:
                return self._identity_of(answer, 0)
            if answer.status != 206 or not span or span[3] == "*" or span[1] != "0":
                raise self._no_ranges()
            return self._identity_of(answer, int(span[3]))

    def _identity_of(self, answer: Any, size: int) -> Identity:
        modified = nanoseconds(answer.headers.get("Last-Modified"))
        return Identity(size, answer.headers.get("ETag"), modified)

    async def _fetch(self, offset: int, size: int) -> Any:
        opened = self.identity()
        last = offset + size - 1
        etag = opened.etag if opened.is_strong else None
        async with await self._answer(offset, last, etag) as answer:
            if answer.status >= 400:
                raise status_error(answer.status, self.url)
            is_whole = answer.status == 200 and size == opened.size
            span = _RANGE.match(answer.headers.get("Content-Range", ""))
            total = opened.size
            if not is_whole:
                if answer.status != 206 or not span:
                    raise self._wrong()
                total = opened.size if span[3] == "*" else int(span[3])
            if not opened.is_same(self._identity_of(answer, total)):
                raise self.changed()
            is_asked = is_whole or (
                span and (span[1], span[2]) == (f"{offset}", f"{last}")
            )
            if not is_asked or answer.content_length not in (None, size):
                raise self._wrong()
            # One byte more, to see an answer that is too long.
            data = bytearray()
            while len(data) <= size and (part := await answer.content.read(size + 1)):
                data += part
            return data


__all__ = ["HttpStore"]
