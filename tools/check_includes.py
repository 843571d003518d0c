#!/usr/bin/env python3
"""Fail if a file of src/ includes a layer above it, or calls the system outside base/.

check_includes.py [--root PATH] [--graph]   --graph prints the arrows between layers

LAYERS lists for each folder of src/ the folders and libraries that it may include. All
system calls and threads pass src/base, so that a test can make the nth call fail.

tools/include_exceptions.txt has one known violation a line: FILE: INCLUDED. A line that
no longer applies is an error too, so that the list only shrinks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

LIBRARIES = {"lz4frame.h", "zstd.h", "zstd_errors.h", "xxhash.h"}
# Bottom to top. A name with a slash is one header, any other name is a whole folder.
LAYERS: dict[str, set[str]] = {
    "base": {"batchcorder"},
    "arrow": {"base", "nanoarrow", "batchcorder"},
    "ipc": {"arrow", "base", "batchcorder", "nanoarrow", "flatcc", *LIBRARIES},
    "disk": {"ipc", "arrow", "base", "batchcorder"},
    # The table of functions through which the store reaches a tier.
    "store": {"arrow", "base", "batchcorder", "disk/tier_ops.h"},
    "record": {"store", "arrow", "base", "batchcorder"},
    "replay": {"record", "store", "arrow", "base", "batchcorder"},
    "cache": {"replay", "record", "store", "disk", "ipc", "arrow", "base", "batchcorder"},
}
# The headers of the system and of threads that only base/ includes.
SYSTEM = re.compile(
    r"(?:sys|linux|netinet|arpa)/.*|(?:unistd|fcntl|pthread|semaphore|threads|signal|sched"
    r"|dirent|poll|spawn|dlfcn|ftw|glob|pwd|grp|time|utime|stdio|mqueue)\.h"
)
# The headers among these that only format text or describe a moment.
HARMLESS = {"stdio.h", "time.h"}
CALL = re.compile(
    r"""(?<![\w.>])(
    pthread_\w+|sem_\w+|mtx_\w+|cnd_\w+|thrd_\w+
    |v?fork|exec[lv]\w*|waitpid|_exit|kill|raise|sigaction|signal|atexit|abort
    |open|openat|creat|close|read|pread|readv|preadv|write|pwrite|writev|pwritev
    |lseek|ftruncate|truncate|fallocate|posix_fallocate|fsync|fdatasync|sync_file_range
    |mmap|munmap|mremap|madvise|msync|fcntl|flock|ioctl|dup[23]?|pipe2?|poll|select
    |f?stat|lstat|fstatat|statvfs|fstatvfs|f?chmod|umask|unlink|unlinkat|rename|renameat2?
    |linkat?|symlink|mkdir|mkdirat|rmdir|opendir|readdir|closedir|realpath|getcwd
    |usleep|nanosleep|clock_gettime|time|getpid|gettid|sysconf|getenv|syscall|sched_yield
    |getrandom|malloc|calloc|realloc|free|strdup|fopen|fclose|fread|fwrite|printf|fprintf
    )\s*\(""",
    re.X,
)
# A static function or a parameter hides the system call of its name.
OWN = re.compile(r"^static [^;{}=()]*?\b(\w+)\(|\*(\w+)[,)]", re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
COMMENT_OR_STRING = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S
)


def blanked(text: str) -> str:
    """Return the code without comments and strings, with its lines where they were."""
    return COMMENT_OR_STRING.sub(lambda m: "\n" * m[0].count("\n") or " ", text)


def includes(text: str) -> list[tuple[int, bool, str]]:
    """Return the line, whether it is the system's, and the name of each include."""
    return [
        (text.count("\n", 0, m.start(2)) + 1, m[1] == "<", m[2])
        for m in INCLUDE.finditer(text)
    ]


def is_allowed(layer: str, is_system: bool, name: str) -> bool:
    """Return whether a file of the layer may include this header."""
    folder, slash, _ = name.partition("/")
    if name in LIBRARIES or not is_system:
        return name in LAYERS[layer] or (
            slash != "" and folder in {layer, *LAYERS[layer]}
        )
    return layer == "base" or name in HARMLESS or SYSTEM.fullmatch(name) is None


def violations(root: Path, file: Path) -> list[tuple[int, str, str]]:
    """Return line, included header or called function, and the reason."""
    layer = file.relative_to(root / "src").parts[0]
    if layer not in LAYERS:
        return [(1, layer, "the list of layers lacks this folder")]
    text = file.read_text()
    found = [
        (line, name, f"{layer} must not include this header")
        for line, is_system, name in includes(text)
        if not is_allowed(layer, is_system, name)
    ]
    if layer == "base":
        return found
    code = blanked(text)
    own = {name for names in OWN.findall(code) for name in names}
    for call in CALL.finditer(code):
        if call[1] not in own:
            line = code.count("\n", 0, call.start()) + 1
            found.append((line, call[1], "only base/ calls the system"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the layers of src/.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--graph", action="store_true", help="print the arrows")
    options = parser.parse_args()
    files = sorted((options.root / "src").glob("*/**/*.[ch]"))
    if not files:
        print("check_includes.py: src/ has no C files", file=sys.stderr)
        return 1
    if options.graph:
        arrows: Counter[str] = Counter()
        for file in files:
            layer = file.relative_to(options.root / "src").parts[0]
            for _, is_system, name in includes(file.read_text()):
                folder = name.partition("/")[0]
                if not is_system and folder != layer and "/" in name:
                    arrows[f"{layer} -> {folder}"] += 1
        for arrow, count in sorted(arrows.items()):
            print(f"{count:4} {arrow}")
        return 0
    record = options.root / "tools" / "include_exceptions.txt"
    lines = record.read_text().splitlines() if record.exists() else []
    unused = {line for line in lines if line and not line.startswith("#")}
    known, failed = set(unused), False
    for file in files:
        for line, name, reason in violations(options.root, file):
            path = file.relative_to(options.root)
            key = f"{path}: {name}"
            unused.discard(key)
            if key not in known:
                print(f"{path}:{line}: {name}: {reason}", file=sys.stderr)
                failed = True
    for line in sorted(unused):
        print(f"{record.name}: remove the line, it is mended: {line}", file=sys.stderr)
    return int(failed or bool(unused))


if __name__ == "__main__":
    sys.exit(main())
