"""Every row once in an epoch, for any number of ranks and workers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchcorder
from batchcorder.torch import RecordingDataset
from loading import flat, ids_of, items_of, load

Recorded = Callable[..., str]
NUMBERS = itertools.count()
LENGTHS = [7, 0, 20, 1, 13, 0, 5, 40, 2, 9, 0]
ROWS = sum(LENGTHS)

WAYS: list[dict[str, Any]] = [
    {},
    {"batch_size": 8},
    {"batch_size": 1},
    {"batch_size": 1000},
    {"shuffle": True},
    {"shuffle": True, "batch_size": 8},
    {"shuffle": True, "batch_size": 8, "buffer_size": 30},
    {"shuffle": True, "buffer_size": 30},
    {"shuffle": True, "batch_size": 5, "buffer_size": 1000},
    {"shuffle": True, "batch_size": 64, "buffer_size": 3},
]


def epoch_of(path: Any, world_size: int, workers: int, **way: Any) -> list[Any]:
    """Return for each rank the ids of its items."""
    return [
        ids_of(
            items_of(
                RecordingDataset(path, rank=rank, world_size=world_size, **way), workers
            )
        )
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_row_once(recorded: Recorded, way: dict[str, Any]) -> None:
    path = recorded(LENGTHS)
    whole = ids_of(list(RecordingDataset(path, **way)))
    assert sorted(flat(whole)) == list(range(ROWS))
    for world_size, workers in itertools.product(range(1, 9), range(9)):
        ranks = epoch_of(path, world_size, workers, **way)
        # Ranks take turns at the items, and workers change nothing.
        assert ranks == [whole[rank::world_size] for rank in range(world_size)]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("uneven", ["drop", "pad"])
def test_all_ranks_make_the_same_number_of_steps(
    recorded: Recorded, way: dict[str, Any], uneven: str
) -> None:
    path = recorded(LENGTHS)
    whole = ids_of(list(RecordingDataset(path, **way)))
    for world_size, workers in itertools.product((1, 2, 3, 8, 100), (0, 1, 3)):
        ranks = epoch_of(path, world_size, workers, uneven=uneven, **way)
        exact = len(whole) / world_size
        steps = int(exact) if uneven == "drop" else int(-(-len(whole) // world_size))
        assert [len(rank) for rank in ranks] == [steps] * world_size
        dataset = RecordingDataset(
            path, uneven=uneven, rank=world_size - 1, world_size=world_size, **way
        )
        assert len(dataset) == steps
        together = [item for step in zip(*ranks, strict=True) for item in step]
        expected = list(itertools.islice(itertools.cycle(whole), len(together)))
        assert together == expected


def test_exact_batches(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    for size in (1, 2, 7, 8, 96, ROWS, ROWS + 1):
        for drop_last in (False, True):
            dataset = RecordingDataset(path, batch_size=size, drop_last=drop_last)
            items = ids_of(list(dataset))
            lengths = [len(item) for item in items]
            whole, rest = divmod(ROWS, size)
            assert lengths == [size] * whole + [rest] * (rest > 0 and not drop_last)
            assert flat(items) == list(range(sum(lengths)))
            assert len(dataset) == len(items)


def test_several_recordings_are_one(recorded: Recorded) -> None:
    parts = [recorded(LENGTHS, "a"), recorded([], "b"), recorded([30, 3], "c", ROWS)]
    for way in WAYS:
        ranks = epoch_of(parts, 3, 2, **way)
        rows = sorted(flat([item for rank in ranks for item in rank]))
        assert rows == list(range(ROWS + 33))
    one = recorded([*LENGTHS, 30, 3], "one")
    for way in WAYS:
        several, single = RecordingDataset(parts, **way), RecordingDataset(one, **way)
        assert ids_of(list(several)) == ids_of(list(single))


def test_the_order_is_that_of_shuffle(recorded: Recorded) -> None:
    path = recorded(length for length in LENGTHS if length > 0)
    cache = batchcorder.open(path)
    for epoch, buffer_size, world_size in itertools.product((0, 3), (None, 30), (1, 3)):
        if buffer_size is not None and world_size > 1:
            continue  # shuffle() mixes the rows of each shard by themselves
        for rank in range(world_size):
            dataset = RecordingDataset(
                path,
                shuffle=True,
                seed=5,
                buffer_size=buffer_size,
                rank=rank,
                world_size=world_size,
            )
            dataset.set_epoch(epoch)
            stream = cache.shuffle(
                5, epoch, buffer_size=buffer_size, shard=(rank, world_size)
            )
            batches = [batch["id"].to_pylist() for batch in stream]
            assert ids_of(list(dataset)) == batches


def test_the_order_never_changes(recorded: Recorded) -> None:
    # A promise of docs/training.md: an order of another version cannot be resumed.
    path = recorded([3, 2, 4, 1])
    dataset = RecordingDataset(path, batch_size=5, shuffle=True, seed=7)
    assert ids_of(list(dataset)) == GOLDEN["batches"]
    dataset = RecordingDataset(path, batch_size=5, shuffle=True, seed=7, buffer_size=6)
    assert ids_of(list(dataset)) == GOLDEN["rows"]


GOLDEN = {
    "batches": [[9, 3, 4, 0, 1], [2, 5, 6, 7, 8]],
    "rows": [[1, 0, 4, 3, 2], [9, 7, 6, 5, 8]],
}


def test_each_epoch_has_its_order(recorded: Recorded) -> None:
    path = recorded([5] * 20)
    for way in ({}, {"buffer_size": 20}):
        dataset = RecordingDataset(path, shuffle=True, batch_size=4, **way)
        orders = []
        for epoch in range(5):
            dataset.set_epoch(epoch)
            orders.append(tuple(flat(ids_of(list(dataset)))))
        assert len(set(orders)) == 5
        assert all(sorted(order) == list(range(100)) for order in orders)
        dataset.set_epoch(2)
        assert tuple(flat(ids_of(list(dataset)))) == orders[2]


def test_a_buffer_mixes_rows_of_its_batches(recorded: Recorded) -> None:
    path = recorded([10] * 30)
    dataset = RecordingDataset(path, shuffle=True, batch_size=50, buffer_size=50)
    for item in ids_of(list(dataset)):
        # Five batches of ten rows, mixed.
        assert Counter(number // 10 for number in item) == dict.fromkeys(
            {number // 10 for number in item}, 10
        )
        assert item != sorted(item)


def test_a_rank_without_rows(recorded: Recorded) -> None:
    path = recorded([4, 4])
    for workers in (0, 2):
        ranks = epoch_of(path, 5, workers)
        assert [len(rank) for rank in ranks] == [1, 1, 0, 0, 0]
    empty = recorded([], "empty")
    for uneven in ("keep", "drop", "pad"):
        for way in WAYS:
            dataset = RecordingDataset(empty, uneven=uneven, **way)
            assert list(dataset) == []
            assert len(dataset) == 0
            assert items_of(dataset, 3) == []


def test_columns_of_every_way(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    for way in WAYS:
        for items in (
            list(RecordingDataset(path, columns=["s", "id"], **way)),
            list(RecordingDataset(path, columns=["s", "id"], format="numpy", **way)),
        ):
            for item in items:
                assert list(item) == ["s", "id"]
                assert item["s"] == [f"row {i}" for i in item["id"].tolist()]
        for batch in RecordingDataset(path, columns=["s", "id"], format="arrow", **way):
            assert batch.schema.names == ["s", "id"]
            assert batch["s"].to_pylist() == [f"row {i.as_py()}" for i in batch["id"]]


def test_small_batches_are_read_together(recorded: Recorded) -> None:
    path = recorded([1, 2, 0, 3] * 60)
    for way in ({}, {"shuffle": True}, {"shuffle": True, "buffer_size": 9}):
        for size in (1, 5, 64, 1000):
            options = {"batch_size": size, "columns": ["id", "x"], **way}
            alone = ids_of(list(RecordingDataset(path, batch_size=size, **way)))
            assert ids_of(list(RecordingDataset(path, **options))) == alone
            ranks = epoch_of(path, 3, 2, **options)
            assert ranks == [alone[rank::3] for rank in range(3)]
            for item in RecordingDataset(path, format="numpy", **options):
                assert (item["x"] * 2 == item["id"]).all()


def test_copies_of_few_bytes(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchcorder.torch import _blocks

    path = recorded(LENGTHS)
    for size in (None, 1, 8, 60):
        way: dict[str, Any] = {"batch_size": size, "shuffle": True, "buffer_size": 50}
        expected = ids_of(list(RecordingDataset(path, **way)))
        for most in (1, 12, 100, 200):
            monkeypatch.setattr(_blocks, "_COPIED_BYTES", most)
            dataset = RecordingDataset(path, columns=["id", "x"], **way)
            assert ids_of(list(dataset)) == expected


def test_windows_of_steps(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchcorder.torch import _blocks

    path = recorded(LENGTHS)
    expected = [ids_of(list(RecordingDataset(path, **way))) for way in WAYS]
    monkeypatch.setattr(_blocks, "_FIRST_WINDOW", 1)
    monkeypatch.setattr(_blocks, "_WINDOW", 3)
    assert [ids_of(list(RecordingDataset(path, **way))) for way in WAYS] == expected


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_plans(recorded: Recorded, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, 12), max_size=12))
    path = recorded(lengths, f"r{next(NUMBERS)}")
    shuffle = data.draw(st.booleans())
    way = {
        "shuffle": shuffle,
        "buffer_size": data.draw(st.none() | st.integers(0, 30)) if shuffle else None,
        "batch_size": data.draw(st.none() | st.integers(1, 20)),
        "seed": data.draw(st.integers(0, 2**64 - 1)),
    }
    world_size, workers = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 4))
    whole = ids_of(list(RecordingDataset(path, **way)))
    assert sorted(flat(whole)) == list(range(sum(lengths)))
    ranks = epoch_of(path, world_size, workers, **way)
    assert ranks == [whole[rank::world_size] for rank in range(world_size)]


def test_real_loaders(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    for way in WAYS:
        expected = load(RecordingDataset(path, **way))
        assert load(RecordingDataset(path, **way), 2) == expected
