#!/usr/bin/env python3
"""
Run other libraries' suites without the package, then with it in between, and compare.

A test whose outcome differs fails the run, unless `differences.txt` explains it.
Usage: run.py PACKAGE_DIR WORK_DIR REPORT.xml [SUITE[:WAY] ...]

PEERS_<SUITE>=DIR takes the tests of a suite from a checkout in place of the pinned
release: newer releases of DuckDB and Polars carry no tests.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import tarfile
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path += [str(TOP / "tools"), str(HERE)]

from fetch_sources import download  # noqa: E402

from suites import SUITES, Suite  # noqa: E402

Outcomes = dict[str, str]


def environment(work: Path, requirements: str) -> Path:
    """Return the interpreter of an environment with these requirements."""
    folder = work / f"venv-{requirements}"
    file = TOP / "requirements" / f"{requirements}.txt"
    stamp = folder / "stamp"
    wanted = "".join(path.read_text() for path in sorted(file.parent.glob("*.txt")))
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", file], check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def source(work: Path, name: str) -> Path:
    """Return the folder of a source release, downloaded and unpacked."""
    lines = (TOP / "requirements" / "peers-sdists.txt").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}=="))
    requirement, _, digest = line.partition(" --hash=sha256:")
    release = requirement.replace("==", "-")
    folder = work / release
    if not folder.exists():
        archive = work / f"{release}.tar.gz"
        if not archive.exists():
            download(archive.name, digest, archive)
        with tarfile.open(archive) as file:
            tests = [m for m in file.getmembers() if "tests" in m.name.split("/")]
            file.extractall(work, tests, filter="data")
    return folder


def tests_of(suite: Suite, work: Path, python: Path) -> Path:
    """Return the folder that `suite.folder` is a path in."""
    checkout = os.environ.get("PEERS_" + suite.name.upper().replace("-", "_"))
    if checkout is not None:
        return Path(checkout).resolve()
    if suite.sdist is not None:
        return source(work, suite.sdist).resolve()
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", show], text=True).strip())


def outcomes_of(report: Path) -> Outcomes:
    found: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = case.find("failure")
        bad = case.find("error") if bad is None else bad
        if bad is not None:
            found[name] = "failed: " + (bad.get("message") or "")[:2000]
        else:
            found[name] = "passed" if case.find("skipped") is None else "skipped"
    return found


class NoReportError(Exception):
    """The process of a suite ended before its report, by a crash or a hang."""


def run(suite: Suite, way: str | None, work: Path, package: Path) -> Outcomes:
    """Run a suite, with or without a way. Return the outcome of each test."""
    python = environment(work, suite.requirements)
    base = tests_of(suite, work, python)
    folder = base / suite.folder
    report = (work / f"{suite.name}-{way or 'without'}.xml").resolve()
    report.unlink(missing_ok=True)
    command = [python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", *suite.arguments]
    command += ["--tb=short", f"--junitxml={report}", "-o", "faulthandler_timeout=300"]
    command += ["-o", "faulthandler_exit_on_timeout=true"]
    # Releases omit the projects' lists of marks.
    command += ["-o", "strict_markers=false"]
    root = base / suite.root if suite.root else folder
    command += [f"--rootdir={root}", f"--confcutdir={root}"]
    paths = [str(root), str(HERE)] if suite.sdist else [str(HERE)]
    env = dict(os.environ, PEERS_TMP=str(work.resolve()))
    if way is not None:
        paths.insert(0, str(package.resolve()))
        env |= {"PEERS_WAY": way, "PEERS_FOLDER": str(folder)}
        command += ["-p", "plugin"] if way != "ours" else []
    env["PYTHONPATH"] = os.pathsep.join(paths)
    command += [folder / test for test in suite.tests if (folder / test).exists()]
    with report.with_suffix(".log").open("w") as log:
        subprocess.run(command, cwd=root, env=env, stdout=log, stderr=log, timeout=7200)
    if not report.exists():
        raise NoReportError(f"{suite.name} {way}: no report, see {log.name}")
    return outcomes_of(report)


def counts(outcomes: Outcomes) -> str:
    """Return the count of tests of each outcome, as text."""
    kinds = Counter(outcome.partition(":")[0] for outcome in outcomes.values())
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


class Differences:
    """The lines of `differences.txt`: SUITE WAY TEST | WORDS | REASON, with wildcards."""

    def __init__(self) -> None:
        self.lines = []
        for line in (HERE / "differences.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                pattern, words, reason = (part.strip() for part in line.split("|"))
                suite, way, test = pattern.split(maxsplit=2)
                self.lines.append((suite, way, test, words, reason))

    def reason(self, suite: str, way: str, test: str, message: str) -> str | None:
        for line in self.lines:
            named = zip((suite, way, test), line, strict=False)
            if all(fnmatch.fnmatchcase(one, pattern) for one, pattern in named):
                rest = message.removeprefix("failed: batchcorder:").strip().splitlines()
                if way != "tables" and line[3] in message:
                    return line[4]
                if way == "tables" and self._all_told(suite, test, rest):
                    return line[4]
        return None

    def _all_told(self, suite: str, test: str, messages: list[str]) -> bool:
        """Return whether every reported line of a test has an explanation."""
        told = [
            line[3]
            for line in self.lines
            if fnmatch.fnmatchcase(suite, line[0])
            and line[1] in ("tables", "*")
            and fnmatch.fnmatchcase(test, line[2])
        ]
        heads = [m for m in messages if m.split(":")[0] in TABLE_WAYS]
        return all(any(words in m for words in told) for m in heads)


TABLE_WAYS = {
    *("memory", "disk", "recording", "dataset", "cast", "replay", "take", "polars")
}


def compare(
    suite: Suite, way: str, without: Outcomes, with_us: Outcomes, known: Differences
) -> ET.Element:
    """Return a report. A test with an explained difference counts as skipped."""
    cases = ET.Element("testsuite", name=f"{suite.name} {way}")
    for test in sorted(without.keys() | with_us.keys()):
        one, other = without.get(test, "missing"), with_us.get(test, "missing")
        case = ET.SubElement(
            cases, "testcase", classname=f"{suite.name}.{way}", name=test
        )
        if one.partition(":")[0] == other.partition(":")[0]:
            continue
        reason = known.reason(suite.name, way, test, other)
        message = f"without: {one}\nwith: {other}"
        if reason is None:
            ET.SubElement(case, "failure", message=message)
            print(f"{suite.name} {way} {test}\n  {message}", flush=True)
        else:
            ET.SubElement(case, "skipped", message=f"{reason}\n{message}")
    return cases


def reports(
    suite: Suite, ways: list[str], work: Path, package: Path, known: Differences
) -> Iterator[ET.Element]:
    """Yield the report of each way of a suite."""
    try:
        without = run(suite, None, work, package)
        words = counts(without)
        for way in ways:
            with_us = run(suite, way, work, package)
            cases = compare(suite, way, without, with_us, known)
            kinds = [len(cases.findall(f"testcase/{k}")) for k in ("failure", "skipped")]
            print(
                f"{suite.name} {way}: {len(cases)} tests, {kinds[0]} differ without "
                f"a reason, {kinds[1]} with one; without: {words}",
                flush=True,
            )
            yield cases
    except (NoReportError, subprocess.TimeoutExpired) as error:
        print(error, flush=True)
        cases = ET.Element("testsuite", name=suite.name)
        case = ET.SubElement(cases, "testcase", classname=suite.name, name="ends")
        ET.SubElement(case, "failure", message=str(error))
        yield cases


def wanted_runs(names: list[str]) -> list[tuple[Suite, list[str]]]:
    """Return suites and ways for names SUITE or SUITE:WAY. Without names, return all."""
    known = {suite.name: suite for suite in SUITES}
    runs: dict[str, list[str]] = {}
    for name in names or known:
        suite, _, way = name.partition(":")
        if suite not in known or way not in ("", *known[suite].ways):
            sys.exit(f"{name}: no such suite or way, see tests/peers/suites.py")
        runs.setdefault(suite, []).extend([way] if way else known[suite].ways)
    return [(known[suite], list(dict.fromkeys(ways))) for suite, ways in runs.items()]


def main() -> None:
    package, work, report = (Path(name).absolute() for name in sys.argv[1:4])
    runs = wanted_runs(sys.argv[4:])
    work.mkdir(parents=True, exist_ok=True)
    known = Differences()
    root = ET.Element("testsuites")
    for suite, ways in runs:
        for cases in reports(suite, ways, work, package, known):
            root.append(cases)
            ET.ElementTree(root).write(report)


if __name__ == "__main__":
    main()
