"""The lint of clocks refuses a test that measures time or sleeps without a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT


@pytest.mark.parametrize(
    ("name", "line", "fails"),
    [
        ("test_a.py", "assert time.monotonic() - began < 1", True),
        ("test_a.py", "        time.sleep(0.1)", True),
        ("test_a.py", "began = time.perf_counter_ns()", True),
        ("test_a.py", "from time import sleep; sleep(1)", True),
        ("test_a.py", "end = time.monotonic() + 120  # clock: a deadline", False),
        ("test_a.py", "time.sleep(0.1)  # sleep: ", True),
        ("test_a.py", "assert event.wait(120)", False),
        ("test_a.py", "loop.run_until_complete(asyncio.sleep(0))", False),
        ("test_a.c", "    (void)usleep(60000);", True),
        ("test_a.c", "    usleep(100); /* sleep: the source is slow */", False),
        ("test_a.c", "    while (atomic_load(&alive) != 0) (void)usleep(100);", False),
        ("lib/a.h", "clock_gettime(CLOCK_MONOTONIC, &time);", True),
        ("run.sh", "    sleep 3", True),
        ("run.sh", "echo sleep", False),
    ],
)
def test_lines(name: str, line: str, fails: bool, tmp_path: Path) -> None:
    file = tmp_path / "tests" / name
    file.parent.mkdir(parents=True)
    file.write_text(f"\n{line}\n")
    command = [sys.executable, ROOT / "tools/check_clocks.py", "--root", tmp_path]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == fails
    assert (f"tests/{name}:2: " in run.stderr) == fails


def test_no_tests_are_an_error(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools/check_clocks.py", "--root", tmp_path]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )
    assert (run.returncode, run.stderr) == (1, "check_clocks.py: no tests found\n")
