"""`batchcorder info --statistics`: the table, and its JSON."""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections.abc import Iterator
from decimal import Context, Decimal
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from command_line import works
from helpers import reader_of
from kinds import ALL as KINDS


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own directory."""
    monkeypatch.chdir(tmp_path)


def test_bounds_of_batches() -> None:
    table = pa.table(
        {
            "x": pa.array([3, None, 1, 7], pa.int64()),
            "f": [1.5, float("nan"), None, -2.0],
            "s": ["a" * 40, "b", "c", "\U0010ffff" * 9],
            "l": [[1], [], None, [2]],
        }
    )
    batchcorder.record(table.to_reader(2), "x.arrows")
    lines = works("info", "--statistics", "x.arrows").splitlines()
    found = [line.split() for line in lines[lines.index("") + 1 :]]
    assert found[0] == ["column", "nulls", "NaN", "min", "max", "exact", "batches"]
    assert found[1] == ["x", "1", "1", "7", "2", "of", "2"]
    assert found[2] == ["f", "1", "1", "-2.0", "1.5", "2", "of", "2"]
    assert found[3] == ["s", "0", f"'{'a' * 32}'", "?", "0", "of", "2"]
    assert len(found) == 4
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    first, second = info["statistics"]
    assert (first["batch"], first["row_count"]) == (0, 2)
    assert second["columns"][0] == {
        "name": "x",
        "path": [0],
        "null_count": 0,
        "min": 1,
        "max": 7,
        "exact": True,
    }
    assert second["columns"][2]["max"] is None


def test_texts_and_bounds_without_a_value() -> None:
    texts = ["", "-", "?", "NULL", "\n", " a ", "it's"]
    no_value = pa.table({"s": pa.nulls(2, pa.string()), "f": [float("nan"), None]})
    batchcorder.record(no_value, "x.arrows").close()
    lines = works("info", "--statistics", "x.arrows").splitlines()
    assert lines[-2].split() == ["s", "2", "-", "-", "1", "of", "1"]
    assert lines[-1].split() == ["f", "1", "1", "-", "-", "1", "of", "1"]
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    assert [one["min"] for one in info["statistics"][0]["columns"]] == [None, None]
    kinds = (pa.string(), pa.large_string(), pa.string_view())
    columns = [pa.array([text], kind) for text in texts for kind in kinds]
    columns.append(pa.array(["NULL"]).dictionary_encode())
    table = pa.table(columns, [f"c{i}" for i in range(len(columns))])
    batchcorder.record(table, "y.arrows").close()
    lines = works("info", "--statistics", "y.arrows").splitlines()[-len(columns) :]
    quoted = [re.split(" {2,}", line)[2] for line in lines]
    expected = [text for text in texts for _ in kinds] + ["NULL"]
    assert quoted == [repr(text) for text in expected]
    info = json.loads(works("info", "--statistics", "--json", "y.arrows"))
    assert [one["max"] for one in info["statistics"][0]["columns"]] == expected


def test_names_that_repeat_or_have_dots() -> None:
    inner = pa.array([{"b": 1, "c": {"d": 2}}])
    numbers = [pa.array([number]) for number in (3, 4)]
    lists = pa.array([[5]])
    table = pa.table([numbers[0], inner, lists, numbers[1]], ["a.b", "a", "l", "a.b"])
    batchcorder.record(table, "x.arrows").close()
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    found = [(x["name"], x["path"], x["min"]) for x in info["statistics"][0]["columns"]]
    assert found == [
        ("a.b", [0], 3),
        ("a.b", [1, 0], 1),
        ("a.c.d", [1, 1, 0], 2),
        ("a.b", [3], 4),
    ]


def test_every_type() -> None:
    """The bounds of two batches are compared, of every ordered type."""
    columns = [array.slice(0, 12) for array in KINDS.values()]
    batch = pa.RecordBatch.from_arrays(columns, list(KINDS))
    batchcorder.record(reader_of([batch[:5], batch[5:], batch[:0]]), "x.arrows").close()
    with batchcorder.open("x.arrows") as cache:
        leaves = cache.statistics().column_names[2:]
    lines = works("info", "--statistics", "x.arrows").splitlines()
    found = [line.split() for line in lines[lines.index("") + 2 :]]
    assert [words[0] for words in found] == leaves
    assert all(words[-2:] == ["of", "3"] for words in found)
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    assert [one["row_count"] for one in info["statistics"]] == [5, 7, 0]


def test_durations() -> None:
    table = pa.table({"d": pa.array([5, -3, None, 90], pa.duration("s"))})
    batchcorder.record(table.to_reader(2), "x.arrows").close()
    lines = works("info", "--statistics", "x.arrows").splitlines()
    assert "-1 day, 23:59:57" in lines[-1]
    assert "0:01:30" in lines[-1]


@pytest.mark.parametrize("table", [pa.table({"l": [[1]]}), pa.table({"x": [1]})[:0]])
def test_nothing(table: pa.Table) -> None:
    batchcorder.record(table, "x.arrows").close()
    lines = works("info", "--statistics", "x.arrows").splitlines()
    found = lines[lines.index("") + 1 :]
    assert found[0].split() == [
        "column",
        "nulls",
        "NaN",
        "min",
        "max",
        "exact",
        "batches",
    ]
    assert len(found) == (1 if "l" in table.column_names else 2)


# ---- values outside the range of a type ----

# A type, the stored numbers of two batches, and their texts.
Case = tuple[pa.DataType, tuple[int, int], list[str]]


def limits(kind: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest number that a type can store."""
    top = 1 << (kind.bit_width - 1)
    return -top, top - 1


