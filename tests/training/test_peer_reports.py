"""Situations of public reports about other libraries' datasets."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    get_worker_info,
    random_split,
)
from torchdata.stateful_dataloader import StatefulDataLoader

import batchcorder
from batchcorder.torch import RecordingDataset, RowDataset
from loading import flat, ids_of

Recorded = Callable[..., str]
LENGTHS = [7, 20, 1, 13, 5, 40]
ROWS = sum(LENGTHS)


def ids_only(item: dict[str, Any]) -> dict[str, Any]:
    return {"id": item["id"] + 1000}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_keeps_the_state(recorded: Recorded, workers: int) -> None:
    # huggingface/datasets 7630: after map(), resuming skipped samples.
    path = recorded(LENGTHS)

    def loader_of() -> Any:
        dataset = RecordingDataset(path, batch_size=4, transform=ids_only)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

    whole = ids_of(list(loader_of()))
    assert flat(whole) == list(range(1000, 1000 + ROWS))
    loader = loader_of()
    iterator = iter(loader)
    for _ in range(5):
        next(iterator)
    state = loader.state_dict()
    loader = loader_of()
    loader.load_state_dict(state)
    assert ids_of(list(loader)) == whole[5:]


def test_used_before_the_fork(recorded: Recorded) -> None:
    # lance-format/lance 3640: workers waited for locks of the process that forked.
    path = recorded(LENGTHS)
    rows, items = RowDataset(path), RecordingDataset(path, batch_size=4)
    kept = [rows[3], next(iter(items))]
    assert flat(ids_of(list(DataLoader(rows, batch_size=9, num_workers=2)))) == list(
        range(ROWS)
    )
    loader = DataLoader(items, batch_size=None, num_workers=2)
    assert flat(ids_of(list(loader))) == list(range(ROWS))
    assert int(kept[0]["id"]) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_datasets_of_datasets(recorded: Recorded, workers: int) -> None:
    rows = RowDataset(recorded(LENGTHS))
    parts = random_split(rows, [50, ROWS - 50])
    seen = []
    for dataset in (*parts, Subset(rows, [3, 1]), ConcatDataset([rows, rows])):
        items = list(DataLoader(dataset, batch_size=8, num_workers=workers))
        seen.append(flat(ids_of(items)))
    assert sorted(seen[0] + seen[1]) == list(range(ROWS))
    assert seen[2:] == [[3, 1], 2 * list(range(ROWS))]
    chain = ChainDataset([RecordingDataset(recorded([n], str(n))) for n in (3, 4)])
    items = list(DataLoader(chain, batch_size=None, num_workers=workers))
    assert sorted(flat(ids_of(items))) == [0, 0, 1, 1, 2, 2, 3]


class Wrapped(IterableDataset):
    """A dataset of a user's around ours."""

    def __init__(self, dataset: RecordingDataset) -> None:
        self.dataset = dataset

    def __iter__(self) -> Any:
        assert get_worker_info() is not None
        for item in self.dataset:
            yield item["id"]


def test_a_wrapped_dataset(recorded: Recorded) -> None:
    dataset = RecordingDataset(recorded(LENGTHS), batch_size=4)
    loader = DataLoader(Wrapped(dataset), batch_size=None, num_workers=2)
    assert flat([ids.tolist() for ids in loader]) == list(range(ROWS))


def test_an_identity_collation_in_workers(recorded: Recorded) -> None:
    # The list of rows itself goes to the loop's process.
    loader = DataLoader(
        RowDataset(recorded(LENGTHS)), batch_size=8, num_workers=1, collate_fn=list
    )
    rows = [row for some in loader for row in some]
    assert [int(row["id"]) for row in rows] == list(range(ROWS))
    assert [row["s"] for row in rows] == [f"row {i}" for i in range(ROWS)]


def test_many_items_of_workers_are_kept(tmp_path: Path) -> None:
    # pytorch/pytorch 973: each tensor of a worker kept a descriptor open.
    path = str(tmp_path / "x.arrows")
    table = pa.table({f"c{i}": np.arange(20000) for i in range(20)})
    with batchcorder.record(table, path):
        pass
    before = len(os.listdir("/proc/self/fd"))
    dataset = RecordingDataset(path, batch_size=10)
    items = list(DataLoader(dataset, batch_size=None, num_workers=1))
    assert len(items) == 2000
    assert len(os.listdir("/proc/self/fd")) < before + 100
    assert torch.equal(torch.cat([item["c7"] for item in items]), torch.arange(20000))


def anonymous_bytes() -> int:
    """Return the memory of this process that is no file, in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(x.split()[1]) << 10 for x in lines if x.startswith("Anonymous"))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    # pytorch/pytorch 13246: workers came to own memory that they had only read.
    path = str(tmp_path / "x.arrows")
    n = 500_000
    table = pa.table({name: np.zeros(n) for name in ["x", *map(str, range(31))]})
    with batchcorder.record(table.to_reader(max_chunksize=20_000), path):
        pass
    del table
    ways: list[dict[str, Any]] = [{}, {"batch_size": 5000}]
    ways.append({"batch_size": 5000, "shuffle": True, "buffer_size": n})
    sum(len(item["x"]) for item in RecordingDataset(path, batch_size=50_000))
    for way in ways:
        gc.collect()
        before, most = anonymous_bytes(), 0
        for number, item in enumerate(RecordingDataset(path, **way)):
            item["x"].add_(1)  # which copies the pages of the item
            if number % 10 == 0:
                most = max(most, anonymous_bytes() - before)
        # The file has 128 MB. Rows are copied 8 MB at a time.
        assert most < (64 << 20 if "buffer_size" in way else 16 << 20)
