#!/usr/bin/env python3
"""Add up test reports into the one line `N passed, N failed, N skipped`.

Reads meson's testlog.json (.json) and pytest's JUnit files (.xml). Meson's own JUnit file
will not do: it forgets a program that dies, or leaks, after its last case.
A report that is missing or unreadable counts as one failure: its run died on the way.
Exits with 1 if anything failed or nothing passed.
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

TAP_LINE = re.compile(r"^(?P<bad>not )?ok\b(?:.*#\s*(?P<skip>skip))?", re.I | re.M)


def count_meson(path: Path) -> Counter[str]:
    """Count the cases of each program, and one more if it failed in another way."""
    counts: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        program = json.loads(line)
        cases: Counter[str] = Counter()
        for case in TAP_LINE.finditer(program.get("stdout", "")):
            kind = "skipped" if case["skip"] else "failed" if case["bad"] else "passed"
            cases[kind] += 1
        result = program["result"]
        if result == "SKIP" and not cases:
            cases["skipped"] = 1
        elif result not in ("OK", "SKIP", "EXPECTEDFAIL"):
            cases["failed"] = cases["failed"] or 1
        elif not cases:
            cases["passed"] = 1
        counts += cases
    return counts


def count_junit(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for case in ET.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        else:
            counts["passed" if case.find("skipped") is None else "skipped"] += 1
    return counts


def main() -> int:
    counts: Counter[str] = Counter()
    for path in map(Path, sys.argv[1:]):
        try:
            counts += count_meson(path) if path.suffix == ".json" else count_junit(path)
        except (OSError, ValueError, ET.ParseError) as error:
            print(f"no report: {error}")
            counts["failed"] += 1
    passed, failed, skipped = (counts[key] for key in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
