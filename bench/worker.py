"""
Run scenarios over one implementation and one shape of data.

    worker.py --build build/bench --shape one-row ours memory.ingest memory.iterate

The worker prints a line of JSON for each scenario. Without scenarios, it reads their
names from stdin. `ours` and `rust` run the batchcorder on PYTHONPATH, and `bare` runs the
floors. A scenario is repeated for LONG_ENOUGH without garbage collection, and the best
time counts.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from native import CStream, Helper, Pieces, stream_address
from shapes import SHAPES

T = TypeVar("T")

# A scenario stops after these seconds, measured or in total. It runs at least twice,
# because the first run may include the allocation of memory.
LONG_ENOUGH = {"measured": 0.05, "all": 0.2}
LONG_ENOUGH_QUICK = {"measured": 0.01, "all": 0.04}
REPETITIONS_MIN = 2

DISK_BYTES = 1 << 40


class Seconds(float):
    """The result of a run that measures its own time in C."""


def best(
    prepare: Callable[[], T],
    run: Callable[[T], object],
    finish: Callable[[T], object] = lambda subject: None,
    choose: Callable[[list[float]], float] = min,
) -> float:
    """Return the least, or a chosen, time of `run` on fresh subjects of `prepare`."""
    times: list[float] = []
    gc.collect()
    began = time.perf_counter()
    while True:
        subject = prepare()
        start = time.perf_counter()
        result = run(subject)
        end = time.perf_counter()
        times.append(result if isinstance(result, Seconds) else end - start)
        del result
        finish(subject)
        del subject
        took = time.perf_counter() - began
        enough = sum(times) >= LONG_ENOUGH["measured"] or took >= LONG_ENOUGH["all"]
        if enough and len(times) >= REPETITIONS_MIN:
            return choose(times)


def lower_fifth(times: list[float]) -> float:
    """Return the lower fifth, which neither luck nor other processes decide."""
    return sorted(times)[len(times) // 5]


def drain(batches: Any) -> None:
    """Iterate over the batches."""
    for _ in batches:
        pass


def sum_column(batches: Any) -> float:
    """Sum one of many columns, batch by batch."""
    total = 0.0
    for batch in batches:
        column = batch.column(batch.num_columns // 2)
        if pa.types.is_string(column.type):
            column = pc.binary_length(column)
        elif pa.types.is_dictionary(column.type):
            column = column.indices
        total += pc.sum(column).as_py() or 0
    return float(total)


def read_table(reader: pa.RecordBatchReader) -> pa.Table:
    """Read a stream into a table. It is destroyed after the measurement."""
    return reader.read_all()


class Bench:
    """The state of all scenarios. A subclass has the scenarios of one kind of worker."""

    def __init__(self, helper: Helper, shape: str, quick: bool, folder: str) -> None:
        self.helper = helper
        self.folder = folder
        wanted = SHAPES[shape]
        count = wanted.batches_quick if quick else wanted.batches
        self.batches = wanted.make(count)
        self.schema = self.batches[0].schema
        self.ready = helper.keep(self.source().__arrow_c_stream__(), count)
        self.scenarios: dict[str, Callable[[], float]] = {}

    def source(self) -> pa.RecordBatchReader:
        """Return the stream to record, which pyarrow makes of existing batches."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches)

    def ready_stream(self) -> CStream:
        """Return the same batches as a stream of the C helper, which costs little."""
        return self.helper.stream(self.ready)

    def consume(self, *addresses: int) -> Seconds:
        """Return the seconds that the bare consumer takes for the streams."""
        batches, seconds = self.helper.consume(addresses)
        assert batches == len(addresses) * len(self.batches)
        return Seconds(seconds)

    def consume_capsules(self, capsules: list[object]) -> Seconds:
        """Return the seconds that the bare consumer takes for the streams in capsules."""
        return self.consume(*[stream_address(capsule) for capsule in capsules])

    def check(self, stream: Any) -> None:
        """Make sure that the measured code returns the right batches."""
        for number, batch in enumerate(stream):
            if number % 97 == 0:
                assert batch.equals(self.batches[number]), f"batch {number} differs"
        assert number + 1 == len(self.batches)


