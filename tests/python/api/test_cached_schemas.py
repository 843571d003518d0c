"""`cached` with a function whose rows are not those of the recording with that name."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import os
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import batchcorder
from batchcorder import _maker, cached
from helpers import check_python

ONE, OTHER = pa.table({"x": [1, 2]}), pa.table({"y": ["a"]})
BOTH = pa.table({"x": [1], "y": ["a"]})
TEXT = "x"


def make_named(name: str) -> Any:
    return lambda: pa.table({name: [1]})


def from_text() -> pa.Table:
    return pa.table({TEXT: [1]})


class Query:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, name: str = "x") -> pa.Table:
        return pa.table({name: [1]})


class Counted:
    """A single-use stream that counts the requests for it."""

    def __init__(self, table: pa.Table) -> None:
        self.reader, self.streams = table.to_reader(), 0

    @property
    def schema(self) -> pa.Schema:
        return self.reader.schema

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        self.streams += 1
        return self.reader.__arrow_c_stream__()


class Called:
    """A function that is an object."""

    def __init__(self, columns: Any) -> None:
        self.columns = columns

    def __call__(self) -> pa.Table:
        return BOTH.select(self.columns)

    def run(self) -> pa.Table:
        return self()


@dataclasses.dataclass
class Data:
    column: str

    def __call__(self) -> pa.Table:
        return BOTH.select([self.column])


class Column(enum.Enum):
    X = "x"
    Y = "y"


class Counter:
    """Counts the calls of each function in slots, which no digest reads."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: list[str] = []


def using(make: Any, value: Any) -> Any:
    """Return a function that calls `make` with a value."""
    return lambda: make(value)


def selected(columns: Any) -> pa.Table:
    return BOTH.select(columns)


def named(value: Any) -> pa.Table:
    return pa.table({str(value): [1]})


def typed(kind: Any) -> pa.Table:
    return pa.table({"x": pa.array([1]).cast(kind)})


