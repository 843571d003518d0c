"""Rows by index, batches by index, and readers with a step."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder import StreamCache
from helpers import (
    CLOSED,
    SCHEMA,
    Source,
    identical,
    ids,
    numbered,
    on_disk,
    reader_of,
    recorded_file,
)
from kinds import ALL, RUN_ENDS, VIEWS, batch_of, slices_of
from tiers import MakeCache, maker

LENGTHS = [4, 0, 1, 7, 0, 3, 5]
ROWS = sum(LENGTHS)
UINT64_MAX = (1 << 64) - 1


def uneven() -> list[pa.RecordBatch]:
    """Return batches of different lengths with two columns. Some batches are empty."""
    table = pa.table({"id": range(ROWS), "s": [f"row {i}" for i in range(ROWS)]})
    starts = itertools.accumulate(LENGTHS, initial=0)
    (whole,) = table.to_batches()
    return [whole.slice(start, rows) for start, rows in zip(starts, LENGTHS)]  # noqa: B905


BATCHES = uneven()
TABLE = pa.Table.from_batches(BATCHES)

Makers = dict[str, Callable[[Path], StreamCache]]


def recording(path: Path, **options: Any) -> StreamCache:
    return batchcorder.open(recorded_file(path, Source(BATCHES)), **options)


MAKERS: Makers = {
    "memory": lambda path: StreamCache(Source(BATCHES)),
    "disk": lambda path: on_disk(Source(BATCHES), path, compression="lz4"),
    "evict": lambda path: maker("evict", path)(Source(BATCHES)),
    "recording": recording,
    "copied": lambda path: recording(path, mmap=False),
    "projected": lambda path: recording(path, columns=["id", "s"]),
    "max_readers": lambda path: StreamCache(Source(BATCHES), max_readers=1),
}


@pytest.fixture(params=MAKERS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StreamCache]:
    with MAKERS[request.param](tmp_path) as made:
        yield made


# ---- take ----

ROW_NUMBERS: list[Any] = [
    [],
    [0],
    [ROWS - 1, 0, 5],
    [-1, -ROWS, 3, 3, -2],
    list(range(ROWS)),
    range(3, 12, 2),
    (4, 4, 4),
    np.array([7, 0, -1]),
    np.array([7, 0], np.uint8),
    np.array([], np.float64),
    pa.array([1, 2], pa.uint64()),
    pa.array([1, -2], pa.int16()),
    pa.chunked_array([[1], [], [0, 2]]),
    pa.chunked_array([], pa.int64()),
    pa.array([9, 8, 7])[1:],
]


@pytest.mark.parametrize("rows", ROW_NUMBERS, ids=str)
def test_take(rows: Any, cache: StreamCache) -> None:
    numbers = [int(row) % ROWS for row in (rows if len(rows) else [])]
    got = cache.take(rows)
    got.validate(full=True)
    assert got.equals(TABLE.take(pa.array(numbers, pa.int64())))
    assert got.schema == TABLE.schema


def test_rows_without_columns() -> None:
    metadata = {"made": "by hand"}
    rows = pa.RecordBatch.from_struct_array(pa.nulls(5, pa.struct([])))
    batch = rows.replace_schema_metadata(metadata)
    got = StreamCache(pa.table(pa.Table.from_batches([batch] * 3))).take([6, 0, -1])
    assert (got.num_rows, got.num_columns) == (3, 0)
    assert got.schema.equals(batch.schema, check_metadata=True)


def test_the_index_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """This also holds for a cache that grows between two calls of take."""
    asked = []
    row_starts = batchcorder._core.row_starts

    def counting(cache: StreamCache, start: int) -> bytes:
        asked.append(start)
        return row_starts(cache, start)

    monkeypatch.setattr(batchcorder._core, "row_starts", counting)
    cache = StreamCache(Source(BATCHES))
    first = BATCHES[0].num_rows
    assert cache.take([0])["id"].to_pylist() == TABLE["id"][:1].to_pylist()
    assert cache.take([first - 1])["id"].to_pylist() == [TABLE["id"][first - 1].as_py()]
    assert asked == [0]
    for row in (first, -1, 0, ROWS - 1):
        assert cache.take([row])["id"].to_pylist() == [TABLE["id"][row].as_py()]
    assert asked == [0, 1, 3]  # after the first batch, the first three


@settings(max_examples=100, deadline=None, derandomize=True)
@given(rows=st.lists(st.integers(-ROWS, ROWS - 1), max_size=40), some=st.booleans())
def test_random_rows(rows: list[int], some: bool) -> None:
    cache = StreamCache(Source(BATCHES))
    if some:
        cache[3]
    wanted = TABLE.take(pa.array([row % ROWS for row in rows], pa.int64()))
    assert cache.take(rows).equals(wanted)


@pytest.mark.parametrize(
    "rows",
    [
        [ROWS],
        [0, -ROWS - 1],
        [1 << 62],
        [1 << 63],
        [1 << 64],
        [-(1 << 70)],
        np.array([UINT64_MAX, 0], np.uint64),
        pa.array([1 << 63], pa.uint64()),
    ],
    ids=str,
)
def test_rows_out_of_range(rows: Any, cache: StreamCache) -> None:
    with pytest.raises(IndexError, match="row"):
        cache.take(rows)
    assert cache.take([0]).num_rows == 1


@pytest.mark.parametrize(
    "rows",
    [
        [True, False],
        np.array([True]),
        [1.0],
        np.array([1.5]),
        [1, None],
        pa.array([None], pa.int64()),
        [None],
        ["1"],
        "1",
        None,
        5,
        [[1]],
        {"a": 1},
        [1, "a"],
        ["a", 1],
        np.array([[1, 2]]),
        pa.table({"a": [1]}),
        pa.scalar(1),
    ],
    ids=str,
)
def test_invalid_row_indices(rows: Any, cache: StreamCache) -> None:
    with pytest.raises(TypeError, match=r"^argument 'indices': "):
        cache.take(rows)
    with pytest.raises(TypeError, match=r"^argument 'indices': "):
        cache.dataset().take(rows)


def test_numbers_of_rows_that_need_more_than_64_bits() -> None:
    cache = StreamCache(Source(BATCHES))
    for rows in ([1 << 70], [-(1 << 70)], [1, 1 << 63]):
        with pytest.raises(IndexError, match=r"^argument 'indices': .* no stream has"):
            cache.take(rows)
        with pytest.raises(IndexError, match=r"^argument 'indices': .* no stream has"):
            cache.dataset().take(rows)


def test_no_rows_of_a_closed_cache() -> None:
    cache = StreamCache(Source(BATCHES))
    assert cache.take([0]).num_rows == 1
    cache.close()
    for rows in ([], [0]):
        with pytest.raises(ValueError, match=CLOSED):
            cache.take(rows)
        with pytest.raises(ValueError, match=CLOSED):
            cache.dataset().take(rows)


@pytest.mark.parametrize("tier", ["memory", "disk", "recording"])
@pytest.mark.parametrize("name", ALL)
def test_take_of_every_type(name: str, tier: str, tmp_path: Path) -> None:
    """This includes the types for which pyarrow's take has no kernel."""
    batches = slices_of(batch_of(name))
    if tier == "recording":
        batchcorder.record(reader_of(batches), tmp_path / "x").close()
        cache = batchcorder.open(tmp_path / "x")
    else:
        cache = maker(tier, tmp_path)(reader_of(batches))
    rows = [row for one in batches for row in one.to_pylist()]
    for numbers in ([40, 3, 3, -1, 0, 22, 23], list(range(len(rows)))[::-1] * 2):
        got = cache.take(numbers)
        got.validate(full=True)
        assert got.schema.equals(batches[0].schema, check_metadata=True)
        assert got.to_pylist() == [rows[i] for i in numbers]
    known = [*VIEWS, *RUN_ENDS]
    if name not in known:
        assert pa.Table.from_batches(batches).take([0]).num_rows == 1


