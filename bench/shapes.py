"""The data that the benchmarks record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Shape:
    """A function that makes batches of one kind, and their counts."""

    title: str
    batches: int
    batches_quick: int
    make: Callable[[int], list[pa.RecordBatch]]


def _wide(n_batches: int) -> list[pa.RecordBatch]:
    random = np.random.default_rng(1)
    names = [f"c{i}" for i in range(12)]
    return [
        pa.record_batch(list(random.random((12, 1 << 16))), names=names)
        for _ in range(n_batches)
    ]


def _strings(n_batches: int) -> list[pa.RecordBatch]:
    rows = 10_000
    random = np.random.default_rng(2)
    tags = pa.array([f"tag {i}" for i in range(1000)])
    batches = []
    for number in range(n_batches):
        values = random.integers(0, 10**9, rows)
        key = [f"key-{value:x}" for value in values]
        word = [None if value % 10 == 0 else "ab" * (value % 9) for value in values]
        tag = pa.DictionaryArray.from_arrays(pa.array(values % 1000, pa.int32()), tags)
        ends = np.concatenate([[0], np.cumsum(values % 4)])
        parts = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(values[:1].repeat(ends[-1]))
        )
        batches.append(
            pa.record_batch({"key": key, "word": word, "tag": tag, "parts": parts})
        )
        assert batches[number].schema == batches[0].schema
    return batches


def _one_row(n_batches: int) -> list[pa.RecordBatch]:
    return [
        pa.record_batch({"id": pa.array([i]), "value": pa.array([i / 2])})
        for i in range(n_batches)
    ]


SHAPES = {
    "one-row": Shape("one-row batches of two columns", 50_000, 5_000, _one_row),
    "strings": Shape(
        "batches of short strings, dictionaries and lists, 10,000 rows each",
        100,
        10,
        _strings,
    ),
    "wide": Shape("batches of 12 float64 columns, 65,536 rows each", 64, 6, _wide),
}
