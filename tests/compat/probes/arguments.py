"""The arguments that the constructor takes, and its errors for the rest."""

from __future__ import annotations

import decimal
import enum
import fractions
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .data import SCHEMA, TABLE, generated, ids, stream, tree
from .probing import attempt, each, each_of, kind_raised, probe


class Index:
    """An integer that is no int."""

    def __index__(self) -> int:
        return 1 << 20


class BadIndex:
    def __index__(self) -> int:
        raise KeyError("no index")


class Int(int):
    pass


class Level(enum.IntEnum):
    HIGH = 1 << 20


NUMBERS: dict[str, Any] = {
    "None": None,
    "0": 0,
    "1": 1,
    "2**20": 1 << 20,
    "2**63 - 1": (1 << 63) - 1,
    "2**63": 1 << 63,
    "2**64 - 1": (1 << 64) - 1,
    "2**64": 1 << 64,
    "2**200": 1 << 200,
    "-1": -1,
    "-2**63": -(1 << 63),
    "-2**64": -(1 << 64),
    "True": True,
    "False": False,
    "1.0": 1.0,
    "1e6": 1e6,
    "nan": float("nan"),
    "int64": np.int64(1 << 20),
    "uint8": np.uint8(7),
    "int64 -1": np.int64(-1),
    "float64": np.float64(5),
    "bool_": np.bool_(True),
    "array": np.array(1 << 20),
    "array of 1": np.array([1 << 20]),
    "Decimal": decimal.Decimal(5),
    "Fraction": fractions.Fraction(5),
    "Index": Index(),
    "BadIndex": BadIndex(),
    "int subclass": Int(1 << 20),
    "IntEnum": Level.HIGH,
    "text": "5 apples",
    "size as text": "512MB",
    "digits": "1048576",
    "empty text": "",
    "bytes": b"5",
    "list": [],
    "object": object(),
    "pyarrow scalar": pa.scalar(5),
}


@each_of(NUMBERS)
def memory_capacity(bc: Any, value: Any) -> Any:
    return attempt(lambda: ids(bc.StreamCache(pa.table({"id": [1]}), value)))


@each_of(NUMBERS)
def disk_capacity(bc: Any, value: Any) -> Any:
    return attempt(lambda: type(bc.StreamCache(stream(), 1 << 20, "d", value)))


@each_of(NUMBERS)
def max_readers(bc: Any, value: Any) -> Any:
    return attempt(lambda: ids(bc.StreamCache(stream(), max_readers=value)))


class FsPath(os.PathLike):  # type: ignore[type-arg]
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        if isinstance(self.path, Exception):
            raise self.path
        return self.path


class Text(str):
    pass


PATHS: dict[str, Any] = {
    "str": "d",
    "nested": "d/e/f",
    "empty": "",
    "dot": ".",
    "trailing slash": "d/",
    "doubled slashes": "d//e",
    "parent": "d/../e",
    "tilde": "~",
    "space": " ",
    "unicode": "dé😀",
    "newline": "a\nb",
    "str subclass": Text("d"),
    "Path": Path("d"),
    "bytes": b"d",
    "PathLike": FsPath("d"),
    "PathLike of bytes": FsPath(b"d"),
    "PathLike that raises": FsPath(KeyError("boom")),
    "surrogate": "d\udcff",
    "nul": "a\0b",
    "int": 5,
    "bool": True,
    "list": ["d"],
    "existing file": "file",
    "below a file": "file/below",
    "existing directory": "there",
    "through a link": "link/d",
    "dangling link": "dangling",
    "too long": "x" * 300,
    "not there to be made": "/proc/x",
    "no directory for any": "/dev/null",
}


@each_of(PATHS)
def disk_path(bc: Any, value: Any, tmp: Path) -> Any:
    """The path, and its files after construction, after recording and after close."""
    (tmp / "file").write_text("stays")
    (tmp / "there").mkdir()
    (tmp / "there" / "mine").write_text("stays")
    (tmp / "link").symlink_to("there")
    (tmp / "dangling").symlink_to("nowhere")

    def use() -> Any:
        cache = bc.StreamCache(stream(), 1, value, 1 << 20)
        found = [tree(tmp)]
        cache.ingest_all()
        found += [tree(tmp), ids(cache)]
        cache.close()
        return [*found, tree(tmp)]

    return [attempt(use), (tmp / "file").read_text()]


@probe
def a_relative_path_is_not_looked_up_again(bc: Any, tmp: Path) -> Any:
    (tmp / "other").mkdir()
    cache = bc.StreamCache(stream(), 1, "d", 1 << 20)
    os.chdir("other")
    found = [ids(cache), ids(cache), tree(tmp)]
    cache.close()
    return [*found, tree(tmp)]


@probe
def directory_without_permission(bc: Any, tmp: Path) -> Any:
    (tmp / "d").mkdir()
    (tmp / "d").chmod(0o500)
    found = attempt(lambda: type(bc.StreamCache(stream(), 1, "d/e", 1 << 20)))
    (tmp / "d").chmod(0o700)
    return "root may write anywhere" if os.geteuid() == 0 else found


