"""The lint of commits reads every message since the base."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

BODY = "\n\nThe reason is here.\n"


def git(root: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *options, "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check(root: Path) -> tuple[int, str]:
    command = [sys.executable, ROOT / "tools/check_commits.py", "--root", root]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "Old; without a body.")
    base = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/commits_base.txt").write_text(f"# The last one.\n{base}")
    return tmp_path


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("disk: write batches at once" + BODY, ""),
        ("disk, store: write batches at once" + BODY, ""),
        (f"disk: {'x' * 66}" + BODY, ""),
        (f"disk: {'x' * 67}" + BODY, "the subject has 73 characters"),
        ("disk: write; read" + BODY, "semicolon"),
        ("write batches at once" + BODY, "begin with a layer"),
        ("disk: write batches." + BODY, "full stop"),
        ("disk: write batches", "no body"),
        ("disk: write batches\nat once", "second line"),
    ],
)
def test_messages(message: str, problem: str, repository: Path) -> None:
    git(repository, "commit", "--quiet", "--allow-empty", "-m", message)
    status, printed = check(repository)
    assert (status, printed == "") == (int(problem != ""), problem == "")
    assert problem in printed


def test_a_history_without_the_base_is_not_checked(repository: Path) -> None:
    (repository / "tools/commits_base.txt").write_text("0" * 40)
    status, printed = check(repository)
    assert status == 0
    assert "not checked" in printed
