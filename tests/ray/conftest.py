"""One Ray for the tests of a process. They need ray (make test-ray)."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray

import batchcorder

# Seconds after which a test counts as a hang: the process then ends, with its stacks.
HANG = 300


def pytest_configure(config: pytest.Config) -> None:
    # A worker writes to a log of Ray's, and the interpreter finds the file open.
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore:Use 'expr' instead:UserWarning")


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """End the process if a test hangs."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Start Ray on this machine, with a store of 200 MB."""
    logging.disable(logging.ERROR)
    # Ray's own tests have no second way to store an Arrow table: Ray looks for the name.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")
        # Workers import classes of the tests.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init(
            num_cpus=2,
            object_store_memory=200 << 20,
            include_dashboard=False,
            log_to_driver=False,
        )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()
    logging.disable(logging.NOTSET)


def batch(first: int, rows: int) -> pa.RecordBatch:
    """Return rows with ids from `first`, a float, and a text of 20 bytes."""
    ids = range(first, first + rows)
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.int64()),
            "x": pa.array([i / 2 for i in ids], pa.float64()),
            "s": pa.array([f"{f'row {i}':20}" for i in ids], pa.string()),
        }
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that records batches of these lengths, with consecutive ids."""

    def record(lengths: Iterable[int], name: str = "x", first: int = 0) -> Path:
        path = tmp_path / f"{name}.arrows"

        def batches() -> Iterator[pa.RecordBatch]:
            row = first
            for length in lengths:
                yield batch(row, length)
                row += length

        schema = batch(0, 0).schema
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        batchcorder.record(reader, path).close()
        return path

    return record
