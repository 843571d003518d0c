"""Servers over a folder of recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batchcorder
from batchcorder import flight
from helpers import orders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a recording of `orders()`, and one in a folder below."""
    made = tmp_path / "served"
    (made / "below").mkdir(parents=True)
    for name in ("x.arrows", "below/y.arrows"):
        batchcorder.record(orders(), made / name).close()
    return made


@pytest.fixture
def serving() -> Iterator[Callable[..., flight.Server]]:
    """Return a function that serves paths until the test ends."""
    servers: list[flight.Server] = []

    def serve(paths: Any, *arguments: Any, **options: Any) -> flight.Server:
        servers.append(flight.serve(paths, *arguments, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.close(timeout=0)


@pytest.fixture
def server(folder: Path, serving: Callable[..., flight.Server]) -> flight.Server:
    """Return a writable server of the folder."""
    return serving(folder, writable=True)


@pytest.fixture
def client(server: flight.Server) -> Iterator[flight.Client]:
    """Return a client of the server."""
    with flight.connect(server.location) as connected:
        yield connected
