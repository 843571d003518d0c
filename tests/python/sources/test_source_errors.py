"""Errors of the source: every reader gets the prefix, then the same error."""

from __future__ import annotations

import errno
import gc
import json
import os
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from batchcorder import SourceTraceback, StreamCache
from cstream import RawStream
from helpers import SCHEMA, Source, batch, ids, numbered
from tiers import MakeCache

COUNT = 4

# Ways to read a whole cache.
PATHS: dict[str, Callable[[StreamCache], Any]] = {
    "iterate": lambda c: list(c),
    "ingest_all": lambda c: c.ingest_all(),
    "stream": lambda c: pa.RecordBatchReader.from_stream(c).read_all(),
    "cast": lambda c: pa.RecordBatchReader.from_stream(c.cast(SCHEMA)).read_all(),
    "reader.cast": lambda c: c.reader().cast(SCHEMA).read_all(),
}


def check_prefix(cache: StreamCache, count: int, kind: type[Exception]) -> None:
    """Check that each way gives `count` batches and then the error, repeatedly."""
    for stream in (
        cache.reader(),
        pa.RecordBatchReader.from_stream(cache),
        pa.RecordBatchReader.from_stream(cache.cast(SCHEMA)),
        cache.reader().cast(SCHEMA),
    ):
        seen = [next(iter(stream)) for _ in range(count)]
        assert ids(seen) == list(range(4 * count))
        for _ in range(2):
            with pytest.raises(kind, match="boom"):
                next(iter(stream))
    with pytest.raises(kind, match="boom"):
        cache.ingest_all()
    assert cache.ingested_count == count
    assert cache.upstream_exhausted is False
    with pytest.raises(TypeError):
        len(cache)


@pytest.mark.parametrize("first", PATHS)
@pytest.mark.parametrize("at", range(COUNT + 1))
def test_an_error_at_each_batch(at: int, first: str, make_cache: MakeCache) -> None:
    source = Source(numbered(COUNT), fail_at=at, error=ValueError("boom"))
    cache = make_cache(source)
    early = cache.reader()
    with pytest.raises(ValueError, match="boom"):
        PATHS[first](cache)
    check_prefix(cache, at, ValueError)
    assert ids([next(early) for _ in range(at)]) == list(range(4 * at))
    with pytest.raises(ValueError, match="boom"):
        next(early)
    assert not early.closed
    assert source.given == at, "the source was read again"


