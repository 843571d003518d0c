"""The measuring processes, and the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy
import pyarrow as pa


class Worker:
    """
    A process that runs one scenario for each request.

    `command` is a script and its arguments. The script first prints a line of JSON
    with the path of its batchcorder. If `kind` is "rust", it must be the one in `rust`.
    """

    def __init__(self, kind: str, command: list[str], rust: Path) -> None:
        environment = dict(os.environ)
        if kind == "rust":
            first = [str(rust), *filter(None, [environment.get("PYTHONPATH")])]
            environment["PYTHONPATH"] = os.pathsep.join(first)
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()
        found = self.about["batchcorder"]
        is_rust = found is not None and Path(found).is_relative_to(rust.resolve())
        if is_rust != (kind == "rust"):
            raise SystemExit(f"the worker '{kind}' measures the wrong package: {found}")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker died with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        """Return the worker's answer to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def run(self, scenario: str) -> float:
        """Return the seconds of a scenario."""
        return float(self.ask(scenario)["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def machine(rust: bool) -> dict[str, Any]:
    """Describe the machine of the measurement."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        if models:
            cpu = models[0].partition(":")[2].strip()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": numpy.__version__,
        "compared_with": "batchcorder 0.1.3 (Rust)" if rust else None,
    }
