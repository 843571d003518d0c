"""
Recordings that are objects of a store: opened, written, and made once.

    open     identity ─▶ complete local copy? ──yes──▶ a local recording
                                │ no
                                ▼
                         a Fetcher, which the core reads through
    record, save, cached     a local recording ─▶ upload ─▶ the object
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .. import _core
from .._key import has_key
from ._fetcher import Fetcher
from ._local import LocalCopy
from ._requests import repeated
from ._store import Identity, Store, store_of

# The key of a recording that `cached` made without a key: it may be replaced.
_NO_KEY = b"json:null"


class Remote(NamedTuple):
    """
    An object, and the directory of its local copy.

    `url` has no credentials: it is for messages.
    """

    url: str
    path: str
    filesystem: Any = None
    local: str | None = None
    # The object must have this identity; None: any.
    identity: Identity | None = None

    @contextlib.contextmanager
    def uploaded(self, overwrite: bool) -> Iterator[str]:
        """
        Yield the path at which the caller makes a recording, and upload it afterwards.

        FileExistsError: the object exists, and `overwrite` is false.
        """
        with store_of(self.path, self.filesystem) as store:
            if not overwrite and _exists(store):
                words = "the object exists: use another name, or save(overwrite=True)"
                raise FileExistsError(errno.EEXIST, words, store.url)
            with tempfile.TemporaryDirectory(prefix="batchcorder-") as folder:
                path = os.path.join(folder, "recording.arrows")
                yield path
                store.upload(path, overwrite=overwrite)

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[bytes, Fetcher | None]]:
        """Yield the path of a complete local copy, or a name and its Fetcher."""
        store = store_of(self.path, self.filesystem)
        with contextlib.ExitStack() as stack:
            stack.callback(store.close)
            identity = repeated(store.identity)
            if self.identity is not None and not identity.is_same(self.identity):
                raise store.changed()
            copy = None
            if self.local is not None:
                where = self.local, store.key, identity
                found = LocalCopy.complete_path(*where)
                if found is None:
                    copy = LocalCopy(*where)
                    stack.callback(copy.close)
                    # Another process may have read the last bytes, and died.
                    found = LocalCopy.complete_path(*where)
                if found is not None:
                    yield os.fsencode(found), None
                    return
            fetcher = Fetcher(store, identity, local=copy)
            stack.callback(fetcher.close)
            fetcher.prefetch_opening()
            with fetcher.unconfirmed():
                yield os.fsencode(store.url), fetcher
            # The cache closes it.
            stack.pop_all()


def _exists(store: Store) -> bool:
    try:
        repeated(store.identity)
    except FileNotFoundError:
        return False
    return True


def cached(
    remote: Remote,
    opened: Callable[[], Any],
    record: Callable[[str, bytes], None],
    key: bytes | None,
    refresh: bool,
) -> Any:
    """
    Return the recording.

    `opened` opens the object. `record` records into a local file, with the key.
    """
    overwrite = False
    with contextlib.suppress(FileNotFoundError):
        cache = opened()
        if not refresh and has_key(cache, key):
            return cache
        is_ours = _core.recording_key(cache) is not None
        cache.close()
        if not is_ours:
            raise FileExistsError(
                errno.EEXIST,
                "The object is no recording that cached made, so it is not replaced: "
                "delete it, or use another name",
                remote.url,
            )
        overwrite = True
    try:
        with remote.uploaded(overwrite) as name:
            record(name, _NO_KEY if key is None else key)
    except FileExistsError:
        # Another process made it meanwhile.
        cache = opened()
        if has_key(cache, key):
            return cache
        cache.close()
        raise
    return opened()


__all__ = ["Remote", "cached"]
