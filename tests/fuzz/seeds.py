#!/usr/bin/env python3
"""Make the fuzzers' seed corpora: seeds.py FOLDER makes a folder in it for each target.

The first has files that are read from their first byte: recordings of every type, whole
and cut, and what pyarrow writes as streams and files in all versions, framings and
codecs, and in both byte orders; with ARROW_TESTING, the Arrow project's golden files and
its fuzzers' streams too.
The second has lists of edits, which tests/fuzz/fuzz_mutate.c describes. The third has
choices of a producer of streams (tests/fuzz/producer.c): few of them lies.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

import batchcorder

sys.path.insert(0, str(Path(__file__).parents[1] / "python" / "lib"))

import kinds
from swapped import big_file, big_stream

SIZE_MAX = 65536
EDITS = 400
STREAMS = 300
TARGETS = ("open", "mutate", "producer")


def dictionary_batches(nested: bool) -> list[pa.RecordBatch]:
    """Return batches whose dictionary grows."""
    words = [f"word {i}" for i in range(12)]
    batches = []
    for n in (3, 6, 6, 12):
        values = pa.DictionaryArray.from_arrays(
            pa.array([i % n for i in range(9)], pa.int8()), pa.array(words[:n])
        )
        if nested:
            values = pa.StructArray.from_arrays([values], ["d"])
        batches.append(pa.RecordBatch.from_arrays([values], ["x"]))
    return batches


def wide_batches() -> list[pa.RecordBatch]:
    """Return batches of columns of many types, of which lists of unions are one."""
    names = [
        "int8 bool float64 string large_binary string_view list fixed_list map struct",
        "dictionary dictionary_nested dense_union sparse_union run_end_32 list_view null",
    ]
    columns = {name: kinds.ALL[name] for name in " ".join(names).split()}
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return kinds.slices_of(batch)


def all_batches() -> Iterator[tuple[str, list[pa.RecordBatch]]]:
    for name in kinds.ALL:
        yield name, kinds.slices_of(kinds.batch_of(name))[:3]
    yield "growing", dictionary_batches(nested=False)
    yield "growing-nested", dictionary_batches(nested=True)
    for name, values in kinds.VALUES.items():
        yield f"growing-{name}", kinds.growing(values, (3, 9, kinds.ROWS))
    yield "wide", wide_batches()
    rows = pa.array([{}] * 5, pa.struct([]))
    yield "no-columns", [pa.RecordBatch.from_struct_array(rows)]


def write_recording(path: Path, batches: list[pa.RecordBatch], codec: str | None) -> None:
    source = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    batchcorder.record(source, path, compression=codec).close()


def write_ipc(
    path: Path, batches: list[pa.RecordBatch], options: pa.ipc.IpcWriteOptions, file: bool
) -> None:
    new = pa.ipc.new_file if file else pa.ipc.new_stream
    with new(str(path), batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)


def ipc_options() -> Iterator[tuple[str, pa.ipc.IpcWriteOptions]]:
    v4 = pa.ipc.MetadataVersion.V4
    yield "v5", pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    yield "v4", pa.ipc.IpcWriteOptions(metadata_version=v4)
    yield "legacy", pa.ipc.IpcWriteOptions(metadata_version=v4, use_legacy_format=True)
    for codec in ("lz4", "zstd"):
        yield codec, pa.ipc.IpcWriteOptions(compression=codec)


def write_big(path: Path, schema: pa.Schema, file: bool) -> None:
    """Write what a big-endian machine would have written."""
    if file and path.name.endswith((".lz4.file", ".zstd.file")):
        return
    turn = big_file if file else big_stream
    path.with_name(f"big-{path.name}").write_bytes(turn(path.read_bytes(), schema))


def make_open(folder: Path) -> None:
    for name, batches in all_batches():
        recording = folder / f"{name}.recording"
        for codec in (None, "zstd") if name == "wide" else (None,):
            path = recording.with_suffix(f".{codec or 'plain'}.recording")
            try:
                write_recording(path, batches, codec)
            except NotImplementedError:
                continue
            content = path.read_bytes()
            path.with_suffix(".cut").write_bytes(content[: len(content) * 2 // 3])
        for option, options in ipc_options():
            for file in (False, True):
                path = folder / f"{name}.{option}.{'file' if file else 'stream'}"
                try:
                    write_ipc(path, batches, options, file)
                except pa.ArrowException:
                    path.unlink(missing_ok=True)
                else:
                    write_big(path, batches[0].schema, file)


def copy_testing(folder: Path) -> None:
    testing = os.environ.get("ARROW_TESTING")
    if testing is None:
        return
    patterns = ("golden/**/*.stream", "golden/**/*.arrow_file", "fuzz-stream/*")
    for pattern in patterns:
        for path in sorted(Path(testing).glob(pattern)):
            if path.is_file() and path.stat().st_size <= SIZE_MAX:
                name = "-".join(path.relative_to(testing).parts)
                (folder / name).write_bytes(path.read_bytes())


def make_mutate(folder: Path) -> None:
    draw = random.Random(1)
    for number in range(EDITS):
        flags = draw.choice([0, 0, 0, 0, 8, 8, 16, 24, 7])
        edits = draw.randbytes(6 * draw.choice([0, 1, 1, 1, 2, 3]))
        content = bytes([number % 7, flags]) + edits
        (folder / f"{number}").write_bytes(content)


def make_producer(folder: Path) -> None:
    draw = random.Random(2)
    for number in range(STREAMS):
        # One choice in sixteen is a lie where it is 15 modulo 16.
        truths = [byte for byte in range(256) if byte % 16 != 15 or number % 3 == 0]
        content = bytes(draw.choices(truths, k=draw.choice([40, 150, 400, 1200])))
        (folder / f"{number}").write_bytes(content)


def main(folder: Path) -> None:
    for name in TARGETS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    make_open(folder / "open")
    copy_testing(folder / "open")
    make_mutate(folder / "mutate")
    make_producer(folder / "producer")
    for name in TARGETS:
        sizes = [path.stat().st_size for path in (folder / name).iterdir()]
        print(f"{name}: {len(sizes)} seeds, {sum(sizes)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
