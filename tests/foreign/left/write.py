"""
Wrote recording.arrows, an incomplete recording of two batches of a source with five.
"""

import sys
from collections.abc import Iterator

import pyarrow as pa

import batchcorder

WORDS = pa.dictionary(pa.int32(), pa.string())
PAIR = pa.struct([("a", pa.string())])
SCHEMA = pa.schema([("x", pa.int64()), ("s", PAIR), ("d", WORDS)])


def batches() -> Iterator[pa.RecordBatch]:
    for i in range(5):
        x = pa.array([i, None, i + 1])
        s = pa.array([{"a": "x"}, None, {"a": None}], PAIR)
        at = pa.array([0, 1, 0], pa.int32())
        d = pa.DictionaryArray.from_arrays(at, [f"{i}-a", f"{i}-b"])
        yield pa.record_batch([x, s, d], schema=SCHEMA)


def source() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


if __name__ == "__main__":
    with batchcorder.cached(sys.argv[1], source) as cache:
        reader = cache.reader()
        next(reader)
        next(reader)