class CacheBench(Bench):
    """Scenarios of a StreamCache, of the package or of 0.1.3."""

    def __init__(self, helper: Helper, shape: str, quick: bool, folder: str) -> None:
        from batchcorder import StreamCache

        super().__init__(helper, shape, quick, folder)
        self.make_cache = StreamCache
        self.kept: dict[str, Any] = {}
        self.scenarios = {
            "memory.ingest": lambda: best(self.memory, self.ingest),
            "memory.ingest_ready": lambda: best(self.memory_of_ready, self.ingest),
            "memory.iterate": lambda: best(self.memory_full, drain),
            "memory.again": lambda: best(self.memory_kept, drain),
            "disk.ingest": lambda: self.to_disk(self.disk),
            "disk.ingest_ready": lambda: self.to_disk(self.disk_of_ready),
            "disk.ingest_plain": lambda: self.to_disk(self.disk_plain),
            "disk.first": lambda: best(self.disk_full, drain, self.close),
            "disk.iterate": lambda: best(self.disk_kept, drain),
            "disk.sum": lambda: best(self.disk_kept, sum_column),
        }
        for tier, cache in (("memory", self.memory_kept), ("disk", self.disk_kept)):
            self.scenarios |= {
                f"{tier}.table": partial(self.table, cache),
                f"{tier}.consume": partial(self.replay, cache, 1),
                f"{tier}.two": partial(self.replay, cache, 2),
            }

    def table(self, cache: Callable[[], Any]) -> float:
        return best(lambda: pa.RecordBatchReader.from_stream(cache()), read_table)

    def replay(self, cache: Callable[[], Any], n_streams: int) -> float:
        def capsules() -> list[object]:
            return [cache().__arrow_c_stream__() for _ in range(n_streams)]

        # Threads out of step do not contend, so the least time would be luck.
        choose = min if n_streams == 1 else lower_fifth
        return best(capsules, self.consume_capsules, choose=choose)

    def to_disk(self, make: Callable[[], Any]) -> float:
        return best(make, self.ingest, self.close)

    def ingest(self, cache: Any) -> None:
        assert cache.ingest_all() == len(self.batches)

    def close(self, cache: Any) -> None:
        cache.close()

    def memory(self) -> Any:
        """Return a cache that has recorded nothing yet."""
        return self.make_cache(self.source())

    def memory_of_ready(self) -> Any:
        """Return the same over ready arrays instead of pyarrow's stream."""
        return self.make_cache(self.ready_stream())

    def memory_full(self) -> Any:
        """Return a complete cache that was not read yet."""
        cache = self.memory()
        self.ingest(cache)
        return cache

    def disk(self) -> Any:
        """Return a cache that keeps nothing in memory and has recorded nothing yet."""
        return self.make_cache(self.source(), 1, self.folder, DISK_BYTES)

    def disk_of_ready(self, **options: Any) -> Any:
        """Return the same over ready arrays instead of pyarrow's stream."""
        return self.make_cache(self.ready_stream(), 1, self.folder, DISK_BYTES, **options)

    def disk_plain(self) -> Any:
        """Return the same without checksums, which 0.1.3 always has."""
        return self.disk_of_ready(checksum=False)

    def disk_full(self) -> Any:
        cache = self.disk()
        self.ingest(cache)
        return cache

    def memory_kept(self) -> Any:
        """Return a cache that was read before. Each call returns the same cache."""
        return self._kept("memory", self.memory_full)

    def disk_kept(self) -> Any:
        return self._kept("disk", self.disk_full)

    def _kept(self, tier: str, make: Callable[[], Any]) -> Any:
        if tier not in self.kept:
            cache = make()
            self.check(cache)
            self.consume_capsules([cache.__arrow_c_stream__() for _ in range(2)])
            self.kept[tier] = cache
        return self.kept[tier]


