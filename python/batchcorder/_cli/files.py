"""Files and pipes of the command line, and errors that name them."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from .. import _recordings
from .._remote import is_url

# Exit statuses: file or system error, usage error.
FAILED, MISUSED = 1, 2

_ENDINGS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}
_PACKED = (".gz", ".bz2", ".zst", ".lz4")


class CommandError(Exception):
    """A failure of the command, as one line for the user."""

    def __init__(self, words: str, code: int = FAILED) -> None:
        super().__init__(words)
        self.code = code
        # Of the error that ended the command, if the system or the library has one.
        self.errno: int | None = None


def standard(name: str) -> Any:
    """Return standard input or output, if it is open."""
    stream = getattr(sys, name)
    if stream is None:
        raise CommandError(f"standard {name[3:]}put is closed", MISUSED)
    return stream


def standard_input() -> Any:
    if standard("stdin").isatty():
        raise CommandError(
            "standard input is a terminal: give it an Arrow stream", MISUSED
        )
    return sys.stdin.buffer


def is_pipe(name: str) -> bool:
    """Tell whether a file has no size: a pipe, such as a shell's <(command)."""
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def shown(name: str) -> str:
    """Return a file's name for output: a URL without its password and its query."""
    if not is_url(name):
        return name
    from .._remote._store import cleaned

    return cleaned(name)


@contextlib.contextmanager
def blamed(name: str) -> Iterator[None]:
    """Turn errors into a CommandError with the name of this file."""
    try:
        yield
    except CommandError:
        raise
    except (OSError, ValueError, OverflowError, MemoryError, NotImplementedError,
            ImportError, pa.ArrowException) as error:  # fmt: skip
        name = "standard input" if name == "-" else name
        failure = CommandError(f"{shown(name)}: {words_of(error)}")
        failure.errno = getattr(error, "errno", None)
        raise failure from error


def words_of(error: BaseException) -> str:
    words = str(error)
    if isinstance(error, OSError) and error.strerror:
        words = error.strerror
    # The message of a stream may end with the traceback of an exception.
    words = words.partition(". Detail: ")[0].strip().replace("\n", " ")
    words = re.sub(r"^(Failed to open|Failed to create recording): ", "", words)
    # `blamed` puts the name of the file in front.
    words = re.sub(r": '[^']*'$", "", words)
    return words or type(error).__name__


def _opened(name: str) -> Any:
    return standard_input() if name == "-" else builtins.open(name, "rb")


def readable(name: str) -> Any:
    """Return an argument of `open`, which may be opened more than once."""
    if name != "-" and not is_pipe(name):
        return name
    file = _opened(name)
    is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    return file if is_regular else _recordings.copied(file)


# ---- sources of `record` ----


# The key under which a recording's messages have their checksums, in two parts, of which
# one is left where the other is damaged.
_CHECKSUMS = (b"batchcorder", b".xxh3")
# Fields of the format's tables Message and Schema.
_HEADER, _ENDIANNESS = 2, 0


