"""Streams and files of big-endian machines are read, and recorded in native order."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from foreign import V4, Batches, file_of, read_by_pyarrow, stream_of
from kinds import ALL, VIEWS, batch_of, slices_of
from swapped import big_file, big_stream

FOLDER = os.environ.get("ARROW_TESTING", "")
GOLDEN = [
    path
    for path in sorted(Path(FOLDER, "golden").rglob("*"))
    if FOLDER and path.suffix in (".stream", ".arrow_file")
]
# pyarrow does not swap the bytes of these types.
NOT_BY_PYARROW = [name for name in ALL if "run_end" in name or name in VIEWS]
OPTIONS: dict[str, dict[str, Any]] = {
    "v5": {},
    "v4": {"metadata_version": V4},
    "legacy": {"metadata_version": V4, "use_legacy_format": True},
    "deltas": {"emit_dictionary_deltas": True},
    "lz4": {"compression": "lz4"},
    "zstd": {"compression": "zstd"},
}


def same(got: Batches, wanted: Batches) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert one.schema.equals(other.schema, check_metadata=True)
        # Some types compare only as Python values.
        assert one.equals(other) or one.to_pydict() == other.to_pydict()


def big(batches: Batches, **options: Any) -> bytes:
    return big_stream(stream_of(batches, **options), batches[0].schema)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_type(option: str) -> None:
    for name in ALL:
        batches = slices_of(batch_of(name))
        content = big(batches, **OPTIONS[option])
        if name not in NOT_BY_PYARROW:
            same(read_by_pyarrow(content)[1], batches)
        for how in ({}, {"mmap": False}, {"verify": True}):
            with batchcorder.open(io.BytesIO(content), **how) as cache:
                same(list(cache), batches)
                same(list(cache), batches)


def test_files() -> None:
    for name in ALL:
        batches = slices_of(batch_of(name))
        try:
            content = big_file(file_of(batches), batches[0].schema)
        except pa.ArrowInvalid:
            continue  # dictionaries that are replaced
        with batchcorder.open(io.BytesIO(content), verify=True) as cache:
            same(list(cache), batches)


def wide() -> pa.RecordBatch:
    names = "int64 string_view bool dictionary list_view dense_union decimal256 interval"
    return pa.record_batch({name: ALL[name] for name in [*names.split(), "run_end_16"]})


def test_some_columns_and_rows(tmp_path: Path) -> None:
    batches = slices_of(wide())
    path = tmp_path / "x.arrows"
    path.write_bytes(big(batches, compression="lz4"))
    table = pa.Table.from_batches(batches)
    with batchcorder.open(path) as cache:
        for name in table.column_names:
            got = list(cache.reader(columns=[name]))
            same(got, [one.select([name]) for one in batches])
        rows = [5, 0, cache.num_rows - 1]
        plain = ["int64", "bool", "decimal256"]
        with batchcorder.open(path, columns=plain) as some:
            assert (
                some.take(rows).to_pydict() == table.select(plain).take(rows).to_pydict()
            )
            found = some.dataset().to_table(columns=["bool"])
            assert found.equals(table.select(["bool"]))
        assert cache[1].to_pydict() == batches[1].to_pydict()


@pytest.mark.parametrize("name", [*NOT_BY_PYARROW, "decimal256", "dictionary_nested"])
def test_a_saved_copy_has_native_order(name: str, tmp_path: Path) -> None:
    batches = slices_of(batch_of(name))
    path, copy = tmp_path / "big.arrows", tmp_path / "copy.arrows"
    path.write_bytes(big(batches))
    with batchcorder.open(path) as cache:
        cache.save(copy)
    same(read_by_pyarrow(copy.read_bytes())[1], batches)
    batchcorder.verify(copy)
    assert batchcorder.verify(path) == len(batches)


def program(*words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "batchcorder", *words]
    return subprocess.run(command, input=input, capture_output=True, timeout=300)


def test_the_command_line(tmp_path: Path) -> None:
    batches = slices_of(wide())
    content = big(batches)
    path, copy = str(tmp_path / "big.arrows"), str(tmp_path / "copy.arrows")
    Path(path).write_bytes(content)
    assert program("record", "-", copy, input=content).returncode == 0
    same(read_by_pyarrow(Path(copy).read_bytes())[1], batches)
    for words, given in (("cat", path), b""), (("cat", "-"), content):
        done = program(*words, input=given)
        assert done.returncode == 0, done.stderr
        same(read_by_pyarrow(done.stdout)[1], batches)
    for words in ("info", path), ("verify", path), ("head", path):
        done = program(*words)
        assert done.returncode == 0, done.stderr


def test_a_stream_that_grows(tmp_path: Path) -> None:
    """A follower needs no writer once the stream has its end marker."""
    batches = slices_of(batch_of("string"))
    path = tmp_path / "big.arrows"
    path.write_bytes(big(batches))
    with batchcorder.open(path, follow=True) as cache:
        same(list(cache), batches)


def test_types_without_byte_order_are_not_copied(tmp_path: Path) -> None:
    columns = {name: ALL[name] for name in ("int8", "bool", "fixed_binary", "int16")}
    path = tmp_path / "big.arrows"
    path.write_bytes(big([pa.record_batch(columns)]))
    with batchcorder.open(path) as cache:
        one = cache[0]
        lines = Path("/proc/self/maps").read_text().splitlines()
        (low, high) = next(
            [int(end, 16) for end in line.split()[0].split("-")]
            for line in lines
            if line.endswith(str(path))
        )
        inside = {name: low <= one[name].buffers()[1].address < high for name in columns}
        assert inside == dict.fromkeys(columns, True) | {"int16": False}


# ---- the files that the Arrow project keeps ----


@pytest.mark.skipif(not GOLDEN, reason="ARROW_TESTING names no folder with golden files")
@pytest.mark.parametrize("read", [False, True], ids=["copies", "maps"])
def test_golden_files_of_every_version(read: bool) -> None:
    """Each file has pyarrow's batches, and so does its big-endian copy."""
    for path in GOLDEN:
        content = path.read_bytes()
        schema, wanted = read_by_pyarrow(content)
        contents = [content]
        if "bigendian" not in path.parent.name and path.suffix == ".stream":
            contents.append(big_stream(content, schema))
        for one in contents:
            with batchcorder.open(io.BytesIO(one), mmap=read, verify=True) as cache:
                assert cache.schema.equals(schema, check_metadata=True), path
                same(list(cache), wanted)
