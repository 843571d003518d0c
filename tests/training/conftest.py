"""Recordings for the tests of batchcorder.torch, which need torch (make test-torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder


def pytest_configure(config: pytest.Config) -> None:
    # Tests start more workers than a small machine has processors.
    for text in ("This DataLoader will create", "'set_vital' is deprecated"):
        config.addinivalue_line("filterwarnings", f"ignore:{text}:UserWarning")


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., str]:
    """Return a function that records batches of these lengths, with a row id each."""

    def record(lengths: Iterable[int], name: str = "x", first: int = 0) -> str:
        path = str(tmp_path / f"{name}.arrows")
        schema = pa.schema({"id": pa.int64(), "x": pa.float32(), "s": pa.string()})

        def batches() -> Iterable[pa.RecordBatch]:
            row = first
            for length in lengths:
                ids = list(range(row, row + length))
                columns = [ids, [i / 2 for i in ids], [f"row {i}" for i in ids]]
                yield pa.record_batch(
                    [
                        pa.array(column, field.type)
                        for column, field in zip(columns, schema, strict=True)
                    ],
                    schema=schema,
                )
                row += length

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        with batchcorder.record(reader, path):
            pass
        return path

    return record
