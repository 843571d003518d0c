"""The examples in docstrings run, and the stubs list every public member."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import batchcorder
from helpers import ROOT, check_python

PUBLIC = {name: getattr(batchcorder, name) for name in batchcorder.__all__}
CLASSES = [thing for thing in PUBLIC.values() if inspect.isclass(thing)]
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}


def texts_of(cls: type) -> dict[str, str]:
    """Return the docstrings of a class and of the members that the package defines."""
    texts = {cls.__name__: inspect.getdoc(cls) or ""}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "batchcorder":
            for name in vars(base):
                text = inspect.getdoc(getattr(cls, name)) or ""
                texts[f"{cls.__name__}.{name}"] = text
    return texts


def run_examples(texts: dict[str, str]) -> None:
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for name, text in texts.items():
        runner.run(parser.get_doctest(text, {}, name, None, 0))
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_docstring_examples(cls: type) -> None:
    run_examples(texts_of(cls))


def test_docstring_examples_of_functions() -> None:
    assert FUNCTIONS.keys() >= {"tee", "open", "record", "cached", "verify"}
    run_examples({name: inspect.getdoc(one) or "" for name, one in FUNCTIONS.items()})


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/recordings.md",
        "docs/flight.md",
        "docs/scaling.md",
        "docs/object-stores.md",
    ],
)
def test_pages_run(page: str, tmp_path: Path) -> None:
    """The Python code of a page runs, and prints its comments."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert blocks
    printed = check_python("\n".join(blocks), TMPDIR=str(tmp_path)).splitlines()
    place = 0
    for said in re.findall(r"^ *print\(.*\)  # (.*)$", "\n".join(blocks), re.M):
        # Words in brackets explain. " / " is a line break.
        for line in re.sub(r" \([^)]* [^)]*\)$", "", said).split(" / "):
            assert line in printed[place:], (line, printed[place:])
            place += printed[place:].index(line) + 1


def test_there_are_examples() -> None:
    """Public members have examples, and a section for results or errors."""
    for cls in (batchcorder.StreamCache, batchcorder.CastingStreamCache):
        assert ">>>" in (cls.__doc__ or "")
    methods = ("reader", "cast", "ingest_all", "in_memory", "on_disk", "stats", "dataset")
    methods += ("scan_polars", "to_table", "to_pandas", "to_polars", "to_duckdb")
    for name in (*methods, "save", "info", "take", "shuffle"):
        text = inspect.getdoc(getattr(batchcorder.StreamCache, name)) or ""
        assert ">>>" in text, name
        assert "Returns\n" in text or "Raises\n" in text, name


PAGES = ROOT / "docs"


def code_of(page: Path) -> str:
    """Return the Python code of a page, with each line at its line number in the page."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            line = ""
        lines.append(line if inside else "")
    return "\n".join(lines)


def test_the_page_of_clients_runs(tmp_path: Path) -> None:
    page = PAGES / "clients.md"
    (tmp_path / "page.py").write_text(code_of(page))
    check_python(
        f"""
        import os, pathlib
        from helpers import exit_at_once
        os.chdir({str(tmp_path)!r})
        code = compile(pathlib.Path("page.py").read_text(), {str(page)!r}, "exec")
        exec(code, {{"__name__": "__main__"}})
        exit_at_once()
        """,
        timeout=300,
    )


PROGRAM = """
import os
from pathlib import Path
from typing import Any, Literal, assert_type

import pyarrow as pa

import batchcorder
from batchcorder import ArrowStream, CacheDataset, ColumnInfo, Info, Stats
from batchcorder import CastingStreamCache, StreamCache, StreamCacheReader, tee
from batchcorder import StrOrBytesPath
from batchcorder import __version__

