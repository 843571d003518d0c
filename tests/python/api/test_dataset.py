"""The recording as a dataset: exact results, and the batches that are read for them."""

from __future__ import annotations

import datetime as dt
import decimal
import errno
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchcorder import StreamCache
from batchcorder._dataset import CacheDataset
from helpers import Source, Task, cache_file, check_python, on_disk
from tiers import MakeCache, maker

ROWS, CHUNK = 1000, 100
x, y, z = pc.field("x"), pc.field("y"), pc.field("z")
TABLE = pa.table(
    {
        "x": pa.array(range(ROWS), pa.int64()),
        "y": pa.array([None if i % 7 == 0 else i / 2 for i in range(ROWS)]),
        "z": [f"{i:05}" for i in range(ROWS)],
        "odd": pa.array([float("nan") if i == 500 else float(i) for i in range(ROWS)]),
        "late": pa.array([None if i < 600 else i for i in range(ROWS)]),
        "when": pa.array([dt.date(2024, 1, 1) + dt.timedelta(i) for i in range(ROWS)]),
        "price": pa.array([decimal.Decimal(i) / 4 for i in range(ROWS)]),
        "on": pa.array([i >= 900 for i in range(ROWS)]),
        "kind": pa.array([f"k{i // 300}" for i in range(ROWS)]).dictionary_encode(),
        "parts": pa.array([[i] * (i % 3) for i in range(ROWS)]),
        "pair": pa.array([{"x": i} for i in range(ROWS)]),
    }
)


def stream() -> pa.RecordBatchReader:
    """Return TABLE as a single-use stream."""
    return TABLE.to_reader(max_chunksize=CHUNK)


@pytest.fixture
def cache(make_cache: MakeCache) -> StreamCache:
    return make_cache(stream())


