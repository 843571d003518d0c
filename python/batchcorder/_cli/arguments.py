"""The commands and options of the command line."""

from __future__ import annotations

import argparse
from typing import Any

from .._core import __version__

_EXAMPLES = """\
examples:
  batchcorder record trades.parquet trades.arrows     record a Parquet file
  batchcorder info trades.arrows                      show its schema and size
  batchcorder head trades.arrows -n 5                 show its first rows
  batchcorder verify trades.arrows                    check all its data
  batchcorder cat trades.arrows --columns id,price | batchcorder record - some.arrows
  batchcorder serve recordings/                       serve a directory over Flight

exit status: 0 success, 1 file or system error, 2 usage error, 130 interrupted
"""


def arguments() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="batchcorder",
        description="Write, read, show and verify recordings of Arrow streams.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="examples:\n" + example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    path: dict[str, Any] = {
        "metavar": "PATH",
        "help": "a file, a URL of a store, or - for standard input",
    }
    info = command(
        "info",
        "show the schema and the size of a recording or another Arrow IPC file",
        "  batchcorder info trades.arrows\n"
        "  batchcorder info --json trades.arrows | grep rows\n"
        "  batchcorder info --statistics trades.arrows\n",
    )
    info.add_argument("path", **path)
    info.add_argument(
        "--statistics",
        action="store_true",
        help="show minima, maxima, nulls and NaN; with --json, of each batch",
    )
    info.add_argument("--json", action="store_true", help="print JSON")

    verify = command(
        "verify",
        "read each file completely, and report its first invalid batch",
        "  batchcorder verify trades.arrows && echo valid\n",
    )
    verify.add_argument("paths", nargs="+", **path)

    record = command(
        "record",
        "record a Parquet, CSV or Arrow file, or an Arrow stream",
        "  batchcorder record trades.parquet new.arrows\n"
        "  batchcorder cat trades.arrows | batchcorder record - copy.arrows\n"
        "  batchcorder record grpc://host:8815/trades.arrows copy.arrows\n",
    )
    record.add_argument(
        "source",
        metavar="SOURCE",
        help="a file, - for an Arrow stream on standard input, a URL of a store, or a "
        "recording of a Flight server: grpc://host:port/name",
    )
    record.add_argument(
        "path", metavar="PATH", help="output file, or a URL of a store; must not exist"
    )
    record.add_argument(
        "--format",
        choices=["parquet", "csv", "arrow"],
        help="format of SOURCE; default: taken from its first bytes or its extension",
    )
    record.add_argument("--compression", choices=["lz4", "zstd"], help="compress buffers")
    record.add_argument(
        "--durable", action="store_true", help="synchronise each batch with the disk"
    )
    _add_token(record)
    record.add_argument(
        "--tls-root", metavar="F", help="root certificates of a server, a PEM file"
    )

    cat = command(
        "cat",
        "write a recording to standard output, as an Arrow IPC stream",
        "  batchcorder cat trades.arrows --columns id,price --start 1 > some.arrows\n"
        "  batchcorder cat trades.arrows --follow | batchcorder record - copy.arrows\n",
    )
    cat.add_argument("path", **path)
    _add_range(cat).add_argument(
        "--follow", action="store_true", help="wait for batches that are not written yet"
    )

    head = command(
        "head",
        "show the first rows as a table",
        "  batchcorder head trades.arrows\n"
        "  batchcorder head -n 3 --columns id trades.arrows\n",
    )
    head.add_argument("path", **path)
    head.add_argument(
        "-n", "--rows", type=_count, default=10, help="number of rows; default: 10"
    )
    _add_range(head)

    serve = command(
        "serve",
        "serve recordings over Arrow Flight, until a signal ends the process",
        "  batchcorder serve recordings/ --location grpc://0.0.0.0:8815\n"
        "  batchcorder serve recordings/ --writable --token-file token.txt\n",
    )
    serve.add_argument(
        "paths", nargs="+", metavar="PATH", help="a directory of recordings, or a file"
    )
    serve.add_argument(
        "--location",
        metavar="URI",
        default="grpc://127.0.0.1:0",
        help="address; default: grpc://127.0.0.1:0, a free port of this machine",
    )
    _add_token(serve)
    serve.add_argument("--tls-cert", metavar="F", help="certificate, a PEM file")
    serve.add_argument("--tls-key", metavar="F", help="its private key, a PEM file")
    serve.add_argument(
        "--writable", action="store_true", help="let clients record new recordings"
    )
    return top


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file", metavar="F", help="file with the token that clients must send"
    )


def _add_range(parser: argparse.ArgumentParser) -> Any:
    """Add the options for a part of a file; return the group of --partial."""
    parser.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="only these columns, in this order",
    )
    parser.add_argument(
        "--start", type=_count, metavar="N", help="start at this batch, from 0"
    )
    parser.add_argument("--stop", type=_count, metavar="N", help="end before this batch")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--partial", action="store_true", help="read the valid part of an incomplete file"
    )
    return group


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 62:
        raise ValueError(text)
    return number


_count.__name__ = "number"  # the name in argparse's messages


__all__ = ["arguments"]