table: Any = pa.table({"a": [1]})
cache = StreamCache(table, 1 << 20, Path("x"), "1GB", "on_eviction", 3)
StreamCache(table, memory_capacity="512MB", max_readers=None)
StreamCache(table, disk_path=b"x", disk_capacity=5)
StreamCache(table, disk_path="x", disk_capacity=5, write_policy="on_insertion")
assert_type(StreamCache.in_memory(table, capacity=5, max_readers=1), StreamCache)
assert_type(StreamCache.on_disk(table, path="x", disk_capacity="1GB"), StreamCache)
assert_type(cache.ingest_all(), int)
assert_type(cache.ingest_all(progress=True), int)
assert_type(cache.num_rows, int | None)
assert_type(cache.stats()["source_seconds"], float)
assert_type(cache.reader(columns=["a", 0], start=1, stop=2), StreamCacheReader)
assert_type(cache[1:], list[Any])
assert_type(tee(table, 2), tuple[StreamCacheReader, ...])
StreamCache(table, prefetch=2, compression="lz4", checksum=False)
assert_type(cache.ingested_count, int)
assert_type(cache.upstream_exhausted, bool)
assert_type(cache.reader(from_start=False), StreamCacheReader)
assert_type(iter(cache), StreamCacheReader)
assert_type(cache.cast(cache.schema), CastingStreamCache)
assert_type(cache.cast(cache.schema).cast(cache.schema), CastingStreamCache)
assert_type(len(cache), int)
assert_type(__version__, str)
with cache as entered, cache.reader() as reader:
    assert_type(entered, StreamCache)
    assert_type(reader, StreamCacheReader)
    assert_type(reader.closed, bool)
    for batch in reader:
        batch.num_rows
StreamCache(StreamCache(table))
StreamCache(cache.reader())
StreamCache(cache.cast(cache.schema))
cache.close()


source: ArrowStream = cache
path: StrOrBytesPath = Path("x.arrows")
assert_type(cache.stats(), Stats)
assert_type(cache.info(), Info)
assert_type(cache.info()["columns"], list[ColumnInfo])
assert_type(cache.dataset(), CacheDataset)
assert_type(cache.dataset().filter(None), CacheDataset)
assert_type(cache.dataset().count_rows(), int)
assert_type(batchcorder.open(path, columns=["a"], follow=True), StreamCache)
assert_type(batchcorder.record(source, path, prefetch=2, durable=True), StreamCache)
assert_type(batchcorder.cached(path, lambda: source), StreamCache)
assert_type(batchcorder.verify(path, progress=True), int)
cache.shuffle(1, 2, buffer_size=None)
cache.take([1, 2])
cache.reader().read_all().num_rows
cache.reader().close()
cache.memory_capacity = "1GB"


class Mine(StreamCache):
    pass


assert_type(Mine.in_memory(table), Mine)
"""

WRONG = """
from typing import Any

from batchcorder import StreamCache, StreamCacheReader

table: Any = None
StreamCache(5)
StreamCache(table, write_policy="nope")
StreamCache(table, memory_capacity=1.5)
StreamCache(table).ingested_count = 3
StreamCache(table).reader(from_start=1)
StreamCache.in_memory(table, 5)
StreamCache(table).no_such_method()
StreamCache(table).save("x", True)
StreamCache(table).shuffle(1, window=3)
StreamCache(table).dataset().no_such_method()
"""


def run_mypy(program: str, path: Path) -> str:
    pytest.importorskip("mypy")
    file = path / "program.py"
    file.write_text(program)
    # Show mypy only the package: the whole of site-packages hides mypy's own stubs.
    stubs = path / "stubs"
    stubs.mkdir()
    (stubs / "batchcorder").symlink_to(Path(batchcorder.__file__).parent)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--no-site-packages", "--ignore-missing-imports"),
            *(f"--cache-dir={path / 'cache'}", "--config-file=", str(file)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"MYPYPATH": str(stubs), "PATH": ""},
    )
    assert run.stderr == ""
    return run.stdout


def test_mypy_accepts_a_program(tmp_path: Path) -> None:
    assert run_mypy(PROGRAM, tmp_path) == ""


def test_mypy_finds_errors(tmp_path: Path) -> None:
    found = run_mypy(WRONG, tmp_path)
    lines = {line.split(":")[1] for line in found.splitlines() if ": error:" in line}
    assert lines == {str(n) for n in range(7, 17)}, found


def test_stubs_have_every_public_name() -> None:
    stub = Path(batchcorder.__file__).with_name("_core.pyi").read_text()
    assert Path(batchcorder.__file__).with_name("py.typed").exists()
    for cls in (batchcorder.StreamCache.__base__, batchcorder.StreamCacheReader):
        for name in vars(cls):
            if not name.startswith("__"):
                assert f"def {name}(" in stub, name
