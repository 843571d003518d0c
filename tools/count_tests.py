#!/usr/bin/env python3
"""Add up test reports into the one line `N passed, N failed, N skipped`.

If tests were skipped, the line goes on with the reasons: `: 3 no clang; 1 other`.

Reads meson's testlog.json (.json), pytest's JUnit files (.xml) and notes (.skipped) of
targets that did not run. Meson's own JUnit file will not do: it forgets a program that
dies, or leaks, after its last case. A report that is missing or unreadable counts as one
failure: its run died on the way.

count_tests.py REPORT...                 prints the line
count_tests.py --skip NOTE REASON        notes that a target did not run, and prints why
count_tests.py --missing NOTE REASON     the same, for a tool that is not installed

Exits with 1 if anything failed or nothing passed. A missing tool is a failure if the
variable CI is "true": there, all tools must be installed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

TAP_LINE = re.compile(
    r"^(?P<bad>not )?ok\b(?:[^\n]*#\s*(?P<skip>skip)\S*[ \t]*(?P<why>[^\n]*))?",
    re.I | re.M,
)
NO_CASES = re.compile(r"^1\.\.0\s*#\s*skip\S*[ \t]*([^\n]*)", re.I | re.M)
REASONS_MAX = 12


class Counts:
    """How many tests passed, failed and were skipped, and for which reasons."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.skipped: Counter[str] = Counter()

    def line(self) -> str:
        """Return the line that ends a run."""
        total = self.skipped.total()
        line = f"{self.passed} passed, {self.failed} failed, {total} skipped"
        if not total:
            return line
        reasons = self.skipped.most_common()
        shown = [f"{count} {reason}" for reason, count in reasons[:REASONS_MAX]]
        if rest := sum(count for _, count in reasons[REASONS_MAX:]):
            shown.append(f"{rest} for other reasons")
        return f"{line}: {'; '.join(shown)}"


def grouped(reason: str) -> str:
    """Return a reason on one line, and the same for paths and numbers that differ."""
    reason = " ".join(reason.split()).strip(" .:;").replace(";", ",")
    reason = re.sub(r"/\S+", "PATH", reason)
    return reason[:80] or "no reason given"


def count_meson(path: Path, counts: Counts) -> None:
    """Count the cases of each program, and one more if it failed in another way."""
    for line in path.read_text().splitlines():
        program = json.loads(line)
        passed = failed = skipped = 0
        for case in TAP_LINE.finditer(program.get("stdout", "")):
            if case["skip"]:
                skipped += 1
                counts.skipped[grouped(case["why"])] += 1
            elif case["bad"]:
                failed += 1
            else:
                passed += 1
        result = program["result"]
        if result == "SKIP" and not passed + failed + skipped:
            plan = NO_CASES.search(program.get("stdout", ""))
            counts.skipped[grouped(plan[1] if plan else "a whole program")] += 1
        elif result not in ("OK", "SKIP", "EXPECTEDFAIL"):
            failed = failed or 1
        elif not passed + failed + skipped:
            passed = 1
        counts.passed += passed
        counts.failed += failed


def count_junit(path: Path, counts: Counts) -> None:
    for case in ET.parse(path).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
        elif skipped is None:
            counts.passed += 1
        elif skipped.get("type") == "pytest.xfail":
            counts.skipped["expected to fail"] += 1
        else:
            counts.skipped[grouped(skipped.get("message") or "")] += 1


def count_note(path: Path, counts: Counts) -> None:
    """Count a target that did not run as one test."""
    kind, _, reason = path.read_text().partition(": ")
    counts.skipped[grouped(reason)] += 1
    if kind == "missing" and os.environ.get("CI") == "true":
        counts.failed += 1


READERS = {".json": count_meson, ".xml": count_junit, ".skipped": count_note}


def main(arguments: list[str]) -> int:
    counts = Counts()
    if arguments[:1] in (["--skip"], ["--missing"]):
        note, reason = Path(arguments[1]), arguments[2]
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{arguments[0].strip('-')}: {reason}\n")
        print(f"SKIPPED: {reason}")
        count_note(note, counts)
        print(counts.line())
        return int(counts.failed > 0)
    for path in map(Path, arguments):
        try:
            READERS.get(path.suffix, count_junit)(path, counts)
        except (OSError, ValueError, KeyError, ET.ParseError) as error:
            print(f"no report: {error}")
            counts.failed += 1
    print(counts.line())
    return int(counts.failed > 0 or counts.passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
