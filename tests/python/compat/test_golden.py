"""
The golden streams of the Arrow project in both tiers, in whole batches and in slices.

The environment variable ARROW_TESTING names a folder with `golden` in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa
import pytest

from command_line import run
from tiers import TIERS, maker

FOLDER = os.environ.get("ARROW_TESTING")
STREAMS = sorted(Path(FOLDER, "golden").rglob("*.stream")) if FOLDER else []
FILES = sorted(Path(FOLDER, "golden").rglob("*.arrow_file")) if FOLDER else []


def is_valid(one: pa.RecordBatch) -> bool:
    """Return whether pyarrow accepts the batch. Some golden values are out of range."""
    try:
        one.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def same(one: pa.RecordBatch, wanted: pa.RecordBatch) -> bool:
    """Return whether two batches are equal. Some types compare only as Python values."""
    if not one.schema.equals(wanted.schema, check_metadata=True):
        return False
    return one.equals(wanted) or one.to_pydict() == wanted.to_pydict()


@pytest.mark.skipif(not STREAMS, reason="ARROW_TESTING names no folder with golden files")
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("path", STREAMS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden_stream(path: Path, tier: str, tmp_path: Path) -> None:
    with pa.ipc.open_stream(path) as stream:
        schema, whole = stream.schema, list(stream)
    sliced = [one.slice(1, max(0, one.num_rows - 2)) for one in whole]
    for batches in (whole, sliced):
        source = pa.RecordBatchReader.from_batches(schema, batches)
        with maker(tier, tmp_path)(source) as cache:
            for _ in range(2):
                for one, wanted in zip(cache, batches, strict=True):
                    assert is_valid(one) == is_valid(wanted)
                    assert same(one, wanted)


@pytest.mark.skipif(not FILES, reason="ARROW_TESTING names no folder with golden files")
def test_head_of_golden_files() -> None:
    """Some files have values without a Python equivalent, such as months."""
    for path in STREAMS + FILES:
        done = run("head", str(path))
        assert done.returncode in (0, 1), path
        assert "Traceback" not in done.stderr, path
        assert done.stderr.count("\n") == done.returncode, path
        if path.stem == "generated_interval":
            assert re.search(r"\d+M ", done.stdout)
