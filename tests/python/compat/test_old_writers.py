"""Files that older releases of other libraries wrote. tests/foreign lists the writers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from foreign import read_by_pyarrow, same
from helpers import TESTS

FOLDER = TESTS / "foreign" / "data"
# pyarrow misreads the null columns with two buffers in these files.
STEM_BEFORE_0_15 = "arrow-0.14.1"
FILES = [path for path in sorted(FOLDER.iterdir()) if path.stem != STEM_BEFORE_0_15]


@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"verify": True}], ids=str)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_old_writers(path: Path, options: dict[str, Any]) -> None:
    schema, wanted = read_by_pyarrow(path.read_bytes())
    assert sum(batch.num_rows for batch in wanted) > 0
    with batchcorder.open(path, **options) as cache:
        assert cache.schema.equals(schema, check_metadata=True)
        same(list(cache), wanted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_columns_of_files_of_old_writers(path: Path) -> None:
    _, wanted = read_by_pyarrow(path.read_bytes())
    with batchcorder.open(path, verify=True) as cache:
        for name in cache.schema.names:
            reader = cache.reader(columns=[name])
            same(list(reader), [batch.select([name]) for batch in wanted])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_old_writers_are_recorded(path: Path, tmp_path: Path) -> None:
    _, wanted = read_by_pyarrow(path.read_bytes())
    with batchcorder.open(path) as cache:
        batchcorder.record(cache, tmp_path / "x.arrows")
    with batchcorder.open(tmp_path / "x.arrows", verify=True) as again:
        same(list(again), wanted)


@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
def test_null_columns_had_buffers(suffix: str) -> None:
    _, wanted = read_by_pyarrow((FOLDER / f"arrow-0.15.1{suffix}").read_bytes())
    path = FOLDER / f"{STEM_BEFORE_0_15}{suffix}"
    for options in ({}, {"mmap": False}, {"verify": True}):
        with batchcorder.open(path, **options) as cache:
            same(list(cache), wanted)
            reader = cache.reader(columns=["u"])
            same(list(reader), [batch.select(["u"]) for batch in wanted])


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compression_that_custom_metadata_names(codec: str, tmp_path: Path) -> None:
    """Arrow C++ 0.17 names the codec in custom metadata. Its case does not matter."""
    content = (FOLDER / f"arrow-0.17.1-{codec}.arrows").read_bytes()
    _, wanted = read_by_pyarrow(content)
    name = codec.upper().encode()
    path = tmp_path / "x.arrows"
    for other in (codec.encode(), codec.title().encode()):
        path.write_bytes(content.replace(name, other))
        with batchcorder.open(path, verify=True) as cache:
            same(list(cache), wanted)
            assert cache.info()["compression"] == codec
    path.write_bytes(content.replace(name, b"x" * len(name)))
    with pytest.raises(OSError, match="Batch 0"), batchcorder.open(path) as cache:
        list(cache)


def test_a_recording_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    """An earlier version wrote the same schema in other bytes, without empty vectors."""
    path = tmp_path / "x.arrows"
    left = FOLDER.parent / "left" / "recording.arrows"
    path.write_bytes(left.read_bytes())
    spec = importlib.util.spec_from_file_location("w", left.parent / "write.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    with batchcorder.cached(path, writer.source, resume=True) as cache:
        assert cache.ingest_all() == 5
        assert cache.stats()["resumed"] == 2
        assert list(cache) == list(writer.source())
    assert batchcorder.verify(path) == 5
    path.write_bytes(left.read_bytes())
    other = pa.table({"x": pa.array([1], pa.int64())})
    with pytest.raises(ValueError, match="schema differs from the recording's"):
        batchcorder.cached(path, lambda: other, resume=True)
