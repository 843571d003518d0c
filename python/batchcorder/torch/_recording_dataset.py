"""
The rows of recordings as an iterable dataset.

    states of an iteration: begun (epoch, first step of the rank) -> k steps given

A state of the whole rank is (epoch, steps given). In a worker, a state has the steps that
this worker gave, because a loader with states of its own asks each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from .. import _arguments
from ._blocks import Steps
from ._columns import Columns
from ._epoch import Cut, Order, Sequence
from ._items import Item
from ._progress import Progress, Start
from ._recordings import Recordings

_VERSION = 1
# So many rows of batches that are smaller than an item are read together.
_TOGETHER = 4096


def _world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the rank of this process, and the number of ranks."""
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _checked_world(rank: Any, world_size: Any) -> tuple[int | None, int | None]:
    if rank is None and world_size is None:
        return None, None
    if rank is None or world_size is None:
        raise ValueError("give rank and world_size together, or neither")
    number, size = (
        _arguments.count(rank, "rank"),
        _arguments.count(world_size, "world_size"),
    )
    if number >= size:
        raise ValueError(f"argument 'rank': no rank {number} of {size}")
    return number, size


class RecordingDataset(IterableDataset[Any]):
    """
    The rows of recordings, each once in an epoch, for ``torch.utils.data.DataLoader``.

    Items are batches, so the loader gets ``batch_size=None``. Ranks take turns at the
    items of an epoch, and the worker processes of a rank take turns at its items. The
    loader therefore returns the same items with any number of workers. Each worker opens
    the files itself.

    Parameters
    ----------
    recording : str, bytes, os.PathLike, StreamCache, or a list of these
        The recordings. A cache needs a file, and its source is read to its end. Several
        recordings with the same columns are one sequence of batches.
    columns : sequence of str or int, optional
        The columns of the items, by name or by index. None (default): all.
    batch_size : int, optional
        Number of rows of each item but the last one of the epoch. None (default): each
        item is a recorded batch.
    shuffle : bool, default False
        Give the batches in a random order, which is a pure function of `seed`, epoch and
        recordings: the one of :meth:`StreamCache.shuffle`.
    buffer_size : int, optional
        With `shuffle`, mix the rows of consecutive batches that have at least so many
        rows together. None (default): rows stay in their batches, and are not copied.
    seed : int, default 0
        Seed of the order, from 0 to 2**64 - 1.
    drop_last : bool, default False
        Leave out the last item of the epoch if it has fewer than `batch_size` rows.
    uneven : {"keep", "drop", "pad"}, default "keep"
        The case that the items of an epoch do not divide by the number of ranks. "keep":
        some ranks get one more. "drop": the last items are left out. "pad": items from
        the start of the epoch are repeated. With "drop" and "pad", all ranks make the
        same number of steps, as ``DistributedDataParallel`` needs it.
    format : {"torch", "numpy", "arrow"}, default "torch"
        Items are dicts of tensors, dicts of arrays, or pyarrow.RecordBatch. Columns that
        are no numbers, such as text, are lists of Python objects.
    transform : callable, optional
        Called with each item; returns the item to use. Worker processes call it.
    rank, world_size : int, optional
        This process and the number of processes that share the rows. None (default):
        as ``torch.distributed`` has them when the dataset is read, else 0 and 1.
    fill_null : dict or scalar, optional
        The value in place of nulls, of each column or of all. None (default): nulls in a
        column of numbers are an error.

    Raises
    ------
    KeyError, IndexError
        A column does not exist.
    OSError
        A file cannot be opened, or its recording is not complete.
    TypeError, ValueError, OverflowError
        An argument has another type, or is out of range. A cache has no file.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> from torch.utils.data import DataLoader
    >>> from batchcorder.torch import RecordingDataset
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": range(5)}), path): pass
    >>> dataset = RecordingDataset(path, batch_size=2)
    >>> [item["x"].tolist() for item in DataLoader(dataset, batch_size=None)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        recording: Any,
        *,
        columns: Any = None,
        batch_size: int | None = None,
        shuffle: bool = False,
        buffer_size: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        uneven: str = "keep",
        format: str = "torch",
        transform: Callable[[Any], Any] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        fill_null: Any = None,
    ) -> None:
        size = 0
        if batch_size is not None:
            size = _arguments.count(batch_size, "batch_size")
            if size == 0:
                raise ValueError("argument 'batch_size': expected 1 or more, or None")
        elif drop_last:
            raise ValueError("drop_last needs a batch_size: recorded batches differ")
        rows = 0 if buffer_size is None else _arguments.count(buffer_size, "buffer_size")
        if rows > 0 and not shuffle:
            raise ValueError("buffer_size needs shuffle=True")
        if uneven not in ("keep", "drop", "pad"):
            raise ValueError(
                f"argument 'uneven': expected 'keep', 'drop' or 'pad', got {uneven!r}"
            )
        self._order = Order(bool(shuffle), rows, _arguments.count(seed, "seed"), 0)
        self._cut = Cut(size, bool(drop_last), uneven, 1)
        self._rank, self._world_size = _checked_world(rank, world_size)
        self._transform = transform
        self._recordings = Recordings(recording, columns)
        self._columns = Columns(self._recordings.schema, format, fill_null)
        self._progress = Progress()
        self._sequence: Sequence | None = None
        # The iteration of this process: where it began, and how many items it gave.
        self._start, self._given = Start(0, 0), 0
        # The state that a loader with states of its own has loaded into this worker.
        self._resumed: tuple[Start, int] | None = None

    @property
    def _place(self) -> Progress:
        """The place in the epochs: a worker's is that of the loop's process."""
        is_worker = get_worker_info() is not None
        return self._progress if is_worker else self._progress.own()

    # ---- the plan ----

    def _ranks(self) -> tuple[int, Cut]:
        rank, world_size = _world(self._rank, self._world_size)
        return rank, self._cut._replace(world_size=world_size)

    def _total(self, cut: Cut) -> int:
        """Return the number of steps of all ranks."""
        recordings = self._recordings
        recordings.check()
        return cut.steps(recordings.rows, recordings.filled)

    def __len__(self) -> int:
        """Return the number of items that this rank gets in an epoch."""
        rank, cut = self._ranks()
        return cut.rank_steps(self._total(cut), rank)

    @property
    def epoch(self) -> int:
        """
        Return the epoch of the next iteration.

        After :meth:`load_state_dict` it is the epoch of the state.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RecordingDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": range(5)}), path): pass
        >>> RecordingDataset(path).epoch
        0
        """
        return self._place.epoch

    def set_epoch(self, epoch: int) -> None:
        """
        Set the epoch of the next iteration, which gives it an order of its own.

        Workers that the loader keeps (``persistent_workers=True``) follow. If a state of
        this epoch was loaded, the iteration still goes on from there.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0 to 2**63 - 1.

        Raises
        ------
        OverflowError, TypeError
            The number is out of range, or not an integer.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RecordingDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> stream = pa.table({"x": range(6)}).to_reader(max_chunksize=1)
        >>> with batchcorder.record(stream, path): pass
        >>> dataset = RecordingDataset(path, batch_size=6, shuffle=True, seed=7)
        >>> dataset.set_epoch(1)
        >>> next(iter(dataset))["x"].tolist()
        [0, 5, 4, 2, 1, 3]
        """
        number = _arguments.count(epoch, "epoch")
        if number >= 1 << 63:
            raise OverflowError("argument 'epoch': expected a number below 2**63")
        if self._place.running.epoch != number:
            self._given = 0
        self._place.set_epoch(number)

    # ---- reading ----

    def __iter__(self) -> Iterator[Any]:
        # Not a generator: the iteration begins here, before its first item is needed.
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        rank, cut = self._ranks()
        start, given = self._begun(worker, workers, info is not None)
        total = self._total(cut)
        order = self._order._replace(epoch=start.epoch)
        if self._sequence is None or self._sequence.order != order:
            self._sequence = Sequence(self._recordings.lengths, order, self._together())
        steps = Steps(self._recordings, self._sequence, cut, self._columns)
        first = start.step + worker + given * workers
        numbers = range(first, max(cut.rank_steps(total, rank), first), workers)
        self._start, self._given = start, given
        return self._items(steps.items(rank, numbers), info is not None)

    def _together(self) -> int:
        """Return how many rows of small batches are read together."""
        recordings, size = self._recordings, self._cut.batch_size
        if not self._columns.are_plain or recordings.rows * 2 > recordings.filled * size:
            return 0
        return max(4 * size, _TOGETHER)

    def _begun(self, worker: int, workers: int, is_worker: bool) -> tuple[Start, int]:
        """Return where the iteration begins, and the number of items given before."""
        if self._resumed is None:
            return self._place.begin(worker, workers, is_worker), 0
        resumed, self._resumed = self._resumed, None
        self._place.announce(resumed[0], workers)
        return resumed

    def _items(self, items: Iterator[Any], is_worker: bool) -> Iterator[Any]:
        packs = is_worker and self._columns.kind == "torch"
        for item in items:
            ready = item
            if self._transform is not None:
                if packs:
                    # A view would take its whole batch to the loop's process.
                    ready = {name: _compact(value) for name, value in item.items()}
                ready = self._transform(ready)
            if packs and type(ready) is dict:
                ready = Item(ready)
            self._given += 1
            yield ready

    # ---- states ----

    def _settings(self) -> dict[str, Any]:
        _, cut = self._ranks()
        self._recordings.check()
        return {
            "recordings": list(self._recordings.identities),
            "rows": self._recordings.rows,
            "batch_size": cut.batch_size or None,
            "drop_last": cut.drop_last,
            "shuffle": self._order.shuffle,
            "buffer_size": self._order.buffer_size or None,
            "seed": self._order.seed,
            "uneven": cut.uneven,
            "world_size": cut.world_size,
        }

    def state_dict(self, steps: int | None = None) -> dict[str, Any]:
        """
        Return the place in the epoch, for :meth:`load_state_dict`.

        All ranks have made the same number of steps, so the state of one serves all.

        Parameters
        ----------
        steps : int, optional
            Number of items that the loop has got in this iteration. With worker
            processes only the loop knows it, because workers read ahead. None (default):
            as many as this process gave. ``torchdata``'s StatefulDataLoader needs no
            number: it asks the workers.

        Returns
        -------
        dict
            Numbers, texts and lists: it can be saved in any way.

        Raises
        ------
        ValueError
            The loop reads from worker processes, and `steps` is missing.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RecordingDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": range(6)}), path): pass
        >>> dataset = RecordingDataset(path, batch_size=2)
        >>> for item in dataset:
        ...     state = dataset.state_dict()
        ...     break
        >>> other = RecordingDataset(path, batch_size=2)
        >>> other.load_state_dict(state)
        >>> [item["x"].tolist() for item in other]
        [[2, 3], [4, 5]]
        """
        settings = {"version": _VERSION, **self._settings()}
        info = get_worker_info()
        if info is not None:
            start, given = (self._start, self._given)
            if self._resumed is not None:
                start, given = self._resumed
            place = {"epoch": start.epoch, "steps": start.step}
            own = {"worker": info.id, "workers": info.num_workers, "given": given}
            return {**settings, **place, **own}
        progress = self._place
        if steps is None and progress.workers > 0 and not progress.is_resuming:
            raise ValueError(
                f"{progress.workers} workers read ahead of the loop: give steps=, the "
                "number of items that the loop has got in this iteration"
            )
        if progress.is_resuming and not steps:
            place = {"epoch": progress.resumed.epoch, "steps": progress.resumed.step}
            return {**settings, **place}
        start = progress.running
        given = self._given if steps is None else _arguments.count(steps, "steps")
        return {**settings, "epoch": start.epoch, "steps": start.step + given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Let the next iteration go on where a state was taken.

        Passed items are not read. Later iterations begin with the first item.

        Parameters
        ----------
        state_dict : dict
            A state of :meth:`state_dict`, of this rank or of another.

        Raises
        ------
        TypeError
            It is no such state.
        ValueError
            It is a state of other recordings, or of another seed, batch size, number of
            ranks or another setting that changes the order. The message names them.

        Examples
        --------
        See :meth:`state_dict`.

        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RecordingDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": range(6)}), path): pass
        >>> state = RecordingDataset(path, batch_size=2).state_dict(steps=2)
        >>> dataset = RecordingDataset(path, batch_size=2)
        >>> dataset.load_state_dict(state)
        >>> [item["x"].tolist() for item in dataset]
        [[4, 5]]
        """
        settings = self._settings()
        try:
            start = Start(int(state_dict["epoch"]), int(state_dict["steps"]))
            saved = {name: state_dict[name] for name in settings}
            version = state_dict["version"]
        except (KeyError, TypeError, ValueError) as error:
            raise TypeError(
                f"argument 'state_dict': no state of a RecordingDataset: {error!r}"
            ) from None
        if version != _VERSION:
            raise ValueError(f"the state is of version {version}, not {_VERSION}")
        differences = [
            f"{name} is {saved[name]!r} in the state, and {own!r} here"
            for name, own in settings.items()
            if saved[name] != own
        ]
        if differences:
            raise ValueError("the state is of another dataset: " + "; ".join(differences))
        info = get_worker_info()
        if "worker" not in state_dict:
            if info is None:
                self._place.load(start)
            else:
                self._resumed = start, 0
            return
        place = int(state_dict["worker"]), int(state_dict["workers"])
        if info is None or place != (info.id, info.num_workers):
            here = "no worker" if info is None else f"{info.id} of {info.num_workers}"
            raise ValueError(
                f"the state is of worker {place[0]} of {place[1]}, and this is {here}: "
                "load the loader's state with the same number of workers"
            )
        self._resumed = start, int(state_dict["given"])

    # ---- copies ----

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_sequence": None}
        # A worker that is started anew is in no process group.
        rank, world_size = _world(self._rank, self._world_size)
        if world_size > 1:
            state["_rank"], state["_world_size"] = rank, world_size
        return state


def _compact(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