def raw(kind: pa.DataType, number: int) -> pa.Array:
    """Return an array with a stored number. pyarrow does not check the number."""
    data = number.to_bytes(kind.bit_width // 8, "little", signed=True)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(data)])


def refused(number: int) -> str:
    return f"<value out of range: {number}>"


def decimals() -> Iterator[Case]:
    exact = Context(prec=80)
    for bits, most in ((32, 9), (64, 18), (128, 38), (256, 76)):
        for digits, scale in itertools.product((3, most), (0, 2, -2)):
            kind = getattr(pa, f"decimal{bits}")(digits, scale)
            texts = [str(Decimal(n).scaleb(-scale, exact)) for n in limits(kind)]
            yield kind, limits(kind), texts


def times() -> Iterator[Case]:
    zones = (None, "UTC", "Europe/Paris", "-03:30", "nowhere/zone", "\n")
    for kind in (
        pa.date32(),
        pa.date64(),
        *itertools.starmap(pa.timestamp, itertools.product(("s", "ms", "us"), zones)),
        *map(pa.time32, ("s", "ms")),
        *map(pa.time64, ("us", "ns")),
    ):
        yield kind, limits(kind), list(map(refused, limits(kind)))
    for zone, ending in ((None, ""), ("nowhere/zone", "Z")):
        kind = pa.timestamp("ns", zone)
        texts = ["1677-09-21 00:12:43.145224192", "2262-04-11 23:47:16.854775807"]
        yield kind, limits(kind), [text + ending for text in texts]
    day = 24 * 60 * 60
    yield pa.time32("s"), (day - 1, day), ["23:59:59", refused(day)]
    nanoseconds = (1, day * 10**9 - 1)
    texts = ["00:00:00.000000001", "23:59:59.999999999"]
    yield pa.time64("ns"), nanoseconds, texts
    texts = ["1970-01-01 09:00:00+09:00", "10000-01-01 00:00:00Z"]
    yield pa.timestamp("s", "Asia/Tokyo"), (0, 253402300800), texts


def durations() -> Iterator[Case]:
    for kind in map(pa.duration, ("s", "ms")):
        yield kind, limits(kind), list(map(str, limits(kind)))
    texts = ["-106751992 days, 19:59:05.224192", "106751991 days, 4:00:54.775807"]
    yield pa.duration("us"), limits(pa.duration("us")), texts
    yield pa.duration("ns"), (-(1 << 63), 0), [str(-(1 << 63)), "0 days 00:00:00"]


@pytest.mark.parametrize(
    "case", [*decimals(), *times(), *durations()], ids=lambda case: str(case[0])
)
def test_values_outside_the_range(case: Case) -> None:
    """The table and the JSON show each value or its stored number."""
    kind, (low, high), texts = case
    columns = [raw(kind, number) for number in (high, low)]
    batches = [pa.RecordBatch.from_arrays([one], ["c"]) for one in columns]
    batchcorder.record(reader_of(batches), "x.arrows").close()
    line = works("info", "--statistics", "x.arrows").splitlines()[-1]
    # The table cuts its cells.
    shown = [text if len(text) <= 42 else text[:41] + "…" for text in texts]
    assert re.split(" {2,}", line) == ["c", "0", *shown, "2 of 2"]
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    (of_high,), (of_low,) = (batch["columns"] for batch in info["statistics"])
    assert (of_low["min"], of_low["max"]) == (texts[0], texts[0])
    assert (of_high["min"], of_high["max"]) == (texts[1], texts[1])


def test_values_of_json() -> None:
    infinite = float("inf")
    columns = {
        "b": pa.array([False, True]),
        "i": pa.array([-(1 << 63), 7]),
        "u": pa.array([0, (1 << 64) - 1], pa.uint64()),
        "f": pa.array([-1.5, infinite]),
        "h": pa.array([0.5, 2.0], pa.float16()),
        "bytes": pa.array([b"", b"\x01\xf5"]),
        "fixed": pa.array([b"\x01\xf5", b"\xff\xff"], pa.binary(2)),
        "date": pa.array([datetime.date(2026, 1, 2), datetime.date(2026, 3, 4)]),
        "dictionary": pa.array([3, 5]).dictionary_encode(),
    }
    batchcorder.record(pa.table(columns), "x.arrows").close()
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    found = [(one["min"], one["max"]) for one in info["statistics"][0]["columns"]]
    assert found == [
        (False, True),
        (-(1 << 63), 7),
        (0, (1 << 64) - 1),
        (-1.5, "inf"),
        (0.5, 2.0),
        ("", "01f5"),
        ("01f5", "ffff"),
        ("2026-01-02", "2026-03-04"),
        (3, 5),
    ]


def test_text_that_is_not_utf8() -> None:
    text = pa.array([b"\xff", b"a"]).view(pa.string())
    batches = [pa.RecordBatch.from_arrays([one], ["c"]) for one in (text, text[1:])]
    batchcorder.record(reader_of(batches), "x.arrows").close()
    assert works("info", "--statistics", "x.arrows").splitlines()[-1].split()[3] == "?"
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    assert [batch["columns"][0]["max"] for batch in info["statistics"]] == [None, "a"]


def test_a_name_that_is_not_utf8() -> None:
    column = pa.StructArray.from_arrays(
        [pa.array([7])], fields=[pa.field(b"\xff", pa.int64())]
    )
    batchcorder.record(pa.table({"s": column}), "x.arrows").close()
    line = works("info", "--statistics", "x.arrows").splitlines()[-1]
    assert line.split("  ")[0] == "(a name that is not UTF-8)"
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    assert info["statistics"][0]["columns"][0]["max"] == 7
