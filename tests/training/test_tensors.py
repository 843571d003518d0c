"""Columns of every type as tensors: values, shapes, memory, nulls."""

from __future__ import annotations

import datetime
import decimal
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

import batchcorder
from batchcorder.torch import RecordingDataset, RowDataset

D = decimal.Decimal
NUMBERS = [3, 1, 2, 5, 4, 0, 7]
N = len(NUMBERS)
DAY = datetime.date(1970, 1, 2)


def record(path: Path, table: pa.Table, rows: int = 3, **options: Any) -> str:
    name = str(path / "t.arrows")
    with batchcorder.record(table.to_reader(max_chunksize=rows), name, **options):
        pass
    return name


def lists(kind: pa.DataType, width: int, values: list[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values, kind), width)


def matrix_type(permutation: list[int] | None = None) -> pa.DataType:
    return pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=permutation)


def tensors(kind: pa.DataType) -> pa.Array:
    storage = lists(pa.float32(), 6, [float(i) for i in range(6 * N)])
    return pa.ExtensionArray.from_storage(kind, storage)


INTEGERS = [
    (pa.int8(), torch.int8),
    (pa.int16(), torch.int16),
    (pa.int32(), torch.int32),
    (pa.int64(), torch.int64),
    (pa.uint8(), torch.uint8),
    (pa.uint16(), torch.uint16),
    (pa.uint32(), torch.uint32),
    (pa.uint64(), torch.uint64),
    (pa.float16(), torch.float16),
    (pa.float32(), torch.float32),
    (pa.float64(), torch.float64),
]
CUBE = np.arange(N * 24).reshape(N, 2, 3, 4)

# A column, and the tensor that it becomes.
ARRAYS: dict[str, tuple[pa.Array, torch.Tensor]] = {
    **{
        str(kind): (
            pa.array(np.array(NUMBERS, kind.to_pandas_dtype()), kind),
            torch.tensor(NUMBERS).to(dtype),
        )
        for kind, dtype in INTEGERS
    },
    "bool": (
        pa.array([n % 2 == 1 for n in NUMBERS]),
        torch.tensor([n % 2 == 1 for n in NUMBERS]),
    ),
    "date32": (pa.array([DAY] * N), torch.tensor([1] * N, dtype=torch.int32)),
    "date64": (pa.array([DAY] * N, pa.date64()), torch.tensor([86400000] * N)),
    "time32": (
        pa.array(NUMBERS, pa.time32("ms")),
        torch.tensor(NUMBERS, dtype=torch.int32),
    ),
    "time64": (pa.array(NUMBERS, pa.time64("ns")), torch.tensor(NUMBERS)),
    "timestamp": (pa.array(NUMBERS, pa.timestamp("us", "UTC")), torch.tensor(NUMBERS)),
    "duration": (pa.array(NUMBERS, pa.duration("s")), torch.tensor(NUMBERS)),
    "decimal": (
        pa.array([D(n) / 4 for n in NUMBERS], pa.decimal128(9, 2)),
        torch.tensor(NUMBERS, dtype=torch.float64) / 4,
    ),
    "fixed_size_binary": (
        pa.array([bytes([n, n + 1]) for n in NUMBERS], pa.binary(2)),
        torch.tensor([[n, n + 1] for n in NUMBERS], dtype=torch.uint8),
    ),
    "list": (
        lists(pa.float32(), 2, [float(i) for i in range(2 * N)]),
        torch.arange(2 * N, dtype=torch.float32).reshape(N, 2),
    ),
    "list of bool": (
        lists(pa.bool_(), 3, [i % 2 == 0 for i in range(3 * N)]),
        (torch.arange(3 * N) % 2 == 0).reshape(N, 3),
    ),
    "cube": (
        pa.FixedSizeListArray.from_arrays(
            pa.FixedSizeListArray.from_arrays(
                lists(pa.int64(), 4, CUBE.reshape(-1).tolist()), 3
            ),
            2,
        ),
        torch.from_numpy(CUBE),
    ),
    "tensor": (
        tensors(matrix_type()),
        torch.arange(6.0 * N).reshape(N, 2, 3),
    ),
    "permuted tensor": (
        tensors(matrix_type([1, 0])),
        torch.arange(6.0 * N).reshape(N, 2, 3).transpose(1, 2),
    ),
    "bool8": (
        pa.ExtensionArray.from_storage(
            pa.bool8(), pa.array([0, 1, 5] * 3, pa.int8())[:N]
        ),
        torch.tensor([False, True, True, False, True, True, False]),
    ),
    "dictionary": (
        pa.array(NUMBERS, pa.int16()).dictionary_encode(),
        torch.tensor(NUMBERS, dtype=torch.int16),
    ),
    "runs": (
        pa.RunEndEncodedArray.from_arrays([2, N], pa.array([1.5, 2.5])),
        torch.tensor([1.5] * 2 + [2.5] * (N - 2), dtype=torch.float64),
    ),
    "empty list": (
        pa.array([[]] * N, pa.list_(pa.int8(), 0)),
        torch.empty((N, 0), dtype=torch.int8),
    ),
}

