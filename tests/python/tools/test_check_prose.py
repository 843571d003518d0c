"""The lint of prose finds banned words in each kind of text, and no count may rise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

TOOL = ROOT / "tools/check_prose.py"
LONG = " ".join(["word"] * 26) + "."

C_SOURCE = """
/* Reads the batch.
 * Nobody reads it twice. */
// Two lines of
// what is one comment.
static int f(void) {
    return g("The file said " PRIu64 " of "
             "them, and more", 'x');
}
static const char doc[] =
    "reader(columns)\\n--\\n\\n"
    "Return who reads.";
"""
PYTHON_SOURCE = '''
"""Tell what a module does."""
x = f"The batch {x} stands here"  # himself, `who` is code


def f():
    """Read a batch that others wrote.

    >>> what = 1
    """
'''
PAGE = """
# Whoever reads

A page with `what` in code, and [what](who.md) in a link.

    what is an indented block

```python
what = "fenced"
```

- an item that
  nobody reads

| a cell | said |
|---|---|
| Where a condition begins | `said` |
"""


def check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), "--root", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def found(root: Path, name: str, text: str) -> list[str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    run = check(root, "--list", name)
    assert (run.returncode, run.stderr) == (0, "")
    return sorted(line.removeprefix(f"{name}:") for line in run.stdout.splitlines())


@pytest.mark.parametrize(
    ("name", "text", "findings"),
    [
        (
            "src/a.c",
            C_SOURCE,
            """
12: words: who
3: words: Nobody
5: words: what
7: words: of them
7: words: said
""",
        ),
        (
            "python/batchcorder/a.py",
            PYTHON_SOURCE,
            """
2: words: what
3: words: himself
3: words: stands
7: words: others
""",
        ),
        (
            "docs/a.md",
            PAGE,
            """
13: words: nobody
15: words: said
17: words: Where
2: words: Whoever
4: words: what
""",
        ),
    ],
    ids=["C", "Python", "page"],
)
def test_banned_words(name: str, text: str, findings: str, tmp_path: Path) -> None:
    assert found(tmp_path, name, text) == findings.split("\n")[1:-1]


def test_sentences(tmp_path: Path) -> None:
    text = f"A short one. {LONG}\n\nA file that has a batch which has a row.\n\n"
    text += "It ensures that a batch that is valid stays valid, so that it can be read.\n"
    assert found(tmp_path, "README.md", text) == [
        "1: long: 26 words: word word word word word word ...",
        "3: nested: 2 pronouns: A file that has a batch ...",
    ]


def test_counts_may_fall_but_not_rise(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    page = tmp_path / "README.md"
    page.write_text("It is said by whoever.\n")
    assert check(tmp_path, "--update").returncode == 0
    record = tmp_path / "tools/prose_counts.txt"
    assert "pages 2 0 0" in record.read_text()

    page.write_text("It is said by whoever reads what he likes.\n")
    rose = check(tmp_path, "--update")
    assert rose.returncode == 1
    assert "pages: words: 4 instead of 2" in rose.stderr
    assert "pages 2 0 0" in record.read_text()

    page.write_text("It is written.\n")
    assert check(tmp_path).returncode == 0
    assert check(tmp_path, "--update").returncode == 0
    assert "pages 0 0 0" in record.read_text()


def test_an_area_that_is_not_recorded_has_no_findings_left(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "README.md").write_text("It is written.\n")
    assert check(tmp_path, "--update").returncode == 0
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.c").write_text("/* Whoever reads it. */\n")
    assert check(tmp_path).returncode == 1


def test_an_update_mends_a_merged_record(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "README.md").write_text("It is said.\n")
    record = tmp_path / "tools/prose_counts.txt"
    record.write_text("<<<<<<< a\npages 2 0 0\n=======\npages 1 0 0\n>>>>>>> b\n")
    (tmp_path / "CHANGELOG.md").write_text("It is said.\n")
    assert "pages: words: 2 instead of 1" in check(tmp_path).stderr
    (tmp_path / "CHANGELOG.md").write_text("It is written.\n")
    assert check(tmp_path, "--update").returncode == 0
    assert [line for line in record.read_text().splitlines() if line[0] != "#"] == [
        "pages 1 0 0"
    ]