class Policy(enum.StrEnum):
    EVICT = "on_eviction"


POLICIES: dict[str, Any] = {
    "on_insertion": "on_insertion",
    "on_eviction": "on_eviction",
    "str subclass": Text("on_eviction"),
    "StrEnum": Policy.EVICT,
    "numpy str_": np.str_("on_eviction"),
    "nope": "nope",
    "empty": "",
    "upper case": "ON_INSERTION",
    "space": " on_insertion",
    "quotes": 'a"b\\c',
    "control": "a\nb\tc\x01\x7f\0d",
    "unicode": "é😀",
    "combining": "a\u0301 \u200b \u2028",
    "surrogate": "\ud800",
    "None": None,
    "int": 5,
    "bytes": b"on_insertion",
}


@each_of(POLICIES)
def write_policy(bc: Any, value: Any) -> Any:
    return attempt(lambda: type(bc.StreamCache(stream(), write_policy=value)))


PAIRS: dict[str, dict[str, Any]] = {
    "path alone": {"disk_path": "d"},
    "capacity alone": {"disk_capacity": 5},
    "path and None": {"disk_path": "d", "disk_capacity": None},
    "None and capacity": {"disk_path": None, "disk_capacity": 5},
    "neither": {"disk_path": None, "disk_capacity": None},
    "policy without a disk": {"write_policy": "on_eviction"},
    "capacity 0 alone": {"disk_capacity": 0},
}


@each_of(PAIRS)
def path_and_capacity(bc: Any, options: dict[str, Any], tmp: Path) -> Any:
    found = attempt(lambda: ids(bc.StreamCache(stream(), **options)))
    return [found, tree(tmp)]


# ---- several errors at once: the reported one ----

FIVE: Any = 5
WRONG: dict[str, tuple[Any, dict[str, Any]]] = {
    "reader and number": (FIVE, {"memory_capacity": 1.5}),
    "reader and policy": (FIVE, {"write_policy": "nope"}),
    "reader and policy type": (FIVE, {"write_policy": 5}),
    "reader and max_readers": (FIVE, {"max_readers": 0}),
    "reader and pair": (FIVE, {"disk_path": "d"}),
    "reader and directory": (FIVE, {"disk_path": "/proc/x", "disk_capacity": 5}),
    "policy and max_readers": (TABLE, {"write_policy": "nope", "max_readers": 0}),
    "policy and pair": (TABLE, {"write_policy": "nope", "disk_path": "d"}),
    "max_readers and pair": (TABLE, {"max_readers": 0, "disk_path": "d"}),
    "number and pair": (TABLE, {"memory_capacity": -1, "disk_path": "d"}),
    "number and policy": (TABLE, {"disk_capacity": -1, "write_policy": "nope"}),
    "numbers": (TABLE, {"memory_capacity": -1, "disk_capacity": 1.5}),
    "numbers again": (TABLE, {"memory_capacity": 1.5, "disk_capacity": -1}),
    "path type and number": (TABLE, {"disk_path": 5, "disk_capacity": -1}),
    "path type and policy": (
        TABLE,
        {"disk_path": 5, "disk_capacity": 5, "write_policy": "nope"},
    ),
    "policy type and number": (TABLE, {"write_policy": 5, "max_readers": -1}),
    "directory and policy": (
        TABLE,
        {"disk_path": "/proc/x", "disk_capacity": 5, "write_policy": "nope"},
    ),
    "directory and max_readers": (
        TABLE,
        {"disk_path": "/proc/x", "disk_capacity": 5, "max_readers": 0},
    ),
}


@each_of(WRONG)
def several_wrong(bc: Any, case: tuple[Any, dict[str, Any]], tmp: Path) -> Any:
    found = attempt(lambda: type(bc.StreamCache(case[0], **case[1])))
    return [found, tree(tmp)]


BAD: dict[str, Callable[[Any, Any], Any]] = {
    "number": lambda bc, s: bc.StreamCache(s, memory_capacity=-1),
    "policy": lambda bc, s: bc.StreamCache(s, write_policy="nope"),
    "pair": lambda bc, s: bc.StreamCache(s, disk_path="d"),
    "max_readers": lambda bc, s: bc.StreamCache(s, max_readers=0),
    "directory": lambda bc, s: bc.StreamCache(s, 1, "/proc/x", 5),
}


@each(BAD)
def source_after_a_failed_construction(bc: Any, name: str) -> Any:
    source = generated()
    return [attempt(BAD[name], bc, source)["raises"], kind_raised(ids, source)]


@probe
def schema_of_a_failed_construction(bc: Any) -> Any:
    return attempt(lambda: bc.StreamCache(stream(), write_policy="nope").schema)


@probe
def construction_reads_nothing(bc: Any) -> Any:
    given: list[int] = []

    def generate() -> Any:
        for one in stream():
            given.append(1)
            yield one

    cache = bc.StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    cache.reader()
    cache.cast(SCHEMA)
    cache.__arrow_c_stream__()
    cache.__arrow_c_schema__()
    found = [len(given), cache.ingested_count]
    next(cache.reader())
    return [*found, len(given), cache.ingested_count]
