"""
The description of a recording: a FlightInfo whose endpoints are ranges of batches.

    complete        0 ─ range ─ range ─ range ─ n
    growing         0 ─ range ─ range ─ n ─ all batches that are still to come

A client may read the ranges in any order, in parallel and again. Each ticket names the
file's identity, so that ranges of two files are never mixed.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.flight as fl

from .. import _core
from ._served import Recording
from ._tickets import Ticket

# A range has about this size, unless there would be too many ranges.
_RANGE_BYTES = 64 << 20
_RANGES_MAX = 1024


def described(
    recording: Recording, ticket: Ticket, descriptor: Any, message_bytes: int
) -> Any:
    """Return the FlightInfo of the part of a recording that a ticket asks for."""
    recording.check(ticket.identity)
    columns = recording.columns(ticket.columns)
    with recording.now() as cache:
        starts = memoryview(_core.row_starts(cache, 0)).cast("Q")
        bytes_per_row = recording.bytes_per_row(cache, columns)
    published = len(starts) - 1
    first = min(ticket.start, published)
    stop = published if ticket.stop is None else min(ticket.stop, published)
    last = max(first, stop)
    made = ticket._replace(identity=recording.identity, message_bytes=message_bytes)
    endpoints = [
        _endpoint(
            made._replace(start=start, stop=end, follow=recording.is_growing),
            rows := starts[end] - starts[start],
            int(rows * bytes_per_row),
        )
        for start, end in _ranges(starts, first, last, bytes_per_row)
    ]
    goes_on = recording.is_growing and ticket.follow
    if goes_on and (ticket.stop is None or ticket.stop > published):
        endpoints.append(_endpoint(made._replace(start=max(ticket.start, published))))
        rows = size = -1
    else:
        rows = starts[last] - starts[first]
        size = int(rows * bytes_per_row)
    details = {
        "batches": last - first,
        "complete": not recording.is_growing,
        "identity": recording.identity,
        "message_bytes": message_bytes,
    }
    return fl.FlightInfo(
        recording.projected(columns),
        descriptor or fl.FlightDescriptor.for_path(*ticket.name.split("/")),
        endpoints,
        rows,
        size,
        True,
        json.dumps(details).encode(),
    )


def _endpoint(ticket: Ticket, rows: int = -1, size: int = -1) -> Any:
    """Return the endpoint of a range, without a location: this server has the range."""
    numbers = {"start": ticket.start, "stop": ticket.stop, "rows": rows, "bytes": size}
    return fl.FlightEndpoint(
        ticket.to_bytes(), [], app_metadata=json.dumps(numbers).encode()
    )


def _ranges(
    starts: Sequence[int], first: int, last: int, bytes_per_row: float
) -> Iterator[tuple[int, int]]:
    """Cut batches into ranges of about the same number of rows."""
    rows = starts[last] - starts[first]
    wanted = max(int(rows * bytes_per_row / _RANGE_BYTES), 1)
    n = min(wanted, _RANGES_MAX, max(last - first, 1))
    goals = (starts[first] + rows * i // n for i in range(1, n))
    cuts = {bisect_left(starts, goal, first, last) for goal in goals}
    yield from itertools.pairwise(sorted({first, last, *cuts}))


__all__ = ["described"]
