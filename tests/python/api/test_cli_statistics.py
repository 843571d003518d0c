"""`batchcorder info --statistics`: the table, and its JSON."""

from __future__ import annotations

import json
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
    assert found[3] == ["s", "0", "a" * 32, "?", "0", "of", "2"]
    assert len(found) == 4
    info = json.loads(works("info", "--statistics", "--json", "x.arrows"))
    first, second = info["statistics"]
    assert (first["batch"], first["row_count"]) == (0, 2)
    assert second["columns"][0] == {
        "name": "x",
        "null_count": 0,
        "min": "1",
        "max": "7",
        "exact": True,
    }
    assert second["columns"][2]["max"] is None


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