def nested(n: int) -> pa.Table:
    """Return columns of fixed width, some of which have nulls, and two more."""
    numbers = pa.array([None if i % 5 == 0 else i for i in range(n)], pa.int16())
    plain = pa.array(range(3 * n), pa.float32())
    valid = pa.array([i % 4 == 0 for i in range(n)])
    triples = pa.FixedSizeListArray.from_arrays(plain, 3, mask=valid)
    flags = pa.array([None if i % 7 == 0 else i % 3 == 0 for i in range(6 * n)])
    inner = pa.FixedSizeListArray.from_arrays(flags, 2)
    struct = pa.StructArray.from_arrays([numbers, triples], ["a", "b"], mask=valid)
    return pa.table(
        {
            "numbers": numbers,
            "triples": triples,
            "nested": pa.FixedSizeListArray.from_arrays(inner, 3),
            "struct": struct,
            "text": [str(i) for i in range(n)],
            "wide": pa.array([i.to_bytes(3, "big") for i in range(n)], pa.binary(3)),
            "decimal": pa.array(range(n), pa.decimal128(20, 0)),
            "null": pa.nulls(n),
            "words": pa.array(["ab"[i % 2] for i in range(n)]).dictionary_encode(),
            "zero": pa.array([b""] * n, pa.binary(0)),
            "id": pa.array([i.to_bytes(16, "big") for i in range(n)], pa.uuid()),
        },
        metadata={"of": "take"},
    )


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.integers(-100, 99), max_size=40),
    columns=st.lists(st.integers(0, 10), max_size=6),
    size=st.sampled_from([1, 7, 13, 100]),
    is_file=st.booleans(),
)
def test_rows_of_some_columns(
    rows: list[int], columns: list[int], size: int, is_file: bool
) -> None:
    """Structs and fixed-size lists of slices, with nulls at each level."""
    table = nested(100)
    with tempfile.TemporaryDirectory() as folder:
        source = table.to_reader(max_chunksize=size)
        cache = StreamCache(source)
        if is_file:
            cache = batchcorder.record(source, f"{folder}/x.arrows")
        got = cache.take(rows, columns)
        got.validate(full=True)
        wanted = table.take(pa.array([row % 100 for row in rows], pa.int64()))
        schema = pa.schema([table.schema.field(n) for n in columns], {"of": "take"})
        assert got.schema.equals(schema, check_metadata=True)
        assert got.num_rows == len(rows) or not rows
        for place, number in enumerate(columns):
            assert got.column(place).to_pylist() == wanted.column(number).to_pylist()
        cache.close()