def same(one: pa.Table, other: pa.Table) -> bool:
    """Return whether the tables are equal. NaN equals NaN."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(
        other.to_pylist()
    )


def reads(cache: StreamCache) -> int:
    """Return the number of batches that readers have read."""
    stats = cache.stats()
    return stats["memory_hits"] + stats["disk_hits"]


# Filters, and the batches that they cannot exclude.
FILTERS: list[tuple[pc.Expression, set[int]]] = [
    (x >= 995, {9}),
    ((x >= 150) & (x < 310), {1, 2, 3}),
    ((x < 5) | (x > 990), {0, 9}),
    (x == 250, {2}),
    (x.isin([3, 555]), {0, 5}),
    (x != 250, set(range(10))),
    (~(x < 950), {9}),
    (x < 0, set()),
    ((x < 200) & (y > 75), {1}),
    (y > 499, {9}),
    (y.is_null(), set(range(10))),
    (y.is_valid() & (x < 5), {0}),
    (z == "00555", {5}),
    (z >= "00990", {9}),
    ((pc.field("odd") > 990), {5, 9}),
    (pc.field("odd") != 3, set(range(10))),
    (pc.field("late") < 650, {6}),
    (pc.field("late").is_null(), {0, 1, 2, 3, 4, 5}),
    (pc.field("late").is_valid(), {6, 7, 8, 9}),
    (pc.field("when") < dt.date(2024, 1, 20), {0}),
    (pc.field("price") > decimal.Decimal("249"), {9}),
    (pc.field("on"), {9}),
    (pc.field("on") & (x < 900), set()),
    (pc.field("kind") == "k2", {6, 7, 8}),
    (pc.field("pair", "x") == 5, {0}),
    (pc.field(0) > 990, set(range(10))),
    (pc.scalar(True), set(range(10))),
]


@pytest.mark.parametrize(("filter", "batches"), FILTERS, ids=lambda v: str(v)[:40])
def test_filters_are_exact_and_leave_batches_out(
    filter: pc.Expression, batches: set[int], cache: StreamCache
) -> None:
    wanted = TABLE.filter(filter)
    dataset = cache.dataset()
    assert same(dataset.to_table(filter=filter), wanted), "while recording"
    assert same(dataset.to_table(filter=filter), wanted), "collecting statistics"
    before = reads(cache)
    assert same(dataset.to_table(filter=filter), wanted)
    assert dataset.to_table(filter=filter, columns=["y"]).equals(wanted.select(["y"]))
    assert reads(cache) - before <= 2 * len(batches)
    assert len(wanted) == 0 or reads(cache) - before == 2 * len(batches)
    before = reads(cache)
    assert dataset.count_rows(filter=filter) == len(wanted)
    assert reads(cache) - before <= len(batches)


NAN = float("nan")
ODD: dict[str, tuple[pa.Table, pc.Expression]] = {
    "compared with nan": (pa.table({"a": [1.0, 2.0]}), ~(pc.field("a") <= NAN)),
    "less than nan": (pa.table({"a": [1.0, 2.0]}), ~(pc.field("a") < NAN)),
    "negative zero": (pa.table({"a": [0.0, -0.0]}), pc.field("a").isin([-0.0])),
    "not zero": (pa.table({"a": [0.0, -0.0]}), ~pc.field("a").isin([0.0])),
    "zero as text": (
        pa.table({"a": [0.0, -0.0]}),
        pc.field("a").cast(pa.string()) == "-0",
    ),
    "durations": (
        pa.table({"a": pa.array([1, 2], pa.duration("s"))}),
        pc.field("a") == pa.scalar(2, pa.duration("s")),
    ),
    "decimal32": (
        pa.table({"a": pa.array([decimal.Decimal(1)], pa.decimal32(5, 1)), "b": [1]}),
        pc.field("b") == 1,
    ),
    "a set of another zone": (
        pa.table({"a": pa.array([1, 2], pa.timestamp("ms", "Europe/Paris"))}),
        pc.field("a").isin(pa.array([1000], pa.timestamp("us", "UTC"))),
    ),
    "a set of another type": (
        pa.table({"a": pa.array([1, 2**63], pa.uint64())}),
        pc.field("a").isin(pa.array([1], pa.int64())),
    ),
    "names in names": (
        pa.table({"a": [1, 2], "aa": [3, 4], "a a": [5, 6]}),
        (pc.field("aa") > 3) & (pc.field("a a") < 9),
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_filters_act_as_on_a_table(name: str) -> None:
    table, filter = ODD[name]
    cache = StreamCache(table.to_reader(max_chunksize=1))
    cache.ingest_all()
    wanted = pads.dataset(table).to_table(filter=filter)
    for _ in range(2):
        assert same(cache.dataset().to_table(filter=filter), wanted)


def test_parts_of_a_struct_by_name(cache: StreamCache) -> None:
    table = TABLE.select(["x", "pair"])
    for dataset in (cache.dataset(), pads.dataset(table)):
        assert dataset.to_table(columns=["pair.x"])["x"].to_pylist() == list(range(ROWS))


def test_projections(cache: StreamCache) -> None:
    dataset = cache.dataset()
    assert dataset.schema.equals(TABLE.schema)
    assert same(dataset.to_table(), TABLE)
    for columns in (["z", "x"], ["kind"], ["parts", "pair"]):
        assert dataset.to_table(columns=columns).equals(TABLE.select(columns))
    made = dataset.to_table(columns={"twice": x * 2, "z": z}, filter=x < 3)
    assert made.to_pydict() == {"twice": [0, 2, 4], "z": ["00000", "00001", "00002"]}
    assert dataset.to_table(columns=[]).num_rows == ROWS
    with pytest.raises(pa.ArrowInvalid, match="zz"):
        dataset.to_table(columns=["zz"])
    with pytest.raises(pa.ArrowInvalid, match="zz"):
        dataset.to_table(filter=pc.field("zz") > 1)


def damage(path: Path, column: pa.ChunkedArray, rows: int) -> None:
    """Flip a byte of a numeric column in its second batch of `rows` rows."""
    values = column.combine_chunks().slice(rows, rows).to_numpy().tobytes()
    content = bytearray(cache_file(path).read_bytes())
    content[content.index(values) + 5000] ^= 1
    cache_file(path).write_bytes(content)


def test_only_those_columns_are_read(tmp_path: Path) -> None:
    """Damage in a column that is not selected is not noticed."""
    wide = pa.table({f"c{i}": pa.array(range(i, i + 9000)) for i in range(4)})
    cache = on_disk(wide.to_reader(max_chunksize=3000), tmp_path)
    cache.ingest_all()
    damage(tmp_path, wide["c2"], 3000)
    dataset = cache.dataset()
    c0, c3 = pc.field("c0"), pc.field("c3")
    some = dataset.to_table(columns=["c3"], filter=(c0 > 10) & (c3 < 100))
    assert some["c3"].to_pylist() == list(range(14, 100))
    last = dataset.to_table(filter=c0 >= 8000)
    assert last.equals(wide.slice(8000)), "in a scan that excludes whole batches"
    with pytest.raises(OSError, match="Checksum mismatch"):
        dataset.to_table(columns=["c2"])


def test_rows(cache: StreamCache) -> None:
    dataset = cache.dataset()
    assert dataset.head(3).equals(TABLE.slice(0, 3))
    assert cache.ingested_count < 10 or reads(cache) <= 10
    assert dataset.head(150, columns=["z"]).equals(TABLE.select(["z"]).slice(0, 150))
    assert dataset.head(2, filter=x > 500).equals(TABLE.slice(501, 2))
    cache.ingest_all()
    before = reads(cache)
    assert same(dataset.take([999, 3, 3, 950]), TABLE.take([999, 3, 3, 950]))
    assert dataset.take([], columns=["x"]).num_rows == 0
    assert dataset.take(pa.array([5]), columns=["x"]).to_pydict() == {"x": [5]}
    assert dataset.take([1], filter=x > 500)["x"].to_pylist() == [502]
    for bad in ([1000], [-1]):
        with pytest.raises(IndexError):
            dataset.take(bad)
    before = reads(cache)
    assert dataset.count_rows() == ROWS
    assert reads(cache) == before, "count_rows read a batch"
    assert sum(b.num_rows for b in dataset.to_batches()) == ROWS


def test_take_reads_the_batches_it_must(tmp_path: Path) -> None:
    cache = on_disk(stream(), tmp_path)
    cache.ingest_all()
    cache.dataset().take([0])
    before = reads(cache)
    got = cache.dataset().take([999, 5, 7], columns=["x"])
    assert got["x"].to_pylist() == [999, 5, 7]
    assert reads(cache) - before == 2, "take read batches it does not need"


def test_filters_add_up(cache: StreamCache) -> None:
    some = cache.dataset().filter(x >= 100).filter(x < 300)
    assert some.to_table().equals(TABLE.slice(100, 200))
    assert some.count_rows() == 200
    assert some.to_table(filter=y > 100, columns=["x"])["x"].to_pylist() == [
        i for i in range(201, 300) if i % 7
    ]
    assert some.head(1)["x"].to_pylist() == [100]
    assert sum(f.count_rows() for f in some.get_fragments()) == 200


def test_batches_keep_their_lengths(cache: StreamCache) -> None:
    """The lengths are those of pyarrow's Scanner.from_batches."""
    for options in ({}, {"batch_size": 7}, {"batch_size": 2 * CHUNK, "filter": x >= 0}):
        batches = cache.dataset().to_batches(**options)
        assert [batch.num_rows for batch in batches] == [CHUNK] * (ROWS // CHUNK)
    assert "`batch_size` has no effect" in str(CacheDataset.scanner.__doc__)


def test_fragments_cover_all_once(cache: StreamCache) -> None:
    dataset = cache.dataset()
    fragments = list(dataset.get_fragments())
    assert fragments
    parts = [fragment.to_table(columns=["x"]) for fragment in fragments]
    assert pa.concat_tables(parts).equals(TABLE.select(["x"]))
    taken = fragments[-1].take([0, 1], columns=["x"])
    assert taken.equals(parts[-1].slice(0, 2))
    assert all(f.physical_schema.equals(TABLE.schema) for f in fragments)
    few = list(dataset.get_fragments(filter=x > 990))
    assert sum(f.count_rows(filter=x > 990) for f in few) == 9
    assert sum(f.count_rows() for f in few) == 100, "the filter kept more than one batch"
    assert [f for f in dataset.get_fragments(filter=x < 0) if f.count_rows()] == []


def test_other_operations_of_pyarrow() -> None:
    simple = TABLE.select(["x", "y", "z"])
    dataset = StreamCache(simple.to_reader(max_chunksize=CHUNK)).dataset()
    assert dataset.sort_by([("x", "descending")]).head(1)["x"].to_pylist() == [999]
    right = StreamCache(TABLE.select(["x", "on"]).rename_columns(["x", "flag"])).dataset()
    joined = dataset.filter(x < 5).join(right, keys="x").to_table()
    assert sorted(joined["x"].to_pylist()) == [0, 1, 2, 3, 4]
    assert "flag" in joined.schema.names
    asof = dataset.filter(x < 5).join_asof(right, on="x", by=[], tolerance=0)
    assert asof.to_table().num_rows == 5
    assert isinstance(dataset, pads.Dataset)
    assert dataset.partition_expression.equals(pc.scalar(True))
    with pytest.raises(NotImplementedError, match=r"cache\.cast"):
        dataset.replace_schema(pa.schema({"x": pa.int8()}))
    more = dataset.replace_schema(pa.schema({"x": pa.int64(), "more": pa.string()}))
    assert more.to_table(filter=x < 2).to_pydict() == {"x": [0, 1], "more": [None, None]}
    with pytest.raises(TypeError, match="StreamCache"):
        pickle.dumps(dataset)


def test_written_by_pyarrow(cache: StreamCache, tmp_path: Path) -> None:
    table = TABLE.drop_columns(["kind"])
    dataset = StreamCache(table.to_reader(max_chunksize=CHUNK)).dataset()
    pads.write_dataset(dataset, tmp_path / "out", format="parquet")
    back = pads.dataset(tmp_path / "out").to_table().sort_by("x")
    assert back.num_rows == ROWS


def test_every_member_is_our_own(cache: StreamCache) -> None:
    """pyarrow's own members would read from its C++ dataset, which is empty."""
    dataset = cache.dataset()
    for name in dir(pads.Dataset):
        if name.startswith("_"):
            continue
        owner = next(base for base in type(dataset).__mro__ if name in vars(base))
        assert owner.__module__.startswith("batchcorder"), name


def test_code_that_does_not_ask_python() -> None:
    """C++ code of pyarrow bypasses the Python class and still gets the rows."""
    table = TABLE.select(["x", "y"])
    cache = StreamCache(table.to_reader(max_chunksize=CHUNK))
    dataset, plain = cache.dataset().filter(x >= 10), pads.dataset(table.slice(10))
    other = pads.dataset(TABLE.select(["x", "z"]))
    scans: list[Callable[[Any], pa.Table]] = [
        lambda one: pads.Scanner.from_dataset(one).to_table(),
        lambda one: pads.Scanner.from_dataset(
            one, columns=["y"], filter=x > 990
        ).to_table(),
        lambda one: other.join(one, keys="x").to_table().sort_by("x"),
        lambda one: one.join(other, keys="x").to_table().sort_by("x"),
        lambda one: pads.dataset([one, other]).to_table(),
        lambda one: pads.dataset([other, one]).count_rows(filter=x < 50),
        # With threads, acero promises no order of the rows.
        lambda one: acero.Declaration("scan", acero.ScanNodeOptions(one)).to_table(
            use_threads=False
        ),
    ]
    for scan in scans:
        got, wanted = scan(dataset), scan(plain)
        if isinstance(wanted, pa.Table):
            columns = wanted.schema.names[:2]  # acero's scan adds its own fields
            got, wanted = got.select(columns), wanted.select(columns)
        assert got == wanted


def test_scans_over_views_need_no_second_thread() -> None:
    """pyarrow reads the filtered batches in its scan's only thread."""
    check_python(
        """
    import pyarrow as pa, pyarrow.compute as pc
    from batchcorder import StreamCache

    pa.set_io_thread_count(1)
    words = pa.array([f"word {i} that is not inlined" for i in range(100)])
    table = pa.table({"s": words.cast(pa.string_view()), "x": range(100)})
    dataset = StreamCache(table.to_reader(max_chunksize=10)).dataset()
    s = pc.field("s")
    assert dataset.count_rows(filter=s != "word") == 100
    upper = dataset.to_table(columns={"u": pc.utf8_upper(s)}, filter=pc.scalar(True))
    assert upper["u"].to_pylist() == pc.utf8_upper(words).to_pylist()
    """
    )


def test_scans_over_views_side_by_side() -> None:
    check_python(
        """
    import pyarrow as pa, pyarrow.compute as pc
    from batchcorder import StreamCache
    from helpers import Task

    words = pa.array([f"word {i} that is not inlined" for i in range(1000)])
    table = pa.table({"s": words.cast(pa.string_view())})
    dataset = StreamCache(table.to_reader(max_chunksize=10)).dataset()
    count = lambda: dataset.count_rows(filter=pc.field("s") != "word")
    tasks = [Task(count) for _ in range(2 * pa.io_thread_count())]
    assert {task.result() for task in tasks} == {1000}
    """,
        timeout=300,
    )


@pytest.mark.parametrize("name", ["plain", "views"])
def test_unions_need_no_second_thread(name: str) -> None:
    """pyarrow opens the parts of a union in the thread that computes."""
    check_python(
        f"""
    import pyarrow as pa, pyarrow.compute as pc, pyarrow.dataset as pads
    from batchcorder import StreamCache

    pa.set_cpu_count(1)
    text = pa.string_view() if {name == "views"} else pa.string()
    table = pa.table({{"s": pa.array(["a", "b"] * 50, text), "x": range(100)}})
    dataset = StreamCache(table.to_reader(max_chunksize=10)).dataset()
    filtered = dataset.filter((pc.field("s") == "a") & (pc.field("x") > 49))
    for one, rows in ((dataset, 100), (filtered, 25)):
        union = pads.dataset([one] * 16)
        for _ in range(3):
            assert union.to_table().num_rows == 16 * rows
            assert union.count_rows(filter=pc.field("x") >= 0) == 16 * rows
    """
    )


def test_recorded_while_it_is_scanned() -> None:
    """The dataset reads batches that are not recorded yet from the source, once."""
    source = Source(TABLE.select(["x", "z"]).to_batches(max_chunksize=CHUNK))
    cache = StreamCache(source)
    dataset = cache.dataset()
    next(iter(cache))
    assert dataset.to_table(filter=x >= 900).num_rows == 100
    assert dataset.to_table(filter=x < 5).num_rows == 5
    assert (source.given, source.streams) == (10, 1)


def test_statistics_do_not_keep_a_cache_alive(tmp_path: Path) -> None:
    cache = on_disk(stream(), tmp_path)
    for _ in range(2):
        assert cache.dataset().to_table(filter=x > 990).num_rows == 9
    gc.disable()
    try:
        del cache
        assert list(tmp_path.iterdir()) == []
    finally:
        gc.enable()


def test_readers_that_count() -> None:
    cache = StreamCache(stream(), max_readers=2)
    dataset = cache.dataset()
    assert dataset.to_table(filter=x > 990).num_rows == 9
    assert dataset.take([5], columns=["x"]).to_pydict() == {"x": [5]}
    (fragment,) = StreamCache(stream(), max_readers=1).dataset().get_fragments()
    assert fragment.count_rows() == ROWS
    with pytest.raises(ValueError, match="Maximum number of readers"):
        dataset.to_table()


def test_a_dataset_keeps_the_recording_and_sees_it_closed(tmp_path: Path) -> None:
    dataset = on_disk(stream(), tmp_path).dataset()
    assert dataset.count_rows() == ROWS
    dataset._cache.close()
    with pytest.raises(ValueError, match="closed"):
        dataset.to_table()


class OwnError(Exception):
    pass


SCANS: dict[str, Callable[[CacheDataset], Any]] = {
    "to_table": lambda dataset: dataset.to_table(),
    "filter": lambda dataset: dataset.to_table(filter=x != 150),
    "to_batches": lambda dataset: list(dataset.to_batches(filter=x != 150)),
    "head": lambda dataset: dataset.head(ROWS),
    "count_rows": lambda dataset: dataset.count_rows(),
    "count": lambda dataset: dataset.count_rows(filter=x != 150),
    "take": lambda dataset: dataset.take([0]),
    "take of some": lambda dataset: dataset.take([0], filter=x != 150),
    "sort_by": lambda dataset: dataset.sort_by("x"),
    "fragments": lambda dataset: list(dataset.get_fragments()),
    "C++": lambda dataset: pads.Scanner.from_dataset(dataset).to_table(),
    "C++, filter": lambda dataset: pads.dataset([dataset.filter(x != 150)]).to_table(),
}


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize(
    "error", [OwnError("k"), KeyError("k"), OSError(errno.ENOSPC, "k")], ids=repr
)
@pytest.mark.parametrize("scan", SCANS)
def test_a_sources_exception_is_itself(scan: str, error: Exception, known: int) -> None:
    batches = TABLE.select(["x"]).to_batches(max_chunksize=CHUNK)
    cache = StreamCache(Source(batches, 3, error))
    cache[:known]
    for _ in range(2):
        with pytest.raises(type(error), match="k") as caught:
            SCANS[scan](cache.dataset())
        assert type(caught.value) is type(error)
        assert caught.value.args == error.args


def test_an_error_of_the_scan_itself_after_the_sources() -> None:
    cache = StreamCache(Source(TABLE.to_batches(max_chunksize=CHUNK), 3, OwnError("k")))
    with pytest.raises(OwnError):
        cache.ingest_all()
    with pytest.raises(pa.ArrowInvalid, match="No match"):
        cache.dataset().to_table(filter=pc.field("none") == 1)


def test_from_many_threads(make_cache: MakeCache) -> None:
    cache = make_cache(stream())
    start = threading.Barrier(6)

    def query(low: int) -> int:
        start.wait(120)
        found = cache.dataset().to_table(columns=["z"], filter=(x >= low) & (y > low / 2))
        return found.num_rows

    tasks = [Task(query, 100 * i) for i in range(6)]
    assert [task.result() for task in tasks] == [
        sum(1 for i in range(100 * k + 1, ROWS) if i % 7) for k in range(6)
    ]


VALUES = st.none() | st.integers(-5, 5)


@st.composite
def comparisons(draw: st.DrawFn) -> pc.Expression:
    field = pc.field(draw(st.sampled_from("ab")))
    value = draw(st.integers(-6, 6))
    kinds: list[Any] = [
        lambda: field < value,
        lambda: field >= value,
        lambda: field == value,
        lambda: field != value,
        lambda: field.isin([value, value + 3]),
        lambda: field.is_null(),
        lambda: field.is_valid(),
        lambda: field + 1 > value,
    ]
    return draw(st.sampled_from(kinds))()


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    )


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    chunks=st.lists(st.lists(st.tuples(VALUES, VALUES), max_size=6), max_size=4),
    filter=st.recursive(comparisons(), combined, max_leaves=4),
)
def test_random_filters(chunks: list[Any], filter: pc.Expression) -> None:
    schema = pa.schema([("a", pa.int16()), ("b", pa.float64())])
    batches = [
        pa.record_batch(
            [
                pa.array([a for a, _ in rows], pa.int16()),
                pa.array([b for _, b in rows], pa.float64()),
            ],
            schema=schema,
        )
        for rows in chunks
    ]
    cache = StreamCache(pa.RecordBatchReader.from_batches(schema, iter(batches)))
    cache.ingest_all()
    wanted = pa.Table.from_batches(batches, schema).filter(filter)
    assert cache.dataset().to_table(filter=filter).equals(wanted)


