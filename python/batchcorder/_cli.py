"""The command line: recordings looked at, verified, written and read."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from . import _recordings
from ._cache import StreamCache
from ._core import __version__

# What ends with an error of the user's or of a file's ends with these.
FAILED, MISUSED, INTERRUPTED = 1, 2, 128 + signal.SIGINT

_EXAMPLES = """\
examples:
  batchcorder record trades.parquet trades.arrows     record a Parquet file
  curl -s URL | batchcorder record - trades.arrows    or an Arrow stream that comes in
  batchcorder info trades.arrows                      what is in it
  batchcorder head trades.arrows -n 5                 its first rows
  batchcorder verify trades.arrows                    is all of it right?
  batchcorder cat trades.arrows --columns id,price | consumer
"""

_KINDS = {
    "recording": "recording",
    "stream": "Arrow IPC stream",
    "file": "Arrow IPC file",
}


class _UserError(Exception):
    """What a user is told, in words, before the program ends."""


def _arguments() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="batchcorder",
        description="Recordings of Arrow streams: written, read, looked at, verified.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="examples:\n" + example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=globals()[f"_{name}"])
        return parser

    info = command(
        "info",
        "show what a recording, or another Arrow IPC file, holds",
        "  batchcorder info x.arrows\n  batchcorder info --json x.arrows | jq .rows\n",
    )
    info.add_argument("path", metavar="PATH")
    info.add_argument("--json", action="store_true", help="as JSON, for programs")

    verify = command(
        "verify",
        "read all of a file, and report the first batch that is wrong",
        "  batchcorder verify x.arrows && echo right\n",
    )
    verify.add_argument("path", metavar="PATH")

    record = command(
        "record",
        "record Parquet, CSV, an Arrow file or stream",
        "  batchcorder record x.parquet x.arrows\n"
        "  batchcorder cat x.arrows | batchcorder record - y.arrows\n",
    )
    record.add_argument(
        "source", metavar="SOURCE", help="a file, or - for an Arrow stream"
    )
    record.add_argument(
        "path", metavar="PATH", help="the recording, which must not exist"
    )
    record.add_argument(
        "--format",
        choices=["parquet", "csv", "arrow"],
        help="of the source; by default its name's ending tells",
    )
    record.add_argument("--compression", choices=["lz4", "zstd"])
    record.add_argument(
        "--durable", action="store_true", help="every batch is on the disk at once"
    )

    cat = command(
        "cat",
        "write a recording to standard output, as an Arrow IPC stream",
        "  batchcorder cat x.arrows --columns id,price | consumer\n"
        "  batchcorder cat growing.arrows --follow | consumer\n",
    )
    cat.add_argument("path", metavar="PATH")
    _add_range(cat)
    cat.add_argument(
        "--follow", action="store_true", help="wait for what its writer still brings"
    )

    head = command(
        "head",
        "show the first rows as a table",
        "  batchcorder head x.arrows\n  batchcorder head -n 3 --columns id x.arrows\n",
    )
    head.add_argument("path", metavar="PATH")
    head.add_argument("-n", "--rows", type=_count, default=10, help="how many (10)")
    _add_range(head)
    return top


def _add_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns", type=_names, metavar="A,B", help="only these columns, in this order"
    )
    parser.add_argument("--start", type=_count, metavar="N", help="from this batch on")
    parser.add_argument("--stop", type=_count, metavar="N", help="to before this batch")
    parser.add_argument(
        "--partial", action="store_true", help="what there is of one not complete"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


_count.__name__ = "number"


def _names(text: str) -> list[str]:
    return text.split(",")


def _bytes_text(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def _is_incomplete(error: OSError) -> bool:
    return error.errno == errno.ENODATA


def _open_to_look(path: str) -> StreamCache:
    try:
        return _recordings.open(path)
    except OSError as error:
        if not _is_incomplete(error):
            raise
    return _recordings.open(path, partial=True)


def _info(options: argparse.Namespace) -> None:
    with _open_to_look(options.path) as cache:
        info = cache.info()
    schema = info.pop("schema")
    if options.json:
        metadata = schema.metadata or {}
        info["metadata"] = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in metadata.items()
        }
        for column, field in zip(info["columns"], schema, strict=True):
            column["nullable"] = field.nullable
        print(json.dumps(info, indent=2))
        return
    lines = [
        ("path", info["path"]),
        ("kind", _KINDS[info["kind"]]),
        ("complete", "yes" if info["complete"] else "no: being written, or cut off"),
        ("rows", f"{info['rows']:,}"),
        ("batches", f"{info['batches']:,}"),
        ("size", f"{_bytes_text(info['bytes'])} ({info['bytes']:,})"),
        ("compression", info["compression"] or "none"),
        ("checksums", "yes" if info["checksums"] else "no"),
        (
            "dictionaries",
            f"{info['dictionary_batches']:,} messages, "
            f"{_bytes_text(info['dictionary_bytes'])}",
        ),
    ]
    for name, value in lines:
        print(f"{name:13} {value}")
    print(f"columns       {len(info['columns'])}")
    width = max((len(column["name"]) for column in info["columns"]), default=0)
    for column in info["columns"]:
        size = _bytes_text(column["bytes"])
        print(f"  {column['name']:{width}}  {size:>12}  {column['type']}")


def _verify(options: argparse.Namespace) -> None:
    batches = _recordings.verify(options.path, progress=sys.stderr.isatty())
    print(f"{options.path}: {batches} batches, all right")


def _parquet(path: str) -> Any:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())


def _csv(path: str) -> Any:
    import pyarrow.csv

    return pyarrow.csv.open_csv(path)


def _source(name: str, form: str | None) -> Any:
    """Return an Arrow stream of what a file, or standard input, holds."""
    if name == "-":
        if form not in (None, "arrow"):
            raise _UserError("standard input is read as an Arrow IPC stream")
        if sys.stdin.isatty():
            raise _UserError("standard input is a terminal: give it an Arrow IPC stream")
        return pa.ipc.open_stream(sys.stdin.buffer)
    if form is None:
        endings = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}
        plain = name.removesuffix(".gz").removesuffix(".bz2")
        form = endings.get(os.path.splitext(plain)[1].lower(), "arrow")
    return {"parquet": _parquet, "csv": _csv, "arrow": _recordings.open}[form](name)


def _record(options: argparse.Namespace) -> None:
    if os.path.lexists(options.path):
        # Before the source is asked for anything.
        raise _UserError(
            f"{options.path}: the file exists already; remove it, or use another name"
        )
    with _recordings.record(
        _source(options.source, options.format),
        options.path,
        sys.stderr.isatty(),
        options.compression,
        options.durable,
    ) as cache:
        print(
            f"{options.path}: {cache.num_rows} rows in {len(cache)} batches",
            file=sys.stderr,
        )


def _chosen(options: argparse.Namespace, follow: bool = False) -> tuple[pa.Schema, Any]:
    """Return the schema and the batches that the options ask for."""
    cache = _recordings.open(
        options.path, options.columns, partial=options.partial, follow=follow
    )
    reader = cache.reader(start=options.start or 0, stop=options.stop)
    return cache.schema, reader


def _cat(options: argparse.Namespace) -> None:
    if sys.stdout.isatty():
        raise _UserError(
            "an Arrow stream is nothing for a terminal: use a pipe, or `head`"
        )
    # A consumer that has enough ends us quietly, as it does cat.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    schema, batches = _chosen(options, options.follow)
    with pa.ipc.new_stream(sys.stdout.buffer, schema) as out:
        for batch in batches:
            out.write_batch(batch)
            if options.follow:
                sys.stdout.buffer.flush()
    sys.stdout.buffer.flush()


def _first_rows(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if rows <= 0:
            return
        yield batch.slice(0, rows)
        rows -= batch.num_rows


def _cell(value: Any) -> str:
    text = "null" if value is None else str(value)
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= 40 else text[:39] + "…"


def _head(options: argparse.Namespace) -> None:
    schema, batches = _chosen(options)
    table = pa.Table.from_batches(list(_first_rows(batches, options.rows)), schema)
    columns = [
        [_cell(field.name), _cell(field.type), *map(_cell, values.to_pylist())]
        for field, values in zip(schema, table.columns, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    room, shown = shutil.get_terminal_size().columns, 0
    for width in widths:
        room -= width + 2
        if room < 0 and shown > 0 and sys.stdout.isatty():
            break
        shown += 1
    for row in range(table.num_rows + 2):
        cells = (f"{c[row]:{w}}" for c, w in zip(columns[:shown], widths, strict=False))
        print("  ".join(cells).rstrip())
    if shown < len(columns):
        names = ", ".join(schema.names[shown:])
        print(f"and {len(columns) - shown} more columns: {names}")


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is None and error.strerror:
        return str(error.strerror)
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more, also not what the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (_UserError, OSError, ValueError, KeyError, IndexError, MemoryError,
            NotImplementedError, pa.ArrowException) as error:  # fmt: skip
        print(f"batchcorder {options.command}: {_words(error)}", file=sys.stderr)
        return (
            MISUSED if isinstance(error, _UserError | KeyError | IndexError) else FAILED
        )
    return 0
