"""The last line of a run counts the tests of all reports and lists reasons of skips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

JUNIT = """<testsuites><testsuite>
<testcase name="a"/>
<testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><error message="no"/></testcase>
<testcase name="d"><skipped type="pytest.skip" message="no compiler"/></testcase>
<testcase name="e"><skipped type="pytest.skip" message="no file /tmp/a;b"/></testcase>
<testcase name="f"><skipped type="pytest.skip" message="no file /tmp/c"/></testcase>
<testcase name="g"><skipped type="pytest.xfail" message="a bug"/></testcase>
</testsuite></testsuites>
"""


def count(*arguments: Path | str, ci: str = "") -> tuple[int, list[str]]:
    """Return the exit status of the tool, and its output lines."""
    run = subprocess.run(
        [sys.executable, ROOT / "tools/count_tests.py", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"CI": ci},
    )
    assert run.stderr == ""
    return run.returncode, run.stdout.splitlines()


def program(result: str, *lines: str) -> str:
    text = {"name": "disk", "result": result, "stdout": "\n".join(lines)}
    return json.dumps(text)


def meson(path: Path, *programs: str) -> Path:
    report = path / "test.json"
    report.write_text("\n".join(programs))
    return report


def test_reports_of_pytest(tmp_path: Path) -> None:
    report = tmp_path / "python.xml"
    report.write_text(JUNIT)
    reasons = "2 no file PATH; 1 no compiler; 1 expected to fail"
    assert count(report) == (1, [f"1 passed, 2 failed, 4 skipped: {reasons}"])


@pytest.mark.parametrize(
    ("programs", "line"),
    [
        (
            [program("OK", "1..2", "ok 1 - a", "ok 2 - b")],
            "2 passed, 0 failed, 0 skipped",
        ),
        ([program("OK")], "1 passed, 0 failed, 0 skipped"),
        (
            [program("OK", "ok 1 - a # SKIP no holes", "ok 2")],
            "1 passed, 0 failed, 1 skipped: 1 no holes",
        ),
        ([program("FAIL", "ok 1", "not ok 2 - b")], "1 passed, 1 failed, 0 skipped"),
        # The process died after its last case.
        ([program("FAIL", "ok 1")], "1 passed, 1 failed, 0 skipped"),
        ([program("TIMEOUT")], "0 passed, 1 failed, 0 skipped"),
        (
            [program("SKIP", "1..0 # SKIP no forks"), program("OK", "ok 1")],
            "1 passed, 0 failed, 1 skipped: 1 no forks",
        ),
    ],
)
def test_reports_of_meson(programs: list[str], line: str, tmp_path: Path) -> None:
    status, lines = count(meson(tmp_path, *programs))
    assert lines == [line]
    assert status == ("0 failed" not in line)


def test_reports_are_added_up(tmp_path: Path) -> None:
    report = tmp_path / "python.xml"
    report.write_text(JUNIT)
    _, lines = count(report, meson(tmp_path, program("OK", "ok 1 # SKIP no compiler")))
    assert lines[0].startswith("1 passed, 2 failed, 5 skipped: 2 ")
    assert "2 no compiler" in lines[0]


@pytest.mark.parametrize("text", [None, "", "<testsuites>"])
def test_a_report_that_cannot_be_read_is_a_failure(
    text: str | None, tmp_path: Path
) -> None:
    report = tmp_path / "python.xml"
    if text is not None:
        report.write_text(text)
    status, lines = count(report)
    assert status == 1
    assert lines[0].startswith("no report: ")
    assert lines[1] == "0 passed, 1 failed, 0 skipped"


def test_nothing_is_a_failure() -> None:
    assert count() == (1, ["0 passed, 0 failed, 0 skipped"])


@pytest.mark.parametrize(
    ("kind", "ci", "failed"),
    [("--skip", "true", 0), ("--missing", "", 0), ("--missing", "true", 1)],
)
def test_a_target_that_did_not_run(
    kind: str, ci: str, failed: int, tmp_path: Path
) -> None:
    note = tmp_path / "reports" / "valgrind.skipped"
    line = f"0 passed, {failed} failed, 1 skipped: 1 valgrind is missing"
    printed = ["SKIPPED: valgrind is missing", line]
    assert count(kind, note, "valgrind is missing", ci=ci) == (failed, printed)
    assert count(note, ci=ci) == (1, [line])
    report = meson(tmp_path, program("OK", "ok 1"))
    status, lines = count(note, report, ci=ci)
    assert lines == [line.replace("0 passed", "1 passed")]
    assert status == failed