KINDS: list[tuple[BaseException, type[Exception], str]] = [
    (ValueError("boom"), ValueError, "boom"),
    (OSError(errno.ENOSPC, "boom"), OSError, "boom"),
    (MemoryError("boom"), MemoryError, "boom"),
    (NotImplementedError("boom"), NotImplementedError, "boom"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("error", "kind", "words"), KINDS, ids=lambda v: type(v).__name__ if v else None
)
def test_the_kind_of_error_is_the_same_on_every_path(
    error: BaseException, kind: type[Exception], words: str, path: str
) -> None:
    cache = StreamCache(Source(numbered(3), 2, error))
    for _ in range(2):
        with pytest.raises(kind, match=words):
            PATHS[path](cache)


@pytest.mark.parametrize("path", ["iterate", "ingest_all"])
@pytest.mark.parametrize(
    "error",
    [KeyError("boom"), RuntimeError("boom"), TypeError("boom"), OSError(28, "boom")],
    ids=lambda e: type(e).__name__,
)
def test_a_python_sources_own_exception(error: Exception, path: str) -> None:
    cache = StreamCache(Source(numbered(3), 2, error))
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            PATHS[path](cache)
        assert type(caught.value) is type(error)
        assert caught.value.args == error.args


class Outer:
    class OddError(Exception):
        """An exception whose constructor takes arguments other than a message."""

        def __init__(self, code: int, *, detail: str = "none") -> None:
            super().__init__(f"odd {code}: {detail}")
            self.code = code


def noted() -> Exception:
    error = ValueError("with a note")
    error.add_note("the note")
    return error


class Quits(Exception):  # noqa: N818
    """An exception that cannot be constructed twice."""

    made = 0

    def __init__(self, words: str) -> None:
        super().__init__(words)
        Quits.made += 1
        if Quits.made > 1:
            raise SystemExit(3)


class Silent(RuntimeError):  # noqa: N818
    pass


OWN: list[tuple[BaseException, str]] = [
    (Outer.OddError(3, detail="x: y"), "odd 3: x: y"),
    (Silent(), ""),
    (Quits("once"), "once"),
    (AssertionError(), ""),
    (noted(), "with a note"),
    (RuntimeError("two\nlines: of it"), "two\nlines: of it"),
    (ZeroDivisionError("é ü 名"), "é ü 名"),
    (RuntimeError((1, "a")), "(1, 'a')"),
    (KeyError(("a", 1)), "('a', 1)"),
    (FileNotFoundError(2, "none such", "a file"), "[Errno 2] none such: 'a file'"),
    (FileNotFoundError(2, "no", "a", None, "b's"), "[Errno 2] no: 'a' -> \"b's\""),
    (OSError(5, "failed: 'foo' and 'bar'"), "[Errno 5] failed: 'foo' and 'bar'"),
    (OSError(5, "failed: 'foo"), "[Errno 5] failed: 'foo"),
    (RuntimeError("is '\\d' right"), "is '\\d' right"),
    (PermissionError("no"), "no"),
    (json.JSONDecodeError("bad", "doc", 1), "bad: line 1 column 2 (char 1)"),
    (pa.ArrowInvalid("invalid"), "invalid"),
    (RuntimeError("long " * 2000), "long " * 2000),
    (RuntimeError(". Detail: Python exception: x"), ". Detail: Python exception: x"),
]


@pytest.mark.parametrize("path", ["iterate", "ingest_all", "single"])
@pytest.mark.parametrize(("error", "words"), OWN, ids=lambda v: type(v).__name__)
def test_an_exception_of_any_kind_is_itself(
    error: BaseException, words: str, path: str
) -> None:
    """The exception keeps its type, its message and its traceback."""
    paths = PATHS | {"single": lambda cache: cache[2]}
    cache = StreamCache(Source(numbered(3), 2, error))
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            paths[path](cache)
        assert type(caught.value) is type(error)
        assert str(caught.value) == words
        cause = caught.value.__cause__
        assert type(cause) is SourceTraceback
        assert "in _generate" in str(cause)
        assert "raise self.error" in str(cause)
    shown = "".join(traceback.format_exception(caught.value))
    assert "in _generate" in shown


def test_a_local_exception_class() -> None:
    class LocalError(Exception):
        pass

    cache = StreamCache(Source(numbered(1), 0, LocalError("here")))
    with pytest.raises(LocalError, match="here"):
        cache.ingest_all()


def test_each_is_an_exception_of_its_own() -> None:
    """Readers in several threads share no traceback, and no traceback keeps the cache."""
    cache = StreamCache(Source(numbered(1), 0, KeyError("boom")))
    caught = []
    for _ in range(2):
        with pytest.raises(KeyError) as one:
            cache.ingest_all()
        caught.append(one.value)
    assert caught[0] is not caught[1]
    gone = weakref.ref(cache)
    del cache, caught, one
    gc.collect()
    assert gone() is None


def test_an_exception_that_cannot_be_made_again_keeps_its_message() -> None:
    error = UnicodeDecodeError("utf8", b"x", 0, 1, "why")
    cache = StreamCache(Source(numbered(1), 0, error))
    with pytest.raises(ValueError, match="can't decode byte 0x78 in position 0: why"):
        cache.ingest_all()


def test_the_whole_message_through_a_c_stream() -> None:
    words = "x" * 5000 + " the end"
    cache = StreamCache(Source(numbered(1), 0, RuntimeError(words)))
    for stream in (cache, cache.reader(), StreamCache(cache)):
        with pytest.raises(Exception, match="x the end") as caught:
            pa.RecordBatchReader.from_stream(stream).read_all()
        assert words in str(caught.value)


def test_through_a_cache_of_a_cache() -> None:
    inner = StreamCache(Source(numbered(2), 1, Outer.OddError(1)))
    outer = StreamCache(inner)
    for cache in (outer, inner, StreamCache(outer)):
        with pytest.raises(Outer.OddError, match="odd 1: none"):
            cache.ingest_all()


CODES = [
    (errno.EINVAL, ValueError),
    (errno.ENOMEM, MemoryError),
    (errno.ENOSYS, NotImplementedError),
    (errno.EIO, OSError),
    (errno.ENOENT, FileNotFoundError),
    (errno.ECONNRESET, ConnectionResetError),
    (errno.ETIMEDOUT, TimeoutError),
    (errno.EPIPE, BrokenPipeError),
    (errno.EINTR, InterruptedError),
    (errno.EAGAIN, BlockingIOError),
    (errno.ECANCELED, OSError),
    (errno.EDEADLK, OSError),
]


@pytest.mark.parametrize(("code", "kind"), CODES, ids=lambda v: str(v))
def test_the_errno_of_a_c_source(code: int, kind: type[Exception]) -> None:
    source = RawStream(SCHEMA, [batch(0), code, batch(4)])
    cache = StreamCache(source)
    for _ in range(2):
        for path in ("iterate", "ingest_all"):
            with pytest.raises(kind, match="boom") as caught:
                PATHS[path](cache)
            assert type(caught.value) is kind
            if isinstance(caught.value, OSError):
                assert caught.value.errno == code
        with pytest.raises(
            (ValueError, OSError, MemoryError, NotImplementedError)
        ) as raised:
            PATHS["stream"](cache)
        assert "boom" in str(raised.value)
    assert source.calls == 2
    assert source.released == 1


@pytest.mark.parametrize("words", [None, b""], ids=["NULL", "empty"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOMEM, 12345, -5])
def test_a_source_without_an_error_text_gets_one(code: int, words: bytes | None) -> None:
    cache = StreamCache(RawStream(SCHEMA, [batch(0), code], words=words))
    for path in PATHS.values():
        with pytest.raises((OSError, ValueError, MemoryError)) as caught:
            path(cache)
        assert "without a message" in str(caught.value)
    assert ids([next(iter(cache))]) == [0, 1, 2, 3]


def test_an_error_text_that_is_not_utf8() -> None:
    cache = StreamCache(RawStream(SCHEMA, [errno.EIO], words=b"b\xffoom"))
    with pytest.raises(OSError, match="b\ufffdoom"):
        cache.ingest_all()


@pytest.mark.parametrize("length", [1000, 5000, 100_000])
def test_a_long_error_text(length: int) -> None:
    """The text may be cut, but not inside a character."""
    words = ("é" * length).encode() + b"end"
    cache = StreamCache(RawStream(SCHEMA, [errno.EIO], words=words))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        cache.ingest_all()
    assert "\ufffd" not in str(caught.value)
    assert str(caught.value).count("é") >= min(length, 200)
    for path in ("stream", "cast"):
        with pytest.raises(OSError, match="é"):
            PATHS[path](StreamCache(RawStream(SCHEMA, [errno.EIO], words=words)))


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
def test_an_error_of_get_schema(code: int) -> None:
    source = RawStream(SCHEMA, [batch(0)], schema_code=code)
    with pytest.raises((OSError, ValueError), match="boom"):
        StreamCache(source)
    assert (source.calls, source.released) == (0, 0)


@pytest.mark.parametrize("way", ["end", "error", "close", "drop"])
def test_the_source_is_released_at_once(way: str, make_cache: MakeCache) -> None:
    class Held:
        pass

    held = Held()
    mark = weakref.ref(held)

    def generate(held: Held) -> Iterator[pa.RecordBatch]:
        yield batch(0)
        yield batch(4)
        if way == "error":
            raise ValueError("boom")

    reader = pa.RecordBatchReader.from_batches(SCHEMA, generate(held))
    del held
    cache = make_cache(reader)
    del reader
    first = cache.reader()
    kept = [next(first)]
    gc.collect()
    assert mark() is not None
    if way == "end":
        cache.ingest_all()
    elif way == "error":
        with pytest.raises(ValueError, match="boom"):
            cache.ingest_all()
    elif way == "close":
        cache.close()
    else:
        del cache, first
    gc.collect()
    assert mark() is None
    assert ids(kept) == [0, 1, 2, 3]


def test_a_c_source_is_released_once() -> None:
    for act in (
        lambda c: c.ingest_all(),
        lambda c: c.close(),
        lambda c: None,
        lambda c: list(c),
    ):
        source = RawStream(SCHEMA, [batch(0), batch(4)])
        cache = StreamCache(source)
        assert source.released == 0
        act(cache)
        cache.close()
        cache.close()
        del cache
        assert source.released == 1


def test_the_source_is_not_read_after_its_end() -> None:
    source = RawStream(SCHEMA, [batch(0), None, batch(4)])
    cache = StreamCache(source)
    assert ids(cache) == [0, 1, 2, 3]
    assert cache.ingest_all() == 1
    assert ids(cache) == [0, 1, 2, 3]
    assert source.calls == 2


def test_a_generator_that_gives_no_batch() -> None:
    def generate() -> Iterator[Any]:
        yield batch(0)
        yield 5

    cache = StreamCache(pa.RecordBatchReader.from_batches(SCHEMA, generate()))
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match="RecordBatch"):
            list(cache)
    assert cache.ingested_count == 1


def test_a_cache_of_a_failing_cache() -> None:
    inner = StreamCache(Source(numbered(3), 2, ValueError("boom")))
    outer = StreamCache(inner)
    check_prefix(outer, 2, ValueError)


def test_errors_do_not_leak_descriptors(make_cache: MakeCache) -> None:
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        cache = make_cache(Source(numbered(2), 1, ValueError("boom")))
        with pytest.raises(ValueError, match="boom"):
            list(cache)
    del cache
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == count
