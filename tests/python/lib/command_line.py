"""The command line, in forked children that have it loaded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchcorder._cli.main import main
from children import fork, status


def run(
    *words: str, text: bool = True, input: bytes = b"", ascii_only: bool = False
) -> subprocess.CompletedProcess[Any]:
    """
    Run the program in a forked child, which has it loaded: most tests run it often.

    Tests that use `start` or `shell` run the program in a new interpreter.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as printed,
        tempfile.TemporaryFile() as said,
    ):
        given.write(input)
        given.seek(0)

        def child() -> None:
            for number, file in enumerate((given, printed, said)):
                os.dup2(file.fileno(), number)
            sys.stdin = os.fdopen(0)
            sys.stdout = os.fdopen(1, "w", encoding="ascii" if ascii_only else "utf-8")
            sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
            try:
                code = main(words)
            except SystemExit as end:
                code = end.code  # argparse's exit
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

        code = status(fork(child))
        files = []
        for file in (printed, said):
            file.seek(0)
            files.append(file.read())
    out, errors = (one.decode() for one in files) if text else files
    return subprocess.CompletedProcess(words, code, out, errors)


def works(*words: str, **options: Any) -> str:
    """Run the program, which must succeed in silence. Return its output."""
    done = run(*words, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


@contextlib.contextmanager
def served(*words: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `batchcorder serve`. Yield its location and its process."""
    command = [sys.executable, "-m", "batchcorder", "serve", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("serving at grpc"), line
            yield line.split()[-1], child
        finally:
            child.kill()