@pytest.fixture
def duck() -> Iterator[Any]:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    yield connection
    connection.close()


QUERIES = [
    ("select sum(x) from d where x > 990", {1}),
    ("select z from d where z = '00555'", {1}),
    ("select count(*) from d", {10}),
    ("select count(y) from d where \"when\" < date '2024-01-10'", {1}),
    ("select max(price) from d where x in (3, 4)", {1}),
    ("select sum(a.x) from d a join d b on a.x = b.x + 1 where b.x < 50", {2, 11}),
    ("select x, z from d order by x desc limit 2", {10}),
    ("select count(*) from d where y is null", {10}),
]


@pytest.mark.parametrize(("query", "batches"), QUERIES, ids=lambda v: str(v)[:30])
def test_duckdb(query: str, batches: set[int], duck: Any, cache: StreamCache) -> None:
    plain = TABLE.drop_columns(["parts", "pair"])
    duck.register("d", plain)
    wanted = duck.sql(query).fetchall()
    duck.register("d", cache.dataset())
    for _ in range(2):
        assert duck.sql(query).fetchall() == wanted
    before = reads(cache)
    assert duck.sql(query).fetchall() == wanted
    assert reads(cache) - before in batches


def test_polars(cache: StreamCache) -> None:
    polars = pytest.importorskip("polars")
    cache.ingest_all()
    frame = polars.scan_pyarrow_dataset(cache.dataset())
    late = frame.filter(polars.col("x") >= 950).select("z")
    for _ in range(3):
        before = reads(cache)
        assert late.collect()["z"].to_list() == TABLE["z"].to_pylist()[950:]
    assert reads(cache) - before == 1
    assert frame.join(frame, on="x").select(polars.len()).collect().item() == ROWS


