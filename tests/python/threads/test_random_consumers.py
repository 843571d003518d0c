"""
Random sources, consumers, threads and tiers: none hangs, and each reads its batches.

BC_MATRIX_RUNS and BC_MATRIX_SEED set the number of draws and the seed (`make matrix`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import check_python

RUNS = int(os.environ.get("BC_MATRIX_RUNS", 100))
SEED = int(os.environ.get("BC_MATRIX_SEED", 1))


@pytest.mark.parametrize(
    ("first", "runs"), [(0, 20), pytest.param(20, RUNS - 20, marks=pytest.mark.long)]
)
def test_random_matrix(first: int, runs: int, tmp_path: Path) -> None:
    """Each draw has a deadline. A process that hangs prints where its threads are."""
    for module in ("adbc_driver_sqlite", "arro3.core", "datafusion", "duckdb", "fsspec"):
        pytest.importorskip(module)
    out = check_python(
        f"""
        from pathlib import Path
        import matrix
        from helpers import exit_at_once
        matrix.main({SEED}, {first}, {runs}, Path({str(tmp_path)!r}))
        exit_at_once()
        """,
        timeout=300 + 5 * runs,
    )
    assert out.count("draw") == runs
