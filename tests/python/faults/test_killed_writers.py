"""Recordings whose writer was killed: libraries read them, and this library resumes them.

tests/kill kills processes before every system call and in the middle of every write. It
keeps a copy of each file. `make test` builds it before these tests run.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

import batchcorder
from helpers import ROOT, missing

PROGRAM = os.environ.get("BC_KILL_PROGRAM")
BUILT = ROOT / "build/test/tests/kill_kill"
# The batches and rows of the recording that a save replaces, as in
# tests/kill/test_kill.c.
OLD = (4, 3)
PLAIN = pa.schema([("x", pa.int64()), ("s", pa.string()), ("d", pa.string())])


@cache
def expected(batches: int, rows: int) -> pa.Table:
    """Return the batches of tests/lib/counting_source.h, with decoded dictionaries."""
    numbers = range(batches * rows)
    return pa.table(
        {
            "x": list(numbers),
            "s": [None if row % 3 == 0 else f"row {row}" for row in numbers],
            "d": [f"{row // rows // 2}-{row % 3}" for row in numbers],
        },
        PLAIN,
    )


class Left(NamedTuple):
    """A file of a killed writer, and the batches that it may hold."""

    name: str
    content: bytes
    batches: int
    rows: int
    saved: bool


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> list[Left]:
    program = Path(PROGRAM) if PROGRAM else BUILT
    if not program.exists():
        missing("tests/kill was not built: meson compile -C build/test")
    where = tmp_path_factory.mktemp("left")
    environment = os.environ | {"BC_KILL_KEEP": str(where)}
    run = subprocess.run(
        [program], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[tuple[str, bytes], Left] = {}
    for file in sorted(where.iterdir()):
        mode, size, _, _ = file.name.split(".")
        batches, rows = map(int, size.split("x"))
        content = file.read_bytes()
        if not content:
            # The last method of naming a file begins with an empty file (base/naming.h).
            assert mode.endswith("_over_own"), file.name
            file.unlink()
            continue
        saved = mode.startswith("save")
        key = (f"{size} {saved}", hashlib.sha256(content).digest())
        found.setdefault(key, Left(file.name, content, batches, rows, saved))
        file.unlink()
    # The files of all ends and all halves of writes, in each mode.
    assert len(found) > 70
    return list(found.values())


def decoded(table: pa.Table) -> pa.Table:
    """Return the table without dictionaries and views."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not column.chunks:
            columns.append(pa.chunked_array([], PLAIN.field(name).type))
            continue
        chunks = [
            chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
            for chunk in column.chunks
        ]
        columns.append(pa.chunked_array(chunks))
    got = pa.table(dict(zip(table.column_names, columns, strict=True)))
    return got.cast(PLAIN)


def count_rows(got: pa.Table, one: Left) -> int:
    """Check that `got` is a prefix of the source. Return its number of batches."""
    batches, rest = divmod(got.num_rows, one.rows)
    assert rest == 0, one.name
    assert batches <= one.batches, one.name
    assert got.equals(expected(batches, one.rows)), one.name
    return batches


def is_old(got: pa.Table, one: Left) -> bool:
    return one.saved and got.equals(expected(*OLD))


def test_a_killed_writers_file_is_an_exact_prefix(
    left: list[Left], tmp_path: Path
) -> None:
    path = tmp_path / "x.arrows"
    counts = set()
    for one in left:
        path.write_bytes(one.content)
        with batchcorder.open(path, partial=True, verify=True) as opened:
            got = decoded(opened.to_table())
            complete = opened.info()["complete"]
        if complete:
            assert batchcorder.verify(path) in (one.batches, OLD[0]), one.name
        else:
            with pytest.raises(OSError, match="not complete"):
                batchcorder.verify(path)
        if is_old(got, one):
            continue
        batches = count_rows(got, one)
        assert batches == one.batches or not complete, one.name
        assert complete or not one.saved, one.name
        counts.add((one.batches, batches))
    assert {(6, n) for n in range(7)} <= counts


def by_pyarrow(content: bytes) -> pa.Table:
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()


def by_arro3(content: bytes) -> pa.Table:
    reader = pytest.importorskip("arro3.io").read_ipc_stream(io.BytesIO(content))
    return pa.RecordBatchReader.from_stream(reader).read_all()


def by_nanoarrow(content: bytes) -> pa.Table:
    nanoarrow = pytest.importorskip("nanoarrow")
    with nanoarrow.ArrayStream.from_readable(io.BytesIO(content)) as stream:
        return pa.RecordBatchReader.from_stream(stream).read_all()


def by_polars(content: bytes) -> pa.Table:
    polars = pytest.importorskip("polars")
    frame = polars.read_ipc_stream(io.BytesIO(content))
    return frame.with_columns(polars.col("d").cast(polars.String)).to_arrow()


@pytest.mark.parametrize("read", [by_pyarrow, by_arro3, by_nanoarrow, by_polars])
def test_other_libraries_read_an_exact_prefix(
    left: list[Left], read: Callable[[bytes], pa.Table]
) -> None:
    for one in left:
        got = decoded(read(one.content))
        assert is_old(got, one) or count_rows(got, one) >= 0


def test_a_killed_writers_file_is_resumed(left: list[Left], tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    resumed = set()
    for one in left:
        if one.saved:
            continue
        path.write_bytes(one.content)
        words = pa.dictionary(pa.int32(), pa.string())

        def source(one: Left = one, words: Any = words) -> pa.RecordBatchReader:
            def generate() -> Iterator[pa.RecordBatch]:
                whole = expected(one.batches, one.rows)
                for i in range(one.batches):
                    values = pa.array([f"{i // 2}-{k}" for k in range(3)])
                    table = whole.slice(i * one.rows, one.rows).combine_chunks()
                    (part,) = table.to_batches()
                    at = pa.array([row % 3 for row in part["x"].to_pylist()], pa.int32())
                    d = pa.DictionaryArray.from_arrays(at, values)
                    yield pa.record_batch({"x": part["x"], "s": part["s"], "d": d})

            schema = pa.schema([("x", pa.int64()), ("s", pa.string()), ("d", words)])
            return pa.RecordBatchReader.from_batches(schema, generate())

        with batchcorder.cached(path, source, resume=True) as cache:
            assert cache.ingest_all() == one.batches
            assert decoded(cache.to_table()).equals(expected(one.batches, one.rows))
            resumed.add(cache.stats()["resumed"])
        assert batchcorder.verify(path) == one.batches
        assert count_rows(decoded(by_pyarrow(path.read_bytes())), one) == one.batches
        assert os.listdir(tmp_path) == ["x.arrows"]
    assert set(range(6)) <= resumed
