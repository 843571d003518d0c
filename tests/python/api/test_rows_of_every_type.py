"""Rows of every type in `take`, datasets, shuffles and frames. Filters lose no row."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

from batchcorder import StreamCache
from helpers import check_python, reader_of

ROWS = 300
TEXT = [None if i % 5 == 0 else f"text that is not inlined {i}" for i in range(ROWS)]
ONES = pa.array(range(ROWS + 1), pa.int32())
VIEW = pa.array(TEXT, pa.string_view())
RUN_ENDS = pa.array(range(1, ROWS + 1), pa.int32())
CATEGORY = pa.DictionaryArray.from_arrays(
    pa.array([i % 3 for i in range(ROWS)], pa.uint32()),
    pa.array(["a", "b", "c"], pa.string_view()),
)
UUID = pa.ExtensionArray.from_storage(
    pa.uuid(), pa.array([i.to_bytes(16, "big") for i in range(ROWS)], pa.binary(16))
)
CODES = pa.array([i % 2 for i in range(ROWS)], pa.int8())
COLUMNS: dict[str, pa.Array] = {
    "string_view": VIEW,
    "binary_view": VIEW.cast(pa.binary_view()),
    "dictionary of views": CATEGORY,
    "list of views": pa.ListArray.from_arrays(ONES, VIEW),
    "large list of views": pa.LargeListArray.from_arrays(ONES.cast(pa.int64()), VIEW),
    "fixed-size list of views": pa.FixedSizeListArray.from_arrays(VIEW, 1),
    "struct of views": pa.StructArray.from_arrays([VIEW], ["v"]),
    "map of views": pa.MapArray.from_arrays(ONES, pa.array(["k"] * ROWS), VIEW),
    "list of categories": pa.ListArray.from_arrays(ONES, CATEGORY),
    "extension of views": pa.ExtensionArray.from_storage(pa.json_(VIEW.type), VIEW),
    "uuid": UUID,
    "list of uuid": pa.ListArray.from_arrays(ONES, UUID),
    "struct of uuid": pa.StructArray.from_arrays([UUID], ["u"]),
    "runs": pa.RunEndEncodedArray.from_arrays(RUN_ENDS, pa.array(range(ROWS))),
    "runs of views": pa.RunEndEncodedArray.from_arrays(RUN_ENDS, VIEW),
    "struct of runs": pa.StructArray.from_arrays(
        [pa.RunEndEncodedArray.from_arrays(RUN_ENDS, pa.array(range(ROWS)))], ["r"]
    ),
    "sparse union": pa.UnionArray.from_sparse(CODES, [pa.array(range(ROWS)), VIEW]),
    "dense union": pa.UnionArray.from_dense(
        CODES, ONES.slice(0, ROWS), [pa.array(range(ROWS)), VIEW]
    ),
    "list view": pa.ListViewArray.from_arrays(
        ONES.slice(0, ROWS), pa.array([1] * ROWS, pa.int32()), pa.array(range(ROWS))
    ),
    "text": pa.array(TEXT),
}
i = pc.field("i")


def table_of(column: pa.Array) -> pa.Table:
    return pa.table({"i": range(len(column)), "v": column})


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_of_every_type(name: str) -> None:
    table = table_of(COLUMNS[name])
    cache = StreamCache(table.to_reader(max_chunksize=70))
    dataset, rows = cache.dataset(), table.to_pylist()

    def check(got: pa.Table, wanted: list[dict[str, Any]]) -> None:
        assert got.schema == table.schema
        # Validate before a read. pyarrow's own empty run-end arrays are not valid.
        if got.num_rows > 0:
            got.validate(full=True)
        assert got.to_pylist() == wanted

    check(cache.take([]), [])
    check(cache.take([299, 0, 71]), [rows[n] for n in (299, 0, 71)])
    check(cache.take(range(ROWS - 1, -1, -1)), rows[::-1])
    check(dataset.take([]), [])
    check(dataset.take([299, 0, 71]), [rows[n] for n in (299, 0, 71)])
    check(dataset.take([2, 1], filter=i >= 100), [rows[102], rows[101]])
    check(dataset.to_table(), rows)
    check(dataset.to_table(filter=i < 0), [])
    check(dataset.to_table(filter=i != 150), rows[:150] + rows[151:])
    check(dataset.head(3, filter=i > 68), rows[69:72])
    check(dataset.filter(i > 290).filter(i < 295).to_table(), rows[291:295])
    check(dataset.sort_by([("i", "descending")]).to_table(), rows[::-1])
    check(dataset.sort_by("i").to_table(filter=i < 2), rows[:2])
    fragments = [one.to_table(filter=i >= 69) for one in dataset.get_fragments(i < 80)]
    # The batches have 70 rows, so these rows are in the first two.
    assert pa.concat_tables(fragments)["i"].to_pylist() == list(range(69, 140))
    assert dataset.count_rows(filter=i >= 100) == 200
    assert sum(b.num_rows for b in dataset.to_batches(filter=i >= 100)) == 200
    assert dataset.to_table(columns=["i"], filter=i > 297)["i"].to_pylist() == [298, 299]
    named = dataset.to_table(columns={"w": pc.field("v"), "j": i + 1}, filter=i > 297)
    assert named["j"].to_pylist() == [299, 300]
    assert named["w"].to_pylist() == [row["v"] for row in rows[298:]]
    mixed = cache.shuffle(7, buffer_size=100).read_all()
    assert sorted(mixed.to_pylist(), key=lambda row: row["i"]) == rows


VIEWS = ("string_view", "binary_view", "runs of views", "dictionary of views")


KEYS = pa.array([text or "k" for text in TEXT], pa.string_view())


def _in_struct(column: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([VIEW, column], ["p", "q"])


AROUND: dict[str, Callable[[pa.Array], pa.Array]] = {
    "struct": _in_struct,
    "list": lambda x: pa.ListArray.from_arrays(ONES, _in_struct(x)),
    "large list": lambda x: pa.LargeListArray.from_arrays(ONES.cast(pa.int64()), x),
    "fixed-size list": lambda x: pa.FixedSizeListArray.from_arrays(_in_struct(x), 1),
    "map": lambda x: pa.MapArray.from_arrays(ONES, KEYS, x),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", COLUMNS)
def test_rows_of_types_beside_views(name: str, around: str) -> None:
    table = table_of(AROUND[around](COLUMNS[name]))
    cache = StreamCache(table.to_reader(max_chunksize=140))
    rows = table.to_pylist()
    few, many = [1, 139, 140], [n * 7 % ROWS for n in range(100)]
    for numbers in (few, many):
        for got in (cache.take(numbers), cache.dataset().take(numbers)):
            got.validate(full=True)
            assert got.to_pylist() == [rows[n] for n in numbers]
    got = cache.dataset().to_table(filter=i >= 100)
    got.validate(full=True)
    assert got.to_pylist() == rows[100:]


@pytest.mark.parametrize("name", VIEWS)
def test_filters_over_the_odd_column_itself(name: str) -> None:
    table = table_of(COLUMNS[name])
    plain = table_of(pa.array(table["v"].to_pylist()))
    dataset = StreamCache(table.to_reader(max_chunksize=70)).dataset()
    v, value = pc.field("v"), plain["v"][1].as_py()
    for filter in (
        v == value,
        v != value,
        v >= value,
        ~(v == value),
        v.is_null(),
        v.is_valid() & (i < 9),
        (v == value) | (i > 290),
        v.isin([value, plain["v"][7].as_py()]),
        pc.field(1) == value,
        pc.coalesce(v, pa.scalar(value)) == value,
    ):
        wanted = plain.filter(filter).to_pylist()
        assert dataset.to_table(filter=filter).to_pylist() == wanted, filter
        assert dataset.count_rows(filter=filter) == len(wanted)
    if name == "dictionary of views":
        return
    assert dataset.count_rows(filter=pc.binary_length(v) > 24) > 0
    lengths = dataset.to_table(columns={"n": pc.binary_length(v), "v": v, "w": v})
    assert lengths["n"].to_pylist() == pc.binary_length(plain["v"]).to_pylist()
    assert lengths["w"].to_pylist() == lengths["v"].to_pylist() == plain["v"].to_pylist()
    ordered = dataset.sort_by([("v", "descending"), ("i", "ascending")]).to_table()
    assert (
        ordered.to_pylist()
        == plain.sort_by([("v", "descending"), ("i", "ascending")]).to_pylist()
    )


def test_a_batch_that_pyarrow_computes_in_parts() -> None:
    """Acero splits batches of more than 32,768 rows, and the parts stay in order."""
    rows = 200_001
    text = pa.array([str(n) for n in range(rows)])
    table = pa.table({"s": text.cast(pa.string_view()), "n": range(rows)})
    dataset = StreamCache(table).dataset()
    s = pc.field("s")
    left = dataset.to_table(columns=["n"], filter=s != "70000")
    assert left["n"].to_pylist() == [n for n in range(rows) if n != 70_000]
    turned = dataset.to_table(columns={"t": pc.utf8_reverse(s)})
    assert turned["t"].to_pylist() == [str(n)[::-1] for n in range(rows)]


@pytest.mark.parametrize("name", ["text", *VIEWS])
def test_filters_that_are_not_boolean(name: str) -> None:
    dataset = StreamCache(table_of(COLUMNS[name])).dataset()
    for filter in (i, i + 1, pc.field("v"), pc.scalar(None), pc.scalar(1)):
        with pytest.raises(pa.ArrowTypeError, match="must evaluate to bool"):
            dataset.to_table(filter=filter)
        with pytest.raises(pa.ArrowTypeError, match="must evaluate to bool"):
            pads.Scanner.from_dataset(dataset.filter(filter)).to_table()
    unknown = pc.scalar(pa.scalar(None, pa.bool_()))
    assert dataset.to_table(filter=unknown).num_rows == 0


def test_joins_of_views() -> None:
    left = pl.DataFrame({"k": [1, 2, 3], "s": ["a", "b", None]})
    right = pl.DataFrame({"k": [2, 3, 4], "t": ["x", "y", "z"]})
    dataset = StreamCache(left).dataset()
    for other in (StreamCache(right).dataset(), pads.dataset(right.to_arrow())):
        joined = dataset.join(other, keys="k").to_table().sort_by("k")
        assert joined["t"].to_pylist() == [None, "x", "y"]
        assert joined["s"].to_pylist() == ["a", "b", None]


def test_frames_in_engines() -> None:
    import datafusion
    import duckdb

    frame = pl.DataFrame(
        {"n": range(9), "s": list("abcabcabc")},
        schema_overrides={"n": pl.Int64},
    ).with_columns(c=pl.col("s").cast(pl.Categorical), l=pl.concat_list("s"))
    dataset = StreamCache(frame).dataset()
    lazy = pl.scan_pyarrow_dataset(dataset)
    for predicate in (pl.col("n") > 5, pl.col("s") == "b", pl.col("s").is_in(["a", "c"])):
        got = lazy.filter(predicate).collect()
        assert got["n"].to_list() == frame.filter(predicate)["n"].to_list()
        assert got["l"].to_list() == frame.filter(predicate)["l"].to_list()
    context = datafusion.SessionContext()
    context.register_dataset("d", dataset)
    for query in ("n > 5", "s = 'b'", "s in ('a', 'c') and n < 7"):
        sql = f"select n, s from d where {query} order by n"
        wanted = duckdb.sql(sql.replace(" d ", " frame ")).fetchall()
        got = context.sql(sql).to_pydict()
        assert list(zip(got["n"], got["s"], strict=True)) == wanted
        duck = duckdb.sql(sql.replace(" d ", " dataset ")).fetchall()
        assert duck == wanted


# ---- dictionaries that do not fit one ----


def chunk(first: int, wrap: Callable[[pa.Array], pa.Array]) -> pa.RecordBatch:
    values = pa.array([None, *(f"value {n}" for n in range(first, first + 99))])
    column = pa.DictionaryArray.from_arrays(pa.array(range(100), pa.int8()), values)
    numbers = pa.array(range(first, first + 100))
    return pa.record_batch({"n": numbers, "v": wrap(column)})


def _listed(column: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, 0, *range(2, 101)], pa.int32()), column)


WRAPS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "alone": lambda column: column,
    "list": _listed,
    "large list": lambda column: _listed(column).cast(pa.large_list(column.type)),
    "fixed-size list": lambda column: pa.FixedSizeListArray.from_arrays(column, 1),
    "struct": lambda column: pa.StructArray.from_arrays([column], ["d"]),
    "map": lambda column: pa.MapArray.from_arrays(
        pa.array(range(101), pa.int32()), pa.array(["k"] * 100), column
    ),
}


@pytest.mark.parametrize("name", WRAPS)
def test_small_indices_of_dictionaries_of_their_own(name: str) -> None:
    batches = [chunk(first, WRAPS[name]) for first in (0, 100, 200, 300)]
    batches = [batch.slice(3, 90) for batch in batches]
    table = pa.Table.from_batches(batches)
    rows = table.to_pylist()
    cache = StreamCache(table.to_reader())
    few = [350, 0, 95, 351]
    got = cache.take(few)
    assert got.schema == table.schema
    assert got.to_pylist() == [rows[n] for n in few]
    assert got["v"].num_chunks == 1
    assert cache.dataset().take(few).to_pylist() == [rows[n] for n in few]
    every = list(range(359, -1, -1))
    assert cache.take(every).to_pylist() == [rows[n] for n in every]
    assert cache.dataset().take(every).to_pylist() == [rows[n] for n in every]
    assert cache.dataset().sort_by([("n", "descending")]).to_table().num_rows == 360
    for window in (0, 1, 150, 1000):
        reader = cache.shuffle(3, buffer_size=window)
        assert reader.schema == table.schema
        mixed = [row for batch in reader for row in batch.to_pylist()]
        assert sorted(mixed, key=lambda row: row["n"]) == rows


def test_sorting_by_dictionaries_that_do_not_fit_one() -> None:
    table = pa.Table.from_batches(
        [chunk(n, lambda column: column) for n in (0, 100, 200)]
    )
    dataset = StreamCache(table.to_reader()).dataset()
    by: list[tuple[str, str]] = [("v", "descending"), ("n", "ascending")]
    plain = table.set_column(1, "v", table["v"].cast(pa.string()))
    got = dataset.sort_by(by).to_table()
    assert got.schema == table.schema
    assert got.to_pylist() == plain.sort_by(by).to_pylist()
    assert dataset.sort_by("v").head(1).to_pylist() == plain.sort_by("v")[:1].to_pylist()


def words(first: int, last: str | None) -> pa.RecordBatch:
    values = pa.array([*(f"value {n}" for n in range(first, first + 99)), last])
    indices = pa.array(range(100), pa.int8())
    return pa.record_batch({"v": pa.DictionaryArray.from_arrays(indices, values)})


@pytest.mark.parametrize(
    ("last", "error"),
    [("x", "requires a larger index type"), (None, "dictionaries with nulls")],
)
def test_code_that_needs_one_dictionary(last: str | None, error: str) -> None:
    """pyarrow's C++ reads a dataset's rows as a file, which has a single dictionary."""
    batches = [words(0, last), words(99, last)]
    dataset = StreamCache(pa.Table.from_batches(batches)).dataset()
    with pytest.raises(pa.ArrowException, match=error):
        pads.Scanner.from_dataset(dataset).to_table()
    with pytest.raises(pa.ArrowException, match=error):
        pads.dataset([dataset]).to_table()
    one = StreamCache(batches[0]).dataset()
    assert pads.dataset([one]).to_table().equals(pa.Table.from_batches(batches[:1]))


def test_dictionaries_that_pyarrow_cannot_combine() -> None:
    def one(n: int) -> pa.RecordBatch:
        column = pa.DictionaryArray.from_arrays(
            pa.array([1, 0], pa.int8()), pa.array([[n], [n + 1]])
        )
        return pa.record_batch({"v": column})

    table = pa.Table.from_batches([one(0), one(10)])
    cache = StreamCache(table.to_reader())
    assert cache.take([2, 1, 0]).to_pylist() == [{"v": [11]}, {"v": [0]}, {"v": [1]}]


# ---- rows without columns, columns without or with one name ----


def test_rows_without_columns() -> None:
    rows = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    cache = StreamCache(pa.RecordBatchReader.from_batches(rows.schema, [rows, rows]))
    dataset = cache.dataset()
    assert cache.scan_polars().collect().height == 6
    assert cache.scan_polars().select(pl.len()).collect().item() == 6
    assert cache.scan_polars().head(4).collect().height == 4
    assert cache.to_polars().height == 6
    assert cache.take([0, 5]).num_rows == dataset.take([0, 5]).num_rows == 2
    assert dataset.head(4).num_rows == 4
    assert dataset.to_table(filter=pc.scalar(True)).num_rows == 6
    assert dataset.take([1], filter=pc.scalar(True)).num_rows == 1
    some = StreamCache(table_of(VIEW)).dataset()
    for options in ({}, {"filter": i < 9}, {"filter": pc.field("v") == TEXT[1]}):
        wanted = some.to_table(**options).num_rows
        assert some.to_table(columns=[], **options).num_rows == wanted
        assert some.take([0, 0], columns=[], **options).num_rows == 2
    with pytest.raises(IndexError):
        some.take([ROWS], columns=[])


def test_columns_without_a_name() -> None:
    table = pa.table({"": [1, 2, 3], "x": ["a", "b", "c"]})
    cache = StreamCache(table.to_reader(max_chunksize=2))
    assert cache.to_polars().columns == ["", "x"]
    frame = cache.scan_polars()
    assert frame.collect().to_dict(as_series=False) == table.to_pydict()
    assert frame.filter(pl.col("") > 1).select("").collect().rows() == [(2,), (3,)]
    assert cache.dataset().to_table(filter=pc.field("") > 1).num_rows == 2


def test_columns_of_one_name() -> None:
    table = pa.table(
        [[1, 2, 3], VIEW[:3], [7, 8, 9], [4, 5, 6]], names=["a", "a", "b", "a"]
    )
    dataset = StreamCache(table.to_reader(max_chunksize=2)).dataset()
    b = pc.field("b")
    assert dataset.to_table().equals(table)
    assert pa.Table.from_batches(dataset.to_batches()).equals(table)
    assert dataset.scanner().to_reader().read_all().equals(table)
    assert dataset.head(2).equals(table[:2])
    assert dataset.to_table(filter=b > 7).equals(table[1:])
    assert dataset.filter(b > 7).take([1]).equals(table[2:])
    assert dataset.take([2, 2]).num_columns == 4
    assert dataset.count_rows(filter=b > 7) == 2
    assert dataset.to_table(columns=["b"], filter=b > 7).to_pydict() == {"b": [8, 9]}
    assert dataset.to_table(columns={"c": b + 1}).to_pydict() == {"c": [8, 9, 10]}
    by_number = dataset.to_table(columns={"x": pc.field(3)}, filter=pc.field(0) > 1)
    assert by_number.to_pydict() == {"x": [5, 6]}
    for ask in (
        lambda: dataset.to_table(columns=["a"]),
        lambda: dataset.to_table(filter=pc.field("a") > 1),
    ):
        with pytest.raises(
            pa.ArrowInvalid, match=r"Multiple matches for FieldRef.Name\(a\)"
        ):
            ask()


def test_columns_of_one_name_in_polars(capfd: pytest.CaptureFixture[str]) -> None:
    cache = StreamCache(pa.table([[1, 2], [3, 4], [5, 6]], names=["a", "b", "a"]))
    for ask in (cache.to_polars, cache.scan_polars):
        with pytest.raises(pl.exceptions.DuplicateError, match="one name: 'a'"):
            ask()
    assert capfd.readouterr().err == ""
    assert cache.to_polars(columns=[1, 2]).rows() == [(3, 5), (4, 6)]


FIXED = pa.array([[1, 2], None, [3, None], None, [5, 6]], pa.list_(pa.int64(), 2))
LISTS = {
    "alone": FIXED,
    "of text": pa.array(
        [["a", "b"], None, ["c", None], None, ["d", "e"]], pa.list_(pa.string(), 2)
    ),
    "in a list": pa.FixedSizeListArray.from_arrays(FIXED, 1),
    "in a struct": pa.StructArray.from_arrays([FIXED.slice(1)], ["f"]),
    "in lists": pa.ListArray.from_arrays(pa.array([0, 2, 4], pa.int32()), FIXED.slice(1)),
    "in a dictionary": pa.DictionaryArray.from_arrays(
        pa.array([3, None, 0, 1], pa.int8()), FIXED.slice(1)
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_slices_of_fixed_size_lists(name: str) -> None:
    column = LISTS[name]
    for start, chunksize in itertools.product(range(3), (1, 2, 9)):
        table = pa.table({"f": column.slice(start)})
        cache = StreamCache(table.to_reader(max_chunksize=chunksize))
        wanted = table["f"].to_pylist()
        assert cache.to_polars()["f"].to_list() == wanted
        assert cache.scan_polars().collect()["f"].to_list() == wanted
        assert cache.scan_polars().head(1).collect()["f"].to_list() == wanted[:1]


def test_half_floats_for_a_polars_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    half = pa.array([1.0, 1.5, None], pa.float16())
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), half)
    cache = StreamCache(pa.table({"x": half, "in lists": lists}))
    monkeypatch.delattr(pl, "Float16")
    for frame in (cache.to_polars(), cache.scan_polars().collect()):
        assert frame.dtypes == [pl.Float32, pl.List(pl.Float32)]
        assert frame["x"].to_list() == [1.0, 1.5, None]
        assert frame["in lists"].to_list() == [[1.0], [1.5], [None]]


NOT_IN_POLARS = {
    *("runs", "runs of views", "struct of runs"),
    *("sparse union", "dense union", "list view"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_scans_of_every_type_do_not_end_in_a_panic(name: str) -> None:
    cache = StreamCache(table_of(COLUMNS[name]))
    scans = (cache.to_polars, lambda: cache.scan_polars().collect())
    if name not in NOT_IN_POLARS:
        one, other = (scan() for scan in scans)
        assert one.height == ROWS
        assert one.equals(other)
        return
    for scan in scans:
        with pytest.raises((NotImplementedError, ValueError), match="support"):
            scan()


@pytest.mark.parametrize("around", ["struct", "list", "map"])
def test_rows_of_large_unions_take_memory_for_themselves(around: str) -> None:
    """A slice of a dense union has all of its values."""
    n, few = 100_000, 500
    numbers = pa.array(range(n))
    union = pa.UnionArray.from_dense(
        pa.array([0] * n, pa.int8()),
        numbers.cast(pa.int32()),
        [numbers],
    )
    text = pa.array(["x"] * n, pa.string_view())
    beside = pa.StructArray.from_arrays([union, text], ["u", "t"])
    offsets = pa.array(range(n + 1), pa.int32())
    column = {
        "struct": lambda: beside,
        "list": lambda: pa.ListArray.from_arrays(offsets, beside),
        "map": lambda: pa.MapArray.from_arrays(offsets, text, beside),
    }[around]()
    cache = StreamCache(pa.table({"v": column}))
    wanted = [number * 199 for number in range(few)]
    taken = cache.take(wanted)["v"]
    assert taken.to_pylist() == [column[number].as_py() for number in wanted]
    assert taken.nbytes < 1 << 20


def test_sorting_beside_a_union_of_extensions() -> None:
    """pyarrow aborts the process if it sorts this table in its own dataset."""
    check_python("""
        import pyarrow as pa
        from batchcorder import StreamCache

        def batch(rows, offset):
            n = rows + 2
            numbers = pa.array(range(n), pa.uint16())
            inner = pa.ExtensionArray.from_storage(
                pa.opaque(numbers.type, "t", "v"), numbers
            )
            fixed = pa.array([b"abc"] * n, pa.binary(3))
            fields = [pa.field("a", inner.type), pa.field("b", fixed.type)]
            kind = pa.sparse_union(fields, [0, 7])
            codes = pa.array([0, 7] * n, pa.int8()).buffers()[1]
            union = pa.Array.from_buffers(
                kind, n, [None, codes], children=[inner, fixed]
            )
            column = pa.ExtensionArray.from_storage(pa.opaque(kind, "t", "v"), union)
            i = pa.array(range(rows), pa.int32())
            return pa.record_batch({"v": column.slice(offset, rows), "i": i})

        table = pa.Table.from_batches([batch(0, 0), batch(9, 1)])
        got = StreamCache(table).dataset().sort_by([("i", "descending")]).to_table()
        assert got.to_pylist() == table.to_pylist()[::-1]
    """)


def test_more_rows_than_run_ends_can_count() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int16()), ["a", "b"])
    cache = StreamCache(pa.table({"r": runs}))
    assert cache.take([0] * 40_000)["r"].to_pylist() == ["a"] * 40_000


DECIMALS = pa.array([Decimal("1.25"), None, Decimal("-3.50"), Decimal("0")])
NESTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "alone": lambda x: x,
    "sliced": lambda x: x.slice(1),
    "struct": lambda x: pa.StructArray.from_arrays([x.slice(1)], ["d"]),
    "list": lambda x: pa.ListArray.from_arrays(pa.array([0, 1, 4], pa.int32()), x),
    "fixed list": lambda x: pa.FixedSizeListArray.from_arrays(x, 2),
}


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize(
    "kind", [pa.decimal32(7, 2), pa.decimal64(12, 2), pa.decimal128(20, 2)], ids=str
)
def test_decimals_of_every_width_in_polars(kind: pa.DataType, nest: str) -> None:
    """Polars imports small decimals of other producers with another width."""
    column = NESTS[nest](DECIMALS.cast(kind))
    table = pa.table({"d": column})
    cache = StreamCache(table.to_reader(max_chunksize=1))
    assert cache.to_polars()["d"].to_list() == column.to_pylist()
    assert cache.scan_polars().collect()["d"].to_list() == column.to_pylist()


def map_of_words(words: list[str | None]) -> pa.MapArray:
    """Return a row for each word, with the word as the key."""
    n = len(words)
    keys = pa.DictionaryArray.from_arrays(pa.array(range(n), pa.int8()), pa.array(words))
    items = pa.array([str(number) for number in range(n)], pa.string_view())
    pairs = pa.StructArray.from_arrays(
        [keys, items],
        fields=[
            pa.field("key", keys.type, nullable=False),
            pa.field("value", items.type),
        ],
    )
    offsets = pa.array(range(n + 1), pa.int32()).buffers()[1]
    kind = pa.map_(keys.type, items.type)
    return pa.Array.from_buffers(kind, n, [None, offsets], children=[pairs])


@pytest.mark.parametrize("how", ["take", "dataset", "shuffle"])
def test_keys_that_refer_to_nulls(how: str) -> None:
    """pyarrow aborts the process if a map's key is null."""
    columns = [map_of_words(["a", None]), map_of_words(["c", None])]
    batches = [pa.record_batch([column], names=["m"]) for column in columns]
    cache = StreamCache(reader_of(batches))
    if how == "shuffle":
        taken = cache.shuffle(1, buffer_size=4).read_all()
        rows = sorted(taken["m"].to_pylist(), key=str)
        assert rows == sorted(cache.to_table()["m"].to_pylist(), key=str)
        return
    source = cache.dataset() if how == "dataset" else cache
    assert source.take([1, 2])["m"].to_pylist() == [[(None, "1")], [("c", "0")]]


