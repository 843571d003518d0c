"""Flight servers for recordings that only some nodes have, in actors on such nodes."""

from __future__ import annotations

import errno
import functools
import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from . import _nodes
from ._files import File

# A function that returns batches. Its arguments are `columns`, `start` and `stop`.
Streams = Callable[..., Any]


class Server:
    """
    Serves files of one node by Flight, in an actor.

    Parameters
    ----------
    token : str
        The secret that a client sends. Each server has a random one.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._servers: dict[File, Any] = {}

    def location(self, file: File) -> str:
        """Return the URL of a server of a file; raises if the file is another one."""
        from ..flight import serve

        with file.opened():
            pass
        if file not in self._servers:
            host = ray.util.get_node_ip_address()
            place = f"grpc://[{host}]:0" if ":" in host else f"grpc://{host}:0"
            self._servers[file] = serve(file.path, place, token=self._token)
        location: str = self._servers[file].location
        return location


class Serving(NamedTuple):
    """The server for the files that some nodes have: its actor, and the token."""

    actor: Any
    token: str

    @classmethod
    def on(cls, node: str) -> Serving:
        """Start a server on a node."""
        token = secrets.token_urlsafe(32)
        options = {"num_cpus": 0, "scheduling_strategy": _nodes.pinned(node)}
        return cls(ray.remote(Server).options(**options).remote(token), token)

    def stream(self, file: File, stack: ExitStack) -> Streams:
        """Return the streams of a file; the stack closes the connection."""
        from ..flight import connect

        try:
            location = ray.get(self.actor.location.remote(file))
        except RayTaskError as error:
            raise error.cause from None
        except RayError:
            raise OSError(
                errno.EHOSTUNREACH,
                "The recording is not on this node, and the node that has it is gone: "
                "call read_recordings() again",
                file.path,
            ) from None
        client = stack.enter_context(connect(location, token=self.token))
        return functools.partial(client.stream, os.path.basename(file.path))
