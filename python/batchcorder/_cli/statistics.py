"""The statistics of a recording, for `batchcorder info --statistics`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from .._display import name_of
from .._predicate import comparable_type
from .table import lines_of, plain_text_of

# In place of a bound: the statistics do not have it, or the column has no value.
_UNKNOWN, _NO_VALUE = "?", "-"


_BINARY = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)


class _Leaf(NamedTuple):
    name: str
    # The index of the column, and of each child.
    path: list[int]
    statistics: dict[str, pa.ChunkedArray]


def _leaves(table: pa.Table) -> Iterator[_Leaf]:
    # pyarrow returns no column whose name is not UTF-8.
    columns = table.rename_columns([str(i) for i in range(table.num_columns)]).columns
    for field, column in zip(table.schema, columns, strict=True):
        if pa.types.is_struct(field.type):
            path = field.metadata[b"batchcorder.path"].decode().split(".")
            names = [one.name for one in field.type]
            statistics = dict(zip(names, column.flatten(), strict=True))
            yield _Leaf(name_of(field), [int(index) for index in path], statistics)


def _bound(
    statistics: dict[str, pa.ChunkedArray], name: str, rows: pa.ChunkedArray
) -> str:
    """Return the least `min` or the greatest `max`; a text is in quotes."""
    bounds = statistics[name]
    absent = statistics["null_count"]
    if "nan_count" in statistics:
        absent = pc.add(absent, statistics["nan_count"])
    has_values = pc.fill_null(pc.less(absent, rows), True)
    if pc.any(pc.and_(has_values, bounds.is_null())).as_py():
        return _UNKNOWN
    kind = comparable_type(bounds.type)
    is_text = pa.types.is_large_string(kind)
    # pyarrow finds no extremes of durations.
    kind = pa.int64() if pa.types.is_duration(kind) else kind
    # Unchecked: a decimal may have more digits than its type.
    known = bounds.cast(kind, safe=False)
    extreme = pc.min_max(known)[name]
    if not extreme.is_valid:
        return _NO_VALUE
    text = plain_text_of(bounds, pc.index(known, extreme).as_py())
    return repr(text) if is_text else str(text)


def summary(table: pa.Table, room: int | None) -> Iterator[str]:
    """Yield a line for each leaf, with the bounds of all batches together."""
    rows = table["row_count"]
    cells: dict[str, list[Any]] = {
        name: [] for name in ("column", "nulls", "NaN", "min", "max", "exact batches")
    }
    for leaf in _leaves(table):
        found = leaf.statistics
        nans = pc.sum(found["nan_count"]).as_py() or 0 if "nan_count" in found else ""
        cells["column"].append(leaf.name)
        cells["nulls"].append(pc.sum(found["null_count"]).as_py() or 0)
        cells["NaN"].append(f"{nans}")
        cells["min"].append(_bound(found, "min", rows))
        cells["max"].append(_bound(found, "max", rows))
        exact = pc.sum(found["exact"]).as_py() or 0
        cells["exact batches"].append(f"{exact:,} of {len(rows):,}")
    kinds = {name: pa.int64() if name == "nulls" else pa.string() for name in cells}
    columns = {name: pa.array(cells[name], kinds[name]) for name in cells}
    lines = lines_of(pa.table(columns), room)
    yield next(lines)
    next(lines)  # the types of this table say nothing
    yield from lines


def _json_bound(bounds: pa.ChunkedArray, row: int) -> bool | int | float | str | None:
    """Return a bound as JSON has it: a number, a boolean, or a text."""
    t, kind = pa.types, bounds.type
    if t.is_boolean(kind) or t.is_integer(kind):
        value: bool | int | None = bounds[row].as_py()
        return value
    if t.is_floating(kind):
        number = bounds[row].as_py()
        # JSON has no infinity.
        return number if number is None or math.isfinite(number) else str(number)
    if any(is_bytes(kind) for is_bytes in _BINARY):
        data = bounds[row].as_py()
        return None if data is None else str(data.hex())
    return plain_text_of(bounds, row)


def batches(table: pa.Table) -> list[dict[str, Any]]:
    """Return for each batch its row count and the statistics of its leaves, for JSON."""
    leaves = list(_leaves(table))
    found = []
    for number in range(len(table)):
        columns = []
        for leaf in leaves:
            one: dict[str, Any] = {"name": leaf.name, "path": leaf.path}
            for key, values in leaf.statistics.items():
                is_bound = key in ("min", "max")
                one[key] = (
                    _json_bound(values, number) if is_bound else values[number].as_py()
                )
            columns.append(one)
        head = {name: table[name][number].as_py() for name in ("batch", "row_count")}
        found.append({**head, "columns": columns})
    return found


__all__ = ["batches", "summary"]