# ---- filters exclude a batch only if no row can match ----

NAN = float("nan")
INFINITE = pc.scalar(float("inf"))
CONSTANTS: dict[str, Any] = {
    "nan": pc.scalar(NAN),
    "inf - inf": INFINITE - INFINITE,
    "-inf + inf": pc.scalar(float("-inf")) + INFINITE,
    "0 * inf": pc.scalar(0.0) * INFINITE,
    "0 / 0": pc.divide(pc.scalar(0.0), pc.scalar(0.0)),
    "sqrt": pc.sqrt(pc.scalar(-1.0)),
    "log": pc.ln(pc.scalar(-1.0)),
    "cast": pc.scalar("nan").cast(pa.float64()),
    "cast of nan": pc.scalar(pa.scalar(NAN, pa.float32())).cast(pa.float64()),
    "if_else": pc.if_else(pc.scalar(True), pc.scalar(NAN), pc.scalar(1.0)),
    "column": pc.divide(pc.field("same").cast(pa.float64()), pc.scalar(0.0)),
    "text": pc.field("text").cast(pa.float64()),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_nan_out_of_constants_loses_no_row(name: str) -> None:
    numbers = {"x": [1.0, 2.0, None, 3.0], "n": [1, 2, 3, 4]}
    table = pa.table({**numbers, "same": [0] * 4, "text": ["nan"] * 4})
    dataset = StreamCache(table.to_reader(max_chunksize=2)).dataset()
    dataset.count_rows()
    nan = CONSTANTS[name]
    for column in (pc.field("x"), pc.field("n")):
        for compared in (
            column < nan,
            column <= nan,
            column == nan,
            column != nan,
            column >= nan,
            column > nan,
            pc.is_nan(nan) & (pc.field("x") > 0),
        ):
            for filter in (compared, ~compared, compared | (pc.field("n") == 4)):
                wanted = table.filter(filter)
                assert dataset.to_table(filter=filter).equals(wanted), filter
                assert dataset.count_rows(filter=filter) == wanted.num_rows, filter


def test_expressions_without_a_text() -> None:
    """pyarrow has no text for bytes that are not UTF-8."""
    table = pa.table({"b": [b"\xff", b"a", b"\xfe"], "n": [1, 2, 3]})
    dataset = StreamCache(table.to_reader(max_chunksize=1)).dataset()
    b = pc.field("b")
    for filter in (b == b"\xff", b.isin([b"\xff", b"a"]), (b > b"\xfe") | (b == b"a")):
        assert dataset.to_table(filter=filter).equals(table.filter(filter))
        assert dataset.to_table(columns=["n"], filter=filter).num_columns == 1
    flag = dataset.to_table(columns={"is": b == b"\xff"})
    assert flag["is"].to_pylist() == [True, False, False]


def test_names_in_literals_and_nested_fields() -> None:
    table = pa.table({"a": [{"b": 1, "a": 2}], "b": ["a"], "c": [3]})
    cache = StreamCache(table)
    dataset = cache.dataset()
    inner = pc.field("a", "b")
    assert dataset.to_table(columns=["c"], filter=inner == 1).to_pydict() == {"c": [3]}
    assert dataset.to_table(
        columns={"x": inner}, filter=pc.field("b") == "a"
    ).to_pydict() == {"x": [1]}
    assert dataset.to_table(filter=pc.field("b") == "c").num_rows == 0
