"""
The loaders that training.py compares.

Each yields batches of 256 rows, as dicts of tensors.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    get_worker_info,
)

from batchcorder.torch import RecordingDataset, RowDataset
from training_data import BATCH, FEATURES, SHARDS, Case, images_of, reader

# Rows that are mixed together: of the peers as their pages show it, and of ours.
BUFFER, OUR_BUFFER = 10_000, 100_000


def tensors_of(batch: pa.RecordBatch) -> dict[str, torch.Tensor]:
    arrays = {
        name: images_of(batch[name]) if name == "image" else batch[name].to_numpy()
        for name in batch.schema.names
    }
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def touch(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one tensor of the inputs of a model, as a training loop does."""
    for name in ("image", "x"):
        if name in batch:
            return batch[name].clone(), batch["y"]
    return torch.stack([batch[name] for name in FEATURES], 1), batch["y"]


# ---- loaders: each begins with a step, or with a state ----

Loader = Iterable[Any]


def order(case: Case, skip: int) -> Any:
    """Return a sampler that begins after the skipped steps."""
    rows = range(case.rows)
    if skip == 0:
        return RandomSampler(rows) if case.shuffled else SequentialSampler(rows)
    if not case.shuffled:
        return rows[skip * BATCH :]
    seeded = torch.Generator().manual_seed(7)
    return torch.randperm(case.rows, generator=seeded)[skip * BATCH :].tolist()


def by_rows(dataset: Any, case: Case, skip: int) -> Loader:
    """Return a loader that gets single rows, and collates them."""
    sampler = order(case, skip)
    return DataLoader(
        dataset, batch_size=BATCH, sampler=sampler, num_workers=case.workers
    )


def by_batches(dataset: Any, case: Case, skip: int) -> Loader:
    """Return a loader that gets all rows of a batch at once."""
    sampler = BatchSampler(order(case, skip), BATCH, False)
    return DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=case.workers)


def recorded(case: Case, buffer: int | None) -> RecordingDataset:
    path, shuffled = case.folder / "recording.arrows", case.shuffled
    return RecordingDataset(path, batch_size=BATCH, shuffle=shuffled, buffer_size=buffer)


def recording(case: Case, state: Any, buffer: int | None = None) -> Loader:
    dataset = recorded(case, buffer)
    if state != 0:
        dataset.load_state_dict(state)
    return DataLoader(dataset, batch_size=None, num_workers=case.workers)


def recording_state(case: Case, skip: int, buffer: int | None = None) -> Any:
    return recorded(case, buffer).state_dict(steps=skip)


def row_dataset(case: Case, skip: int) -> Loader:
    return by_rows(RowDataset(case.folder / "recording.arrows"), case, skip)


def mapped(case: Case) -> Any:
    import datasets

    return datasets.load_from_disk(case.folder / "datasets").with_format("torch")


def mapped_rows(case: Case, skip: int) -> Loader:
    return by_rows(mapped(case), case, skip)


def mapped_batches(case: Case, skip: int) -> Loader:
    return by_batches(mapped(case), case, skip)


def streamed(case: Case, state: Any) -> Loader:
    from torchdata.stateful_dataloader import StatefulDataLoader

    dataset = mapped(case).with_format(None).to_iterable_dataset(num_shards=SHARDS)
    dataset = dataset.with_format("torch")
    if case.shuffled:
        dataset = dataset.shuffle(seed=7, buffer_size=BUFFER)
    # torchdata's loader is the documented one for states.
    kind = DataLoader if state == 0 else StatefulDataLoader
    loader = kind(dataset.batch(BATCH), batch_size=None, num_workers=case.workers)
    if isinstance(state, dict):
        loader.load_state_dict(state)
    return loader


def streamed_state(case: Case, skip: int) -> Any:
    loader = streamed(case, None)
    for _ in itertools.islice(loader, skip):
        pass
    return loader.state_dict()


@functools.cache
def in_memory(case: Case, is_matrix: bool) -> dict[str, torch.Tensor]:
    table = reader(case).read_all().combine_chunks()
    tensors = tensors_of(table.to_batches()[0])
    tensors = {name: values.clone() for name, values in tensors.items()}
    if is_matrix:
        features = [tensors[name] for name in FEATURES]
        return {"x": torch.stack(features, 1), "y": tensors["y"]}
    return tensors


def of_tensors(loader: Any, is_matrix: bool = False) -> Callable[..., Loader]:
    def load(case: Case, skip: int) -> Loader:
        tensors = in_memory(case, is_matrix=is_matrix)
        ready = loader(TensorDataset(*tensors.values()), case, skip)
        return (dict(zip(tensors, batch, strict=True)) for batch in ready)

    return load


