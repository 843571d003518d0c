"""States of datasets: saved anywhere in an epoch, loaded, and refused."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import batchcorder
from batchcorder.torch import RecordingDataset
from loading import as_worker, ids_of, items_of, load

Recorded = Callable[..., str]
LENGTHS = [7, 20, 1, 13, 5, 40, 2, 9]
WAYS: list[dict[str, Any]] = [
    {},
    {"batch_size": 8},
    {"shuffle": True, "batch_size": 8},
    {"shuffle": True, "batch_size": 8, "buffer_size": 30},
    {"shuffle": True, "batch_size": 8, "rank": 1, "world_size": 2, "uneven": "pad"},
]


def dataset_of(path: str, way: dict[str, Any], epoch: int = 3) -> RecordingDataset:
    dataset = RecordingDataset(path, seed=9, **way)
    dataset.set_epoch(epoch)
    return dataset


def saved(state: Any) -> Any:
    """Return the state as a file would keep it."""
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_resume_at_each_step(recorded: Recorded, way: dict[str, Any]) -> None:
    path = recorded(LENGTHS)
    whole = ids_of(list(dataset_of(path, way)))
    for stop in range(len(whole) + 1):
        dataset = dataset_of(path, way)
        iterator = iter(dataset)
        for _ in range(stop):
            next(iterator)
        state = saved(dataset.state_dict())
        for workers in (0, 1, 2, 3):
            other = RecordingDataset(path, seed=9, **way)
            other.load_state_dict(state)
            assert other.epoch == 3
            assert ids_of(items_of(other, workers)) == whole[stop:]
            other.set_epoch(3)
            assert ids_of(items_of(other, workers)) == whole


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_resume_twice_in_a_row(recorded: Recorded, way: dict[str, Any]) -> None:
    path = recorded(LENGTHS)
    whole = ids_of(list(dataset_of(path, way)))
    seen: list[Any] = []
    state = dataset_of(path, way).state_dict()
    while len(seen) < len(whole):
        dataset = RecordingDataset(path, seed=9, **way)
        dataset.load_state_dict(saved(state))
        iterator = iter(dataset)
        for _ in range(2):
            seen += ids_of([item for item in [next(iterator, None)] if item])
        state = dataset.state_dict()
    assert seen == whole


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_plain_loader_with_workers(
    recorded: Recorded, workers: int, persistent: bool
) -> None:
    path = recorded(LENGTHS)
    way = {"shuffle": True, "batch_size": 4}
    whole = ids_of(list(dataset_of(path, way)))
    dataset = dataset_of(path, way)
    got = 0
    for _ in DataLoader(dataset, batch_size=None, num_workers=workers):
        got += 1
        if got == 5:
            break
    with pytest.raises(ValueError, match=f"{workers} workers read ahead .* give steps="):
        dataset.state_dict()
    state = saved(dataset.state_dict(steps=got))
    assert state["epoch"] == 3
    other = RecordingDataset(path, seed=9, **way)
    other.load_state_dict(state)
    loader = DataLoader(
        other, batch_size=None, num_workers=workers, persistent_workers=persistent
    )
    other.set_epoch(other.epoch)
    # The loop counts from the start of its iteration.
    rest = []
    for step, item in enumerate(loader, 1):
        rest += ids_of([item])
        assert other.state_dict(steps=step)["steps"] == 5 + step
    assert rest == whole[5:]
    # Later epochs are whole, also without set_epoch().
    assert ids_of(list(loader)) == whole
    other.set_epoch(4)
    assert ids_of(list(loader)) == ids_of(list(dataset_of(path, way, 4)))


def test_set_epoch_leaves_another_epochs_state(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    way = {"shuffle": True, "batch_size": 4}
    dataset = dataset_of(path, way)
    next(iter(dataset))
    state = dataset.state_dict()
    for workers in (0, 2):
        other = RecordingDataset(path, seed=9, **way)
        other.load_state_dict(state)
        other.set_epoch(5)
        assert load(other, workers) == ids_of(list(dataset_of(path, way, 5)))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("way", WAYS[:4], ids=str)
def test_stateful_loader(recorded: Recorded, way: dict[str, Any], workers: int) -> None:
    path = recorded(LENGTHS)
    whole = ids_of(list(dataset_of(path, way)))

    def loader_of() -> tuple[RecordingDataset, Any]:
        dataset = RecordingDataset(path, seed=9, **way)
        return dataset, StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, snapshot_every_n_steps=1
        )

    stops = (0, 1, len(whole) // 2, len(whole) - 1, len(whole))
    for stop in stops if workers < 3 else stops[1:4]:
        dataset, loader = loader_of()
        dataset.set_epoch(3)
        iterator = iter(loader)
        for _ in range(stop):
            next(iterator)
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        # Resumed, stopped after one more, and resumed again.
        dataset, loader = loader_of()
        loader.load_state_dict(state)
        dataset.set_epoch(3)
        iterator = iter(loader)
        seen = ids_of([item for item in [next(iterator, None)] if item])
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        dataset, loader = loader_of()
        loader.load_state_dict(state)
        seen += ids_of(list(loader))
        expected = whole[stop:]
        if stop == len(whole):
            # The state of a whole epoch is followed by the next iteration.
            seen, expected = [], []
        assert seen == expected
        dataset.set_epoch(4)
        assert ids_of(list(loader)) == ids_of(list(dataset_of(path, way, 4)))


@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_loader_at_the_end_of_an_epoch(recorded: Recorded, workers: int) -> None:
    path = recorded(LENGTHS)
    way = {"shuffle": True, "batch_size": 8}
    dataset = dataset_of(path, way)
    loader = StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
    list(loader)
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    dataset = RecordingDataset(path, seed=9, **way)
    loader = StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
    loader.load_state_dict(state)
    dataset.set_epoch(4)
    assert ids_of(list(loader)) == ids_of(list(dataset_of(path, way, 4)))


def test_stateful_loader_with_persistent_workers(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    way = {"shuffle": True, "batch_size": 8}
    dataset = RecordingDataset(path, seed=9, **way)
    loader = StatefulDataLoader(
        dataset, batch_size=None, num_workers=2, persistent_workers=True
    )
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert ids_of(list(loader)) == ids_of(list(dataset_of(path, way, epoch)))
    dataset.set_epoch(3)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    other = RecordingDataset(path, seed=9, **way)
    loader = StatefulDataLoader(
        other, batch_size=None, num_workers=2, persistent_workers=True
    )
    loader.load_state_dict(state)
    whole = ids_of(list(dataset_of(path, way)))
    assert ids_of(list(loader)) == whole[1:]
    other.set_epoch(3)
    assert ids_of(list(loader)) == whole


def test_states_of_other_datasets_are_refused(recorded: Recorded) -> None:
    path, same, other = recorded(LENGTHS), recorded(LENGTHS, "same"), recorded([97], "o")
    way: dict[str, Any] = {"batch_size": 8, "shuffle": True, "seed": 1}
    state = RecordingDataset(path, **way).state_dict()
    # A copy of the file is the same recording.
    copied = Path(path).with_name("copy.arrows")
    copied.write_bytes(Path(path).read_bytes())
    RecordingDataset(copied, **way).load_state_dict(state)
    RecordingDataset(same, **way).load_state_dict(state)
    # Neither columns nor format change the order.
    RecordingDataset(path, columns=["x"], format="numpy", **way).load_state_dict(state)
    for change, text in [
        ({"seed": 2}, "seed is 1 in the state, and 2 here"),
        ({"batch_size": 9}, "batch_size is 8 in the state, and 9 here"),
        ({"batch_size": None}, "batch_size is 8 in the state, and None here"),
        ({"rank": 0, "world_size": 2}, "world_size is 1 in the state, and 2 here"),
        ({"shuffle": False}, "shuffle is True in the state, and False here"),
        ({"buffer_size": 10}, "buffer_size is None in the state, and 10 here"),
        ({"drop_last": True}, "drop_last is False in the state, and True here"),
        ({"uneven": "pad"}, "uneven is 'keep' in the state, and 'pad' here"),
    ]:
        dataset = RecordingDataset(path, **{**way, **change})
        with pytest.raises(ValueError, match=text):
            dataset.load_state_dict(state)
        assert ids_of(list(dataset)) != []
    with pytest.raises(ValueError, match=r"recordings is .* in the state"):
        RecordingDataset(other, **way).load_state_dict(state)
    with pytest.raises(ValueError, match=r"recordings is .* in the state"):
        RecordingDataset([path, other], **way).load_state_dict(state)
    # Files of the same size and shape that differ in their rows.
    later = recorded(LENGTHS, "later", first=1)
    with pytest.raises(ValueError, match="recordings is"):
        RecordingDataset(later, **way).load_state_dict(state)


@pytest.mark.parametrize("state", [{}, None, 5, {"epoch": "x"}, {"epoch": 1}], ids=str)
def test_no_states(recorded: Recorded, state: Any) -> None:
    dataset = RecordingDataset(recorded(LENGTHS))
    with pytest.raises(TypeError, match="no state of a RecordingDataset"):
        dataset.load_state_dict(state)


def test_states_of_other_versions_are_refused(recorded: Recorded) -> None:
    dataset = RecordingDataset(recorded(LENGTHS))
    state = {**dataset.state_dict(), "version": 2}
    with pytest.raises(ValueError, match="of version 2"):
        dataset.load_state_dict(state)


def test_states_of_workers(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    dataset = RecordingDataset(path, batch_size=8)
    with as_worker(dataset, 1, 3):
        iterator = iter(dataset)
        first = next(iterator)
        state = saved(dataset.state_dict())
        assert (state["worker"], state["workers"], state["given"]) == (1, 3, 1)
        rest = ids_of(list(iterator))
    other = RecordingDataset(path, batch_size=8)
    with pytest.raises(ValueError, match="worker 1 of 3, and this is no worker"):
        other.load_state_dict(state)
    with as_worker(other, 1, 2), pytest.raises(ValueError, match="this is 1 of 2"):
        other.load_state_dict(state)
    with as_worker(other, 1, 3):
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert ids_of(list(other)) == rest
        assert ids_of([next(iter(other))]) == ids_of([first])


def test_copies_and_pickles(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    dataset = RecordingDataset(path, batch_size=8, shuffle=True)
    dataset.set_epoch(2)
    expected = ids_of(list(dataset))
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert ids_of(list(other)) == expected
        other.set_epoch(3)
        assert load(other, 2) != expected
    assert ids_of(list(dataset)) == expected


def test_a_file_stays_with_its_dataset(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    expected = ids_of(list(RecordingDataset(path)))
    cache = batchcorder.StreamCache(
        batchcorder.open(path), disk_path=str(tmp_path), disk_capacity="1GB"
    )
    dataset = RecordingDataset(cache)
    del cache
    assert load(dataset, 2) == expected
    assert load(dataset, 1, multiprocessing_context="spawn") == expected


def test_too_many_workers(recorded: Recorded) -> None:
    dataset = RecordingDataset(recorded(LENGTHS))
    with as_worker(dataset, 1024, 1025), pytest.raises(ValueError, match="1024 workers"):
        iter(dataset)


def test_a_recording_that_changed(recorded: Recorded) -> None:
    path = recorded(LENGTHS)
    dataset = RecordingDataset(path)
    data = pickle.dumps(dataset)
    recorded([3, 4], "other")
    Path(path).write_bytes(Path(path).with_name("other.arrows").read_bytes())
    other = pickle.loads(data)
    with pytest.raises(OSError, match="the recording has changed"):
        list(other)


def test_caches_with_a_file(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    expected = ids_of(list(RecordingDataset(path)))
    assert ids_of(list(RecordingDataset(batchcorder.open(path)))) == expected
    narrow = batchcorder.open(path, columns=["x", "id"])
    (item, *_) = RecordingDataset(narrow)
    assert list(item) == ["x", "id"]
    (item, *_) = RecordingDataset(narrow, columns=["id"])
    assert list(item) == ["id"]
    on_disk = batchcorder.StreamCache(
        batchcorder.open(path), disk_path=str(tmp_path), disk_capacity="1GB"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(list(RecordingDataset(on_disk))) == expected
    with pytest.raises(TypeError, match=r"save it with cache.save\(path\)"):
        RecordingDataset(batchcorder.StreamCache(batchcorder.open(path)))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "expected 1 or more"),
        ({"batch_size": 1.5}, TypeError, "batch_size"),
        ({"batch_size": -1}, OverflowError, "negative"),
        ({"drop_last": True}, ValueError, "needs a batch_size"),
        ({"buffer_size": 5}, ValueError, "needs shuffle=True"),
        ({"uneven": "skip"}, ValueError, "'keep', 'drop' or 'pad', got 'skip'"),
        ({"format": "jax"}, ValueError, "'torch', 'numpy' or 'arrow', got 'jax'"),
        ({"rank": 1}, ValueError, "rank and world_size together"),
        ({"rank": 2, "world_size": 2}, ValueError, "no rank 2 of 2"),
        ({"columns": ["none"]}, KeyError, "none"),
        ({"seed": "x"}, TypeError, "seed"),
    ],
    ids=str,
)
def test_arguments(
    recorded: Recorded, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    path = recorded(LENGTHS)
    with pytest.raises(error, match=text):
        RecordingDataset(path, **options)


def test_recordings_that_do_not_fit(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    with pytest.raises(FileNotFoundError):
        RecordingDataset(tmp_path / "none")
    with pytest.raises(ValueError, match="the list is empty"):
        RecordingDataset([])
    with pytest.raises(TypeError, match="expected a path, a cache with a file"):
        RecordingDataset(5)
    other = str(tmp_path / "o.arrows")
    with batchcorder.record(pa.table({"id": [1]}), other):
        pass
    with pytest.raises(ValueError, match="has other columns than"):
        RecordingDataset([path, other])
    both = RecordingDataset([path, other], columns=["id"])
    assert sum(len(item["id"]) for item in both) == sum(LENGTHS) + 1


def resume_alone(dataset: RecordingDataset, state: Any, queue: Any) -> None:
    for _ in range(2):
        dataset.load_state_dict(state)
        queue.put(load(dataset, 2))
        queue.put(load(dataset))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_with_copies_resume_for_themselves(
    recorded: Recorded, method: str
) -> None:
    dataset = RecordingDataset(recorded(LENGTHS), batch_size=8)
    whole = ids_of(list(dataset))
    state = dataset.state_dict(steps=5)
    context = torch.multiprocessing.get_context(method)
    queues = [context.Queue() for _ in range(2)]
    processes = [
        context.Process(target=resume_alone, args=(dataset, state, queue))
        for queue in queues
    ]
    for process in processes:
        process.start()
    for queue in queues:
        found = [queue.get(timeout=90) for _ in range(4)]
        assert found == [whole[5:], whole, whole[5:], whole]
    for process in processes:
        process.join()
    assert ids_of(list(dataset)) == whole
