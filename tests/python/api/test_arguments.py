"""The constructor's arguments: accepted types and values, and the errors of the rest."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchcorder import StreamCache, cached, record, tee
from cstream import RawStream, capsule_of
from helpers import SCHEMA, Source, batch, cache_file, cache_files, ids, numbered

TABLE = pa.table({"id": [1, 2, 3]})


class Index:
    """An object with `__index__` that is not an int."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class BadIndex:
    def __index__(self) -> int:
        raise KeyError("no index")


class Streams:
    """An object whose `__arrow_c_stream__` returns or raises the value it is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("reader", "got"),
    [
        (5, "builtins.int"),
        ("x", "builtins.str"),
        (None, "builtins.NoneType"),
        ([TABLE], "builtins.list"),
        (generator(), "builtins.generator"),
        (object(), "builtins.object"),
        (TABLE.__arrow_c_stream__(), "builtins.PyCapsule"),
        (SCHEMA, "pyarrow.lib.Schema"),
        (pa.array([1]), "pyarrow.lib.Int64Array"),
        (Index(3), "test_arguments.Index"),
    ],
)
def test_a_reader_that_is_not_a_stream(reader: Any, got: str) -> None:
    wanted = (
        "argument 'reader': Expected instance of pyarrow.lib.RecordBatchReader, "
        f"got {got}"
    )
    with pytest.raises(TypeError) as caught:
        StreamCache(reader)
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda path: record(TABLE["id"].to_pylist(), path), "argument 'source'"),
        (lambda path: tee([1]), "argument 'stream'"),
        (lambda path: cached(path, lambda: [1]), "make_source's result"),
    ],
)
def test_no_stream_is_named_as_the_caller_knows_it(
    call: Callable[[Path], Any], name: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError) as caught:
        call(tmp_path / "x")
    assert str(caught.value) == (
        f"{name}: Expected instance of pyarrow.lib.RecordBatchReader, got builtins.list"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_other_constructors_name_their_own_arguments() -> None:
    source = Source(numbered(1))
    with pytest.raises(ValueError, match=r"^argument 'capacity': expected a number"):
        StreamCache.in_memory(source, capacity="1XB")
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"^argument 'path': 'int' object is not"):
        StreamCache.on_disk(source, path=wrong)
    assert source.streams == 0


def test_make_source_is_no_function(tmp_path: Path) -> None:
    for path in (tmp_path / "x", tmp_path / "made"):
        if path.name == "made":
            record(TABLE, path).close()
        with pytest.raises(
            TypeError, match="argument 'make_source': expected a function"
        ):
            cached(path, TABLE)
        assert path.exists() == (path.name == "made")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (1, "'int' object"),
        ("x", "'str' object"),
        ((), "'tuple' object"),
        (None, "'None'"),
    ],
)
def test_the_stream_method_returns_no_capsule(answer: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        StreamCache(Streams(answer))
    assert str(caught.value) == (
        f"argument 'reader': {words} is not an instance of 'PyCapsule'"
    )


def test_a_capsule_of_another_name() -> None:
    with pytest.raises(ValueError, match=r"'arrow_array_stream'.*'arrow_schema'"):
        StreamCache(Streams(SCHEMA.__arrow_c_schema__()))
    name = b"foo"
    with pytest.raises(ValueError, match="'foo'"):
        StreamCache(Streams(capsule_of(1 << 12, name)))
    with pytest.raises(ValueError, match=r"(?i)name"):
        StreamCache(Streams(capsule_of(1 << 12, None)))


def test_a_used_capsule() -> None:
    capsule = TABLE.__arrow_c_stream__()
    assert ids(StreamCache(Streams(capsule))) == [1, 2, 3]
    with pytest.raises(ValueError, match="already released"):
        StreamCache(Streams(capsule))


@pytest.mark.parametrize(
    "error",
    [ValueError("boom"), KeyError("boom"), OSError(5, "boom"), KeyboardInterrupt()],
    ids=lambda e: type(e).__name__,
)
def test_an_exception_of_the_stream_method_is_that_exception(
    error: BaseException,
) -> None:
    with pytest.raises(type(error)) as caught:
        StreamCache(Streams(error))
    assert caught.value is error


def test_an_exception_of_the_attribute() -> None:
    error = RuntimeError("boom")

    class Raises:
        @property
        def __arrow_c_stream__(self) -> Any:
            raise error

    with pytest.raises(RuntimeError) as caught:
        StreamCache(Raises())
    assert caught.value is error


def test_a_stream_method_without_the_optional_parameter() -> None:
    class Plain:
        def __arrow_c_stream__(self) -> Any:
            return TABLE.__arrow_c_stream__()

    class Attribute:
        def __init__(self) -> None:
            self.__arrow_c_stream__ = lambda: TABLE.__arrow_c_stream__()

    assert ids(StreamCache(Plain())) == [1, 2, 3]
    assert ids(StreamCache(Attribute())) == [1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TABLE,
        TABLE.to_reader,
        lambda: TABLE.to_batches()[0],
        lambda: pa.chunked_array([TABLE.to_struct_array().chunk(0)]),
        lambda: StreamCache(TABLE),
        lambda: StreamCache(TABLE).reader(),
        lambda: StreamCache(TABLE).cast(TABLE.schema),
    ],
    ids=["table", "reader", "batch", "chunked", "cache", "cache reader", "cast"],
)
def test_sources(make: Callable[[], Any]) -> None:
    cache = StreamCache(make())
    assert ids(cache) == [1, 2, 3]
    assert ids(cache) == [1, 2, 3]


def test_a_source_whose_row_count_raises() -> None:
    class Rowless:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return TABLE.__arrow_c_stream__()

        @property
        def num_rows(self) -> int:
            raise RuntimeError("boom")

    assert ids(StreamCache(Rowless())) == [1, 2, 3]


def test_a_stream_that_is_not_of_structs() -> None:
    with pytest.raises(ValueError, match="struct"):
        StreamCache(pa.chunked_array([[1, 2]]))


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"disk_path": "x"},
        ValueError,
        "disk_path and disk_capacity must both be provided, or both omitted",
    ),
    (
        {"disk_capacity": 5},
        ValueError,
        "disk_path and disk_capacity must both be provided, or both omitted",
    ),
    ({"max_readers": 0}, ValueError, "max_readers must be at least 1"),
    ({"max_readers": False}, ValueError, "max_readers must be at least 1"),
    (
        {"write_policy": "nope"},
        ValueError,
        "write_policy must be 'on_insertion' or 'on_eviction', got \"nope\"",
    ),
    (
        {"write_policy": ""},
        ValueError,
        "write_policy must be 'on_insertion' or 'on_eviction', got \"\"",
    ),
    (
        {"write_policy": "ON_INSERTION"},
        ValueError,
        "write_policy must be 'on_insertion' or 'on_eviction', got \"ON_INSERTION\"",
    ),
    (
        {"write_policy": 'a"b\\c\né😀'},
        ValueError,
        "write_policy must be 'on_insertion' or 'on_eviction', got \"a\\\"b\\\\c\\né😀\"",
    ),
    (
        {"write_policy": None},
        TypeError,
        "argument 'write_policy': 'None' is not an instance of 'str'",
    ),
    (
        {"write_policy": 5},
        TypeError,
        "argument 'write_policy': 'int' object is not an instance of 'str'",
    ),
    *[
        ({name: value, **more}, kind, words.format(name))
        for name, more in (
            ("memory_capacity", {}),
            ("disk_capacity", {"disk_path": "x"}),
            ("max_readers", {}),
        )
        for value, kind, words in (
            (-1, OverflowError, "can't convert negative int to unsigned"),
            (-(1 << 65), OverflowError, "can't convert negative int to unsigned"),
            (1 << 64, OverflowError, "int too big to convert"),
            (
                1.5,
                TypeError,
                "argument '{}': 'float' object cannot be interpreted as an integer",
            ),
            (
                [],
                TypeError,
                "argument '{}': 'list' object cannot be interpreted as an integer",
            ),
            (BadIndex(), KeyError, "'no index'"),
        )
    ],
    (
        {"max_readers": "5"},
        TypeError,
        "argument 'max_readers': 'str' object cannot be interpreted as an integer",
    ),
    (
        {"disk_path": 5, "disk_capacity": 5},
        TypeError,
        "argument 'disk_path': 'int' object is not an instance of 'str'",
    ),
    (
        {"disk_path": True, "disk_capacity": 5},
        TypeError,
        "argument 'disk_path': 'bool' object is not an instance of 'str'",
    ),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD_ARGUMENTS)
def test_bad_arguments_leave_the_source_alone(
    options: dict[str, Any],
    kind: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(numbered(2))
    with pytest.raises(kind) as caught:
        StreamCache(source, **options)
    assert type(caught.value) is kind
    assert str(caught.value) == words
    assert (source.streams, source.given) == (0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["memory_capacity", "disk_capacity", "max_readers"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float64(5), "'numpy.float64' object cannot be interpreted as an integer"),
        (np.array([1]), "only integer scalar arrays can be converted to a scalar index"),
    ],
    ids=["float64", "array"],
)
def test_a_type_error_of_index_gets_the_arguments_name(
    value: Any, words: str, name: str
) -> None:
    with pytest.raises(TypeError) as caught:
        StreamCache(TABLE, **{name: value})
    assert str(caught.value) == f"argument '{name}': {words}"


def wrong(**options: Any) -> dict[str, Any]:
    return {"reader": Source(numbered(1))} | options


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (wrong(reader=5, memory_capacity=1.5), TypeError, "'reader'"),
        (wrong(reader=5, write_policy="nope"), TypeError, "'reader'"),
        (wrong(reader=5, max_readers=0), TypeError, "'reader'"),
        (wrong(reader=5, disk_path="x"), TypeError, "'reader'"),
        (wrong(memory_capacity=1.5, disk_path=5), TypeError, "'memory_capacity'"),
        (wrong(disk_path=5, disk_capacity=-1), TypeError, "'disk_path'"),
        (wrong(disk_path=5, disk_capacity=5, write_policy="x"), TypeError, "'disk_path'"),
        (wrong(disk_capacity=-1, write_policy=5), OverflowError, "negative"),
        (wrong(write_policy=5, max_readers=-1), TypeError, "'write_policy'"),
        (wrong(write_policy="nope", max_readers=0), ValueError, "max_readers"),
        (wrong(write_policy="nope", disk_path="x"), ValueError, "write_policy"),
        (wrong(max_readers=0, disk_path="x"), ValueError, "max_readers"),
    ],
)
def test_the_order_of_argument_errors(
    options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """Wrong types raise first, in the order of the arguments.

    Wrong values raise after them.
    """
    with pytest.raises(kind, match=words) as caught:
        StreamCache(**options)
    assert type(caught.value) is kind
    if options["reader"] != 5:
        assert options["reader"].streams == 0


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((TABLE, None, None, None, "on_insertion", None, 1), {}),
        ((TABLE,), {"reader": TABLE}),
        ((TABLE,), {"nope": 1}),
    ],
)
def test_calls_that_do_not_fit_the_signature(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        StreamCache(*args, **kwargs)


@pytest.mark.parametrize(
    "value", [0, 1, 1 << 31, 1 << 63, (1 << 64) - 1, True, Index(7), np.int64(9), None]
)
def test_numbers_that_are_accepted(value: Any, tmp_path: Path) -> None:
    StreamCache(TABLE, memory_capacity=value)
    if value is not None:
        StreamCache(TABLE, disk_path=tmp_path, disk_capacity=value)
    if value != 0:
        StreamCache(TABLE, max_readers=value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("512MB", 512_000_000),
        ("2GiB", 2 << 30),
        ("2 GiB", 2 << 30),
        ("1.5kB", 1500),
        ("3TB", 3_000_000_000_000),
        ("7B", 7),
    ],
)
def test_sizes_as_text(text: str, size: int, tmp_path: Path) -> None:
    """The error of a budget that is too small shows the parsed size."""
    if size < 1 << 20:
        big = pa.table({"id": list(range(1000))})
        with pytest.raises(MemoryError) as caught:
            StreamCache(big, memory_capacity=text).ingest_all()
        assert str(caught.value) == f"Memory cache capacity ({size} bytes) exceeded"
        with pytest.raises(MemoryError, match=re.escape(f"({size} bytes)")):
            StreamCache(big, 1, tmp_path, text).ingest_all()
    else:
        assert StreamCache(TABLE, memory_capacity=text).ingest_all() == 1
        assert StreamCache(TABLE, 1, tmp_path, text).ingest_all() == 1


@pytest.mark.parametrize(
    "text",
    ["", "x", "-5", "5 apples", "1e3x", "1.2.3", "MB", "nan", "inf", "1\x00", "0x10"],
)
def test_invalid_sizes(text: str) -> None:
    source = Source(numbered(1))
    with pytest.raises(ValueError, match="memory_capacity"):
        StreamCache(source, memory_capacity=text)
    with pytest.raises(ValueError, match="disk_capacity"):
        StreamCache(source, disk_path="x", disk_capacity=text)
    assert source.streams == 0


def test_a_long_size_is_parsed_in_linear_time() -> None:
    """In quadratic time, this test would take hours."""
    for text in ("9" * 1_000_000 + "x", "9" * 1_000_000 + ".5x", "." + "9" * 1_000_000):
        with pytest.raises((ValueError, OverflowError)):
            StreamCache(TABLE, memory_capacity=text + "x")
    with pytest.raises(OverflowError, match="too big"):
        StreamCache(TABLE, memory_capacity="9" * 1_000_000 + "kB")


class FsPath(os.PathLike[Any]):
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        if isinstance(self.path, Exception):
            raise self.path
        return self.path


@pytest.mark.parametrize(
    "convert",
    [str, os.fsencode, Path, FsPath, lambda p: FsPath(os.fsencode(p))],
    ids=["str", "bytes", "Path", "PathLike of str", "PathLike of bytes"],
)
def test_paths(convert: Callable[[Any], Any], tmp_path: Path) -> None:
    where = tmp_path / "new" / "d\udcffé"
    cache = StreamCache(TABLE, 1, convert(str(where)), 1 << 20)
    assert cache.ingest_all() == 1
    assert cache_file(where).stat().st_size > 0
    cache.close()
    assert list(where.iterdir()) == [], "close() removed the directory itself"


def test_an_exception_of_fspath() -> None:
    error = KeyError("boom")
    with pytest.raises(KeyError) as caught:
        StreamCache(TABLE, 1, FsPath(error), 1 << 20)
    assert caught.value is error


def test_an_empty_and_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of the working directory does not move the cache's files."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    caches = [StreamCache(TABLE, 1, path, 1 << 20) for path in ("", "d/e")]
    monkeypatch.chdir(second)
    assert [ids(cache) for cache in caches] == [[1, 2, 3]] * 2
    assert len(cache_files(first)) == len(cache_files(first / "d/e")) == 1
    for cache in caches:
        cache.close()
    assert sorted(p.name for p in first.rglob("*")) == ["d", "e"]
    assert list(second.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("file", errno.ENOTDIR),
        ("file/below", errno.ENOTDIR),
        ("x" * 300, errno.ENAMETOOLONG),
        ("/proc/x", errno.ENOENT),
    ],
)
def test_a_directory_that_cannot_be_made(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("stays")
    source = Source(numbered(2))
    with pytest.raises(OSError, match="Failed to create cache directory: ") as caught:
        StreamCache(source, 1, tmp_path / name, 1 << 20)
    assert caught.value.errno == code
    assert os.strerror(code) in str(caught.value)
    assert source.given == 0
    assert (tmp_path / "file").read_text() == "stays"


def test_a_directory_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="Failed to create cache directory: "):
        StreamCache(TABLE, 1, tmp_path / "new", 1 << 20)


def test_a_path_with_a_nul() -> None:
    source = Source(numbered(1))
    for path in ("a\x00b", b"a\x00b", FsPath("a\x00b")):
        with pytest.raises(OSError, match="Failed to create cache directory: ") as caught:
            StreamCache(source, 1, path, 1 << 20)
        assert caught.value.errno == errno.EINVAL
    assert source.streams == 0


def test_a_failed_construction_gives_the_stream_back(tmp_path: Path) -> None:
    """The capsule remains valid: its stream was neither moved nor released."""
    (tmp_path / "file").touch()
    stream = RawStream(SCHEMA, [batch(0)])
    with pytest.raises(OSError, match="Failed to create"):
        StreamCache(stream, 1, tmp_path / "file", 1 << 20)
    assert (stream.calls, stream.released) == (0, 0)
    assert ids(StreamCache(stream)) == [0, 1, 2, 3]
    assert stream.released == 1


def test_construction_reads_nothing() -> None:
    source = Source(numbered(3))
    cache = StreamCache(source)
    cache.reader()
    cache.cast(SCHEMA)
    iter(cache)
    cache.__arrow_c_stream__()
    assert (source.given, cache.ingested_count) == (0, 0)
    reader = cache.reader()
    for i in range(3):
        next(reader)
        assert (source.given, cache.ingested_count) == (i + 1, i + 1)
        assert not cache.upstream_exhausted


def test_in_memory(tmp_path: Path) -> None:
    cache = StreamCache.in_memory(Source(numbered(3)), capacity="1MB", max_readers=1)
    assert ids(cache.reader()) == list(range(12))
    with pytest.raises(ValueError, match="Maximum number of readers"):
        cache.reader()
    assert StreamCache.in_memory(TABLE).ingest_all() == 1
    with pytest.raises(MemoryError):
        StreamCache.in_memory(TABLE, capacity=1).ingest_all()
    with pytest.raises(TypeError):
        StreamCache.in_memory(TABLE, 5)  # type: ignore[misc]


def test_on_disk(tmp_path: Path) -> None:
    cache = StreamCache.on_disk(
        Source(numbered(3)),
        path=tmp_path,
        disk_capacity="1MB",
        memory_capacity=1,
        write_policy="on_insertion",
        max_readers=1,
    )
    assert ids(cache.reader()) == list(range(12))
    assert len(cache_files(tmp_path)) == 1
    with pytest.raises(ValueError, match="Maximum number of readers"):
        cache.reader()
    with pytest.raises(ValueError, match="write_policy must be"):
        StreamCache.on_disk(TABLE, path=tmp_path, write_policy="x")  # type: ignore[arg-type]
    assert StreamCache.on_disk(TABLE, path=tmp_path).ingest_all() == 1


def test_subclasses_are_made_by_their_own_constructors(tmp_path: Path) -> None:
    class Mine(StreamCache):
        pass

    assert type(Mine.in_memory(TABLE)) is Mine
    assert type(Mine.on_disk(TABLE, path=tmp_path)) is Mine
