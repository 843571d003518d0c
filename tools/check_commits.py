#!/usr/bin/env python3
"""Fail if the message of a commit breaks the rules of CONTRIBUTING.md.

A subject is `layer: imperative, one change` in at most 72 characters without a semicolon.
A body says why. tools/commits_base.txt names the last commit that is not checked.

check_commits.py [--root PATH] [COMMIT...]   checks these commits, by default all since
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

SUBJECT_MAX = 72
SUBJECT = re.compile(r"[a-z][a-z0-9_.-]*(?:, [a-z][a-z0-9_.-]*)*: \S")


def problems(message: str) -> list[str]:
    """Return the rules that the message breaks."""
    subject, _, body = message.partition("\n")
    found = []
    if len(subject) > SUBJECT_MAX:
        found.append(f"the subject has {len(subject)} characters, of {SUBJECT_MAX}")
    if ";" in subject:
        found.append("the subject has a semicolon: make it two commits")
    if not SUBJECT.match(subject):
        found.append("the subject does not begin with a layer: `disk: ...`")
    if subject.endswith("."):
        found.append("the subject ends with a full stop")
    if body and not body.startswith("\n"):
        found.append("the second line is not empty")
    if not body.strip():
        found.append("no body says why")
    return found


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the messages of commits.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("commits", nargs="*", help="by default all since the base")
    options = parser.parse_args()
    wanted = options.commits
    if not wanted:
        base = (options.root / "tools/commits_base.txt").read_text().split()[-1]
        try:
            listed = git(options.root, "rev-list", "--no-merges", f"{base}..HEAD")
        except (OSError, subprocess.CalledProcessError):
            print(f"no history from {base} on: commits are not checked")
            return 0
        wanted = listed.split()
    failed = False
    for commit in wanted:
        message = git(options.root, "show", "--no-patch", "--format=%B", commit)
        for problem in problems(message.strip()):
            subject = message.partition("\n")[0]
            print(f"{commit[:9]} {subject}: {problem}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
