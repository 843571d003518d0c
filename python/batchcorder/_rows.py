"""
Rows of arrays and tables of any type, with or without kernels of pyarrow's.

pyarrow's own `take` goes first. It refuses views of text and runs, at any depth, and
chunks whose dictionaries do not fit one. Such columns are taken one by one:

    views          cast to plain text, taken, cast back
    runs           the runs that have the rows are taken
    structs, lists their children are taken
    dictionaries   cut down to the values in use. If the type of the indices cannot
                   number them, the rows come as several chunks
    other types    a slice for each row
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Up to this number, rows of views are slices of the batch. More would have many buffers.
_FEW = 64


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _plain_leaf(kind: pa.DataType) -> pa.DataType:
    """Return plain text in place of a view. A type may have no hash."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def children(kind: pa.DataType) -> list[pa.DataType]:
    """Return the types that the type is made of."""
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if pa.types.is_dictionary(kind):
        return [kind.value_type]
    return [kind.field(number).type for number in range(kind.num_fields)]


def has(kind: pa.DataType, wanted: Callable[[pa.DataType], bool]) -> bool:
    """Return whether the type, or one that it is made of, is wanted."""
    return wanted(kind) or any(has(child, wanted) for child in children(kind))


def _is_cast_wrongly(kind: pa.DataType) -> bool:
    """
    Return whether pyarrow's casts of nested types must leave the type alone.

    It casts no runs. Of children that keep their type it loses the slice (runs, unions)
    or the buffers of text (extensions of views).
    """
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return not is_simple(kind.storage_type)
    return bool(t.is_run_end_encoded(kind) or t.is_union(kind))


