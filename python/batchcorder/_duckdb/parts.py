"""
The parts of a cache that an accepted predicate leaves.

The predicate divides the batches by their bounds (`_statistics.py`). Batches without a
matching row are not read. Batches with matching rows only are passed whole. The rows of
the other batches are filtered by pyarrow, in one thread at a time. DuckDB filters in
several threads, so few batches may be of this kind.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from .. import _rows
from .predicates import Columns, Condition, both

if TYPE_CHECKING:
    from .._statistics import Verdicts
    from .._stream_cache import StreamCache

# Cost of filtering one row here, and of passing one batch through Python. The unit is the
# time in which DuckDB scans a row.
_FILTER_COST = 2
_BATCH_COST = 4096

# Index of the first batch, index after the last one, whether all rows match.
_Range = tuple[int, int, bool]

# Number of the first row, and count of rows.
_Run = tuple[int, int]


def _is_struct_in_struct(kind: pa.DataType) -> bool:
    is_struct = pa.types.is_struct
    return is_struct(kind) and any(map(is_struct, _rows.children(kind)))


def as_scanned(stream: Any) -> Any:
    """Return a stream that DuckDB reads: it rejects slices of structs in structs."""
    try:
        schema = stream.schema
    except pa.ArrowException:
        return stream  # DuckDB may read a schema that pyarrow refuses
    numbers = [n for n, kind in enumerate(schema.types) if _is_rejected(kind)]
    if not numbers:
        return stream

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            columns = batch.columns
            for number in numbers:
                columns[number] = _rows.without_slices(columns[number])
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _is_rejected(kind: pa.DataType) -> bool:
    return _rows.has(kind, _is_struct_in_struct)


def _run(numbers: pa.Array) -> _Run | None:
    """Return ascending numbers as the first one and their count; None: with gaps."""
    if len(numbers) == 0:
        return 0, 0
    first, last = numbers[0].as_py(), numbers[-1].as_py()
    return (first, len(numbers)) if last - first + 1 == len(numbers) else None


class _Some:
    """Some columns of single batches, and rows of these columns."""

    def __init__(self, cache: StreamCache, columns: list[int], kept: pa.Schema) -> None:
        self._cache, self._columns, self._kept = cache, columns, kept

    def read(self, number: int, more: list[int]) -> pa.RecordBatch:
        """Return the columns of a batch, and more columns after them."""
        columns = [*self._columns, *more]
        return next(self._cache.reader(columns=columns, start=number, stop=number + 1))

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch without the columns after them."""
        columns = batch.columns[: len(self._columns)]
        return pa.RecordBatch.from_arrays(columns, schema=self._kept)


class Parts:
    """The batches of an exhausted cache that a predicate and bounds leave."""

    def __init__(
        self, cache: StreamCache, condition: Condition, verdicts: Verdicts
    ) -> None:
        self._cache, self._condition = cache, condition
        self._possible, self._certain = verdicts
        # By the index of a batch.
        self._runs: dict[int, _Run] = {}

    def both(self, other: Parts) -> Parts:
        """Return the parts for the conjunction of two predicates."""
        possible = pc.and_(self._possible, other._possible)
        certain = pc.and_(self._certain, other._certain)
        condition = both([self._condition, other._condition])
        return Parts(self._cache, condition, (possible, certain))

    @functools.cached_property
    def _ranges(self) -> list[_Range]:
        codes = pc.add(self._possible.cast(pa.int8()), self._certain.cast(pa.int8()))
        runs = pc.run_end_encode(codes, run_end_type=pa.int64())
        ends, codes = runs.run_ends.to_pylist(), runs.values.to_pylist()
        ranges = zip([0, *ends], ends, codes, strict=False)
        return [(start, stop, code == 2) for start, stop, code in ranges if code > 0]

    @property
    def _is_one_reader(self) -> bool:
        return not self._ranges or (len(self._ranges) == 1 and self._ranges[0][2])

    def count(self, rows: pa.Array) -> None:
        """Count rows, by the number of rows of each batch."""

        def count(selected: pa.BooleanArray) -> int:
            return pc.sum(rows.filter(selected)).as_py() or 0

        self._total, self._left = pc.sum(rows).as_py() or 0, count(self._possible)
        self._cost = _FILTER_COST * (self._left - count(self._certain))
        if not self._is_one_reader:
            self._cost += _BATCH_COST * self._possible.true_count

    def pay(self, rows_of_joined: Iterable[int]) -> bool:
        """
        Return whether a query is faster if DuckDB drops the predicate.

        DuckDB estimates that its own predicates leave a fifth of the rows. A dropped
        predicate counts as if all rows matched. If the scan of another source has a
        number of rows between both, a join of the two may get a worse order.
        """
        total, left = self._total, self._left
        if total - left < self._cost:
            return False
        is_close = any(n <= 5 * total <= 25 * n for n in rows_of_joined)
        return 2 * left >= total or not is_close

    def read(self, columns: list[int]) -> Any:
        """Return a stream of some columns of the matching rows."""
        if self._is_one_reader:
            start, stop, _ = self._ranges[0] if self._ranges else (0, 0, True)
            return self._cache.reader(columns=columns, start=start, stop=stop)
        schema = self._cache.schema
        kept = pa.schema([schema.field(number) for number in columns], schema.metadata)
        batches = self._batches(columns, kept)
        return pa.RecordBatchReader.from_batches(kept, batches)

    def _batches(self, columns: list[int], kept: pa.Schema) -> Iterator[pa.RecordBatch]:
        some = _Some(self._cache, columns, kept)
        for start, stop, is_whole in self._ranges:
            if is_whole:
                yield from self._cache.reader(columns=columns, start=start, stop=stop)
                continue
            for number in range(start, stop):
                batch = self._matching(number, some)
                if batch.num_rows > 0:
                    yield batch

    def _matching(self, number: int, some: _Some) -> pa.RecordBatch:
        """Return the matching rows of a batch, and keep their place if adjacent."""
        run = self._runs.get(number)
        if run is not None:
            return some.read(number, []).slice(*run)
        condition = self._condition
        of_condition = sorted(condition.columns)
        read = some.read(number, of_condition)
        columns = read.columns[-len(of_condition) :]
        by_index = dict(zip(of_condition, columns, strict=True))
        numbers = pc.indices_nonzero(condition.values(Columns(by_index)))
        run = _run(numbers)
        if run is None:
            return _rows.of(some.of(read), numbers)
        self._runs[number] = run
        return some.of(read).slice(*run)
