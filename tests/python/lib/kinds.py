"""An array of every Arrow type, with nulls if the type can have them."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

ROWS = 23


def _every(values: list[Any], gap: int = 5) -> list[Any]:
    """Return ROWS values in turn, with a null at every `gap`-th place."""
    return [None if i % gap == gap - 2 else values[i % len(values)] for i in range(ROWS)]


def _flat() -> dict[str, pa.Array]:
    when = dt.datetime(2024, 2, 29, 12, 30, 15, 123456)
    made: dict[str, pa.Array] = {}

    def add(name: str, values: list[Any], kind: pa.DataType) -> None:
        made[name] = pa.array(_every(values), kind)

    for bits in (8, 16, 32, 64):
        top = 1 << (bits - 1)
        add(f"int{bits}", [-top, 0, top - 1], getattr(pa, f"int{bits}")())
        add(f"uint{bits}", [0, 2 * top - 1], getattr(pa, f"uint{bits}")())
    add("float16", [1.5, -2.0, float("inf")], pa.float16())
    add("float32", [1.5, -0.0], pa.float32())
    add("float64", [1e300, -2.5, 0.0], pa.float64())
    add("bool", [True, False, False], pa.bool_())
    add("date32", [dt.date(2024, 2, 29)], pa.date32())
    add("date64", [dt.date(1969, 2, 28)], pa.date64())
    add("time32_s", [dt.time(23, 59, 59)], pa.time32("s"))
    add("time32_ms", [dt.time(1, 2, 3)], pa.time32("ms"))
    add("time64_us", [dt.time(1, 2, 3, 4)], pa.time64("us"))
    add("time64_ns", [dt.time(1, 2, 3)], pa.time64("ns"))
    for unit in ("s", "ms", "us", "ns"):
        add(f"timestamp_{unit}", [when.replace(microsecond=0)], pa.timestamp(unit))
        add(f"duration_{unit}", [5, -7], pa.duration(unit))
    add("timestamp_tz", [when], pa.timestamp("us", "Europe/Paris"))
    add("interval", [pa.MonthDayNano([1, 2, 3])], pa.month_day_nano_interval())
    for bits, digits in ((32, 9), (64, 18), (128, 38), (256, 76)):
        kind = getattr(pa, f"decimal{bits}")(digits, 2)
        add(f"decimal{bits}", [decimal.Decimal("1.25"), decimal.Decimal("-9.99")], kind)
    texts = ["", "a", "été", "more than twelve bytes of text"]
    bytes_ = [b"", b"\x00\xff", b"more than twelve bytes of data"]
    add("string", texts, pa.string())
    add("large_string", texts, pa.large_string())
    add("binary", bytes_, pa.binary())
    add("large_binary", bytes_, pa.large_binary())
    add("fixed_binary", [b"abc", b"xyz"], pa.binary(3))
    add("fixed_binary_0", [b""], pa.binary(0))
    made["null"] = pa.nulls(ROWS)
    return made


def _lists() -> dict[str, pa.Array]:
    made: dict[str, pa.Array] = {}
    items = [[], [1], [None, 2, 3], [4, 5, 6, 7]]
    made["list"] = pa.array(_every(items), pa.list_(pa.int16()))
    made["large_list"] = pa.array(_every(items), pa.large_list(pa.int64()))
    made["list_string"] = pa.array(_every([["a", None], [], ["bc" * 9]]))
    made["list_bool"] = pa.array(_every([[True, None], [], [False] * 9]))
    made["list_list"] = pa.array(_every([[[1], []], [], [None, [2, None]]]))
    pairs = [[1, None], [3, 4]]
    made["fixed_list"] = pa.array(_every(pairs), pa.list_(pa.int32(), 2))
    made["fixed_list_list"] = pa.array(
        _every([[[1], None], [[], [2, 3]]]), pa.list_(pa.list_(pa.int8()), 2)
    )
    made["map"] = pa.array(
        _every([[("a", 1)], [], [("b", None), ("c", 3)]]),
        pa.map_(pa.string(), pa.int32()),
    )
    made["map_sorted"] = pa.array(
        _every([[("a", 1)], [("b", 2), ("c", 3)]]),
        pa.map_(pa.string(), pa.int32(), keys_sorted=True),
    )
    inner = {"x": 1, "y": "b", "z": {"w": True}}
    other = {"x": None, "y": None, "z": None}
    made["struct"] = pa.array(_every([inner, other, {"x": 3, "y": "", "z": {"w": None}}]))
    made["list_struct"] = pa.array(_every([[inner, None], [], [other]]))
    made["fixed_list_struct"] = pa.array(
        _every([[inner, None], [other, other]]),
        pa.list_(made["struct"].type, 2),
    )
    made["struct_fixed_list"] = pa.StructArray.from_arrays(
        [made["fixed_list"], made["list"]], ["f", "l"]
    )
    return made


class Labelled(pa.ExtensionType):
    """An extension type of the tests."""

    def __init__(self) -> None:
        super().__init__(pa.struct([("n", pa.int32())]), "batchcorder.tests.labelled")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"\x00\xff label"

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> Labelled:
        return cls()


pa.register_extension_type(Labelled())


def _extensions() -> dict[str, pa.Array]:
    raw = pa.array(_every([b"0123456789abcdef", b"fedcba9876543210"]), pa.binary(16))
    numbers = pa.array(_every([{"n": 1}, {"n": None}]), Labelled().storage_type)
    tensor = pa.fixed_shape_tensor(pa.float32(), [2, 2])
    flat = pa.array([[float(i)] * 4 for i in range(ROWS)], tensor.storage_type)
    return {
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), raw),
        "labelled": pa.ExtensionArray.from_storage(Labelled(), numbers),
        "tensor": pa.ExtensionArray.from_storage(tensor, flat),
    }


def _dictionaries() -> dict[str, pa.Array]:
    texts = pa.array(_every(["a", "b", "a value of some length"])).dictionary_encode()
    small = pa.DictionaryArray.from_arrays(
        pa.array(_every([0, 2, 1]), pa.uint8()), pa.array([10, None, 30])
    )
    ordered = pa.DictionaryArray.from_arrays(
        pa.array(_every([0, 1]), pa.int8()), pa.array(["lo", "hi"]), ordered=True
    )
    structs = pa.DictionaryArray.from_arrays(
        pa.array(_every([1, 0]), pa.int64()),
        pa.StructArray.from_arrays([texts[:3]], ["d"]),
    )
    offsets = pa.array([*range(ROWS), ROWS], pa.int32())
    return {
        "dictionary": texts,
        "dictionary_uint8": small,
        "dictionary_ordered": ordered,
        "dictionary_nested": structs,
        "list_dictionary": pa.ListArray.from_arrays(offsets, texts),
        "struct_dictionary": pa.StructArray.from_arrays([texts, small], ["t", "s"]),
    }


def _views() -> dict[str, pa.Array]:
    texts = ["", "inline", "a text that is not inlined", "another one of that sort"]
    items = [[], [1], [None, 2, 3]]
    view = pa.array(_every(texts), pa.string_view())
    return {
        "string_view": view,
        "binary_view": pa.array(_every([t.encode() for t in texts]), pa.binary_view()),
        "struct_view": pa.StructArray.from_arrays([view], ["v"]),
        "list_view": pa.array(_every(items), pa.list_view(pa.int16())),
        "large_list_view": pa.array(_every(items), pa.large_list_view(pa.int64())),
    }


def _unions() -> dict[str, pa.Array]:
    types = pa.array([i % 2 for i in range(ROWS)], pa.int8())
    codes = pa.array([(5, 9)[i % 2] for i in range(ROWS)], pa.int8())
    numbers = pa.array(_every(list(range(ROWS))), pa.int32())
    texts = pa.array(_every([f"t{i}" for i in range(ROWS)]))
    offsets = pa.array([i // 2 for i in range(ROWS)], pa.int32())
    half = (ROWS + 1) // 2
    children = [numbers[:half], texts[:half]]
    dense = pa.UnionArray.from_dense(types, offsets, children, ["i", "s"])
    list_offsets = pa.array([*range(ROWS), ROWS], pa.int32())
    return {
        "dense_union": dense,
        "dense_union_codes": pa.UnionArray.from_dense(
            codes, offsets, children, ["i", "s"], [5, 9]
        ),
        "sparse_union": pa.UnionArray.from_sparse(types, [numbers, texts], ["i", "s"]),
        "list_dense_union": pa.ListArray.from_arrays(list_offsets, dense),
    }


def _run_ends() -> dict[str, pa.Array]:
    texts = pa.array(["a", None, "b"])
    ends = [4, 15, ROWS]
    encode = pa.RunEndEncodedArray.from_arrays
    made = {
        f"run_end_{bits}": encode(pa.array(ends, getattr(pa, f"int{bits}")()), texts)
        for bits in (16, 32, 64)
    }
    made["struct_run_end"] = pa.StructArray.from_arrays([made["run_end_32"]], ["r"])
    return made


FLAT = _flat()
NESTED = _lists() | _extensions()
DICTIONARIES = _dictionaries()
VIEWS = _views()
UNIONS = _unions()
RUN_ENDS = _run_ends()

ALL: dict[str, pa.Array] = FLAT | NESTED | DICTIONARIES | VIEWS | UNIONS | RUN_ENDS


def batch_of(name: str) -> pa.RecordBatch:
    """Return a batch with the column `name`, a second column, and metadata everywhere."""
    field = pa.field(name, ALL[name].type, metadata={"unit": name})
    schema = pa.schema(
        [field, pa.field("row", pa.int32(), nullable=False)], metadata={"of": "kinds"}
    )
    rows = pa.array(range(ROWS), pa.int32())
    return pa.RecordBatch.from_arrays([ALL[name], rows], schema=schema)


def slices_of(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Return the batch, slices of it at odd bit offsets, an empty slice, and the rest."""
    return [
        batch,
        batch.slice(3, 11),
        batch.slice(8, 8),
        batch.slice(0, 1),
        batch.slice(7, 0),
        batch.slice(ROWS - 1),
        batch.slice(1),
    ]


def growing(values: pa.Array, sizes: Sequence[int]) -> list[pa.RecordBatch]:
    """Return a batch for each size `n`: its dictionary has the first `n` values."""
    batches = []
    for n in sizes:
        indices = pa.array([0, None, n - 1, n // 2], pa.int8())
        column = pa.DictionaryArray.from_arrays(indices, values[:n], safe=False)
        batches.append(pa.RecordBatch.from_arrays([column], ["d"]))
    return batches


# pyarrow does not read an extension type as the values of a dictionary.
VALUES: dict[str, pa.Array] = {
    name: values.storage if isinstance(values, pa.ExtensionArray) else values
    for name, values in ALL.items()
    if "dictionary" not in name
}