class _Stream(io.RawIOBase):
    """A pipe of which the first bytes were read, and whether it came to its end."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head = io.BytesIO(head)
        self._file = file
        self.ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> Any:
        # pyarrow takes a short read for the end.
        data = self._head.read(size)
        left = size if size is None or size < 0 else size - len(data)
        data += self._file.read(left)
        self.ended = not data and size != 0
        return data


class _Sized:
    """An Arrow stream that knows how many rows it has."""

    def __init__(self, stream: pa.RecordBatchReader, rows: int) -> None:
        self._stream = stream
        self.num_rows = rows

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._stream.__arrow_c_stream__(requested_schema)


def _piped(file: Any) -> Any:
    """Return an Arrow stream of the bytes of a pipe."""
    head = file.read(8)
    is_marked = head[:4] == b"\xff\xff\xff\xff"
    size = int.from_bytes(head[4:], "little")
    if is_marked and size <= _recordings.SCHEMA_MAX:
        head += file.read(size)
    pipe: Any = _Stream(head, file)
    # All of these is needed: to tell whether they are whole and right, or because pyarrow
    # does not read all types of big-endian streams.
    is_whole = head.startswith(b"ARROW1") or any(part in head for part in _CHECKSUMS)
    is_other = not _recordings.may_be_arrow(head)
    if is_whole or is_other or _is_big_endian(head[8 if is_marked else 4 :]):
        return _recordings.open_recording(pipe)
    return _stream(pipe, is_marked)


def _is_big_endian(message: bytes) -> bool:
    """Tell whether a schema's message, as far as it is there, says so of its data."""

    def number(kind: str, at: int) -> int:
        return int(struct.unpack_from(kind, message, at)[0])

    def place(table: int, field: int) -> int:
        """Return where a field of a flatbuffer's table is; 0 where it is absent."""
        vtable = table - number("<i", table)
        if 4 + 2 * field >= number("<H", vtable):
            return 0
        offset = number("<H", vtable + 4 + 2 * field)
        return table + offset if offset else 0

    try:
        header = place(number("<I", 0), _HEADER)
        endianness = place(header + number("<I", header), _ENDIANNESS)
        return endianness > 0 and number("<h", endianness) == 1
    except struct.error:
        return False


def _stream(pipe: Any, is_marked: bool) -> pa.RecordBatchReader:
    """Return the batches of a stream; an end that is not marked is an error."""
    try:
        reader = pa.ipc.open_stream(pipe)
    except (pa.ArrowException, OSError) as error:
        if not is_marked:
            raise ValueError(
                "not an Arrow stream or file, which a pipe must contain"
            ) from None
        raise OSError(errno.EINVAL, f"no Arrow stream: {error}") from None

    def batches() -> Iterator[pa.RecordBatch]:
        yield from reader
        if pipe.ended:
            raise OSError(errno.ENODATA, "the stream is cut off: it has no end marker")

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _parquet(name: str) -> _Sized:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(name)
    batches = file.iter_batches()
    reader = pa.RecordBatchReader.from_batches(file.schema_arrow, batches)
    return _Sized(reader, file.metadata.num_rows)


def _csv(name: str) -> Any:
    import pyarrow.csv

    is_tabs = os.path.splitext(_unpacked(name))[1].lower() == ".tsv"
    parsing = pyarrow.csv.ParseOptions(delimiter="\t" if is_tabs else ",")
    return pyarrow.csv.open_csv(name, parse_options=parsing)


def _unpacked(name: str) -> str:
    base, ending = os.path.splitext(name)
    return base if ending.lower() in _PACKED else name


def open_source(name: str, form: str | None) -> Any:
    """Return an Arrow stream of the contents of a file, or of standard input."""
    if name == "-" or is_pipe(name):
        if form not in (None, "arrow"):
            raise CommandError(
                f"{name}: a pipe must contain Arrow data; save other formats to a file",
                MISUSED,
            )
        return _piped(_opened(name))
    is_named = form is not None
    if is_url(name):
        if form not in (None, "arrow"):
            words = "only Arrow data is read from a store: copy the file to this machine"
            raise CommandError(f"{shown(name)}: {words}", MISUSED)
        form = "arrow"
    if form is None:
        with builtins.open(name, "rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        ending = os.path.splitext(_unpacked(name))[1].lower()
        form = "parquet" if is_parquet else _ENDINGS.get(ending, "arrow")
    if form == "parquet":
        return _parquet(name)
    if form == "csv":
        return _csv(name)
    try:
        return _recordings.open_recording(name)
    except ValueError as error:
        if is_named:
            raise
        raise CommandError(
            f"{shown(name)}: {words_of(error)}; or name the format with --format"
        ) from error


__all__ = [
    "FAILED",
    "MISUSED",
    "CommandError",
    "blamed",
    "is_pipe",
    "open_source",
    "readable",
    "shown",
    "standard",
    "words_of",
]
