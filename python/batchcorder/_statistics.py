"""
Bounds of the columns of a cache's batches, by which a filter excludes batches.

pyarrow decides that, as it does for partitions of files. The bounds of a batch are the
partition expression of a file, and that file is never opened.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow import fs

from . import _expression

if TYPE_CHECKING:
    from ._stream_cache import StreamCache


def _paths(
    schema: pa.Schema, paths: list[str], bounds: list[pc.Expression]
) -> pads.FileSystemDataset:
    """Return a dataset of files that are never opened, with the bounds of each."""
    return pads.FileSystemDataset.from_paths(
        paths,
        schema=schema,
        format=pads.IpcFileFormat(),
        filesystem=fs.LocalFileSystem(),
        partitions=bounds,
    )


def _is_ordered(kind: pa.DataType) -> bool:
    """Return whether pyarrow finds minima of the type, and compares with them."""
    t = pa.types
    numbers = (t.is_integer, t.is_float32, t.is_float64, t.is_boolean)
    others = (t.is_decimal128, t.is_decimal256, t.is_date, t.is_time, t.is_timestamp)
    texts = (t.is_string, t.is_large_string, t.is_binary, t.is_large_binary)
    return any(test(kind) for test in numbers + others + texts)


def _bounds(name: str, values: pa.Array) -> pc.Expression:
    """Return an expression that is true of every value of a column of one batch."""
    field = pc.field(name)
    if len(values) == 0:
        return pc.scalar(False)
    if values.null_count == len(values):
        return field.is_null()
    is_float = pa.types.is_floating(values.type)
    if is_float and pc.any(pc.is_nan(values)).as_py():
        return pc.scalar(True)
    bounds = pc.min_max(values)
    # An equality lets the column stand for its value, which tells 0.0 from -0.0.
    if bounds["min"] == bounds["max"] and values.null_count == 0 and not is_float:
        return field == bounds["min"]
    low, high = field >= bounds["min"], field <= bounds["max"]
    if values.null_count > 0:
        low, high = low | field.is_null(), high | field.is_null()
    return low & high


class Statistics:
    """
    Bounds of the columns of a cache's batches, computed on first use.

    The cache keeps the object, so the object does not keep the cache.
    """

    def __init__(self) -> None:
        # Replaced, never changed: threads that gather the same need no lock.
        self._known: dict[str, list[pc.Expression]] = {}
        self._datasets: dict[tuple[str, ...], pads.FileSystemDataset] = {}

    def _gather(self, cache: StreamCache, name: str, batches: int) -> list[pc.Expression]:
        known = self._known.get(name, [])
        if len(known) < batches:
            reader = cache.reader(columns=[name], start=len(known), stop=batches)
            known = known + [_bounds(name, batch.column(0)) for batch in reader]
            self._known[name] = known
        return known[:batches]

    def _dataset(
        self, cache: StreamCache, names: tuple[str, ...], batches: int
    ) -> pads.FileSystemDataset:
        dataset = self._datasets.get(names)
        if dataset is None or len(dataset.files) != batches:
            columns = [self._gather(cache, name, batches) for name in names]
            bounds = [
                functools.reduce(operator.and_, ones)
                for ones in zip(*columns, strict=True)
            ]
            paths = [str(number) for number in range(batches)]
            dataset = _paths(cache.schema, paths, bounds)
            self._datasets[names] = dataset
        return dataset

    def remaining_batches(
        self, cache: StreamCache, filter: pc.Expression, batches: int
    ) -> list[int]:
        """Return the indices below `batches` of the batches that may have such rows."""
        schema = cache.schema
        if len(set(schema.names)) < len(schema) or not _expression.is_certain(filter):
            return list(range(batches))
        names = tuple(
            name
            for name in sorted(_expression.referenced(schema, [filter]))
            if _is_ordered(schema.field(name).type)
        )
        if not names:
            return list(range(batches))
        dataset = self._dataset(cache, names, batches)
        try:
            return sorted(int(part.path) for part in dataset.get_fragments(filter))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # The filter fails for the bounds. The scanner applies it to the rows.
            return list(range(batches))
