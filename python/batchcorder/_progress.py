"""How a recording proceeds and how large it is, in a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import _core
from ._display import bytes_text

if TYPE_CHECKING:
    from ._stream_cache import StreamCache

# The bar is looked at so often; batches are asked for in steps that take about as long.
_SECONDS = 0.1
_BATCHES_MAX = 1 << 20


def ingest(cache: StreamCache, total_rows: int | None) -> int:
    """Read the source to its end behind a bar; return the number of batches."""
    from tqdm import tqdm

    step, count = 1, cache.ingested_count
    with tqdm(total=total_rows, unit=" rows", unit_scale=True, desc="recording") as bar:
        while True:
            wanted, began = count + step, time.monotonic()
            count = _core.ingest_to(cache, wanted)
            stats = cache.stats()
            bar.set_postfix(
                batches=count, bytes=bytes_text(stats["bytes"]), refresh=False
            )
            bar.update(stats["rows"] - bar.n)
            if count < wanted:
                return count
            seconds = time.monotonic() - began
            if seconds < _SECONDS / 2:
                step = min(2 * step, _BATCHES_MAX)
            elif seconds > 2 * _SECONDS:
                step = max(1, step // 2)
