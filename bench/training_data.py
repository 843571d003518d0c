"""
The tables of training.py, and the files of each library.

The label `y` of a row is its number, so the sum of the labels shows that an epoch gave
each row once.
"""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import batchcorder

DATA = Path(__file__).parent.parent / "build" / "training-data"
BATCH = 256
# Rows of a recorded batch, a Parquet row group and a Lance fragment.
GROUP = 1 << 16
FEATURES = [f"f{number}" for number in range(32)]
IMAGE_BYTES = 3072
# Parts of the peers that read whole files in turn.
SHARDS = 16


class Case(NamedTuple):
    """A table, and a way to read it."""

    table: str
    rows: int
    workers: int
    shuffled: bool

    @property
    def steps(self) -> int:
        return math.ceil(self.rows / BATCH)

    @property
    def folder(self) -> Path:
        return DATA / f"{self.table}-{self.rows}"


def batches(case: Case) -> Iterator[pa.RecordBatch]:
    """Yield the table: 32 columns of float32, or images of one column, and labels."""
    random = np.random.default_rng(7)
    for start in range(0, case.rows, GROUP):
        n = min(GROUP, case.rows - start)
        labels = pa.array(np.arange(start, start + n))
        if case.table == "rows":
            columns = [random.random(n, np.float32) for _ in FEATURES]
            yield pa.record_batch([*columns, labels], [*FEATURES, "y"])
        else:
            kind = pa.binary(IMAGE_BYTES)
            data = pa.py_buffer(random.bytes(n * IMAGE_BYTES))
            images = pa.Array.from_buffers(kind, n, [None, data])
            yield pa.record_batch([images, labels], ["image", "y"])


def images_of(column: pa.Array) -> np.ndarray:
    """Return the bytes of a column of images, as an array of rows."""
    data = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, IMAGE_BYTES)
    return data[column.offset : column.offset + len(column)]


def reader(case: Case, of_lists: bool = False) -> pa.RecordBatchReader:
    """Return the table as a stream, optionally with images as lists of bytes."""

    def ready() -> Iterator[pa.RecordBatch]:
        for batch in batches(case):
            if of_lists and case.table == "images":
                values = pa.array(images_of(batch["image"]).reshape(-1))
                lists = pa.FixedSizeListArray.from_arrays(values, IMAGE_BYTES)
                batch = pa.record_batch([lists, batch["y"]], ["image", "y"])
            yield batch

    return pa.RecordBatchReader.from_batches(next(ready()).schema, ready())


def write_recording(case: Case, path: Path) -> None:
    batchcorder.record(reader(case), path).close()


def write_parquet(case: Case, path: Path) -> None:
    with pq.ParquetWriter(path, next(batches(case)).schema) as writer:
        for batch in batches(case):
            writer.write_batch(batch)


def write_datasets(case: Case, path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset(reader(case, of_lists=True).read_all()).save_to_disk(path)


def write_lance(case: Case, path: Path) -> None:
    import lance

    lance.write_dataset(reader(case, of_lists=True), path, max_rows_per_file=GROUP)


def write_tar(case: Case, path: Path) -> None:
    path.mkdir()
    with contextlib.ExitStack() as stack:
        tars = [
            stack.enter_context(tarfile.open(path / f"{number:03}.tar", "w"))
            for number in range(SHARDS)
        ]
        for batch in batches(case):
            columns = [column.to_pylist() for column in batch.columns]
            for image, y in zip(*columns, strict=True):
                tar = tars[y * SHARDS // case.rows]
                for end, data in (("bin", image), ("cls", b"%d" % y)):
                    member = tarfile.TarInfo(f"{y:08}.{end}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


FILES: dict[str, Callable[[Case, Path], None]] = {
    "recording.arrows": write_recording,
    "table.parquet": write_parquet,
    "datasets": write_datasets,
    "table.lance": write_lance,
    "tar": write_tar,
}


def write(case: Case) -> None:
    """Write the files of a table that are missing."""
    case.folder.mkdir(parents=True, exist_ok=True)
    for name, write_file in FILES.items():
        path = case.folder / name
        if path.exists() or (name == "tar" and case.table != "images"):
            continue
        part = case.folder / f"part-{name}"
        if part.is_dir():
            shutil.rmtree(part)
        write_file(case, part)
        part.rename(path)
