"""The memory of dictionaries after all of their batches are released."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

# Reads every batch of a file twice, then prints the bytes that the process keeps.
READ = """
import sys
import batchcorder

def anonymous():
    with open("/proc/self/status") as lines:
        return sum(int(l.split()[1]) for l in lines if l.startswith("RssAnon")) << 10

with batchcorder.open(sys.argv[1]) as cache:
    next(cache.reader())
    before = anonymous()
    for _ in range(2):
        assert sum(len(batch) for batch in cache.reader()) > 0
    print(anonymous() - before)
"""
# Slots and dictionaries may keep 32 MiB each, and always the latest version.
KEPT_MAX = (2 * 32 + 24) << 20


def write(path: Path, batches: Iterator[pa.RecordBatch], **options: bool | str) -> None:
    first = next(batches)
    write_options = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(path, first.schema, options=write_options) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def kept(path: Path) -> int:
    command = [sys.executable, "-c", READ, path]
    return int(subprocess.check_output(command, text=True, timeout=300))


@pytest.mark.parametrize("each", [1, 2])
def test_versions(tmp_path: Path, each: int) -> None:
    """Each dictionary has 1 MiB, and `each` batches use it."""

    def batches() -> Iterator[pa.RecordBatch]:
        for i in range(200):
            values = pa.concat_arrays([pa.array([i]), pa.nulls(1 << 17).cast("int64")])
            values = values.fill_null(0)
            array = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), values)
            for _ in range(each):
                yield pa.record_batch({"d": array})

    path = tmp_path / "x.arrows"
    write(path, batches(), compression="zstd")
    assert path.stat().st_size < 1 << 20
    assert kept(path) < KEPT_MAX


def test_deltas(tmp_path: Path) -> None:
    """Each version has its own bitmaps for all of the earlier values."""
    parts, part = 200, 1 << 16
    values = pa.array([None, *[True] * (part - 1)])
    values = pa.concat_arrays([values] * parts)

    def batches() -> Iterator[pa.RecordBatch]:
        for i in range(parts):
            array = pa.DictionaryArray.from_arrays(
                pa.array([0], pa.int32()), values.slice(0, (i + 1) * part)
            )
            yield pa.record_batch({"d": array})

    path = tmp_path / "x.arrows"
    write(path, batches(), emit_dictionary_deltas=True)
    assert path.stat().st_size < 8 << 20
    assert kept(path) < KEPT_MAX