IDS = [uuid.UUID(int=n) for n in NUMBERS]
LISTS: dict[str, pa.Array] = {
    "text": pa.array([f"t{n}" for n in NUMBERS]),
    "text with nulls": pa.array([None if n == 2 else f"t{n}" for n in NUMBERS]),
    "views": pa.array([f"t{n}" for n in NUMBERS], pa.string_view()),
    "bytes": pa.array([bytes(n) for n in NUMBERS]),
    "lists": pa.array([[n] * n for n in NUMBERS]),
    "structs": pa.array([{"a": n, "b": str(n)} for n in NUMBERS]),
    "maps": pa.array([[("a", n)] for n in NUMBERS], pa.map_(pa.string(), pa.int64())),
    "null": pa.nulls(N),
    "dictionary of text": pa.array([f"t{n % 2}" for n in NUMBERS]).dictionary_encode(),
    "uuid": pa.array([i.bytes for i in IDS], pa.uuid()),
}

WAYS: list[dict[str, Any]] = [
    {},
    {"batch_size": 2},
    {"batch_size": 4},
    {"shuffle": True, "buffer_size": 5, "batch_size": 2},
    {"shuffle": True, "buffer_size": 100, "batch_size": 100},
]


def values_of(items: list[dict[str, Any]], order: list[int], name: str) -> Any:
    """Return a column of all items in the order of the recording."""
    if isinstance(items[0][name], list):
        found = [value for item in items for value in item[name]]
        return [found[order.index(row)] for row in range(N)]
    return torch.cat([item[name] for item in items])[torch.tensor(order).argsort()]


