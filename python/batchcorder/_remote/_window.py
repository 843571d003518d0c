"""How far to fetch ahead of a sequential reader, in bytes."""

from __future__ import annotations

from collections.abc import Sequence

from ._ranges import Range

_WINDOW_MIN = 1 << 20
_WINDOW_MAX = 64 << 20
# A request ahead has at least this size, or half of the window.
_REQUEST_MIN = 4 << 20


class Window:
    """
    The bytes after a reader that reads most bytes of the object in order.

        read  ││ fetched ahead        │ not asked for
              end                     edge
              │◀────── window ──────────────▶│

    The window doubles with each read that begins at `end`, or so close after it that the
    reads skip few bytes. Any other read closes the window.
    """

    def __init__(self, most: int) -> None:
        self._most = min(_WINDOW_MAX, most)
        self._size = 0
        self._end = -1
        self._edge = 0

    def after(self, ranges: Sequence[Range]) -> Range | None:
        """Return the range to fetch ahead after a read, given as starts and ends."""
        start = min((one for one, _ in ranges), default=0)
        end = max((one for _, one in ranges), default=0)
        wanted = sum(stop - begin for begin, stop in ranges)
        begins_at, self._end = self._end, end
        reads_most = 4 * wanted >= 3 * (end - begins_at)
        if begins_at < 0 or not begins_at <= start < end or not reads_most:
            self._size = 0
            self._edge = end
            return None
        self._size = min(max(2 * self._size, _WINDOW_MIN), self._most)
        begin = max(self._edge, end)
        until = end + self._size
        if until - begin < max(min(self._size // 2, _REQUEST_MIN), 1):
            return None
        self._edge = until
        return begin, until


__all__ = ["Window"]
