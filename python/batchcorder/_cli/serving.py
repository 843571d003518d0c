"""The command `serve`, and recordings of servers as sources."""

from __future__ import annotations

import argparse
import os
import re
import signal
from typing import Any
from urllib.parse import unquote, urlsplit

from .files import MISUSED, CommandError, blamed

_URI = re.compile(r"grpc(\+tcp|\+tls)?://")


def is_remote(name: str) -> bool:
    """Return whether a source is a recording of a Flight server."""
    return _URI.match(name) is not None


def token_of(path: str | None) -> str | None:
    """Return the token in a file, without the end of its line."""
    if path is None:
        return None
    with blamed(path), open(path) as file:
        token = file.read().strip()
    if not token:
        raise CommandError(f"{path}: the file has no token", MISUSED)
    return token


def remote_stream(uri: str, token_file: str | None, tls_root: str | None) -> Any:
    """Return the batches of a recording, those to come included."""
    from ..flight import connect

    parts = urlsplit(uri)
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise CommandError(f"{uri}: expected grpc://host:port/name", MISUSED)
    location = f"{parts.scheme}://{parts.netloc}"
    client = connect(location, token=token_of(token_file), tls_root=tls_root)
    return client.stream(name, follow=True)


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends the process."""
    from .. import flight

    if (options.tls_cert is None) != (options.tls_key is None):
        raise CommandError("--tls-cert and --tls-key need each other", MISUSED)
    tls = None if options.tls_cert is None else (options.tls_cert, options.tls_key)
    token = token_of(options.token_file)
    for path in (*options.paths, *(tls or ())):
        with blamed(path):
            os.stat(path)
    paths = options.paths[0] if len(options.paths) == 1 else options.paths
    # Any thread may get a signal. A byte in a pipe wakes this one.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with blamed(options.location):
        server = flight.serve(
            paths, options.location, token=token, tls=tls, writable=options.writable
        )
    print(f"serving at {server.location}", flush=True)
    os.read(woken, 1)
    server.close()


__all__ = ["is_remote", "remote_stream", "serve"]