VALUES: dict[str, tuple[Any, Any, Any]] = {
    "list": (selected, ["x"], ["y"]),
    "tuple": (selected, ("x",), ("y",)),
    "set": (lambda s: selected(sorted(s)), {"x"}, {"x", "y"}),
    "dict": (lambda d: selected(d["of"]), {"of": ["x"]}, {"of": ["y"]}),
    "nested": (
        lambda d: selected(d["a"][0]["b"]),
        {"a": [{"b": ["x"]}]},
        {"a": [{"b": []}]},
    ),
    "int": (named, 1, 2),
    "path": (named, Path("x"), Path("y")),
    "enum": (lambda e: selected([e.value]), Column.X, Column.Y),
    "date": (named, datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    "type": (typed, pa.int8(), pa.float64()),
    "schema": (
        lambda schema: pa.table({"x": [1]}, schema=schema),
        pa.schema({"x": pa.int8()}),
        pa.schema({"x": pa.float64()}),
    ),
    "lazy frame": (
        lambda frame: frame.collect(),
        pl.LazyFrame({"x": [1]}),
        pl.LazyFrame({"y": [1]}),
    ),
    "relation": (
        lambda relation: relation,
        duckdb.connect().sql("select 1 as x"),
        duckdb.connect().sql("select 1 as y"),
    ),
    "method of C": (
        lambda method: method(),
        BOTH.select(["x"]).to_reader,
        BOTH.to_reader,
    ),
}
PAIRS: dict[str, tuple[Any, Any]] = {
    **{f"a {n}": (using(f, a), using(f, b)) for n, (f, a, b) in VALUES.items()},
    "objects": (Called(["x"]), Called(["y"])),
    "methods": (Called(["x"]).run, Called(["y"]).run),
    "data classes": (Data("x"), Data("y")),
    "partials of lists": (
        functools.partial(selected, columns=["x"]),
        functools.partial(selected, columns=["y"]),
    ),
    "defaults": (lambda c=("x",): selected(c), lambda c=("y",): selected(c)),
    "lambdas": (lambda: ONE, lambda: OTHER),
    "closures": (make_named("x"), make_named("y")),
    "partials": (
        functools.partial(Query("q").run, "x"),
        functools.partial(Query("q").run, "y"),
    ),
    "types": (lambda: pa.table({"x": [1]}), lambda: pa.table({"x": [1.5]})),
    "streams": (lambda: ONE.to_reader(), lambda: OTHER.to_reader()),
    "more columns": (lambda: ONE, lambda: ONE.append_column("z", [[1, 2]])),
}


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_another_schema_is_refused(name: str, complete: bool, tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "x.arrows", PAIRS[name]
    writer = cached(path, first)
    if complete:
        writer.ingest_all()
        writer.close()
    for _ in range(2):
        with pytest.raises(ValueError, match="another schema than the recording"):
            cached(path, second)
    assert pa.table(cached(path, first)).equals(pa.table(first()))
    os.unlink(path)
    assert pa.table(cached(path, second)).equals(pa.table(second()))


def test_text_of_the_module_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.arrows"
    cached(path, from_text).ingest_all()
    cached(path, from_text)
    monkeypatch.setitem(globals(), "TEXT", "y")
    with pytest.raises(ValueError, match=r"\[y: int64\] instead of \[x: int64\]"):
        cached(path, from_text)


def test_the_same_function_is_not_called(tmp_path: Path) -> None:
    calls = []

    def make() -> pa.Table:
        calls.append(1)
        return ONE

    path = tmp_path / "x.arrows"
    for _ in range(3):
        cached(path, make).ingest_all()
    assert calls == [1]


def test_another_function_of_the_schema_is_called_once(tmp_path: Path) -> None:
    path, calls = tmp_path / "x.arrows", []
    cached(path, lambda: ONE).ingest_all()

    def later() -> pa.Table:
        calls.append(1)
        return ONE.slice(1).replace_schema_metadata({"a": "b"})

    for _ in range(3):
        assert pa.table(cached(path, later)).num_rows == 2, "the recording's rows"
    assert calls == [1]


def test_functions_that_take_turns_are_called_once_each(tmp_path: Path) -> None:
    path, calls = tmp_path / "x.arrows", Counter()

    def first() -> pa.Table:
        calls.names.append("first")
        return ONE

    def second() -> pa.Table:
        calls.names.append("second")
        return ONE

    for _ in range(3):
        for make in (first, second):
            cached(path, make).ingest_all()
    assert calls.names == ["first", "second"]


def test_functions_that_call_each_other_are_read_in_little_time() -> None:
    """The digest visits each function a few times, not once for each path to it."""
    names: dict[str, Any] = {}
    count = 50
    everything = ", ".join(f"f{i}" for i in range(count))
    for i in range(count):
        exec(f"def f{i}():\n    return {everything}", names)
    words = sum(1 for _ in _maker._words(names["f0"], _maker._DEPTH, {}))
    assert words < 20 * count * _maker._DEPTH


def test_nothing_is_consumed(tmp_path: Path) -> None:
    path, once = tmp_path / "x.arrows", Counted(OTHER)
    cached(path, lambda: ONE).ingest_all()
    with pytest.raises(ValueError, match="another schema"):
        cached(path, lambda: once)
    assert once.streams == 0
    assert pa.table(once).equals(OTHER)


def test_a_function_that_fails_leaves_the_recording_usable(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    cached(path, lambda: ONE).ingest_all()

    def fails() -> Any:
        raise ConnectionError("the database is gone")

    assert pa.table(cached(path, fails)).equals(ONE)


def test_files_of_other_calls_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(ONE, path)
    assert pa.table(cached(path, lambda: OTHER)).equals(ONE)


def keeps_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.batchcorder.test", b"1")
    except OSError:
        return False
    return True


def test_another_process(tmp_path: Path) -> None:
    if not keeps_attributes(tmp_path):
        pytest.skip("without attributes of files, one process only knows the digest")
    path = str(tmp_path / "x.arrows")
    for name, fails in (("x", False), ("x", False), ("y", True)):
        check_python(
            f"""
    import batchcorder, pyarrow as pa, pytest
    def query():
        return pa.table({{"{name}": [1]}})
    if {fails}:
        with pytest.raises(ValueError, match="another schema"):
            batchcorder.cached({path!r}, query)
    else:
        assert batchcorder.cached({path!r}, query).ingest_all() == 1
    """
        )
