"""The commands: info, verify, record, cat, head, serve."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from .. import _core, _recordings
from .._display import bytes_text, printable
from .._remote import is_url
from .._stream_cache import StreamCache
from . import statistics
from .arguments import arguments
from .files import (
    FAILED,
    MISUSED,
    CommandError,
    blamed,
    is_pipe,
    open_source,
    readable,
    shown,
    standard,
    words_of,
)
from .serving import is_remote, remote_stream, serve

INTERRUPTED = 128 + signal.SIGINT

_KINDS = {
    "recording": "recording",
    "stream": "Arrow IPC stream",
    "file": "Arrow IPC file",
}

# ---- info, verify ----


def _many(count: int, thing: str) -> str:
    ending = "" if count == 1 else "es" if thing.endswith("ch") else "s"
    return f"{count:,} {thing}{ending}"


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _info(options: argparse.Namespace) -> None:
    with blamed(options.path):
        file = readable(options.path)
        try:
            cache = _recordings.open_recording(file)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            cache = _recordings.open_recording(file, partial=True)
        with cache:
            info: dict[str, Any] = {**cache.info(), "path": shown(options.path)}
            info["is_written"] = not info["complete"] and _core.is_being_written(cache)
            found = cache.statistics() if options.statistics else None
    schema = info.pop("schema")
    info["metadata"] = {_text(k): _text(v) for k, v in (schema.metadata or {}).items()}
    for column, field in zip(info["columns"], schema, strict=True):
        column["nullable"] = field.nullable
    if options.json:
        if found is not None:
            info["statistics"] = statistics.batches(found)
        print(json.dumps(info, indent=2))
        return
    print("\n".join(_info_lines(info)))
    if found is not None:
        print("\n".join(["", *statistics.summary(found, None)]))


def _info_lines(info: dict[str, Any]) -> Iterator[str]:
    complete = {
        True: "no: it is being written",
        False: "no: it is cut off",
        None: "no: whether it is being written, the file system does not tell",
    }[info["is_written"]]
    dictionaries = bytes_text(info["dictionary_bytes"])
    lines = {
        "path": info["path"],
        "kind": _KINDS[info["kind"]],
        "complete": "yes" if info["complete"] else complete,
        "rows": f"{info['rows']:,}",
        "batches": f"{info['batches']:,}",
        "size": f"{bytes_text(info['bytes'])} ({info['bytes']:,})",
        "compression": info["compression"] or "none",
        "checksums": "yes" if info["checksums"] else "no",
        "dictionaries": f"{_many(info['dictionary_batches'], 'message')}, {dictionaries}",
        "metadata": printable(", ".join(info["metadata"])) or "none",
        "columns": f"{len(info['columns']):,}",
    }
    for name, value in lines.items():
        yield f"{name:13} {value}"
    names = [printable(column["name"]) for column in info["columns"]]
    width = max(map(len, names), default=0)
    for name, column in zip(names, info["columns"], strict=True):
        null = "" if column["nullable"] else " not null"
        size = bytes_text(column["bytes"])
        yield f"  {name:{width}}  {size:>12}  {printable(column['type'])}{null}"


def _verify(options: argparse.Namespace) -> None:
    wrong = 0
    for path in options.paths:
        try:
            with blamed(path):
                batches = _recordings.verify(readable(path), progress=_shows_progress())
        except CommandError as error:
            _say(options, str(error))
            wrong += 1
        else:
            print(f"{shown(path)}: {_many(batches, 'batch')}, all right", flush=True)
    if wrong > 0:
        raise CommandError("")


# ---- record ----


def _source_of(options: argparse.Namespace) -> Any:
    if is_remote(options.source):
        return remote_stream(options.source, options.token_file, options.tls_root)
    return open_source(options.source, options.format)


def _record(options: argparse.Namespace) -> None:
    if os.path.lexists(options.path):
        # Before the source is asked for anything.
        raise CommandError(
            f"{options.path}: the file exists already; remove it, or use another name"
        )
    with blamed(options.source):
        source = _source_of(options)
    if is_url(options.path):
        _record_remotely(options, source)
        return
    with blamed(options.path):
        cache = _recordings.start(
            source,
            options.path,
            compression=options.compression,
            durable=options.durable,
        )
    with cache:
        try:
            cache.ingest_all(progress=_shows_progress())
        except BaseException:
            failed = cache.stats()["state"] == "failed"
            cache.close()
            with contextlib.suppress(OSError):
                count = len(_recordings.open_recording(options.path, partial=True))
                words = (
                    f"not complete; `cat --partial` reads {_many(count, 'batch')} of it"
                )
                _say(options, f"{options.path}: {words}")
            with blamed(options.source if failed else options.path):
                raise
        _say_size(options, cache)


def _record_remotely(options: argparse.Namespace, source: Any) -> None:
    with blamed(options.path):
        cache = _recordings.record(
            source,
            options.path,
            progress=_shows_progress(),
            compression=options.compression,
        )
    with cache:
        _say_size(options, cache)


def _say_size(options: argparse.Namespace, cache: StreamCache) -> None:
    rows, batches = _many(cache.num_rows or 0, "row"), _many(len(cache), "batch")
    _say(options, f"{shown(options.path)}: {rows}, {batches}")


# ---- cat, head ----


def _chosen(
    options: argparse.Namespace, follow: bool = False, verify: bool = False
) -> tuple[Any, Any]:
    """Return the cache, and a reader of the batches that the options ask for."""
    if follow and (options.path == "-" or is_pipe(options.path)):
        raise CommandError(f"{options.path}: only a file can be followed", MISUSED)
    how = {"partial": options.partial, "follow": follow, "verify": verify}
    cache = _recordings.open_recording(readable(options.path), **how)
    try:
        return cache, cache.reader(
            columns=options.columns, start=options.start or 0, stop=options.stop
        )
    except KeyError as error:
        there = ", ".join(cache.schema.names)
        words = f"{shown(options.path)}: {error.args[0]}: {there}"
        raise CommandError(words, MISUSED) from None


def _cat(options: argparse.Namespace) -> None:
    if standard("stdout").isatty():
        raise CommandError(
            "refusing to write binary data to a terminal: use a pipe, or `head`", MISUSED
        )
    # A consumer that has enough ends us quietly, as it does cat.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with blamed(options.path):
        _, batches = _chosen(options, options.follow)
    out = sys.stdout.buffer
    writer = pa.ipc.new_stream(out, batches.schema)
    while True:
        with blamed(options.path):
            batch = next(batches, None)
        if batch is None:
            break
        with blamed("standard output"):
            writer.write_batch(batch)
            if options.follow:
                out.flush()
    # After the last batch: a stream that is cut off has no end marker.
    with blamed("standard output"):
        writer.close()


def _first_rows(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if rows <= 0:
            return
        yield batch.slice(0, rows)
        rows -= batch.num_rows


def _head(options: argparse.Namespace) -> None:
    from .table import lines_of

    with blamed(options.path):
        # pyarrow prints without checking offsets and texts.
        cache, batches = _chosen(options, verify=True)
        schema = batches.schema
        table = pa.Table.from_batches(_first_rows(batches, options.rows), schema)
        is_terminal = standard("stdout").isatty()
        room = shutil.get_terminal_size().columns if is_terminal else None
        lines = list(lines_of(table, room))
    print("\n".join(lines))
    rows = _many(cache.num_rows or 0, "row")
    print(f"{table.num_rows:,} of {rows}, {_many(len(schema), 'column')}")


# ---- the program ----

_COMMANDS = {
    "info": _info,
    "verify": _verify,
    "record": _record,
    "cat": _cat,
    "head": _head,
    "serve": serve,
}


def _shows_progress() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _say(options: argparse.Namespace, words: str) -> None:
    # One line, with escapes for control characters in names.
    words = printable(words)
    if sys.stderr is not None and words:
        print(f"batchcorder {options.command}: {words}", file=sys.stderr)


def _hint(options: argparse.Namespace, error: CommandError) -> str:
    """Return the options that read an incomplete file."""
    if error.errno != errno.ENODATA or options.command not in ("cat", "head"):
        return ""
    hint = "; --partial reads the batches that are there"
    return hint + (", --follow waits for the rest" if options.command == "cat" else "")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = arguments().parse_args(words)
    code = 0
    try:
        if options.command != "cat":
            standard("stdout").reconfigure(errors="backslashreplace")
        _COMMANDS[options.command](options)
        standard("stdout").flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # The consumer has closed the pipe: no error.
        code = FAILED
    except CommandError as error:
        _say(options, str(error) + _hint(options, error))
        code = error.code
    except OSError as error:
        _say(options, f"standard output: {words_of(error)}")
        code = FAILED
    if code != 0 and sys.stdout is not None:
        # The interpreter must not write the rest again when it ends.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
