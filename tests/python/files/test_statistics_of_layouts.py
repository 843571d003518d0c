"""Statistics of every layout, compared with the bytes of the buffers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchcorder import StreamCache
from helpers import reader_of
from kinds import ALL, batch_of, growing, slices_of
from reference import check
from strategies import INTEGERS, Stream, streams

NAN = float("nan")
RANDOM = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def gathered(batches: list[pa.RecordBatch], **options: Any) -> pa.Table:
    """Return the statistics of a cache of the batches."""
    with StreamCache(reader_of(batches), **options) as cache:
        cache.ingest_all()
        return cache.statistics()


def check_all(batches: list[pa.RecordBatch]) -> None:
    """Check statistics that are gathered on first use, and while recording."""
    for policy in (None, True):
        check(gathered(batches, statistics=policy), batches)


@RANDOM
@given(stream=streams())
def test_random_streams(stream: Stream) -> None:
    check_all(stream.build())


@pytest.mark.long
@settings(RANDOM, max_examples=5000)
@given(stream=streams())
def test_many_random_streams(stream: Stream) -> None:
    check_all(stream.build())


@RANDOM
@given(stream=streams().filter(lambda s: len(s.schema) > 0), lead=st.integers(1, 9))
def test_the_struct_of_the_rows_is_a_slice(stream: Stream, lead: int) -> None:
    batches = [one.slice(min(lead, one.num_rows)) for one in stream.build()]
    arrays = [one.to_struct_array() for one in stream.build()]
    source = pa.chunked_array([array[min(lead, len(array)) :] for array in arrays])
    with StreamCache(source) as cache:
        cache.ingest_all()
        check(cache.statistics(), batches)


@pytest.mark.parametrize("name", ALL)
def test_slices_of_every_type(name: str) -> None:
    check_all(slices_of(batch_of(name)))


# ---- nested nulls ----


@settings(RANDOM, max_examples=100)
@given(
    masks=st.lists(
        st.lists(st.booleans(), min_size=70, max_size=70), min_size=4, max_size=4
    ),
    start=st.integers(0, 17),
    inner=st.integers(0, 17),
    length=st.integers(0, 30),
)
def test_parents_with_nulls(
    masks: list[list[bool]], start: int, inner: int, length: int
) -> None:
    """The bitmap of each level begins at another bit of a byte."""
    numbers = pa.array(range(70), pa.int16(), mask=pa.array(masks[0]).to_numpy(False))
    words = pa.array([f"{i:03}" for i in range(70)]).dictionary_encode()
    level = pa.StructArray.from_arrays(
        [numbers[inner : inner + 50], words[17 : 17 + 50]],
        ["n", "w"],
        mask=pa.array(masks[1][:50]),
    )
    level = pa.StructArray.from_arrays([level[3:]], ["in"], mask=pa.array(masks[2][:47]))
    column = level[start : start + length]
    check_all([pa.record_batch({"s": column}), pa.record_batch({"s": column[1:]})])


# ---- dictionaries ----

WORDS = {
    "float": pa.array([2.5, NAN, None, 0.0, NAN, -0.0, 99.0, 2.5, -99.0]),
    "text": pa.array(["b", "a" * 40, None, "", "b", "é" * 17, "z" * 40, "c", "A"]),
    "decimal": pa.array(range(9), pa.int64()).cast(pa.decimal256(30, 3)),
    "bool": pa.array([True, False, None, True, False, True, False, True, None]),
    "bytes": pa.array([b"\xff" * 33, b"b", None, b"", b"c", b"d", b"\xff", b"a", b"0"]),
}


@pytest.mark.parametrize("index", INTEGERS, ids=str)
@pytest.mark.parametrize("name", WORDS)
def test_dictionaries(name: str, index: pa.DataType) -> None:
    """Values are repeated, null, NaN, and unused: indices 6 and 8 are in no row."""
    rows = [0, 1, None, 2, 3, 4, 5, 7, 7, 1, 3, None, 5] * 3
    batches = []
    for lead in (0, 1, 2):
        words = WORDS[name][lead:]
        used = [i if i is None or i < len(words) - 2 else 0 for i in rows]
        whole = pa.DictionaryArray.from_arrays(pa.array(used, index), words)
        batches += [
            pa.record_batch({"d": whole[start : start + length]})
            for start, length in ((0, 39), (3, 9), (2, 1), (9, 1), (11, 1), (4, 0))
        ]
    check_all(batches)


def test_a_dictionary_grows_by_deltas() -> None:
    words = pa.array([f"{(7 * i) % 90:02}" for i in range(90)])
    batches = growing(words, range(1, 90, 7))
    check_all(batches)


def test_the_null_of_a_dictionary_counts() -> None:
    words = pa.array([None, 5], pa.int64())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, None], pa.int8()), words)
    found = gathered([pa.record_batch({"d": column})])["d"][0].as_py()
    assert found == {"null_count": 3, "min": 5, "max": 5, "exact": True}


# ---- text and bytes ----

LAST = [
    "\x7f",
    "a",
    "\u0080",
    "\u07ff",
    "\u20ac",
    "\ud7ff",
    "\uffff",
    "\U0010fffe",
    "\U0010ffff",
]
TEXTS = [
    "a" * lead + character * times + tail
    for lead in (0, 1, 28, 29, 30, 31, 32)
    for character in LAST
    for times in (1, 2, 8, 9, 40)
    for tail in ("", "z")
]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary("int32", "string")],
    ids=str,
)
def test_texts_are_cut(kind: pa.DataType) -> None:
    """A batch has one text, or two neighbours."""
    column = pa.array(TEXTS, pa.string()).cast(kind)
    batches = [
        pa.record_batch({"t": column[i : i + length]})
        for length in (1, 2)
        for i in range(len(TEXTS))
    ]
    check(gathered(batches), batches)


BYTES = [
    b"a" * lead + middle * times
    for lead in (0, 1, 30, 31, 32, 33)
    for middle in (b"\xff", b"\xfe", b"\0", b"\xfe\xff")
    for times in (0, 1, 2, 16, 31, 32, 33)
]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str
)
def test_bytes_are_cut(kind: pa.DataType) -> None:
    column = pa.array(BYTES, kind)
    batches = [
        pa.record_batch({"b": column[i : i + length]})
        for length in (1, 2)
        for i in range(len(BYTES))
    ]
    check(gathered(batches), batches)


@pytest.mark.parametrize("width", [0, 1, 2, 31, 32, 33, 1000])
def test_fixed_widths(width: int) -> None:
    words = [b"\xff" * width, b"\0" * width, bytes(i % 251 for i in range(width))]
    words += [(b"\xff" * 31 + b"a" * 1000)[:width], (b"\xff" * 32 + b"\0" * 1000)[:width]]
    column = pa.array([None, *words, None, *words], pa.binary(width))
    check_all(
        [pa.record_batch({"f": column[i : i + n]}) for n in (1, 3) for i in range(9)]
    )


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"a" * 31 + b"\xc3", b"\x80" * 40])
def test_invalid_text_has_no_bound(text: bytes) -> None:
    """Bounds are valid UTF-8, and no value is outside."""
    offsets = pa.array([0, len(text)], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(text)])
    table = gathered([pa.RecordBatch.from_arrays([column], ["t"])])
    table.validate(full=True)
    found = table["t"][0].as_py()
    assert found["null_count"] == 0
    assert not found["exact"]
    assert found["min"] is None or found["min"].encode() <= text
    assert found["max"] is None or found["max"].encode() >= text


# ---- floats ----

FLOATS = [0.0, -0.0, NAN, float("inf"), float("-inf"), 1.5, -1.5, None, 5e-8, -5e-8]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
@RANDOM
@given(
    rows=st.lists(st.sampled_from(FLOATS), max_size=12),
    times=st.sampled_from([1, 1, 9, 30]),
    start=st.integers(0, 9),
)
def test_floats(kind: pa.DataType, rows: list[Any], times: int, start: int) -> None:
    """Both ways of the loops are taken: few rows, and blocks of rows."""
    column = pa.array(rows * times, pa.float32()).cast(kind)[start:]
    check(gathered([pa.record_batch({"f": column})]), [pa.record_batch({"f": column})])


# ---- schemas ----


def test_names_that_repeat_or_have_dots() -> None:
    inner = pa.StructArray.from_arrays(
        [pa.array([1]), pa.array([2]), pa.array([3])], ["a", "a", ""]
    )
    names = ["s", "s.a", "s", "", "é.é"]
    columns = [inner, pa.array([4]), inner, pa.array([5]), pa.array([6])]
    batches = [pa.RecordBatch.from_arrays(columns, names)]
    check_all(batches)
    table = gathered(batches)
    assert table.schema.names[2:] == [
        *["s.a", "s.a", "s."],
        "s.a",
        *["s.a", "s.a", "s."],
        "",
        "é.é",
    ]


def test_no_leaf() -> None:
    rows = pa.Array.from_buffers(pa.struct([]), 3, [None], 0, children=[])
    for batch in (
        pa.RecordBatch.from_struct_array(rows),
        pa.record_batch({"l": [[1], [2], None]}),
        pa.record_batch({"s": rows}),
    ):
        check_all([batch, batch[1:], batch[:0]])
        assert gathered([batch]).column_names == ["batch", "row_count"]


def test_no_batch() -> None:
    with StreamCache(pa.schema({"x": pa.int8()}).empty_table()) as cache:
        cache.ingest_all()
        table = cache.statistics()
    table.validate(full=True)
    assert (table.column_names, table.num_rows) == (["batch", "row_count", "x"], 0)


def test_columns_of_nested_leaves() -> None:
    batch = batch_of("struct")
    both = pa.RecordBatch.from_arrays([*batch.columns, *batch.columns], list("abcd"))
    with StreamCache(reader_of([both])) as cache:
        cache.ingest_all()
        for columns in ([2], [3, 2], [0, 1, 2, 3], [3], []):
            check(cache.statistics(columns), [both], columns=columns)
