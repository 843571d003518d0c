#!/usr/bin/env python3
"""Fail if a test reads a clock or sleeps without a reason.

A busy machine makes any bound on a test's time wrong, and any sleep too short. So a test
waits for an event, with a deadline of minutes for a wait that may hang, and counts work.
The few lines with another purpose end with it: `# clock: a deadline` in Python, or
`/* sleep: the source is slow */` in C. A C loop may sleep between looks at a condition.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

# pytest's time, C's time, and the command of a shell.
CALL = {
    ".py": re.compile(
        r"\btime\.(?:time|sleep|monotonic|perf_counter|process_time|thread_time)\w*\("
        r"|(?<!asyncio\.)(?<![\w.])(?:sleep|monotonic|perf_counter)\(|\btimeit\b"
    ),
    ".c": re.compile(
        r"\b(?:usleep|nanosleep|clock_nanosleep|sleep|clock|clock_gettime|gettimeofday"
        r"|time|bc__sys_sleep\w*|bc__sys_now\w*)\("
    ),
    ".sh": re.compile(r"^\s*sleep\b"),
}
REASON = re.compile(r"(?:#|/\*) (?:clock|sleep): \S")
POLL = re.compile(r"\bwhile \(.*\) .*\busleep\(")


def findings(path: Path) -> list[tuple[int, str]]:
    """Return the number and text of each line that needs a reason."""
    call = CALL[".c" if path.suffix == ".h" else path.suffix]
    return [
        (number, line.strip())
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if call.search(line) and not REASON.search(line) and not POLL.search(line)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the clocks that tests use.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    root = parser.parse_args().root
    files = [
        file
        for file in sorted((root / "tests").rglob("*"))
        if file.suffix in (".py", ".c", ".h", ".sh") and file.is_file()
    ]
    # Its cases are examples of such lines.
    files = [file for file in files if file.name != "test_check_clocks.py"]
    if not files:
        print("check_clocks.py: no tests found", file=sys.stderr)
        return 1
    failed = False
    for file in files:
        for number, line in findings(file):
            print(f"{file.relative_to(root)}:{number}: {line}", file=sys.stderr)
            failed = True
    if failed:
        print("Wait for an event, or end the line with a reason.", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
