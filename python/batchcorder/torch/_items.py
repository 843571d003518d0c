"""
Items on their way to the training loop.

A worker sends its items to the loop's process. PyTorch moves each tensor into a file of
its own in shared memory, which takes longer than to read the tensor. An item of tensors
therefore travels as one block of bytes. A small block goes through the queue's pipe, a
large one through shared memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

# Larger items go through shared memory.
_PIPE_BYTES = 1 << 20

# Tensors of one type, which follow each other: their names and shapes.
_Group = tuple[torch.dtype, list[str], list[tuple[int, ...]]]


class Item(dict[str, Any]):
    """A dict of tensors and lists that another process gets as one block of bytes."""

    def __reduce__(self) -> tuple[Any, ...]:
        tensors = {name: value for name, value in self.items() if _is_plain(value)}
        # The widest numbers come first, so that all are aligned.
        by_type: dict[torch.dtype, list[str]] = {}
        for name, value in tensors.items():
            by_type.setdefault(value.dtype, []).append(name)
        types = sorted(by_type, key=lambda kind: -kind.itemsize)
        groups: list[_Group] = [
            (kind, by_type[kind], [tuple(tensors[name].shape) for name in by_type[kind]])
            for kind in types
        ]
        parts = [tensors[name] for kind in types for name in by_type[kind]]
        others = {name: value for name, value in self.items() if name not in tensors}
        return _unpacked, (list(self), _block(parts), groups, others)

    def __copy__(self) -> Item:
        return Item(self)


def _is_plain(value: Any) -> bool:
    return (
        type(value) is torch.Tensor
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and not value.requires_grad
        and not value.is_quantized
        and not value.is_conj()
        and not value.is_neg()
        and value.dtype is not torch.bfloat16
    )


def _block(parts: list[torch.Tensor]) -> Any:
    """Return the bytes of tensors, one after the other."""
    total = sum(part.nbytes for part in parts)
    arrays = [part.contiguous().numpy() for part in parts if part.nbytes > 0]
    if total <= _PIPE_BYTES:
        return b"".join(arrays)
    block = torch.empty(total, dtype=torch.uint8).share_memory_()
    memory, start = memoryview(block.numpy()), 0
    for array in arrays:
        memory[start : start + array.nbytes] = memoryview(array).cast("B")
        start += array.nbytes
    return block


def _unpacked(
    names: list[str], block: Any, groups: list[_Group], others: dict[str, Any]
) -> dict[str, Any]:
    """Return the dict of an item that another process sent."""
    if isinstance(block, bytes):
        block = bytearray(block)
    found, start = dict(others), 0
    for kind, of_kind, shapes in groups:
        parts, start = split(block, start, kind, shapes)
        found.update(zip(of_kind, parts, strict=True))
    return {name: found[name] for name in names}


def split(
    block: bytearray | torch.Tensor,
    start: int,
    kind: torch.dtype,
    shapes: list[tuple[int, ...]],
) -> tuple[list[torch.Tensor], int]:
    """Return tensors that follow each other in a block of bytes, and where they end."""
    sizes = [math.prod(shape) for shape in shapes]
    n = sum(sizes)
    if n == 0:
        return [torch.empty(shape, dtype=kind) for shape in shapes], start
    end = start + n * kind.itemsize
    if isinstance(block, torch.Tensor):
        values = block[start:end].view(kind)
    else:
        values = torch.frombuffer(block, dtype=kind, count=n, offset=start)
    parts = values.split(sizes)
    return [
        part if len(shape) == 1 else part.view(shape)
        for part, shape in zip(parts, shapes, strict=True)
    ], end


class Row(Mapping[str, Any]):
    """A row of rows that were read together."""

    __slots__ = ("number", "rows")

    def __init__(self, rows: Item, number: int) -> None:
        self.rows, self.number = rows, number

    def __getitem__(self, name: str) -> Any:
        return self.rows[name][self.number]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return repr(dict(self))


class Rows(list[Row]):
    """Rows that were read together, in the order of their indices."""

    def __init__(self, item: Item, n: int) -> None:
        super().__init__(map(Row, itertools.repeat(item, n), range(n)))
        self.item, self.n = item, n


def collated(batch: list[Row], *, collate_fn_map: Any = None) -> Any:
    """Return rows as one item, which they still are if none was added or removed."""
    if isinstance(batch, Rows) and len(batch) == batch.n:
        return batch.item
    return default_collate([dict(row) for row in batch])


def register() -> None:
    """Let default_collate know rows, by the map that PyTorch documents for it."""
    default_collate_fn_map[Row] = collated
