"""The tutorial in the README runs and prints its comments."""

import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[3] / "README.md"
EXPECTED = (
    """\
id: int64
value: double
False
5 rows
True
1
"""
    + 10 * "1 batches replayed\n"
)


def tutorial() -> str:
    """Return the first Python block of the README."""
    return README.read_text().split("```python\n", 1)[1].split("```", 1)[0]


def test_tutorial_prints_its_comments() -> None:
    run = subprocess.run(
        [sys.executable, "-c", tutorial()],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, EXPECTED, "")
