"""Iterating over datasets of batchcorder.torch, in this process or in workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data._utils import worker as torch_worker


@contextmanager
def as_worker(dataset: Any, number: int, workers: int) -> Iterator[None]:
    """Let this process be a worker, as DataLoader's processes are."""
    info = torch_worker.WorkerInfo(
        id=number, num_workers=workers, seed=number, dataset=dataset
    )
    torch_worker._worker_info = info
    try:
        yield
    finally:
        torch_worker._worker_info = None


def items_of(dataset: Any, workers: int) -> list[Any]:
    """Return the items in the order in which a loader with workers returns them."""
    if workers == 0:
        return list(dataset)
    iterators = []
    for number in range(workers):
        with as_worker(dataset, number, workers):
            iterators.append(iter(dataset))
    items = []
    while iterators:
        for iterator in list(iterators):
            try:
                items.append(next(iterator))
            except StopIteration:
                iterators.remove(iterator)
    return items


def ids_of(items: list[Any]) -> list[list[int]]:
    """Return the column "id" of each item."""
    return [item["id"].tolist() for item in items]


def flat(ids: list[list[int]]) -> list[int]:
    return [number for some in ids for number in some]


def load(dataset: Any, workers: int = 0, **options: Any) -> list[list[int]]:
    """Return the ids of the items of a real loader."""
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, **options)
    return ids_of(list(loader))