def replaced(
    kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]
) -> pa.DataType:
    """Return the type with other types in place of its leaves, that pyarrow casts to."""
    t = pa.types

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(replaced(field.type, leaf))

    if has(kind, _is_cast_wrongly):
        return kind
    if t.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return pa.struct([inner(field) for field in fields])
    if t.is_list(kind):
        return pa.list_(inner(kind.value_field))
    if t.is_large_list(kind):
        return pa.large_list(inner(kind.value_field))
    if t.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if t.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    if t.is_dictionary(kind):
        values = replaced(kind.value_type, leaf)
        return pa.dictionary(kind.index_type, values, kind.ordered)
    return leaf(kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that is like `kind`, with plain text in place of views."""
    return replaced(kind, _plain_leaf)


def is_simple(kind: pa.DataType) -> bool:
    """Return whether pyarrow filters, takes and compares values of the type."""
    t = pa.types
    return not has(kind, lambda part: _is_view(part) or t.is_run_end_encoded(part))


def written_out(kind: pa.DataType) -> pa.DataType:
    """Return the type of the arrays that `as_plain` makes from arrays of `kind`."""
    if is_simple(kind):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return written_out(kind.storage_type)
    if pa.types.is_run_end_encoded(kind):
        return written_out(kind.value_type)
    return plain_type(kind)


def plain_schema(schema: Iterable[pa.Field]) -> pa.Schema:
    """Return fields with plain text in place of views, and runs written out."""
    return pa.schema([f.with_type(written_out(f.type)) for f in schema])


def _run_numbers(column: pa.Array) -> pa.Array:
    """Return for each row of an array of runs the number of its value."""
    values = pa.array(range(len(column.values)), pa.int64())
    runs = pa.RunEndEncodedArray.from_arrays(column.run_ends, values)
    return pc.run_end_decode(runs.slice(column.offset, len(column)))


def as_plain(column: pa.Array) -> pa.Array:
    """Return an array with plain text in place of views, and with runs written out."""
    if is_simple(column.type):
        return column
    if isinstance(column, pa.ExtensionArray):
        return as_plain(column.storage)
    if pa.types.is_run_end_encoded(column.type):
        return of_column(as_plain(column.values), _run_numbers(column))
    plain = plain_type(column.type)
    return column if plain == column.type else column.cast(plain)


def _rebuilt(
    valid: pa.BooleanArray,
    kind: pa.DataType,
    offsets: list[pa.Buffer],
    children: list[pa.Array],
) -> pa.Array:
    """Return an array of a nested type."""
    validity = None if pc.all(valid).as_py() else valid.buffers()[1]
    return pa.Array.from_buffers(
        kind, len(valid), [validity, *offsets], children=children
    )


def _anew(column: pa.Array, of_dictionary: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return the array without a slice in it, with dictionaries, at any depth, mapped."""
    t, kind = pa.types, column.type

    def inner(array: pa.Array) -> pa.Array:
        return _anew(array, of_dictionary)

    if isinstance(column, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(kind, inner(column.storage))
    if t.is_dictionary(kind):
        return of_dictionary(column)
    if len(column) == 0 and t.is_nested(kind):
        return pa.nulls(0, kind)
    if t.is_struct(kind):
        fields = [inner(column.field(number)) for number in range(kind.num_fields)]
        return _rebuilt(column.is_valid(), kind, [], fields)
    if t.is_fixed_size_list(kind):
        size = kind.list_size
        values = column.values.slice(column.offset * size, len(column) * size)
        return _rebuilt(column.is_valid(), kind, [], [inner(values)])
    if t.is_list(kind) or t.is_large_list(kind) or t.is_map(kind):
        offsets = column.offsets
        first, last = offsets[0].as_py(), offsets[-1].as_py()
        values = inner(column.values.slice(first, last - first))
        offsets = pc.subtract(offsets, offsets[0])
        return _rebuilt(column.is_valid(), kind, [offsets.buffers()[1]], [values])
    return column


def without_slices(column: pa.Array) -> pa.Array:
    """Return the array with lists, at any depth, that begin with their first value."""

    def of_dictionary(column: pa.DictionaryArray) -> pa.DictionaryArray:
        values = without_slices(column.dictionary)
        return pa.DictionaryArray.from_arrays(
            column.indices, values, ordered=column.type.ordered
        )

    return _anew(column, of_dictionary)


def _compact(column: pa.Array) -> pa.Array:
    """
    Return the array with dictionaries, at any depth, of the values in use only.

    pyarrow joins no dictionaries with a null in them: rows that refer to one become
    null themselves. In a map's keys they may not.
    """
    keeps = has(column.type, pa.types.is_map)
    return _anew(column, lambda dictionary: _of_used(dictionary, keeps))


def _of_used(column: pa.DictionaryArray, keeps_nulls: bool) -> pa.DictionaryArray:
    used = pc.unique(column.indices).drop_null().sort()
    if not keeps_nulls:
        used = used.filter(of_column(column.dictionary, used).is_valid())
    indices = pc.index_in(column.indices, value_set=used).cast(column.type.index_type)
    values = of_column(column.dictionary, used)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=column.type.ordered)


def by_part(
    numbers: pa.Array, starts: Sequence[int] | memoryview
) -> Iterator[tuple[int, pa.Array]]:
    """
    Yield the parts that have rows of these numbers, and the rows' numbers in each.

    The numbers are 64-bit integers that ascend; `starts` has the first row of each part,
    and how many rows there are in all.
    """
    rows = memoryview(numbers.buffers()[1]).cast("q")[numbers.offset :][: len(numbers)]
    first = 0
    while first < len(rows):
        part = bisect.bisect_right(starts, rows[first]) - 1
        end = bisect.bisect_left(rows, starts[part + 1], first)
        yield part, pc.subtract(numbers.slice(first, end - first), starts[part])
        first = end


def _of_chunks(column: pa.ChunkedArray, numbers: pa.Array) -> list[pa.Array]:
    """Return rows of several chunks, in as few chunks as their dictionaries allow."""
    starts = [0]
    for chunk in column.chunks:
        starts.append(starts[-1] + len(chunk))
    order = pc.sort_indices(numbers)
    try:
        parts = [
            _compact(of_column(column.chunk(part), within))
            for part, within in by_part(numbers.take(order), starts)
        ]
        joined = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        return [of_column(joined, pc.sort_indices(order))]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(numbers) < 2:
            raise
    half = len(numbers) // 2
    halves = numbers.slice(0, half), numbers.slice(half)
    return [chunk for some in halves for chunk in _of_chunks(column, some)]


def _of_dense_union(column: pa.UnionArray, numbers: pa.Array) -> pa.Array:
    """Return rows of a dense union, whose slices would have all of its values each."""
    n, start, (_, codes, offsets, *_) = len(column), column.offset, column.buffers()
    # The array's own properties forget that it is a slice.
    codes = pa.Array.from_buffers(pa.int8(), n, [None, codes], offset=start).take(numbers)
    offsets = pa.Array.from_buffers(pa.int32(), n, [None, offsets], offset=start)
    offsets = offsets.take(numbers)
    places, children = pa.nulls(len(numbers), pa.int32()), []
    for number, code in enumerate(column.type.type_codes):
        is_of_it = pc.equal(codes, code)
        children.append(of_column(column.field(number), offsets.filter(is_of_it)))
        count = pc.cumulative_sum(is_of_it.cast(pa.int32()))
        places = pc.if_else(
            is_of_it, pc.subtract(count, pa.scalar(1, pa.int32())), places
        )
    buffers = [None, codes.buffers()[1], places.buffers()[1]]
    return pa.Array.from_buffers(column.type, len(numbers), buffers, children=children)


def _of_struct(column: pa.StructArray, numbers: pa.Array) -> pa.Array:
    kind = column.type
    fields = [of_column(column.field(n), numbers) for n in range(kind.num_fields)]
    return _rebuilt(column.is_valid().take(numbers), kind, [], fields)


def _of_lists(column: pa.Array, numbers: pa.Array) -> pa.Array:
    """Return rows of lists: those of lists of positions tell which values they have."""
    t, kind, values = pa.types, column.type, column.values
    if t.is_fixed_size_list(kind):
        twin = pa.list_(pa.int64(), kind.list_size)
    else:
        twin = (pa.large_list if t.is_large_list(kind) else pa.list_)(pa.int64())
    buffers = column.buffers()[: 1 if t.is_fixed_size_list(kind) else 2]
    positions = pc.cumulative_sum(pa.repeat(1, len(values)), start=-1)
    taken = pa.Array.from_buffers(
        twin, len(column), buffers, offset=column.offset, children=[positions]
    ).take(numbers)
    offsets = [] if t.is_fixed_size_list(kind) else [taken.offsets.buffers()[1]]
    values = of_column(values, taken.values.fill_null(0))
    return _rebuilt(taken.is_valid(), kind, offsets, [values])


def _is_list(kind: pa.DataType) -> bool:
    t = pa.types
    lists = t.is_list(kind) or t.is_large_list(kind) or t.is_map(kind)
    return bool(lists or t.is_fixed_size_list(kind))


def _by_parts(column: pa.Array, numbers: pa.Array) -> pa.Array:
    """Return rows of an array that pyarrow cannot take from."""
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        taken = pc.run_end_encode(
            _run_numbers(column).take(numbers), run_end_type=kind.run_end_type
        )
        values = of_column(column.values, taken.values)
        return pa.RunEndEncodedArray.from_arrays(taken.run_ends, values, kind)
    if isinstance(column, pa.ExtensionArray):
        storage = of_column(column.storage, numbers)
        return pa.ExtensionArray.from_storage(kind, storage)
    if pa.types.is_union(kind) and kind.mode == "dense":
        return _of_dense_union(column, numbers)
    if pa.types.is_struct(kind):
        return _of_struct(column, numbers)
    if _is_list(kind):
        return _of_lists(column, numbers)
    if len(numbers) > _FEW and _is_view(kind):
        return of_column(column.cast(_plain_leaf(kind)), numbers).cast(kind)
    return pa.concat_arrays([column.slice(number, 1) for number in numbers.to_pylist()])


def of_column(column: pa.Array | pa.ChunkedArray, numbers: pa.Array) -> Any:
    """Return the rows of these numbers of a column of any type."""
    try:
        return column.take(numbers)
    except pa.ArrowNotImplementedError:
        pass  # views and runs
    except pa.ArrowInvalid:
        if not isinstance(column, pa.ChunkedArray):
            raise
    if isinstance(column, pa.ChunkedArray):
        numbers = numbers.cast(pa.int64())
        chunks = _of_chunks(column, numbers) if len(numbers) > 0 else []
        return pa.chunked_array(chunks, column.type)
    return _by_parts(column, numbers) if len(numbers) > 0 else column.slice(0, 0)


def of(whole: pa.Table | pa.RecordBatch, numbers: pa.Array) -> Any:
    """Return the rows of these numbers of a table or a batch."""
    if whole.num_columns == 0:
        rows = pa.RecordBatch.from_struct_array(pa.nulls(len(numbers), pa.struct([])))
        rows = rows.replace_schema_metadata(whole.schema.metadata)
        return pa.Table.from_batches([rows]) if isinstance(whole, pa.Table) else rows
    try:
        return whole.take(numbers)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        columns = [of_column(column, numbers) for column in whole.columns]
        return type(whole).from_arrays(columns, schema=whole.schema)


def batches_of(batch: pa.RecordBatch, numbers: pa.Array) -> Iterator[pa.RecordBatch]:
    """Yield the rows of these numbers, in as few batches as their run ends can count."""
    try:
        yield of(batch, numbers)
    except pa.ArrowInvalid:
        if len(numbers) < 2:
            raise
        half = len(numbers) // 2
        yield from batches_of(batch, numbers.slice(0, half))
        yield from batches_of(batch, numbers.slice(half))