def test_columns_by_name(cache: StreamCache) -> None:
    got = cache.take([3, 0, -1], columns=["s"])
    assert got.to_pydict() == {"s": ["row 3", "row 0", f"row {ROWS - 1}"]}
    assert cache.take([1], ["s", "id"]).column_names == ["s", "id"]
    assert cache.take([], ["s"]).column_names == ["s"]
    assert cache.take([1, 2], []).num_rows == 2
    with pytest.raises(KeyError, match="does not exist"):
        cache.take([1], ["x"])
    with pytest.raises(IndexError, match="out of range"):
        cache.take([1], [2])


def test_other_columns_are_not_read(tmp_path: Path) -> None:
    """A column may be damaged if it is not read."""
    table = pa.table({"id": range(3000), "s": [f"row {i}" for i in range(3000)]})
    path = recorded_file(tmp_path, table)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"row 2999", b"wor 2999"))
    cache = batchcorder.open(path)
    assert cache.take([2999, 1], ["id"])["id"].to_pylist() == [2999, 1]
    with pytest.raises(OSError, match="Checksum mismatch"):
        cache.take([2999, 1], ["s"])


def test_many_rows_of_views() -> None:
    """The result has fewer buffers than rows."""
    texts = [f"a text that is not inlined, number {i}" for i in range(2000)]
    view = pa.array(texts, pa.string_view())
    columns = {"v": view, "s": pa.StructArray.from_arrays([view], ["v"])}
    table = pa.table(columns | {"l": pa.array([[t] for t in texts], pa.list_(view.type))})
    cache = StreamCache(table.to_reader(max_chunksize=500))
    got = cache.take(range(1999, -1, -1))
    assert got.schema == table.schema
    assert got.to_pylist() == table.to_pylist()[::-1]
    assert len(got["v"].combine_chunks().buffers()) < 20


