"""
Recordings in object stores.

The other modules import pyarrow.fs or fsspec. They are imported when a recording is in a
store.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._objects import Remote

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]+)*://")
# A URL of which pathlib removed a slash, or a URL as bytes.
_DAMAGED_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/")


def is_url(path: object) -> bool:
    """Return whether a path is a URL: a text with a scheme and `://`."""
    return isinstance(path, str) and _URL.match(path) is not None


def resolved(
    path: Any, filesystem: Any = None, local: Any = None
) -> tuple[Remote | None, Any]:
    """Return an object of a store, or None and the path of a local file."""
    if filesystem is None and not is_url(path):
        if local is not None:
            raise ValueError(
                "argument 'local': only an object of a store has a local copy, and "
                f"{path!r} is no URL"
            )
        _refuse_damaged_url(path)
        return None, path
    from ._objects import Remote
    from ._store import local_path, store_of

    found = local_path(path, filesystem)
    if found is not None:
        return None, found
    with store_of(path, filesystem) as store:
        url = store.url
    directory = None if local is None else os.path.abspath(os.fsdecode(local))
    return Remote(url, os.fsdecode(path), filesystem, directory), path


def _refuse_damaged_url(path: Any) -> None:
    """Raise ValueError for a relative path such as `s3:/x`, if `s3:` does not exist."""
    if not isinstance(path, str | bytes | os.PathLike):
        return
    found = _DAMAGED_URL.match(os.fsdecode(path))
    if found is not None and not os.path.exists(found[1]):
        raise ValueError(
            f"argument 'path': {path!r} is no path and no URL: pass a URL as a str"
        )


__all__ = ["is_url", "resolved"]