class ParquetRows(IterableDataset[Any]):
    """The rows of a Parquet file, whose row groups the workers share."""

    def __init__(self, path: Path, shuffled: bool) -> None:
        self._path, self._shuffled = path, shuffled

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        with pq.ParquetFile(self._path) as file:
            groups = np.arange(file.num_row_groups)
            if self._shuffled:
                np.random.default_rng(7).shuffle(groups)
            mine = groups[first::step].tolist()
            yield from map(tensors_of, file.iter_batches(BATCH, row_groups=mine))


def parquet(case: Case, skip: int) -> Loader:
    dataset = ParquetRows(case.folder / "table.parquet", case.shuffled)
    return DataLoader(dataset, batch_size=None, num_workers=case.workers)


def random_fragments(dataset: Any, **arguments: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the fragments of this process, in a random order."""
    from lance.sampler import ShardedFragmentSampler
    from lance.torch.dist import get_global_rank, get_global_world_size

    place = get_global_rank(), get_global_world_size()
    return ShardedFragmentSampler(*place, randomize=True)(dataset, **arguments)


def lance_rows(case: Case, skip: int) -> Loader:
    from lance.torch.data import LanceDataset

    dataset = LanceDataset(
        case.folder / "table.lance",
        BATCH,
        sampler=random_fragments if case.shuffled else None,
    )
    # Lance has threads, which a fork does not copy.
    context = "spawn" if case.workers > 0 else None
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=case.workers,
        multiprocessing_context=context,
    )


def decoded(image: bytes, label: bytes) -> tuple[np.ndarray, int]:
    return np.frombuffer(image, np.uint8), int(label)


def tars(case: Case, skip: int) -> Loader:
    import webdataset

    paths = sorted(map(str, (case.folder / "tar").iterdir()))
    dataset = webdataset.WebDataset(paths, shardshuffle=SHARDS if case.shuffled else 0)
    if case.shuffled:
        dataset = dataset.shuffle(BUFFER)
    dataset = dataset.to_tuple("bin", "cls").map(lambda row: decoded(*row)).batched(BATCH)
    loader = DataLoader(dataset, batch_size=None, num_workers=case.workers)
    for images, labels in loader:
        yield {"image": torch.as_tensor(images), "y": torch.as_tensor(labels)}


# ---- contestants ----

BY_STATE, BY_SAMPLER, BY_READING = "state", "sampler", "reading"


class Contestant(NamedTuple):
    """A way to load a table."""

    words: str
    # Called with a case and the steps to skip, or the state.
    load: Callable[[Case, Any], Loader]
    resumes: str
    module: str = "torch"
    state: Callable[[Case, int], Any] | None = None
    # Called before the time counts.
    prepare: Callable[[Case], Any] = lambda case: None

    def missing(self, case: Case) -> str:
        """Return why it cannot read the table in this way, or nothing."""
        if self.load is tars and case.table == "rows":
            return "its archives have files for each row: it reads the images only"
        if self is CONTESTANTS["matrix"] and case.table == "images":
            return "the images are a matrix: this is the way above"
        if self is CONTESTANTS["buffered"] and not case.shuffled:
            return "only shuffled rows have a buffer"
        return ""


CONTESTANTS = {
    "recording": Contestant(
        "`RecordingDataset`", recording, BY_STATE, state=recording_state
    ),
    "buffered": Contestant(
        f"`RecordingDataset`, `buffer_size={OUR_BUFFER:_}`",
        functools.partial(recording, buffer=OUR_BUFFER),
        BY_STATE,
        state=functools.partial(recording_state, buffer=OUR_BUFFER),
    ),
    "row_dataset": Contestant("`RowDataset`", row_dataset, BY_SAMPLER),
    "datasets": Contestant("`datasets`, map-style", mapped_rows, BY_SAMPLER, "datasets"),
    "datasets_batches": Contestant(
        "`datasets`, map-style, `BatchSampler`", mapped_batches, BY_SAMPLER, "datasets"
    ),
    "streamed": Contestant(
        "`datasets`, streaming", streamed, BY_STATE, "datasets", streamed_state
    ),
    "tensors": Contestant(
        "`TensorDataset`",
        of_tensors(by_rows),
        BY_SAMPLER,
        prepare=functools.partial(in_memory, is_matrix=False),
    ),
    "tensors_batches": Contestant(
        "`TensorDataset`, `BatchSampler`",
        of_tensors(by_batches),
        BY_SAMPLER,
        prepare=functools.partial(in_memory, is_matrix=False),
    ),
    "matrix": Contestant(
        "`TensorDataset` of a matrix, `BatchSampler`",
        of_tensors(by_batches, is_matrix=True),
        BY_SAMPLER,
        prepare=functools.partial(in_memory, is_matrix=True),
    ),
    "parquet": Contestant("Parquet, `iter_batches`", parquet, BY_READING),
    "lance": Contestant("`lance.torch.data`", lance_rows, BY_READING, "lance"),
    "tars": Contestant("`webdataset`", tars, BY_READING, "webdataset"),
}
