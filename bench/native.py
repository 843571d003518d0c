"""bench/helper.c for Python."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def stream_address(capsule: object) -> int:
    """Return the address of the struct ArrowArrayStream in a capsule."""
    return int(_get_pointer(capsule, b"arrow_array_stream"))


class Pieces:
    """The buffers of batches as the struct iovec of a bare writev."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        vectors: list[tuple[int, int]] = []
        counts = []
        for number, batch in enumerate(batches):
            buffers = [b for column in batch.columns for b in column.buffers()]
            for column in batch.columns if number == 0 else []:
                if pa.types.is_dictionary(column.type):
                    buffers += column.dictionary.buffers()
            ours = [(b.address, b.size) for b in buffers if b is not None and b.size > 0]
            vectors += ours
            counts.append(len(ours))
        self.batches = batches
        self.vectors = np.array(vectors, dtype=np.uint64)
        self.counts = np.array(counts, dtype=np.int32)


class CStream:
    """A struct ArrowArrayStream in our memory, exported as a PyCapsule."""

    def __init__(self) -> None:
        self.pointers = (ctypes.c_void_p * 5)()
        self.address = ctypes.addressof(self.pointers)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule of the stream; it does not own it."""
        return _new_capsule(self.address, b"arrow_array_stream", None)


class Helper:
    """The functions of libbench_helper.so."""

    def __init__(self, build: Path) -> None:
        self._library = ctypes.CDLL(str(build / "bench" / "libbench_helper.so"))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise OSError(code, f"{name}: {os.strerror(code)}")

    def keep(self, capsule: object, n_batches: int) -> ctypes.c_void_p:
        """Read all batches of a stream, and keep them in a struct bench_ready."""
        ready = ctypes.c_void_p()
        source = ctypes.c_void_p(stream_address(capsule))
        count = ctypes.c_int64(n_batches)
        self._call("bench_ready_new", source, count, ctypes.byref(ready))
        return ready

    def drop(self, ready: ctypes.c_void_p) -> None:
        """Release kept batches, none of which was imported."""
        self._library.bench_ready_drop(ready)

    def stream(self, ready: ctypes.c_void_p) -> CStream:
        """Return a stream of the kept batches."""
        stream = CStream()
        self._call("bench_ready_stream", ready, ctypes.c_void_p(stream.address))
        return stream

    def consume(self, addresses: Sequence[int]) -> tuple[int, float]:
        """Drain streams, each in a thread. Return the batch count and the seconds."""
        streams = (ctypes.c_void_p * len(addresses))(*addresses)
        batches = ctypes.c_int64()
        seconds = ctypes.c_double()
        self._call(
            "bench_consume",
            streams,
            len(addresses),
            ctypes.byref(batches),
            ctypes.byref(seconds),
        )
        return batches.value, seconds.value

    def write(self, file: int, pieces: Pieces) -> None:
        """Write the pieces with one call a batch."""
        vectors = ctypes.c_void_p(pieces.vectors.ctypes.data)
        counts = ctypes.c_void_p(pieces.counts.ctypes.data)
        n_batches = ctypes.c_int64(len(pieces.counts))
        self._call("bench_write", file, vectors, counts, n_batches)
