"""
Tickets: the part of a recording for which a client asks.

A ticket is JSON, and so is the command of a descriptor. Any client may write one:

    {"name": "x.arrows", "columns": ["id"], "start": 0, "stop": 10}

`identity` ties a ticket to the file that the server described. `messages` counts the
messages that the client has already: the answer begins after these. A batch is one
message, or several if it has more than `message_bytes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

_COUNT_MAX = 1 << 62
_SIZE_MAX = 1 << 20
_HINT = 'expected JSON such as {"name": "x.arrows", "start": 0, "stop": 10}'


class Ticket(NamedTuple):
    """A part of a recording."""

    name: str
    columns: tuple[str | int, ...] | None = None
    start: int = 0
    stop: int | None = None
    # Send batches as they are recorded, until the recording is complete.
    follow: bool = False
    identity: str | None = None
    messages: int = 0
    message_bytes: int | None = None
    # Seconds after which a follower without a new batch gets the end of its stream.
    patience: float | None = None

    def to_bytes(self) -> bytes:
        """Return the ticket as JSON, without its defaults."""
        defaults = self._field_defaults
        parts = self._asdict().items()
        kept = {key: value for key, value in parts if value != defaults.get(key, self)}
        return json.dumps(kept).encode()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _COUNT_MAX


def _is_columns(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) in (str, int) for one in value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "columns": _is_columns,
    "start": _is_count,
    "stop": _is_count,
    "follow": lambda value: isinstance(value, bool),
    "identity": lambda value: isinstance(value, str),
    "messages": _is_count,
    "message_bytes": lambda value: _is_count(value) and value > 0,
    "patience": lambda value: type(value) in (int, float) and 0 <= value < 1e6,
}


def object_of(data: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; ValueError: these bytes are none."""
    try:
        found = json.loads(data) if len(data) <= _SIZE_MAX else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"invalid {what}: {_HINT}")
    return found


def ticket_of(data: bytes, what: str = "ticket") -> Ticket:
    """Return the ticket that these bytes are; ValueError: they are none."""
    found = object_of(data, what)
    for key, value in found.items():
        check = _CHECKS.get(key)
        if check is None:
            raise ValueError(f"invalid {what}: it has no {key!r}; {_HINT}")
        if value is not None and not check(value):
            raise ValueError(f"invalid {what}: {value!r} cannot be its {key!r}")
    if found.get("name") is None:
        raise ValueError(f"invalid {what}: {_HINT}")
    given = {key: value for key, value in found.items() if value is not None}
    if "columns" in given:
        given["columns"] = tuple(given["columns"])
    return Ticket(**given)


__all__ = ["Ticket", "object_of", "ticket_of"]
