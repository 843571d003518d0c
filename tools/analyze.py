#!/usr/bin/env python3
"""Run clang-tidy and gcc's -fanalyzer on the sources of the core.

analyze.py BUILD [FILE...]   BUILD is a build folder of meson, FILE... are some sources

.clang-tidy has the checks and the reasons for those left out. Another compiler than gcc
has no -fanalyzer: then clang-tidy runs alone. Exits with 1 if a file has a finding.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Neither what the file becomes, nor its list of headers.
WITH_ARGUMENT = {"-o", "-MF", "-MQ"}


def analyzer(entry: dict[str, str]) -> list[str]:
    """Return the command that analyses a file in place of compiling it."""
    command = iter(shlex.split(entry["command"]))
    kept = []
    for word in command:
        if word in WITH_ARGUMENT:
            next(command)
        elif word not in ("-MD", "-c") and not word.startswith("-O"):
            kept.append(word)
    # With -O2, gcc follows the functions that it inlines.
    return [*kept, "-O2", "-fanalyzer", "-Werror", "-c", "-o", os.devnull]


def main() -> int:
    build, wanted = Path(sys.argv[1]), {Path(name).resolve() for name in sys.argv[2:]}
    entries: dict[Path, dict[str, str]] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = (Path(entry["directory"]) / entry["file"]).resolve()
        if file.is_relative_to(ROOT / "src") and (not wanted or file in wanted):
            entries.setdefault(file, entry)
    if not entries:
        print(f"{build} compiles no such file of src/", file=sys.stderr)
        return 1
    compiler = shlex.split(next(iter(entries.values()))["command"])
    about = subprocess.run(
        [next(word for word in compiler if "ccache" not in word), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    is_gcc = "Free Software Foundation" in about.stdout
    if not is_gcc:
        print("SKIPPED: -fanalyzer, which the compiler does not have")
    tidy = [str(Path(sys.executable).with_name("clang-tidy")), "-p", build, "--quiet"]

    def analyse(file: Path) -> bool:
        commands = [[*tidy, file]]
        if is_gcc:
            commands.append(analyzer(entries[file]))
        passed = True
        for command in commands:
            run = subprocess.run(
                command,
                cwd=entries[file]["directory"] if command[0] != tidy[0] else ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if run.returncode != 0:
                print(f"{file.relative_to(ROOT)}:\n{run.stdout}", flush=True)
                passed = False
        return passed

    workers = int(os.environ.get("WORKERS", 2))
    with ThreadPoolExecutor(workers) as pool:
        passed = list(pool.map(analyse, sorted(entries)))
    print(f"{sum(passed)} of {len(passed)} files have no findings")
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
