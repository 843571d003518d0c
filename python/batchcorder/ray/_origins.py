"""
Opens a recording in a task: its file, or a connection to a server that has the file.

    the path has the planned file? ── yes ─▶ map the file
                 │ no
                 ▼
    the file is on some nodes only? ─ yes ─▶ a server on such a node, by Flight
                 │ no
                 ▼
               error
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from . import _nodes
from ._files import Description, File, changed, described, remaining
from ._objects import Object
from ._serving import Serving, Streams

# Errors of a path that has not the planned file.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE)


class FileOrigin(NamedTuple):
    """A file. `nodes`: the nodes that have it; empty: all nodes."""

    file: File | Object
    nodes: tuple[str, ...] = ()
    serving: Serving | None = None

    @property
    def name(self) -> str:
        return self.file.name

    @contextmanager
    def opened(self) -> Iterator[Streams]:
        """Open the file, or a connection to its server."""
        with ExitStack() as stack:
            yield self._opened(stack)

    def _opened(self, stack: ExitStack) -> Streams:
        try:
            return stack.enter_context(self.file.opened()).reader
        except OSError as error:
            here = ray.get_runtime_context().get_node_id()
            if self.serving is None or here in self.nodes or error.errno not in _ABSENT:
                raise
        assert isinstance(self.file, File)
        return self.serving.stream(self.file, stack)

    def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function where the file is."""
        if not self.nodes:
            return function(self.file, *arguments)
        return _nodes.call(self.nodes[0], function, self.file, *arguments)

    def described(self) -> Description:
        """Return the description of the file's contents."""
        found: Description = self._called(described)
        return found

    def remaining(self, filter: pc.Expression) -> list[int] | None:
        """Return the batches that may have rows for a filter; None: all."""
        batches: list[int] | None = self._called(remaining, filter)
        return batches


def served(
    origins: Iterable[FileOrigin | FlightOrigin], serving: Serving
) -> list[FileOrigin | FlightOrigin]:
    """Return origins whose files are read from a server, where they are not."""
    return [
        one._replace(serving=serving) if isinstance(one, FileOrigin) else one
        for one in origins
    ]


class FlightOrigin(NamedTuple):
    """A recording of a server. `name`: its URL, such as ``grpc://host:port/x.arrows``."""

    name: str
    schema: pa.Schema
    batches: int
    rows: int
    nbytes: int

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that have the recording; empty: every node reaches the server."""
        return ()

    @contextmanager
    def opened(self) -> Iterator[Streams]:
        """Connect to the server, if it has the planned recording."""
        with ExitStack() as stack:
            found, streams = connected(self.name, stack)
            if found != self:
                raise changed(self.name)
            yield streams

    def described(self) -> Description:
        """Return the description, as if all batches had the same number of rows."""
        starts = np.linspace(0, self.rows, self.batches + 1).astype(np.int64)
        sizes = [1] * len(self.schema)
        return Description(self.schema, starts, self.nbytes, sizes)

    def remaining(self, filter: pc.Expression) -> None:
        """Return that all batches may have rows for a filter."""


def connected(url: str, stack: ExitStack) -> tuple[FlightOrigin, Streams]:
    """Connect to the server of a URL; the stack closes the connection."""
    from ..flight import connect

    parts = urlsplit(url)
    name = unquote(parts.path[1:])
    client = stack.enter_context(connect(f"{parts.scheme}://{parts.netloc}"))
    info = client.info(name)
    if not info["complete"]:
        words = "The recording is not complete: it is being written on the server"
        raise OSError(errno.ENODATA, words, url)
    sizes = (info["batches"], info["rows"], max(info["bytes"], 0))
    origin = FlightOrigin(url, info["schema"], *sizes)
    return origin, functools.partial(client.stream, name)
