"""Real loaders: ways to start workers, workers that stay, samplers, collation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler
from torch.utils.data.distributed import DistributedSampler

import batchcorder
from batchcorder.torch import RecordingDataset, RowDataset
from loading import flat, ids_of, load

Recorded = Callable[..., str]
LENGTHS = [7, 0, 20, 1, 13, 5, 40]
ROWS = sum(LENGTHS)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_epochs_of_workers(recorded: Recorded, method: str, persistent: bool) -> None:
    path = recorded(LENGTHS)
    # Each new worker imports PyTorch for seconds.
    for way in ({"buffer_size": 20}, {})[: 2 if method == "fork" else 1]:
        dataset = RecordingDataset(path, batch_size=8, shuffle=True, **way)
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=2,
            multiprocessing_context=method,
            persistent_workers=persistent,
        )
        orders = []
        for epoch in (0, 1, 1, 5) if persistent or method == "fork" else (0, 1):
            dataset.set_epoch(epoch)
            orders.append(ids_of(list(loader)))
            assert sorted(flat(orders[-1])) == list(range(ROWS))
            assert len(loader) == len(orders[-1])
        assert orders[0] != orders[1]
        assert orders[1] == orders[2 if len(orders) > 2 else 1]
        assert load(dataset) == orders[-1]


@pytest.mark.parametrize("persistent", [False, True])
def test_all_worlds_and_workers(recorded: Recorded, persistent: bool) -> None:
    path = recorded(LENGTHS)
    way = {"batch_size": 3, "shuffle": True}
    whole = load(RecordingDataset(path, **way))
    for world_size, workers in itertools.product(range(1, 9), range(9)):
        if persistent and workers == 0:
            continue
        # test_epoch.py has all ranks, without processes.
        rank = workers % world_size
        dataset = RecordingDataset(path, rank=rank, world_size=world_size, **way)
        seen = load(dataset, workers, persistent_workers=persistent)
        assert seen == whole[rank::world_size]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_ranks_reach_workers_that_start_anew(recorded: Recorded, method: str) -> None:
    path = recorded(LENGTHS)
    whole = load(RecordingDataset(path, batch_size=3))
    dataset = RecordingDataset(path, batch_size=3, rank=1, world_size=3)
    assert load(dataset, 2, multiprocessing_context=method) == whole[1::3]


def test_a_broken_loop_begins_anew(recorded: Recorded) -> None:
    dataset = RecordingDataset(recorded(LENGTHS), batch_size=8)
    for workers in (0, 2):
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        whole = ids_of(list(loader))
        for _ in range(3):
            iterator = iter(loader)
            assert ids_of([next(iterator)]) == whole[:1]
        assert ids_of(list(loader)) == whole


# ---- rows by their indices ----


@pytest.mark.parametrize("workers", [0, 2])
def test_samplers(recorded: Recorded, workers: int) -> None:
    path = recorded(LENGTHS)
    rows = RowDataset(path)
    assert len(rows) == ROWS
    loader = DataLoader(rows, batch_size=8, num_workers=workers)
    assert flat(ids_of(list(loader))) == list(range(ROWS))
    for options in (
        {"batch_size": 8, "shuffle": True},
        {"batch_size": None, "sampler": BatchSampler(RandomSampler(rows), 8, False)},
        {"batch_size": 8, "shuffle": True, "drop_last": False, "pin_memory": False},
    ):
        items = list(DataLoader(rows, num_workers=workers, **options))
        assert sorted(flat(ids_of(items))) == list(range(ROWS))
        for item in items:
            assert item["s"] == [f"row {i}" for i in item["id"].tolist()]
            assert item["x"].tolist() == [i / 2 for i in item["id"].tolist()]
    seen = []
    for rank in range(3):
        sampler: Sampler[int] = DistributedSampler(rows, 3, rank, drop_last=False)
        items = list(DataLoader(rows, batch_size=8, sampler=sampler, num_workers=workers))
        seen += flat(ids_of(items))
    assert set(seen) == set(range(ROWS))


def test_indices(recorded: Recorded) -> None:
    rows = RowDataset([recorded(LENGTHS), recorded([5], "b", ROWS)])
    assert len(rows) == ROWS + 5
    assert rows[0] == {"id": torch.tensor(0), "x": torch.tensor(0.0), "s": "row 0"}
    assert int(rows[-1]["id"]) == ROWS + 4
    assert int(rows[torch.tensor(4)]["id"]) == 4
    assert rows[[ROWS + 1, 3, -1, 3]]["id"].tolist() == [ROWS + 1, 3, ROWS + 4, 3]
    assert rows[torch.tensor([2, 1])]["s"] == ["row 2", "row 1"]
    assert rows[[]]["id"].tolist() == []
    for wrong in (ROWS + 5, -ROWS - 6, [0, ROWS + 5]):
        with pytest.raises(IndexError, match="out of range"):
            rows[wrong]
    for wrong in ("x", 1.5, [1.5], None, [[1]]):
        with pytest.raises(TypeError):
            rows[wrong]


def test_collation_of_rows(recorded: Recorded) -> None:
    rows = RowDataset(recorded(LENGTHS))
    some = rows.__getitems__([5, 1, 9])
    assert [dict(row) for row in some] == [rows[5], rows[1], rows[9]]
    assert len(some[0]) == 3
    assert repr(some[0]) == repr(rows[5])
    collate = torch.utils.data.default_collate
    whole = collate(some)
    assert whole["id"].tolist() == [5, 1, 9]
    # A part of the rows, or rows of several batches, are collated one by one.
    assert collate(some[:2])["id"].tolist() == [5, 1]
    assert collate([some[2], some[0]])["s"] == ["row 9", "row 5"]
    more = [*some, *rows.__getitems__([7])]
    assert collate(more)["x"].tolist() == [2.5, 0.5, 4.5, 3.5]
    some.pop()
    assert collate(some)["id"].tolist() == [5, 1]


def _texts(rows: list[Any]) -> list[str]:
    return [row["s"] for row in rows]


def test_an_own_collation(recorded: Recorded) -> None:
    loader = DataLoader(RowDataset(recorded(LENGTHS)), batch_size=30, collate_fn=_texts)
    assert flat(list(loader)) == [f"row {i}" for i in range(ROWS)]


def test_a_column_named_like_its_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "x.arrows")
    with batchcorder.record(pa.table({"n": [1, 2], "item": [3, 4]}), path):
        pass
    (item,) = DataLoader(RowDataset(path), batch_size=2)
    assert {k: v.tolist() for k, v in item.items()} == {"n": [1, 2], "item": [3, 4]}


def test_rows_in_numpy_and_arrow(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    loader = DataLoader(RowDataset(path, format="numpy"), batch_size=8)
    assert flat(ids_of(list(loader))) == list(range(ROWS))
    rows = RowDataset(path, format="arrow")
    assert rows[[3, 1]]["id"].to_pylist() == [3, 1]
    assert rows[2].to_pylist() == [{"id": 2, "x": 1.0, "s": "row 2"}]
    assert [row.num_rows for row in rows.__getitems__([1, 2])] == [1, 1]
