"""Rows as a table in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .._display import printable

# A decimal of 128 bits fits, and pyarrow's text of a time that is out of range.
_CELL = 42
_GAP = "  "


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(c)
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _text_by_arrow(one: pa.ChunkedArray) -> str:
    """Return a value that Python's types do not have as text: the year 10000."""
    kind = one.type
    is_utc = pa.types.is_timestamp(kind) and kind.tz is not None
    if is_utc:
        # pyarrow checks the range only if a timestamp has no zone.
        one = one.cast(pa.timestamp(kind.unit))
    try:
        text = str(pc.cast(one, pa.string())[0].as_py())
    except pa.ArrowException:
        # pyarrow has no text of durations, and no scalars of some types, such as months.
        return " ".join(one.to_string().split()).strip("[] ")
    return text + "Z" if is_utc and not text.startswith("<") else text


def plain_text_of(values: pa.ChunkedArray, row: int) -> str | None:
    """Return a value as text; None: it is null."""
    one = values.slice(row, 1)
    if one.null_count > 0:
        return None
    # as_py() returns any number modulo a day, and drops nanoseconds.
    if pa.types.is_time(one.type):
        return _text_by_arrow(one)
    try:
        found = one[0].as_py()
    except Exception:
        return _text_by_arrow(one)
    # The least number of nanoseconds is pandas' NaT, which is not equal to itself.
    if pa.types.is_temporal(one.type) and found != found:
        return _text_by_arrow(one)
    # The value of a dictionary may be null.
    return None if found is None else str(found)


def text_of(values: pa.ChunkedArray, row: int) -> str:
    """Return a value as text: NULL for a null, and the text NULL in quotes."""
    text = plain_text_of(values, row)
    if text is None:
        return "NULL"
    return repr(text) if text == "NULL" else text


def _column(name: str, values: pa.ChunkedArray) -> list[str]:
    cells = [name, str(values.type), *(text_of(values, i) for i in range(len(values)))]
    # Only the beginning of a long text is escaped.
    cells = [_cut(printable(cell[: 4 * _CELL]), _CELL) for cell in cells]
    width = max(_width(cell) for cell in cells)
    kind = values.type
    right = any(
        is_kind(kind)
        for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    )
    return [
        " " * (width - _width(cell)) + cell
        if right
        else cell + " " * (width - _width(cell))
        for cell in cells
    ]


def lines_of(table: pa.Table, room: int | None) -> Iterator[str]:
    """Yield the lines of a table, with as many columns as there is `room` for."""
    shown: list[list[str]] = []
    left = room
    for name, values in zip(table.column_names, table.columns, strict=True):
        column = _column(name, values)
        if left is not None:
            left -= _width(column[0]) + (len(_GAP) if shown else 0)
            if left < 0 and shown:
                break
        shown.append(column)
    for cells in zip(*shown, strict=True):
        line = _GAP.join(cells).rstrip()
        yield line if room is None else _cut(line, room)
    hidden: Any = table.column_names[len(shown) :]
    if hidden:
        names = ", ".join(printable(name) for name in hidden)
        line = f"and {len(hidden)} more columns: {names}"
        yield line if room is None else _cut(line, room)


__all__ = ["lines_of", "plain_text_of"]
