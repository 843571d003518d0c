"""How a cache over a file was opened: by this, another process opens it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import _core
from ._arguments import UNLIMITED

if TYPE_CHECKING:
    from ._remote._fetcher import Fetcher
    from ._remote._objects import Remote


class Origin(NamedTuple):
    """A file and the options of :func:`batchcorder.open`."""

    path: bytes
    verify: bool = False
    partial: bool = False
    mmap: bool = True
    follow: bool = False
    columns: tuple[int, ...] | None = None
    # An open file: it has no path by which it could be opened again.
    is_nameless: bool = False
    # Each batch has memory of its own, which its owner may write.
    writable: bool = False
    # An object of a store, in place of the file.
    remote: Remote | None = None

    def open(
        self, cache: _core.StreamCache, file: int = -1, batches: int = UNLIMITED
    ) -> None:
        """
        Make a fresh object a cache over the file.

        `file` is the descriptor of an open file, `batches` the most that the cache has.
        """
        if self.remote is None:
            self._open(cache, self.path, file, batches, None)
            return
        while True:
            with self.remote.opened() as (path, storage):
                try:
                    self._open(cache, path, file, batches, storage)
                except FileNotFoundError:
                    # The bound of the directory has removed the local copy meanwhile.
                    if storage is not None:
                        raise
                else:
                    return

    def _open(
        self,
        cache: _core.StreamCache,
        path: bytes,
        file: int,
        batches: int,
        storage: Fetcher | None,
    ) -> None:
        _core.open_file(
            cache,
            path,
            file,
            self.verify,
            self.partial,
            not self.mmap,
            self.writable,
            self.follow,
            batches,
            storage,
        )
