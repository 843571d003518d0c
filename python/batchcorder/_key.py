"""
Keys of recordings: values by which `cached` tells one query's recording from another's.

A file keeps its key as text. Equal JSON values have equal texts, and no text of a JSON
value is that of bytes.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from . import _core
from ._stream_cache import StreamCache

_BYTES_MAX = 1 << 20


def key_text(key: Any) -> bytes | None:
    """Return a key as the text that a file keeps; None: no key."""
    if key is None:
        return None
    if isinstance(key, bytes | bytearray | memoryview):
        text = b"bytes:" + base64.b64encode(key)
    else:
        text = b"json:" + _json(key)
    if len(text) > _BYTES_MAX:
        raise ValueError(
            f"argument 'key': it has {len(text):,} bytes as text, and the most is "
            f"{_BYTES_MAX:,}: use a digest of it"
        )
    return text


def _json(key: Any) -> bytes:
    try:
        text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise TypeError(
            "argument 'key': expected a JSON value or bytes, got "
            f"{type(key).__name__!r}: {error}"
        ) from None
    except ValueError as error:
        raise ValueError(f"argument 'key': {error}") from None
    # Of surrogates, JSON has escapes.
    return text.encode()


def json_of(text: bytes | None) -> Any:
    """Return the JSON value of a key's text; None if it is none."""
    if text is None or not text.startswith(b"json:"):
        return None
    try:
        return json.loads(text[5:])
    except ValueError:
        return None


def has_key(cache: StreamCache, key: bytes | None) -> bool:
    """Return whether a recording has this key; None accepts any recording."""
    return key is None or _core.recording_key(cache) == key


__all__ = ["has_key", "json_of", "key_text"]