def test_dictionaries_that_differ() -> None:
    words = ["ab", "xy", "bcx"]
    source = [
        pa.record_batch({"d": pa.array(list(w)).dictionary_encode()}) for w in words
    ]
    cache = StreamCache(reader_of(source))
    assert cache.take([6, 0, 2, 4])["d"].to_pylist() == list("xaxb")


def test_take_reads_the_source_as_far_as_needed(make_any_cache: MakeCache) -> None:
    source = Source(numbered(10))
    cache = make_any_cache(source)
    assert cache.take([]).num_rows == 0
    assert source.given == 0
    assert cache.take([9, 1])["id"].to_pylist() == [9, 1]
    assert source.given == 3
    assert cache.take([11])["id"].to_pylist() == [11]
    assert source.given == 3
    assert cache.take([12])["id"].to_pylist() == [12]
    assert source.given == 4
    assert not cache.upstream_exhausted
    assert cache.take([-1])["id"].to_pylist() == [39]
    assert cache.upstream_exhausted


def test_only_batches_with_such_rows_are_read(tmp_path: Path) -> None:
    with recording(tmp_path) as cache:
        for columns in (["id"], ["s"]):
            before = cache.stats()["disk_hits"]
            cache.take([5, 0, 6], columns)
            assert cache.stats()["disk_hits"] - before == 2


def test_a_source_that_fails() -> None:
    cache = StreamCache(Source(numbered(5), fail_at=3, error=KeyError("why")))
    assert cache.take([11])["id"].to_pylist() == [11]
    for rows in ([12], [-1]):
        with pytest.raises(KeyError, match="why"):
            cache.take(rows)
    assert cache.take([0, 11])["id"].to_pylist() == [0, 11]
    cache.close()
    with pytest.raises(ValueError, match=CLOSED):
        cache.take([0])


def test_rows_that_were_evicted(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(5)), max_readers=1)
    reader = cache.reader()
    assert cache.take([19, 0])["id"].to_pylist() == [19, 0]
    for _ in range(3):
        next(reader)
    with pytest.raises(ValueError, match=r"no longer cached|still cached"):
        cache.take([0])
    assert cache.take([19, 12])["id"].to_pylist() == [19, 12]


def test_rows_behind_many_that_were_evicted() -> None:
    """The memory of 16,384 evicted slots is freed."""
    batch = numbered(1, rows=2)[0]
    source = pa.RecordBatchReader.from_batches(SCHEMA, (batch for _ in range(17_000)))
    cache = StreamCache(source, max_readers=1)
    reader = cache.reader()
    for _ in range(16_500):
        next(reader)
    assert cache.ingest_all() == 17_000
    first = 2 * 16_500
    for row in (0, first - 1):
        with pytest.raises(ValueError, match="still cached"):
            cache.take([row])
    assert cache.take([first, first + 999, first])["id"].to_pylist() == [0, 1, 0]
    next(reader)
    with pytest.raises(ValueError, match="still cached"):
        cache.take([first])
    assert cache.take([first + 2, -1])["id"].to_pylist() == [0, 1]


# ---- batches ----


def test_batches_by_number(cache: StreamCache) -> None:
    for i in range(7):
        assert cache[i] == BATCHES[i]
    cache.ingest_all()
    for i in range(-7, 0):
        assert cache[i] == BATCHES[i]
    for i in (7, -8, 1 << 62, UINT64_MAX, 1 << 70, -(1 << 70)):
        with pytest.raises(IndexError):
            cache[i]
    assert cache[np.int64(3)] == BATCHES[3]
    for key in (1.0, "1", None):
        with pytest.raises(TypeError):
            cache[key]  # type: ignore[index]


