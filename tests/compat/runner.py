"""
Run the probes with one package, and collect the findings.

The package runs in a process of its own, which writes a line before and after each probe.
A probe that takes too long, or ends the process, is a finding too: the process is then
started again with the probe after it.

    python tests/compat/runner.py [--package DIRECTORY] [--seconds N] [NAME...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, Queue
from typing import Any

HERE = Path(__file__).parent
LIB = HERE.parent / "python" / "lib"
SECONDS_START = 60.0

CHILD = """
import faulthandler, gc, json, os, sys
faulthandler.enable()
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import batchcorder, probes
gc.freeze()
print("ready", flush=True, file=answers)
for name in sys.stdin.read().splitlines():
    print(json.dumps([name]), flush=True, file=answers)
    found = probes.run_probe(name, batchcorder)
    gc.collect()
    print(json.dumps([name, found]), flush=True, file=answers)
answers.close()
os._exit(0)
"""


class Child:
    """A process that runs probes, one after the other."""

    def __init__(self, package: Path | None, names: list[str]) -> None:
        paths = [str(package)] if package else []
        paths += [str(HERE), str(LIB), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines: Queue[str | None] = Queue()
        self.errors: list[str] = []
        self.threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(names))
        self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors += self.process.stderr

    def next_line(self, seconds: float) -> str | None:
        """Return the next line, None at the end of the process; Empty if it is late."""
        return self.lines.get(timeout=seconds)

    def end(self) -> int:
        """Stop the process and return how it ended."""
        self.process.kill()
        code = self.process.wait()
        for thread in self.threads:
            thread.join()
        return code


def run(
    package: Path | None,
    names: Iterable[str],
    seconds: Callable[[str], float] = lambda name: 20,
) -> dict[str, Any]:
    """Run probes over the package in a directory, or over the one that is installed."""
    left = list(names)
    found: dict[str, Any] = {}
    while left:
        child = Child(package, left)
        running = None
        try:
            line = child.next_line(SECONDS_START)
            while line is not None:
                if line != "ready\n":
                    name, *answer = json.loads(line)
                    running = name if not answer else None
                    if answer:
                        found[name] = answer[0]
                        left.remove(name)
                line = child.next_line(seconds(running or ""))
            code = child.process.wait()
            if left:
                assert running is not None, "".join(child.errors)
                found[running] = f"ends the process: {code}"
        except Empty:
            assert running is not None, "the probes cannot be imported"
            found[running] = "hangs"
        finally:
            child.end()
        if running is not None:
            left.remove(running)
    return found


def differ(one: Any, other: Any) -> bool:
    """Return whether two findings differ; True and 1 do."""
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def main() -> None:
    """Print the findings of the probes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, help="directory of another package")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    sys.path += [str(HERE), str(LIB)]
    from probes import PROBES

    found = run(options.package, options.names or PROBES, lambda name: options.seconds)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
