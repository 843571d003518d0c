"""
Sources, consumers, threads and tiers at random: none hangs, and each gets what it should.

BC_MATRIX_RUNS and BC_MATRIX_SEED make it longer and different (`make matrix`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import check_python

RUNS = int(os.environ.get("BC_MATRIX_RUNS", 60))
SEED = int(os.environ.get("BC_MATRIX_SEED", 1))


def test_random_matrix(tmp_path: Path) -> None:
    """Each draw has a deadline of its own; one that hangs says where its threads are."""
    for module in ("adbc_driver_sqlite", "arro3.core", "datafusion", "duckdb", "fsspec"):
        pytest.importorskip(module)
    out = check_python(
        f"""
        from pathlib import Path
        import matrix
        from helpers import exit_at_once
        matrix.main({SEED}, 0, {RUNS}, Path({str(tmp_path)!r}))
        exit_at_once()
        """,
        timeout=60 + 5 * RUNS,
    )
    assert out.count("draw") == RUNS
