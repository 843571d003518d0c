"""Every Arrow type (of tests/python/lib/kinds.py) comes back, whole and sliced."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinds import ALL, batch_of, slices_of

from .data import TIERS, ids
from .probing import attempt, each, kind_raised, probe


def compared(batches: list[pa.RecordBatch], got: Any) -> Any:
    """Return, for each batch, whether it came back."""
    return [
        [
            one.equals(other, check_metadata=True)
            and one.to_pylist() == other.to_pylist()
            for one, other in zip(got, batches, strict=True)
        ],
        [
            str(one.schema) == str(other.schema)
            for one, other in zip(got, batches, strict=True)
        ],
    ]


@each(ALL)
def type_comes_back(bc: Any, name: str, tmp: Path) -> Any:
    """From memory and from disk, by iteration and as a stream."""
    batches = slices_of(batch_of(name))

    def use(tier: str, batches: list[pa.RecordBatch]) -> Any:
        source = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
        cache = TIERS[tier](bc, source, tmp)
        return [
            compared(batches, list(cache)),
            compared(batches, list(pa.RecordBatchReader.from_stream(cache))),
        ]

    found = {tier: kind_raised(use, tier, batches) for tier in ("memory", "disk")}
    # Whole batches are another matter than slices.
    return found | {"disk, whole": kind_raised(use, "disk", batches[:1])}


@each(["memory", "disk"])
def metadata_that_is_not_utf8(bc: Any, tier: str, tmp: Path) -> Any:
    metadata = {b"\xff\xfe": b"\x80", b"nul\x00": b"\x00\x01"}
    field = pa.field("a", pa.int8(), metadata=metadata)
    batch = pa.RecordBatch.from_arrays(
        [pa.array([1, None], pa.int8())], schema=pa.schema([field], metadata=metadata)
    )

    def use() -> Any:
        source = pa.RecordBatchReader.from_batches(batch.schema, [batch])
        return compared([batch], list(TIERS[tier](bc, source, tmp)))

    return kind_raised(use)


@each(["memory", "disk"])
def top_level_nulls(bc: Any, tier: str, tmp: Path) -> Any:
    """A stream of structs with a null, which no table can hold."""
    structs = pa.array([{"id": 1}, None, {"id": 3}])

    def use() -> Any:
        return ids(list(TIERS[tier](bc, pa.chunked_array([structs]), tmp)))

    return kind_raised(use)


@each(["memory", "disk"])
def buffers_out_of_alignment(bc: Any, tier: str, tmp: Path) -> Any:
    raw = bytearray(8 * 4 + 1)
    raw[1:] = (ctypes.c_int64 * 4)(1, 2, 3, 4)
    buffer = pa.py_buffer(raw).slice(1)
    column = pa.Array.from_buffers(pa.int64(), 4, [None, buffer])
    table = pa.table({"id": column})

    def use() -> Any:
        cache = TIERS[tier](bc, table, tmp)
        return [ids(list(cache)), ids(cache)]

    return attempt(use)


@probe
def versions_of_a_dictionary(bc: Any, tmp: Path) -> Any:
    """Each batch with other values."""
    columns = [pa.array([c, c * 2]).dictionary_encode() for c in "abc"]
    batches = [pa.record_batch({"d": column}) for column in columns]

    def use(tier: str) -> Any:
        source = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
        return compared(batches, list(TIERS[tier](bc, source, tmp)))

    return {tier: kind_raised(use, tier) for tier in ("memory", "disk")}


@probe
def dictionary_of_a_dictionary(bc: Any, tmp: Path) -> Any:
    inner = pa.array(["a", "b"]).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), inner)
    batches = [pa.record_batch({"twice": column})]

    def use(tier: str) -> Any:
        source = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
        return [one.num_rows for one in TIERS[tier](bc, source, tmp)]

    return {tier: kind_raised(use, tier) for tier in ("memory", "disk")}
