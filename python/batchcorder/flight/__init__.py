"""
Recordings over Arrow Flight: a server for them, and a client that loses no batch.

Needs pyarrow with Flight, as its wheels have it.
"""

try:
    import pyarrow.flight  # noqa: F401 - the modules below need it
except ImportError as _error:
    raise ImportError(
        "batchcorder.flight needs a pyarrow with Flight: pip install "
        "'batchcorder[flight]'"
    ) from _error

from ._client import Client, connect
from ._server import Server, serve

__all__ = ["Client", "Server", "connect", "serve"]

for _thing in (Client, Server, connect, serve):
    _thing.__module__ = __name__
del _thing
