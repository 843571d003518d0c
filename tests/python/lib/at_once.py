"""Calls on a cache that return without its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from batchcorder import StreamCache
from helpers import SCHEMA

AT_ONCE: dict[str, Callable[[StreamCache], Any]] = {
    "schema": lambda c: c.schema,
    "ingested_count": lambda c: c.ingested_count,
    "upstream_exhausted": lambda c: c.upstream_exhausted,
    "repr": repr,
    "bool": bool,
    "reader": lambda c: c.reader(),
    "reader(False)": lambda c: c.reader(False),
    "iter": iter,
    "cached batches": lambda c: [b for _, b in zip(range(2), c, strict=False)],
    "cached stream": lambda c: pa.RecordBatchReader.from_stream(c).read_next_batch(),
    "cached cast": lambda c: c.reader().cast(SCHEMA).read_next_batch(),
    "capsule": lambda c: c.__arrow_c_stream__(),
    "c_schema": lambda c: c.__arrow_c_schema__(),
    "cast": lambda c: c.cast(SCHEMA).__arrow_c_stream__(),
    "stats": lambda c: c.stats(),
    "reader properties": lambda c: [(r.closed, r.schema, repr(r)) for r in [c.reader()]],
}
