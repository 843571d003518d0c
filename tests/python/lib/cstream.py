"""The Arrow C data and stream structs in ctypes, for sources that no library makes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from typing import Any

import pyarrow as pa


class ArrowSchema(Structure):
    pass


class ArrowArray(Structure):
    pass


class ArrowArrayStream(Structure):
    pass


ReleaseSchema = CFUNCTYPE(None, POINTER(ArrowSchema))
ReleaseArray = CFUNCTYPE(None, POINTER(ArrowArray))
ReleaseStream = CFUNCTYPE(None, POINTER(ArrowArrayStream))
GetSchema = CFUNCTYPE(c_int, POINTER(ArrowArrayStream), POINTER(ArrowSchema))
GetNext = CFUNCTYPE(c_int, POINTER(ArrowArrayStream), POINTER(ArrowArray))
GetLastError = CFUNCTYPE(c_void_p, POINTER(ArrowArrayStream))

ArrowSchema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(ArrowSchema))),
    ("dictionary", POINTER(ArrowSchema)),
    ("release", ReleaseSchema),
    ("private_data", c_void_p),
]
ArrowArray._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(ArrowArray))),
    ("dictionary", POINTER(ArrowArray)),
    ("release", ReleaseArray),
    ("private_data", c_void_p),
]
ArrowArrayStream._fields_ = [
    ("get_schema", GetSchema),
    ("get_next", GetNext),
    ("get_last_error", GetLastError),
    ("release", ReleaseStream),
    ("private_data", c_void_p),
]

_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = c_void_p
_get_pointer.argtypes = [ctypes.py_object, c_char_p]
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [c_void_p, c_char_p, c_void_p]


def stream_in(capsule: Any) -> ArrowArrayStream:
    """Return the stream in a capsule. The capsule must outlive it."""
    return ArrowArrayStream.from_address(_get_pointer(capsule, b"arrow_array_stream"))


def capsule_of(address: int, name: bytes | None) -> Any:
    """Return a capsule without a destructor. `name` must outlive it."""
    return _new_capsule(address, name, None)


def arrays(stream: Any) -> Iterator[ArrowArray]:
    """Yield the stream's arrays. Each array is released after its turn."""
    capsule = stream.__arrow_c_stream__()
    raw = stream_in(capsule)
    while True:
        array = ArrowArray()
        code = raw.get_next(raw, array)
        assert code == 0, f"errno {code}"
        if not array.release:
            return
        yield array
        if array.release:
            array.release(array)


def array_of(batch: pa.RecordBatch) -> ArrowArray:
    """Return the batch as pyarrow exports it. The caller releases it."""
    array = ArrowArray()
    batch._export_to_c(ctypes.addressof(array))
    return array


def forget_nulls(array: ArrowArray) -> None:
    """Set the null count of all arrays in a tree to unknown."""
    array.null_count = -1
    for i in range(array.n_children):
        forget_nulls(array.children[i].contents)
    if array.dictionary:
        forget_nulls(array.dictionary.contents)


# C code may use a callback after its stream is released, so all streams are kept.
_alive: list[RawStream] = []


class RawStream:
    """
    A stream of ArrowArrays with the answers of a test.

    Each of `answers` is a RecordBatch (exported, then changed by `change`), an int (an
    errno that get_next returns), or None (the end).
    """

    def __init__(
        self,
        schema: pa.Schema,
        answers: list[pa.RecordBatch | int | None],
        words: bytes | None = b"boom",
        change: Callable[[ArrowArray], None] | None = None,
        change_schema: Callable[[ArrowSchema], None] | None = None,
        schema_code: int = 0,
    ) -> None:
        self.calls = 0
        self.released = 0
        self._schema = schema
        self._answers = answers
        self._words = words
        self._change = change
        self._change_schema = change_schema
        self._schema_code = schema_code
        self._callbacks: list[Any] = []
        _alive.append(self)
        self._text = ctypes.create_string_buffer(words) if words is not None else None
        self._stream = ArrowArrayStream(
            GetSchema(self._get_schema),
            GetNext(self._get_next),
            GetLastError(self._get_last_error),
            ReleaseStream(self._release),
            None,
        )

    def _get_schema(self, stream: Any, out: Any) -> int:
        if self._schema_code == 0:
            self._schema._export_to_c(ctypes.addressof(out.contents))
            if self._change_schema is not None:
                self._change_schema(out.contents)
        return self._schema_code

    def _get_next(self, stream: Any, out: Any) -> int:
        answer = self._answers[self.calls] if self.calls < len(self._answers) else None
        self.calls += 1
        if isinstance(answer, int):
            return answer
        if answer is None:
            ctypes.memset(ctypes.addressof(out.contents), 0, ctypes.sizeof(ArrowArray))
            return 0
        answer._export_to_c(ctypes.addressof(out.contents))
        if self._change is not None:
            self._change_array(out.contents)
        return 0

    def _change_array(self, array: ArrowArray) -> None:
        """Change an array. Its release restores the counts, which pyarrow needs."""
        address = ctypes.cast(array.release, c_void_p).value
        assert address is not None
        original = ReleaseArray(address)
        children = [array.children[i].contents for i in range(min(array.n_children, 1))]
        counts = [one.n_children for one in (array, *children)]

        def release(moved: Any) -> None:
            moved.contents.n_children = counts[0]
            for count in counts[1:]:
                moved.contents.children[0].contents.n_children = count
            moved.contents.release = original
            original(moved)

        callback = ReleaseArray(release)
        self._callbacks.append(callback)
        array.release = callback
        assert self._change is not None
        self._change(array)

    def _get_last_error(self, stream: Any) -> int | None:
        return None if self._text is None else ctypes.addressof(self._text)

    def _release(self, stream: Any) -> None:
        self.released += 1
        self._answers = []
        stream.contents.release = ReleaseStream()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return capsule_of(ctypes.addressof(self._stream), b"arrow_array_stream")