def test_polars_scan(tmp_path: Path, make_cache: MakeCache) -> None:
    polars = pytest.importorskip("polars")
    cache = make_cache(stream())
    frame = cache.scan_polars()
    whole = polars.from_arrow(TABLE)
    assert frame.collect_schema() == whole.schema
    assert cache.ingested_count == 0
    queries = [
        lambda f: f,
        lambda f: f.select("z", "x"),
        lambda f: f.filter(polars.col("x") > 500).select("y"),
        lambda f: f.head(150),
        lambda f: f.head(150).filter(polars.col("x") > 120),
        lambda f: f.filter(polars.col("x") > 120).head(150),
        lambda f: f.select(polars.col("x").sum()),
        lambda f: f.join(f, on="x").sort("x").select("x", "z_right"),
        lambda f: f.group_by("kind").len().sort("kind"),
        lambda f: f.tail(3),
        lambda f: f.slice(250, 20),
        lambda f: f.select(polars.len()),
    ]
    for query in queries:
        wanted = query(whole.lazy()).collect()
        for _ in range(2):
            assert query(frame).collect().equals(wanted)


def test_polars_scan_stops_and_projects(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    wide = pa.table({f"c{i}": pa.array(range(i, i + 9000)) for i in range(4)})
    cache = on_disk(wide.to_reader(max_chunksize=3000), tmp_path)
    frame = cache.scan_polars()
    assert frame.head(5).collect().height == 5
    assert cache.ingested_count == 1
    cache.ingest_all()
    damage(tmp_path, wide["c2"], 3000)
    some = frame.filter(polars.col("c1") > 8000).select("c3").collect()
    assert some.height == 1000
    with pytest.raises(Exception, match="Checksum mismatch"):
        frame.collect()


def test_datafusion(tmp_path: Path) -> None:
    datafusion = pytest.importorskip("datafusion")
    plain = TABLE.drop_columns(["parts", "pair", "kind"])
    for tier in ("memory", "disk"):
        cache = maker(tier, tmp_path)(plain.to_reader(max_chunksize=CHUNK))
        context = datafusion.SessionContext()
        context.register_dataset("d", cache.dataset())
        for query, wanted in (
            ("select sum(x) as v from d where x > 990", sum(range(991, ROWS))),
            ("select count(*) as v from d", ROWS),
            ("select count(a.x) as v from d a join d b on a.x = b.x", ROWS),
            ("select max(z) as v from d where z < '00500'", "00499"),
        ):
            for _ in range(2):
                (batch,) = context.sql(query).collect()
                assert batch.column(0)[0].as_py() == wanted, query
        before = reads(cache)
        context.sql("select sum(x) as v from d where x > 990").collect()
        assert reads(cache) - before == 1


SCANS_OF_NO_COLUMN: dict[str, Callable[[Any], Any]] = {
    "columns": lambda dataset: dataset.to_table(columns=["x", "nope"]),
    "expression": lambda dataset: dataset.to_table(columns={"a": pads.field("nope")}),
    "filter": lambda dataset: dataset.to_table(filter=pads.field("nope") == 1),
    "count": lambda dataset: dataset.count_rows(filter=pads.field("nope") == 1),
    "head": lambda dataset: dataset.head(1, columns=["nope"]),
}


@pytest.mark.parametrize("name", SCANS_OF_NO_COLUMN)
def test_errors_name_the_columns_that_exist(name: str) -> None:
    dataset = StreamCache(pa.table({"x": [1], "why": ["a"]})).dataset()
    with pytest.raises(pa.ArrowInvalid, match=r"Name\(nope\) in x: int64\s+why: string"):
        SCANS_OF_NO_COLUMN[name](dataset)


def test_columns_that_pyarrows_scanner_adds() -> None:
    dataset = StreamCache(pa.table({"x": [1, 2]})).dataset()
    found = dataset.to_table(columns=["x", "__batch_index"])
    assert found.column_names == ["x", "__batch_index"]