@pytest.mark.parametrize("options", [{}, {"compression": "lz4"}], ids=str)
@pytest.mark.parametrize("name", ARRAYS)
def test_every_type(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    array, expected = ARRAYS[name]
    path = record(tmp_path, pa.table({"v": array, "row": range(N)}), **options)
    for way in WAYS:
        for workers in (0, 2) if way.get("batch_size") == 2 else (0,):
            dataset = RecordingDataset(path, **way)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                loader = DataLoader(dataset, batch_size=None, num_workers=workers)
                items = list(loader)
            order = torch.cat([item["row"] for item in items]).tolist()
            found = values_of(items, order, "v")
            assert found.dtype is expected.dtype
            assert found.shape == expected.shape
            assert torch.equal(found, expected), way
    rows = RowDataset(path)
    assert torch.equal(rows[[4, 0, 4]]["v"], expected[[4, 0, 4]])
    assert torch.equal(rows[5]["v"], expected[5])


@pytest.mark.parametrize("name", LISTS)
def test_all_other_types_are_lists(tmp_path: Path, name: str) -> None:
    expected = LISTS[name].to_pylist()
    path = record(tmp_path, pa.table({"v": LISTS[name], "row": range(N)}))
    for way in WAYS:
        for kind in ("torch", "numpy"):
            items = list(RecordingDataset(path, format=kind, **way))
            order = [row for item in items for row in item["row"].tolist()]
            assert values_of(items, order, "v") == expected
            assert list(items[0]) == ["v", "row"]
    assert RowDataset(path)[[4, 0]]["v"] == [expected[4], expected[0]]
    assert RowDataset(path)[3]["v"] == expected[3]


NUMPY_TYPES = {
    "date32": "datetime64[D]",
    "date64": "datetime64[ms]",
    "timestamp": "datetime64[us]",
    "duration": "timedelta64[s]",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_numpy(tmp_path: Path, name: str) -> None:
    array, expected = ARRAYS[name]
    path = record(tmp_path, pa.table({"v": array, "row": range(N)}))
    for way in WAYS:
        items = list(RecordingDataset(path, format="numpy", **way))
        order = np.concatenate([item["row"] for item in items])
        found = np.concatenate([item["v"] for item in items])[order.argsort()]
        if name in NUMPY_TYPES:
            assert found.dtype == np.dtype(NUMPY_TYPES[name])
            assert found.view(np.int64).tolist() == expected.tolist()
            assert found.tolist() == array.to_numpy(zero_copy_only=False).tolist()
        else:
            assert found.dtype == expected.numpy().dtype
            assert np.array_equal(found, expected.numpy())
    rows = RowDataset(path, format="numpy")
    assert np.array_equal(rows[[2, 6]]["v"], found[[2, 6]])


def test_columns_of_many_widths(tmp_path: Path) -> None:
    names = ["bool", "date32", "int8", "time32", "uint16", "list", "tensor", "halffloat"]
    names += ["timestamp", "fixed_size_binary", "text", "date64", "decimal", "dictionary"]
    arrays = {name: (ARRAYS.get(name) or (LISTS[name],))[0] for name in names}
    path = record(tmp_path, pa.table({**arrays, "row": range(N)}))
    for way in WAYS:
        for item in RecordingDataset(path, **way):
            rows = item["row"]
            for name in names:
                if name in ARRAYS:
                    assert torch.equal(item[name], ARRAYS[name][1][rows])
        for item in RecordingDataset(path, format="numpy", **way):
            rows = item["row"]
            for name in set(names) & {*ARRAYS} - {*NUMPY_TYPES}:
                assert np.array_equal(item[name], ARRAYS[name][1].numpy()[rows])
            for name in {*NUMPY_TYPES} & {*names}:
                found = item[name].view(np.int64)
                assert found.tolist() == ARRAYS[name][1][rows].tolist()


# ---- memory ----


def mapped_file_of(address: int) -> tuple[str, str]:
    """Return the permissions and the file of the mapping that has an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *rest = line.split()
        low, high = (int(part, 16) for part in span.split("-"))
        if low <= address < high:
            return permissions, rest[-1]
    raise AssertionError("there is no such mapping")


def test_tensors_are_the_mapped_file(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(5000.0), "m": lists(pa.int8(), 2, [1] * 10000)})
    path = record(tmp_path, table, 1000)
    for way in ({}, {"shuffle": True}, {"batch_size": 300}):
        for item in RecordingDataset(path, **way):
            if way.get("batch_size") and len(item["x"]) < 300:
                continue
            private = [mapped_file_of(v.data_ptr()) for v in item.values()]
            # An item of rows of two batches is a copy.
            first = int(item["x"][0])
            if way.get("batch_size") is None or first // 1000 == (first + 299) // 1000:
                assert private == [("rw-p", path)] * 2
        for item in RecordingDataset(path, format="numpy", **way):
            assert item["x"].flags.writeable


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}], ids=str)
def test_writes_stay_in_their_item(tmp_path: Path, options: dict[str, Any]) -> None:
    path = record(tmp_path, pa.table({"x": np.arange(5000)}), 1000, **options)
    before = Path(path).read_bytes()
    for way in ({}, {"batch_size": 300}, {"batch_size": 3000}):
        dataset = RecordingDataset(path, **way)
        for _ in range(2):
            rows = []
            for item in dataset:
                rows += item["x"].tolist()
                item["x"].mul_(-1)
            assert rows == list(range(5000))
    rows = RowDataset(path)
    rows[[1, 2]]["x"].zero_()
    rows[1]["x"].zero_()
    assert rows[[1, 2]]["x"].tolist() == [1, 2]
    assert Path(path).read_bytes() == before


def test_a_tensor_outlives_everything(tmp_path: Path) -> None:
    path = record(tmp_path, pa.table({"x": np.arange(5000)}), 1000)
    kept = [item["x"] for item in RecordingDataset(path)]
    Path(path).unlink()
    assert torch.cat(kept).tolist() == list(range(5000))


def test_items_of_workers_are_compact(tmp_path: Path) -> None:
    path = record(tmp_path, pa.table({"x": np.arange(50000), "y": range(50000)}), 50000)
    doubled: list[dict[str, Any]] = []
    for transform in (None, _doubled):
        dataset = RecordingDataset(path, batch_size=10, transform=transform)
        for item in DataLoader(dataset, batch_size=None, num_workers=1):
            assert item["x"].untyped_storage().nbytes() <= 160
            doubled.append(item)
            break
    assert doubled[1]["x"].tolist() == [2 * x for x in doubled[0]["x"].tolist()]


def _doubled(item: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * 2 for name, value in item.items()}


def _pair(item: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return item["x"], item["y"]


@pytest.mark.parametrize("workers", [0, 2])
def test_transforms(tmp_path: Path, workers: int) -> None:
    path = record(tmp_path, pa.table({"x": range(10), "y": range(10)}), 4)
    dataset = RecordingDataset(path, batch_size=3, transform=_pair)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    assert [x.tolist() == y.tolist() for x, y in loader] == [True] * 4
    rows = RowDataset(path, transform=_pair)
    assert rows[3] == (3, 3)
    loader = DataLoader(rows, batch_size=4, num_workers=workers)
    assert [x.tolist() for x, _ in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_large_items_come_through_shared_memory(tmp_path: Path) -> None:
    n = 200_000
    table = pa.table({"x": np.arange(n), "b": np.arange(n) % 2 == 0, "s": ["t"] * n})
    path = record(tmp_path, table, n)
    for way in ({}, {"batch_size": 150_000}):
        dataset = RecordingDataset(path, **way)
        loader = DataLoader(dataset, batch_size=None, num_workers=2)
        items = list(loader)
        assert torch.equal(torch.cat([item["x"] for item in items]), torch.arange(n))
        assert items[0]["x"].is_shared()
        found = torch.cat([item["b"] for item in items])
        assert torch.equal(found, torch.arange(n) % 2 == 0)
        assert [text for item in items for text in item["s"]] == ["t"] * n


def test_pinned_memory(tmp_path: Path) -> None:
    path = record(tmp_path, pa.table({"x": range(10), "s": ["a"] * 10}), 4)
    for workers in (0, 2):
        loader = DataLoader(
            RecordingDataset(path), batch_size=None, num_workers=workers, pin_memory=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            items = list(loader)
        assert [item["x"].tolist() for item in items] == [
            [0, 1, 2, 3],
            [4, 5, 6, 7],
            [8, 9],
        ]
        pinned = torch.cuda.is_available()
        assert all(item["x"].is_pinned() == pinned for item in items)


# ---- nulls ----


def test_nulls_are_named(tmp_path: Path) -> None:
    path = record(tmp_path, pa.table({"a": range(4), "price": [1.0, 2.0, 3.0, None]}))
    for dataset in (
        RecordingDataset(path),
        RecordingDataset(path, format="numpy"),
        RecordingDataset(path, batch_size=2),
        RecordingDataset(path, shuffle=True, buffer_size=9),
    ):
        with pytest.raises(ValueError, match=r"'price' has nulls.*fill_null=\{'price'"):
            list(dataset)
    with pytest.raises(ValueError, match="'price' has nulls"):
        RowDataset(path)[[0, 3]]
    # Batches keep them, and other columns have none.
    assert len(list(RecordingDataset(path, format="arrow"))) == 2
    assert len(list(RecordingDataset(path, columns=["a"]))) == 2


def test_a_worker_reports_nulls(tmp_path: Path) -> None:
    path = record(tmp_path, pa.table({"price": [1.0, 2.0, 3.0, None]}))
    loader = DataLoader(RecordingDataset(path), batch_size=None, num_workers=2)
    with pytest.raises(ValueError, match="'price' has nulls"):
        list(loader)


FILLED: list[tuple[pa.Array, Any, list[Any]]] = [
    (pa.array([1, None, 3]), 7, [1, 7, 3]),
    (pa.array([1.5, None, None]), float("inf"), [1.5, float("inf"), float("inf")]),
    (pa.array([True, None, False]), True, [True, True, False]),
    (pa.array([None, None, None], pa.int8()), -1, [-1, -1, -1]),
    (pa.array([D("1.25"), None, D("2")]), D("0.5"), [1.25, 0.5, 2.0]),
    (pa.array([DAY, None, DAY]), datetime.date(1970, 1, 11), [1, 10, 1]),
    (
        pa.array([b"ab", None, b"cd"], pa.binary(2)),
        b"xy",
        [[97, 98], [120, 121], [99, 100]],
    ),
    (
        pa.array([[1, 2], None, [None, 4]], pa.list_(pa.int32(), 2)),
        9,
        [[1, 2], [9, 9], [9, 4]],
    ),
    (pa.array([1, None, 1]).dictionary_encode(), 5, [1, 5, 1]),
]


@pytest.mark.parametrize("row", FILLED, ids=lambda row: str(row[0].type))
def test_fill_null(tmp_path: Path, row: tuple[pa.Array, Any, list[Any]]) -> None:
    array, fill, expected = row
    n = len(array)
    path = record(tmp_path, pa.table({"v": array, "w": range(n)}), 2)
    for fill_null in ({"v": fill}, {"v": fill, "w": 0}):
        for way in ({}, {"batch_size": 3}):
            items = list(RecordingDataset(path, fill_null=fill_null, **way))
            assert torch.cat([item["v"] for item in items]).tolist() == expected
        assert RowDataset(path, fill_null=fill_null)[range(n)]["v"].tolist() == expected
    # A value for all columns is one for those that can have it.
    items = list(RecordingDataset(path, fill_null=fill))
    assert torch.cat([item["v"] for item in items]).tolist() == expected


def test_fills_that_do_not_fit(tmp_path: Path) -> None:
    table = pa.table({"v": pa.array([1, None], pa.int8()), "s": ["a", None]})
    path = record(tmp_path, table)
    with pytest.raises(TypeError, match="'nothing' is no value for column 'v'"):
        RecordingDataset(path, fill_null={"v": "nothing"})
    with pytest.raises(TypeError, match="1000 is no value for column 'v' of type"):
        RecordingDataset(path, fill_null={"v": 1000})
    with pytest.raises(KeyError, match="no column 's' of numbers"):
        RecordingDataset(path, fill_null={"s": "x"})
    with pytest.raises(ValueError, match="batches keep their nulls"):
        RecordingDataset(path, format="arrow", fill_null=0)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([[1], [2]], ["x", "x"])
    path = record(tmp_path, table)
    with pytest.raises(ValueError, match="2 columns have the name 'x'"):
        RecordingDataset(path)
    assert list(RecordingDataset(path, columns=[1])) == [{"x": torch.tensor([2])}]
    assert len(list(RecordingDataset(path, format="arrow"))) == 1


def test_dictionaries_that_differ(tmp_path: Path) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    batches = [
        pa.record_batch([pa.array(some, kind)], ["v"])
        for some in (["a", "b"], ["c"], ["b", "d", None])
    ]
    path = str(tmp_path / "d.arrows")
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    with batchcorder.record(reader, path):
        pass
    expected = ["a", "b", "c", "b", "d", None]
    for kind_of in ("torch", "arrow"):
        (item,) = RecordingDataset(path, batch_size=6, format=kind_of)
        found = item["v"] if kind_of == "torch" else item["v"].to_pylist()
        assert found == expected
    assert RowDataset(path)[[5, 3, 0]]["v"] == [None, "b", "a"]