class BareBench(Bench):
    """The floors: the same consumers without a cache in between, and bare writes."""

    def __init__(self, helper: Helper, shape: str, quick: bool, folder: str) -> None:
        super().__init__(helper, shape, quick, folder)
        self.files = (Path(folder) / f"bare-{n}" for n in itertools.count())
        self.check(self.ready_reader())
        self.consume_ready([self.ready_stream() for _ in range(2)])
        self.pieces = Pieces(self.batches)
        self.mapped: Path | None = None
        self.scenarios = {
            "source.drained": lambda: best(
                lambda: [self.source().__arrow_c_stream__()], self.consume_capsules
            ),
            "source.kept": lambda: best(self.source, self.keep, self.drop),
            "ready.kept": lambda: best(self.ready_stream, self.keep, self.drop),
            "list.iterate": lambda: best(lambda: self.batches, drain),
            "ready.iterate": lambda: best(self.ready_reader, drain),
            "ready.table": lambda: best(self.ready_reader, read_table),
            "ready.consume": lambda: best(
                lambda: [self.ready_stream()], self.consume_ready
            ),
            "writev": lambda: best(self.open_file, self.write_pieces, os.close),
            "ipc.write": lambda: best(
                lambda: next(self.files), self.write_ipc, os.unlink
            ),
            "ipc.iterate": lambda: best(self.map_ipc, drain),
            "ipc.sum": lambda: best(self.map_ipc, sum_column),
        }

    def ready_reader(self) -> pa.RecordBatchReader:
        stream = self.ready_stream()
        return pa.RecordBatchReader._import_from_c(stream.address)

    def consume_ready(self, streams: list[CStream]) -> Seconds:
        return self.consume(*[stream.address for stream in streams])

    def keep(self, stream: Any) -> Any:
        """Read all batches of a stream and keep them, as a recording does."""
        self.dropped = self.helper.keep(stream.__arrow_c_stream__(), len(self.batches))

    def drop(self, stream: Any) -> None:
        self.helper.drop(self.dropped)

    def open_file(self) -> int:
        path = next(self.files)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        path.unlink()
        return file

    def write_pieces(self, file: int) -> None:
        self.helper.write(file, self.pieces)

    def write_ipc(self, path: Path) -> None:
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_stream(sink, self.schema) as out,
        ):
            for batch in self.batches:
                out.write_batch(batch)

    def map_ipc(self) -> pa.RecordBatchReader:
        if self.mapped is None:
            path = next(self.files)
            self.write_ipc(path)
            self.mapped = path
        return pa.ipc.open_stream(pa.memory_map(str(self.mapped)))


def where() -> str:
    """Return the path of batchcorder, which the parent process checks."""
    import batchcorder

    return str(Path(batchcorder.__file__).resolve().parent)


def names() -> Iterator[str]:
    for line in sys.stdin:
        yield line.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["ours", "rust", "bare"])
    parser.add_argument("scenarios", nargs="*", help="none: read them from stdin")
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--disk-path", default=None)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="batchcorder-bench-", dir=args.disk_path)
        )
        make = BareBench if args.kind == "bare" else CacheBench
        bench = make(Helper(args.build), args.shape, args.quick, folder)
        about = {
            "batchcorder": where() if args.kind != "bare" else None,
            "batches": len(bench.batches),
            "bytes": sum(batch.nbytes for batch in bench.batches),
        }
        print(json.dumps(about), flush=True)
        gc.disable()
        if args.quick:
            LONG_ENOUGH.update(LONG_ENOUGH_QUICK)
        for name in args.scenarios or names():
            seconds = bench.scenarios[name]()
            print(json.dumps({"scenario": name, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
