"""The statistics of a recording, for `batchcorder info --statistics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .._display import name_of
from .._predicate import comparable_type
from .table import lines_of, text_of

# A bound that the statistics do not have.
_UNKNOWN = "?"


def _leaves(table: pa.Table) -> Iterator[tuple[str, dict[str, pa.ChunkedArray]]]:
    """Yield the name and the statistics of each leaf."""
    # pyarrow returns no column whose name is not UTF-8.
    columns = table.rename_columns([str(i) for i in range(table.num_columns)]).columns
    for field, column in zip(table.schema, columns, strict=True):
        if pa.types.is_struct(field.type):
            names = [one.name for one in field.type]
            yield name_of(field), dict(zip(names, column.flatten(), strict=True))


def _bound(
    leaf: dict[str, pa.ChunkedArray], name: str, rows: pa.ChunkedArray
) -> tuple[str, int | None]:
    """Return the least `min` or the greatest `max`, and the batch that has it."""
    bounds = leaf[name]
    absent = leaf["null_count"]
    if "nan_count" in leaf:
        absent = pc.add(absent, leaf["nan_count"])
    has_values = pc.fill_null(pc.less(absent, rows), True)
    if pc.any(pc.and_(has_values, bounds.is_null())).as_py():
        return _UNKNOWN, None
    kind = comparable_type(bounds.type)
    # pyarrow finds no extremes of durations.
    kind = pa.int64() if pa.types.is_duration(kind) else kind
    # Unchecked: a decimal may have more digits than its type.
    known = bounds.cast(kind, safe=False)
    extreme = pc.min_max(known)[name]
    if not extreme.is_valid:
        return "", None
    number = pc.index(known, extreme).as_py()
    return text_of(bounds, number), number


def summary(table: pa.Table, room: int | None) -> Iterator[str]:
    """Yield a line for each leaf, with the bounds of all batches together."""
    rows = table["row_count"]
    cells: dict[str, list[Any]] = {
        name: [] for name in ("column", "nulls", "NaN", "min", "max", "exact batches")
    }
    for name, leaf in _leaves(table):
        nans = pc.sum(leaf["nan_count"]).as_py() or 0 if "nan_count" in leaf else None
        cells["column"].append(name)
        cells["nulls"].append(pc.sum(leaf["null_count"]).as_py() or 0)
        cells["NaN"].append("" if nans is None else f"{nans}")
        cells["min"].append(_bound(leaf, "min", rows)[0])
        cells["max"].append(_bound(leaf, "max", rows)[0])
        exact = pc.sum(leaf["exact"]).as_py() or 0
        cells["exact batches"].append(f"{exact:,} of {len(rows):,}")
    kinds = {name: pa.int64() if name == "nulls" else pa.string() for name in cells}
    columns = {name: pa.array(cells[name], kinds[name]) for name in cells}
    lines = lines_of(pa.table(columns), room)
    yield next(lines)
    next(lines)  # the types of this table say nothing
    yield from lines


def batches(table: pa.Table) -> list[dict[str, Any]]:
    """Return for each batch its row count and the statistics of its leaves, for JSON."""
    leaves = list(_leaves(table))
    found = []
    for number in range(len(table)):
        columns = []
        for name, leaf in leaves:
            one: dict[str, Any] = {"name": name}
            for key, values in leaf.items():
                if key not in ("min", "max"):
                    one[key] = values[number].as_py()
                else:
                    is_null = values.slice(number, 1).null_count > 0
                    one[key] = None if is_null else text_of(values, number)
            columns.append(one)
        head = {name: table[name][number].as_py() for name in ("batch", "row_count")}
        found.append({**head, "columns": columns})
    return found


__all__ = ["batches", "summary"]
