#!/usr/bin/env python3
"""Run the fuzzers: run.py BUILD SECONDS REPORT.

Builds the targets in the meson build folder BUILD. Each target runs every input in
tests/fuzz/regressions, and then fuzzes for SECONDS, beginning with BUILD/seeds (made by
seeds.py). Each processor runs one target at a time. Inputs that reach more code are kept
in BUILD/corpus for the next run. Failing inputs are kept in BUILD/findings. REPORT is a
JUnit file: one test for each regression, and one for each target.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TARGETS = ("open", "mutate", "producer")
LIMITS = ["-timeout=10", "-rss_limit_mb=2048"]
# The stated size of decompressed data is reserved, but its pages are not touched.
LIMITS += ["-malloc_limit_mb=1000000"]
# The usual schedule spends half of the time on itself where much code is reached.
HOW = ["-entropic=0", "-max_len=65536", "-print_final_stats=1"]
SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def run(command: list[str | Path]) -> tuple[bool, str]:
    """Return whether the run succeeded, and its output."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | SANITIZERS,
    )
    return done.returncode == 0, done.stdout


def report(suite: ET.Element, name: str, good: bool, output: str) -> None:
    case = ET.SubElement(suite, "testcase", classname="fuzz", name=name)
    if not good:
        output = re.sub(r"^#\d+\t.*\n", "", output, flags=re.M)
        print(output)
        text = re.sub(r"[^\x20-\x7e\n]", "?", output)[-20000:]
        ET.SubElement(case, "failure", message="found").text = text
    print(f"{'ok' if good else 'FAILED'}: {name}", flush=True)


def fuzz(suite: ET.Element, build: Path, target: str, seconds: int) -> None:
    program = build / "tests" / f"fuzz_{target}"
    for path in sorted(Path("tests/fuzz/regressions", target).iterdir()):
        if not path.name.startswith("."):
            report(suite, f"{target}: {path.name}", *run([program, *LIMITS, path]))
    corpus, findings = build / "corpus" / target, build / "findings" / target
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    good, output = run(
        [
            program,
            *LIMITS,
            *HOW,
            f"-max_total_time={seconds}",
            f"-artifact_prefix={findings}/",
            corpus,
            build / "seeds" / target,
        ]
    )
    stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)", output, re.M))
    executions = stats.get("number_of_executed_units", "0")
    # Nothing executed is nothing tested.
    report(suite, f"{target}: fuzzing", good and executions != "0", output)
    print(
        f"{target}: {executions} executions, the slowest took "
        f"{stats.get('slowest_unit_time_sec')} s, {stats.get('peak_rss_mb')} MB at most"
    )


def main(build: Path, seconds: int, path: Path) -> None:
    programs = [f"fuzz_{target}" for target in TARGETS]
    subprocess.run(["meson", "compile", "-C", build, *programs], check=True)
    suite = ET.Element("testsuite", name="fuzz")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda target: fuzz(suite, build, target, seconds), TARGETS):
            pass
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
