"""The rows of recordings by their indices, as a map-style dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from torch.utils.data import Dataset

from ._blocks import Block
from ._columns import Columns
from ._items import Item, Rows, register
from ._recordings import Recordings

register()


class RowDataset(Dataset[Any]):
    """
    The rows of recordings by their indices, for samplers of ``torch.utils.data``.

    A loader with a batch size fetches the rows of a batch at once, and their default
    collation costs nothing. Each worker process opens the files itself.

    Parameters
    ----------
    recording : str, bytes, os.PathLike, StreamCache, or a list of these
        As :class:`RecordingDataset` takes it. Rows are counted through all recordings.
    columns : sequence of str or int, optional
        The columns of the rows, by name or by index. None (default): all.
    format : {"torch", "numpy", "arrow"}, default "torch"
        Rows are dicts of tensors, dicts of NumPy values, or a pyarrow.RecordBatch of one
        row. Columns that are no numbers, such as text, are Python objects.
    transform : callable, optional
        Called with each row; returns the row to use. Rows are then collated one by one.
    fill_null : dict or scalar, optional
        As :class:`RecordingDataset` takes it.

    Raises
    ------
    Exception
        As :class:`RecordingDataset` does.

    Examples
    --------
    >>> import os, tempfile, pyarrow as pa, batchcorder
    >>> from torch.utils.data import DataLoader
    >>> from batchcorder.torch import RowDataset
    >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
    >>> with batchcorder.record(pa.table({"x": range(5)}), path): pass
    >>> rows = RowDataset(path)
    >>> len(rows), rows[-1], rows[[3, 0]]
    (5, {'x': tensor(4)}, {'x': tensor([3, 0])})
    >>> [item["x"].tolist() for item in DataLoader(rows, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        recording: Any,
        *,
        columns: Any = None,
        format: str = "torch",
        transform: Callable[[Any], Any] | None = None,
        fill_null: Any = None,
    ) -> None:
        self._transform = transform
        self._recordings = Recordings(recording, columns)
        self._columns = Columns(self._recordings.schema, format, fill_null)

    def __len__(self) -> int:
        """Return the number of rows."""
        self._recordings.check()
        return self._recordings.rows

    def _item(self, indices: Any) -> Any:
        """Return rows as one item."""
        numbers = np.asarray(indices)
        if numbers.size == 0:
            numbers = numbers.astype(np.int64)
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise TypeError(f"expected row indices, got {indices!r}")
        numbers = numbers.astype(np.int64, copy=False)
        n = len(self)
        if numbers.size > 0:
            low, high = int(numbers.min()), int(numbers.max())
            if low < -n or high >= n:
                wrong = low if low < -n else high
                raise IndexError(f"row index {wrong} is out of range ({n} rows)")
            if low < 0:
                numbers = np.where(numbers < 0, numbers + n, numbers)
        return Block.taken(self._recordings, self._columns, numbers).all()

    def _row(self, item: Any, number: int) -> Any:
        if self._columns.kind == "arrow":
            row = item.slice(number, 1)
        else:
            row = {name: values[number] for name, values in item.items()}
        return row if self._transform is None else self._transform(row)

    def __getitem__(self, index: SupportsIndex | Sequence[int]) -> Any:
        """
        Return a row, or several as one item.

        Parameters
        ----------
        index : int or sequence of int
            Index of the row. Negative indices count from the end. Several indices give
            one item with the rows in this order.

        Returns
        -------
        dict or pyarrow.RecordBatch
            The row, or the rows. `transform` has been called with it.

        Raises
        ------
        IndexError
            There is no such row.
        TypeError
            It is no integer.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RowDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": range(5)}), path): pass
        >>> RowDataset(path)[2]
        {'x': tensor(2)}
        """
        if hasattr(index, "__index__") and np.ndim(index) == 0:
            return self._row(self._item([index.__index__()]), 0)
        item = self._item(index)
        if self._transform is not None:
            return self._transform(item)
        return Item(item) if self._columns.kind == "torch" else item

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """
        Return several rows, which are read at once. A loader calls it for each batch.

        Parameters
        ----------
        indices : sequence of int
            Indices of the rows.

        Returns
        -------
        list
            The rows, as mappings. ``default_collate`` of the whole list takes no copy.

        Raises
        ------
        Exception
            As indexing does.

        Examples
        --------
        >>> import os, tempfile, pyarrow as pa, batchcorder
        >>> from batchcorder.torch import RowDataset
        >>> path = os.path.join(tempfile.mkdtemp(), "x.arrows")
        >>> with batchcorder.record(pa.table({"x": range(5)}), path): pass
        >>> [int(row["x"]) for row in RowDataset(path).__getitems__([3, 1])]
        [3, 1]
        """
        item = self._item(indices)
        n = len(indices)
        if self._transform is None and self._columns.kind == "torch":
            return Rows(Item(item), n)
        return [self._row(item, number) for number in range(n)]
