"""A query for `cached`, and checks of the directory that has its recording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from children import stream

BATCHES = 6
# The ids of all rows.
ALL = list(range(4 * BATCHES))


def source() -> pa.RecordBatchReader:
    """Return the stream of the query."""
    return stream(BATCHES)


def never() -> Any:
    """Fail, because a recording needs no source."""
    raise AssertionError("the recording needs no source")


def alone(path: Path) -> bool:
    """Return whether the directory has only the recording."""
    return os.listdir(path.parent) == [path.name]
