"""The table of `docs/clients.md` is correct for each library's call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neighbours import CALLS, HEAD

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "clients.md"
NAMES = [call.__name__ for call in CALLS]


def row_of(name: str) -> str:
    script = [sys.executable, HERE / "neighbours.py", name]
    run = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return next(line for line in run.stdout.splitlines() if line.startswith("| "))


@pytest.mark.parametrize("name", NAMES)
def test_row(name: str) -> None:
    pytest.importorskip(name, exc_type=ImportError)
    assert row_of(name) in PAGE.read_text().splitlines()


def test_the_table_has_all_rows() -> None:
    lines = PAGE.read_text().splitlines()
    place = lines.index(f"| {' | '.join(HEAD)} |")
    calls = [line.split(" | ")[0].removeprefix("| ") for line in lines[place + 2 :]]
    assert calls[: len(CALLS)] == list(CALLS.values())
