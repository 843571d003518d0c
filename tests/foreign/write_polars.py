"""Writes the files of Polars: `python write_polars.py FOLDER`, with polars==1.20.0."""

import datetime
import sys
from pathlib import Path

import polars as pl

FOLDER = Path(sys.argv[1])
VERSION = pl.__version__
LONG = "a text that is not inlined, " * 4

PLAIN = pl.DataFrame(
    {
        "i": pl.Series([1, None, 3], dtype=pl.Int32),
        "b": [True, None, False],
        "f": [1.5, None, -2.0],
        "s": ["a", None, LONG],
        "z": [b"\x00", None, LONG.encode()],
        "t": [datetime.datetime(2020, 1, 2), None, datetime.datetime(1970, 1, 1)],
        "n": [None, None, None],
    }
)
NESTED = pl.DataFrame(
    {
        "l": [[1, None], [], None],
        "st": [{"x": 1, "y": ["p"]}, None, {"x": None, "y": [LONG]}],
        "fl": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int16, 2)),
        "ls": [[{"k": "a"}], None, [{"k": LONG}, {"k": None}]],
    }
)
CATEGORIES = pl.DataFrame(
    {
        "c": pl.Series(["a", "b", None], dtype=pl.Categorical),
        "e": pl.Series(["b", None, "a"], dtype=pl.Enum(["b", "a"])),
        "lc": pl.Series([["a"], [], ["c", None]], dtype=pl.List(pl.Categorical)),
    }
)
FRAMES = {"plain": PLAIN, "nested": NESTED, "categories": CATEGORIES}

for name, frame in FRAMES.items():
    for codec in ("uncompressed", "lz4", "zstd"):
        compresses = codec != "uncompressed"
        for views in (True, False):
            if compresses and (name == "categories" or not views):
                continue
            level = pl.CompatLevel.newest() if views else pl.CompatLevel.oldest()
            parts = [f"polars-{VERSION}", name]
            parts += [codec] if compresses else []
            parts += ["views"] if views else []
            stem = "-".join(parts)
            options = {"compression": codec, "compat_level": level}
            frame.write_ipc(FOLDER / f"{stem}.arrow", **options)
            frame.write_ipc_stream(FOLDER / f"{stem}.arrows", **options)
