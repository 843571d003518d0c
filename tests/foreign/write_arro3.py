"""Writes the files of arrow-rs: `python write_arro3.py FOLDER`, with arro3-io==0.4.1 and
pyarrow."""

import sys
from importlib.metadata import version
from pathlib import Path

import arro3.io as arro3
import pyarrow as pa

FOLDER = Path(sys.argv[1])
STEM = f"arro3-{version('arro3-io')}"
LONG = "a text that is not inlined, " * 4

PLAIN = {
    "i": pa.array([1, None, 3], pa.int32()),
    "b": pa.array([True, None, False]),
    "d": pa.array([None, 1, 2], pa.decimal128(20, 2)),
    "s": pa.array(["a", None, LONG]),
    "t": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
    "n": pa.nulls(3),
}
NESTED = {
    "l": pa.array([[1, None], [], None], pa.list_(pa.int32())),
    "st": pa.array([{"x": 1, "y": ["p"]}, None, {"x": None, "y": [LONG]}]),
    "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "c": pa.array(["a", None, "b"]).dictionary_encode(),
    "u": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "y", "z"])]
    ),
    "ud": pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()),
        pa.array([0, 0, 1], pa.int32()),
        [pa.array([1, 3]), pa.array(["y"])],
    ),
}
VIEWS = {
    "v": pa.array(["a", None, LONG], pa.string_view()),
    "z": pa.array([b"", None, LONG.encode()], pa.binary_view()),
}
TABLES = {"plain": PLAIN, "nested": NESTED, "views": VIEWS}

for name, columns in TABLES.items():
    table = pa.table(columns)
    for codec in (None, "LZ4", "ZSTD") if name != "nested" else (None,):
        stem = "-".join([STEM, name] + ([codec.lower()] if codec else []))
        arro3.write_ipc(table, FOLDER / f"{stem}.arrow", compression=codec)
        if codec is None:
            arro3.write_ipc_stream(table, FOLDER / f"{stem}.arrows")
