"""The lint of includes finds upward and sideways includes, and calls of the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT


def check(root: Path) -> list[str]:
    """Return the tool's report. Its exit status must tell whether there is one."""
    command = [sys.executable, ROOT / "tools/check_includes.py", "--root", root]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False
    )
    lines = run.stderr.splitlines()
    assert run.returncode == int(lines != [])
    return lines


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("arrow/a.c", '#include "base/b.h"\n#include <string.h>\n', ""),
        ("ipc/a.c", "#include <zstd.h>\n#include <time.h>\n", ""),
        ("store/a.h", '#include "disk/tier_ops.h"\n', ""),
        ("base/a.c", "#include <unistd.h>\nint f(void) { return fork(); }\n", ""),
        ("base/a.c", '\n#include "arrow/b.h"\n', "2: arrow/b.h"),
        ("record/a.c", '#include "replay/reader.h"\n', "1: replay/reader.h"),
        ("replay/a.c", '#include "record/ingest.h"\n', ""),
        ("replay/a.c", '#include "cache/cache.h"\n', "1: cache/cache.h"),
        ("store/a.c", '#include "disk/file.h"\n', "1: disk/file.h"),
        ("disk/a.c", "#include <zstd.h>\n", "1: zstd.h"),
        ("disk/a.c", "#include <sys/mman.h>\n", "1: sys/mman.h"),
        ("cache/a.c", "#include <pthread.h>\n", "1: pthread.h"),
        ("disk/a.c", "/* open(\n */\nint f(void) { return open(0, 0); }\n", "3: open"),
        ("disk/a.c", 'int f(void) { return g("fork(") + a->read() + b.close(); }\n', ""),
        ("disk/a.c", "static int open(void);\nint f(void) { return open(); }\n", ""),
        (
            "record/a.c",
            "int f(void) {\n    return pthread_join(0, 0);\n}\n",
            "2: pthread_join",
        ),
        ("disk/a.c", "int f(opener *open) {\n    return open();\n}\n", ""),
        ("shelf/a.c", "\n", "1: shelf"),
    ],
)
def test_violations(name: str, text: str, found: str, tmp_path: Path) -> None:
    put(tmp_path, f"src/{name}", text)
    lines = check(tmp_path)
    assert len(lines) == bool(found)
    for line in lines:
        assert line.startswith(f"src/{name}:{found}: ")


def test_exceptions_are_used_or_removed(tmp_path: Path) -> None:
    put(tmp_path, "src/arrow/a.c", '#include "disk/file.h"\n')
    assert len(check(tmp_path)) == 1
    put(tmp_path, "tools/include_exceptions.txt", "src/arrow/a.c: disk/file.h\n")
    assert check(tmp_path) == []
    put(tmp_path, "src/arrow/a.c", "\n")
    (line,) = check(tmp_path)
    assert "remove the line" in line


def test_no_files_are_an_error(tmp_path: Path) -> None:
    assert check(tmp_path) == ["check_includes.py: src/ has no C files"]