BOUNDS = [None, 0, 1, 3, 6, 7, 9, -1, -3, -7, -9]


@pytest.mark.parametrize("step", [None, 1, 2, 3, 10, -1, -2])
def test_slices_are_those_of_a_list(step: int | None, cache: StreamCache) -> None:
    cache.ingest_all()
    for start, stop in itertools.product(BOUNDS, BOUNDS):
        assert cache[start:stop:step] == BATCHES[start:stop:step]
    with pytest.raises(ValueError, match="zero"):
        cache[::0]


# ---- readers ----

STARTS = [None, 0, 1, 5, 6, 7, 8, UINT64_MAX]


@pytest.mark.parametrize("columns", [None, ["s"], []], ids=str)
@pytest.mark.parametrize("step", [None, 1, 2, 3, 7, 8, UINT64_MAX])
def test_readers_are_slices(
    step: int | None, columns: list[str] | None, tmp_path: Path
) -> None:
    """This holds while it records and when it replays, from memory and from a file."""
    wanted = BATCHES if columns is None else [one.select(columns) for one in BATCHES]
    opened = recording(tmp_path)
    whole = StreamCache(Source(BATCHES))
    whole.ingest_all()
    for start, stop in itertools.product(STARTS, STARTS):
        expected = wanted[start:stop:step]
        for one in (StreamCache(Source(BATCHES)), whole, opened):
            reader = one.reader(start=start, stop=stop, step=step, columns=columns)
            got = list(reader)
            assert got == expected
            rows = [one.num_rows for one in got]
            assert rows == [one.num_rows for one in expected]


def test_the_parts_of_a_training_job(cache: StreamCache) -> None:
    """Worker i of n reads every n-th batch.

    Together, the workers read each batch once.
    """
    for n in range(1, 9 if cache.max_readers is None else 2):
        parts = [list(cache.reader(start=i, step=n)) for i in range(n)]
        turns = itertools.zip_longest(*parts)
        got = [one for turn in turns for one in turn if one is not None]
        assert got == BATCHES


def test_the_frontier_and_a_step(make_any_cache: MakeCache) -> None:
    cache = make_any_cache(Source(numbered(10)))
    for _ in zip(range(3), cache, strict=False):
        pass
    reader = cache.reader(from_start=False, step=3)
    assert ids(reader) == ids([numbered(10)[i] for i in (3, 6, 9)])


@pytest.mark.parametrize("prefetch", [None, 1, 4])
def test_steps_and_eviction(prefetch: int | None, make_any_cache: MakeCache) -> None:
    """Batches that a reader skips are evicted as well."""
    cache = make_any_cache(Source(numbered(12)), max_readers=2, prefetch=prefetch)
    readers = [cache.reader(start=i, step=2) for i in range(2)]
    assert ids(readers[0]) == ids(numbered(12)[0::2])
    assert ids(readers[1]) == ids(numbered(12)[1::2])
    assert cache.stats()["evicted"] == 12
    assert cache.stats()["memory_bytes"] == 0


def test_a_step_requests_skipped_batches_once() -> None:
    source = Source(numbered(10))
    cache = StreamCache(source)
    reader = cache.reader(step=4)
    assert ids([next(reader)]) == [0, 1, 2, 3]
    assert source.given == 1
    assert ids([next(reader)]) == [16, 17, 18, 19]
    assert source.given == 5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"step": 0}, ValueError),
        ({"step": -1}, OverflowError),
        ({"step": 1 << 64}, OverflowError),
        ({"step": 1.5}, TypeError),
        ({"start": -1}, OverflowError),
        ({"stop": -1}, OverflowError),
        ({"stop": "1"}, TypeError),
        ({"from_start": False, "start": 1}, ValueError),
    ],
    ids=str,
)
def test_invalid_readers(options: dict[str, Any], error: type[Exception]) -> None:
    cache = StreamCache(Source(BATCHES), max_readers=1)
    with pytest.raises(error):
        cache.reader(**options)
    identical(list(cache.reader()), BATCHES)
