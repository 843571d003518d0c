"""
Recordings as a datasource of Ray Data.

The batches of all files are one sequence. A read task has a range of this sequence, and
yields the rows as Arrow tables of about Ray's target size. The tables are mapped pages of
the file, until Ray copies them into its object store.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from .. import _expression, _scanner
from .._statistics import Range, ranges_of
from ._origins import FileOrigin, FlightOrigin
from ._recording import NO_COLUMNS, Recording, even_cuts

if TYPE_CHECKING:
    from ray.data.expressions import Expr


class Piece(NamedTuple):
    """Ranges of batches of a recording, and the columns to read; None: all."""

    origin: FileOrigin | FlightOrigin
    ranges: list[Range]
    columns: list[str] | None


def _batches(
    piece: Piece, columns: list[str] | None, filter: pc.Expression | None
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a piece; with a filter, their rows for which it is true."""
    with piece.origin.opened() as streams:
        for start, stop in piece.ranges:
            stream = streams(columns=piece.columns, start=start, stop=stop)
            if filter is None:
                yield from stream
                continue
            reader = pa.RecordBatchReader.from_stream(stream)
            yield from _scanner.scanner(reader, columns, filter, {}).to_batches()


def _tables(batches: Iterable[pa.RecordBatch], size: int | None) -> Iterator[pa.Table]:
    """Yield consecutive batches as tables of at least `size` bytes; None: as one."""
    group: list[pa.RecordBatch] = []
    held = 0

    def joined() -> pa.Table:
        table = pa.Table.from_batches(group)
        if table.num_columns == 0:
            return pa.Table.from_arrays([pa.nulls(table.num_rows)], schema=NO_COLUMNS)
        return table

    for batch in batches:
        group.append(batch)
        held += batch.nbytes
        if size is not None and held >= size:
            yield joined()
            group, held = [], 0
    if group:
        yield joined()


class RecordingDatasource(Datasource):
    """
    A datasource over recordings.

    Parameters
    ----------
    origins : list of FileOrigin or FlightOrigin
        The recordings, in order.
    columns : list of str, optional
        Names of the columns. None (default): all.
    filter : pyarrow.compute.Expression, optional
        Read only rows for which it is true. None (default): all.
    batches_per_task : int, optional
        Number of batches of a read task. None (default): as Ray asks.
    """

    def __init__(
        self,
        origins: list[FileOrigin | FlightOrigin],
        columns: list[str] | None = None,
        filter: pc.Expression | None = None,
        batches_per_task: int | None = None,
    ) -> None:
        super().__init__()
        self._recordings = [Recording.of(origin) for origin in origins]
        self._columns, self._filter = columns, filter
        self._batches_per_task = batches_per_task
        self._check_columns()
        if filter is not None:
            self._recordings = [one.filtered(filter) for one in self._recordings]

    def _check_columns(self) -> None:
        first = self._recordings[0]
        for recording in self._recordings:
            recording.check(self._columns)
            schemas = [one.schema(self._columns) for one in (first, recording)]
            words = f"{recording.origin.name!r} has other columns than "
            words += f"{first.origin.name!r}"
            if schemas[0].names != schemas[1].names:
                raise ValueError(f"{words}: {schemas[1].names}, not {schemas[0].names}")
            try:
                pa.unify_schemas(schemas, promote_options="default")
            except pa.ArrowException as error:
                raise ValueError(f"{words}: {error}") from None

    # ---- sizes ----

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of all rows in memory, in bytes."""
        sizes = [one.bytes(self._columns).sum() for one in self._recordings]
        return round(float(sum(sizes)))

    def tasks(self, parallelism: int) -> int:
        """Return the number of read tasks if Ray asks for so many."""
        return len(self._parts(parallelism))

    # ---- push-down ----

    def supports_projection_pushdown(self) -> bool:
        """Return that Ray may select columns."""
        return True

    def get_projection_map(self) -> dict[str, str] | None:
        """Return the selected columns, by name; None: all."""
        return None if self._columns is None else {name: name for name in self._columns}

    def apply_projection(
        self, projection_map: dict[str, str] | None
    ) -> RecordingDatasource:
        """Return a datasource of some columns."""
        if projection_map is None:
            return self
        return self._but(_columns=list(projection_map))

    def supports_predicate_pushdown(self) -> bool:
        """Return that Ray may select rows."""
        return True

    def apply_predicate(self, predicate_expr: Expr) -> RecordingDatasource:
        """Return a datasource of some rows."""
        filter = predicate_expr.to_pyarrow()
        recordings = [one.filtered(filter) for one in self._recordings]
        both = filter if self._filter is None else self._filter & filter
        return self._but(_recordings=recordings, _filter=both)

    def _but(self, **attributes: Any) -> RecordingDatasource:
        """Return a copy with other attributes."""
        clone = copy.copy(self)
        clone.__dict__.update(attributes)
        return clone

    # ---- tasks ----

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Return the read tasks: as many as asked for, but each has a batch."""
        size = (data_context or DataContext.get_current()).target_max_block_size
        return [
            self._task(parts, per_task_row_limit, size)
            for parts in self._parts(parallelism)
        ]

    def _parts(self, parallelism: int) -> list[list[Recording]]:
        """Cut the sequence of batches; without a batch, there is one empty part."""
        count = sum(len(one.batches) for one in self._recordings)
        if self._batches_per_task is not None:
            cuts = np.arange(0, count, self._batches_per_task)[1:]
        else:
            sizes = [one.bytes(self._columns) + 1 for one in self._recordings]
            cuts = even_cuts(np.concatenate(sizes), parallelism)
        bounds = [0, *cuts.tolist(), count]
        return [self._part(*pair) for pair in itertools.pairwise(bounds)]

    def _part(self, first: int, end: int) -> list[Recording]:
        """Return the batches from `first` to `end` of the sequence."""
        parts = []
        for one in self._recordings:
            some = one.batches[max(first, 0) : max(end, 0)]
            if len(some) > 0:
                parts.append(one._replace(batches=some))
            first, end = first - len(one.batches), end - len(one.batches)
        return parts

    def _read_columns(self, recording: Recording) -> list[str] | None:
        """Return the names of the columns that a scan reads; None: all."""
        if self._columns is None or self._filter is None:
            return self._columns
        schema = recording.description.schema
        needed = _expression.referenced(schema, [self._filter]) - {*self._columns}
        return self._columns + [name for name in schema.names if name in needed]

    def _task(
        self, parts: list[Recording], row_limit: int | None, size: int | None
    ) -> ReadTask:
        columns, filter = self._columns, self._filter
        schema = (parts or self._recordings)[0].schema(columns)
        pieces = [
            Piece(
                one.origin,
                ranges_of(one.batches.tolist(), None),
                self._read_columns(one),
            )
            for one in parts
        ]

        def read() -> Iterator[pa.Table]:
            is_empty = True
            for piece in pieces:
                for table in _tables(_batches(piece, columns, filter), size):
                    is_empty = False
                    yield table
            if is_empty:
                yield schema.empty_table()

        rows = sum(int(one.rows().sum()) for one in parts)
        metadata = BlockMetadata(
            num_rows=rows if filter is None or rows == 0 else None,
            size_bytes=round(sum(one.bytes(columns).sum() for one in parts)),
            input_files=[one.origin.name for one in parts],
            exec_stats=None,
        )
        return ReadTask(read, metadata, schema, row_limit)
