"""Damage of cache files."""

from __future__ import annotations

import re
from pathlib import Path

from batchcorder import StreamCache
from helpers import Source, cache_file, numbered, on_disk

MISMATCH = re.compile(
    r"Checksum mismatch for (batch (\d+)|the schema).*cache file may be corrupted"
)


def recorded(path: Path, count: int = 3) -> tuple[StreamCache, Path]:
    cache = on_disk(Source(numbered(count)), path)
    cache.ingest_all()
    return cache, cache_file(path)


def flip(file: Path, offset: int, mask: int = 0x10) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ mask]))
