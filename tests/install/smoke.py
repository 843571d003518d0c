"""The operations that a fresh install must support."""

import tempfile

import pyarrow as pa

import batchcorder

assert batchcorder.__version__ == "0.1.3"
table = pa.table({"x": [1, 2, 3], "s": ["a", None, "c"]})
with tempfile.TemporaryDirectory() as folder:
    cache = batchcorder.StreamCache(table.to_reader(), 1, folder, 1 << 20)
    assert pa.table(cache).equals(table)
    assert pa.table(cache).equals(table)
    cache.close()
