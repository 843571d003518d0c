"""
Run another library's suite with the package in between, as a pytest plugin.

PEERS_WAY names a way of `ways.py`. Every stream between two libraries then passes
through it. PEERS_WAY=tables leaves the streams alone. Instead, each table in a
variable of a test passes through every way, and must stay equal. With
PEERS_WAY=registered, each Arrow object that a test registers in DuckDB is registered as a
cache.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

import ways

PROCESS = os.getpid()
WAY = os.environ["PEERS_WAY"]
SUITE = os.path.realpath(os.environ["PEERS_FOLDER"])
through = ways.WAYS.get(WAY)
streams = itertools.count()


# ---- streams ----


def replace(cls: type, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method of a class, even if Python treats the class as immutable."""
    namespace = gc.get_referents(cls.__dict__)[0]
    if name not in namespace:
        return
    namespace[name] = make(namespace[name])
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


def gives_capsule(original: Any) -> Any:
    """Return an `__arrow_c_stream__` with the package in between."""

    def method(self: Any, requested_schema: Any = None) -> Any:
        with ways.inside() as first:
            arguments = () if requested_schema is None else (requested_schema,)
            capsule = original(self, *arguments)
            if not first or not is_stream_of_rows(capsule):
                return capsule
            next(streams)
            return through(ways.Held(capsule)).__arrow_c_stream__()

    return method


class Schema(ctypes.Structure):
    """The struct ArrowSchema of the C data interface."""

    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_void_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("private_data", ctypes.c_void_p),
    )


# The first member of ArrowArrayStream.
GetSchema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype = ctypes.c_void_p
capsule_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


def is_stream_of_rows(capsule: Any) -> bool:
    """Return whether the elements of a stream are structs, which are rows."""
    stream = capsule_pointer(capsule, b"arrow_array_stream")
    schema = Schema()
    get_schema = ctypes.cast(ctypes.c_void_p.from_address(stream).value, GetSchema)
    if get_schema(stream, ctypes.addressof(schema)) != 0:
        return True
    is_rows = schema.format == b"+s" and not schema.dictionary
    schema.release(ctypes.addressof(schema))
    return is_rows


def between(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    next(streams)
    return pa.RecordBatchReader.from_stream(through(reader))


def gives_reader(original: Any) -> Any:
    """Return a method that makes a RecordBatchReader, with the package in between."""
    kind = type(original)
    call = original.__func__ if kind in (staticmethod, classmethod) else original

    def method(*args: Any, **kwargs: Any) -> Any:
        with ways.inside() as first:
            reader = call(*args, **kwargs)
            return between(reader) if first else reader

    return kind(method) if kind in (staticmethod, classmethod) else method


def exports(original: Any) -> Any:
    """Return `_export_to_c` of a reader, with the package in between."""

    def _export_to_c(self: Any, pointer: int) -> None:
        with ways.inside() as first:
            original(between(self) if first else self, pointer)

    return _export_to_c


def patch_streams() -> None:
    from pyarrow import dataset

    reader = pa.RecordBatchReader
    for cls in (pa.Table, pa.RecordBatch, reader, pa.ChunkedArray):
        replace(cls, "__arrow_c_stream__", gives_capsule)
    for name in ("from_batches", "from_stream", "_import_from_c"):
        replace(reader, name, gives_reader)
    replace(reader, "_export_to_c", exports)
    replace(pa.Table, "to_reader", gives_reader)
    replace(dataset.Scanner, "to_reader", gives_reader)
    for module, names in {
        "polars": ("DataFrame", "Series"),
        "pandas": ("DataFrame",),
        "duckdb": ("DuckDBPyRelation",),
        "datafusion": ("DataFrame",),
        "nanoarrow": ("ArrayStream", "Array"),
        "nanoarrow.c_array_stream": ("CArrayStream",),
        "arro3.core": ("Table", "RecordBatchReader"),
        "adbc_driver_manager._reader": ("AdbcRecordBatchReader",),
    }.items():
        try:
            found = __import__(module, fromlist=names)
        except ImportError:
            continue
        for name in names:
            if isinstance(cls := getattr(found, name, None), type):
                replace(cls, "__arrow_c_stream__", gives_capsule)


# ---- DuckDB's own sources ----


def is_scannable(value: Any) -> bool:
    from pyarrow import dataset

    kinds = pa.Table, pa.RecordBatch, pa.RecordBatchReader, dataset.Dataset
    return isinstance(value, kinds)


def registered(original: Any) -> Any:
    def register(self: Any, view_name: str, python_object: Any) -> Any:
        if not is_scannable(python_object):
            return original(self, view_name, python_object)
        next(streams)
        return ways.exhausted(python_object).register(self, view_name)

    return register


def related(original: Any) -> Any:
    def from_arrow(self: Any, arrow_object: Any) -> Any:
        if not is_scannable(arrow_object):
            return original(self, arrow_object)
        next(streams)
        return ways.exhausted(arrow_object).to_duckdb(self)

    return from_arrow


def patch_duckdb() -> None:
    import duckdb

    # The two methods call these of the connection.
    connection = duckdb.DuckDBPyConnection
    originals = {name: getattr(connection, name) for name in ("register", "from_arrow")}

    def of_cache(name: str, make: Callable[[Any], Any]) -> None:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            with ways.inside() as first:
                call = make(originals[name]) if first else originals[name]
                return call(self, *args, **kwargs)

        replace(connection, name, lambda _: method)
        default = duckdb.default_connection

        def function(*args: Any, **kwargs: Any) -> Any:
            given = kwargs.pop("connection", None) or default()
            return method(given, *args, **kwargs)

        setattr(duckdb, name, function)

    of_cache("register", registered)
    of_cache("from_arrow", related)


# ---- tables ----


def as_table(value: Any) -> pa.Table | None:
    """Return the value of a test's variable as a table, or None for other values."""
    kind = type(value)
    try:
        if kind is pa.Table:
            return value
        if kind is pa.RecordBatch:
            return pa.Table.from_batches([value])
        if kind is pa.ChunkedArray or isinstance(value, pa.Array):
            return pa.table({"values": value})
        if kind.__module__ == "polars.series.series" and kind.__name__ == "Series":
            return as_table(value.to_frame("values"))
        if kind.__module__ == "polars.dataframe.frame" and kind.__name__ == "DataFrame":
            # Polars aborts the process when it exports Python's objects.
            if any("Object" in str(dtype) for dtype in value.dtypes):
                return None
            return pa.table(value)
        if kind.__name__ == "DataFrame" and kind.__module__.startswith("pandas"):
            return pa.table(value)
    except Exception:  # no library accepts it as a table
        return None
    return None


def is_equal(one: pa.Table, other: pa.Table) -> bool:
    if not one.schema.equals(other.schema, check_metadata=True):
        return False
    if one.equals(other):
        return True
    # NaN differs from itself.
    return repr(one.to_pylist()) == repr(other.to_pylist())


def is_intact(table: pa.Table) -> bool:
    try:
        table.validate(full=True)
    except Exception:  # some tests make invalid tables
        return False
    return True


def problems(table: pa.Table) -> Iterator[str]:
    """Yield the differences after a table passed through each way."""
    if table.nbytes > 64 << 20 or not is_intact(table):
        return
    # A C stream without the package changes the table too: an extension type that only
    # the test knows becomes its storage.
    table = pa.table(ways.Held(table.__arrow_c_stream__()))
    for name, way in ways.WAYS.items():
        try:
            got = pa.table(way(table))
            got.validate(full=True)
            if not is_equal(got, table):
                yield f"{name}: {schema_of(table)}: other rows or types"
        except Exception as error:
            yield f"{name}: {schema_of(table)}: {type(error).__name__}: {error}"
    if 0 < table.num_rows <= 1000:
        try:
            if not is_equal(ways.take(table), table):
                yield f"take: {schema_of(table)}: other rows or types"
        except Exception as error:
            yield f"take: {schema_of(table)}: {type(error).__name__}: {error}"
    yield from polars_problems(table)


def polars_problems(table: pa.Table) -> Iterator[str]:
    try:
        import polars
        from polars.testing import assert_frame_equal

        frame = polars.DataFrame(table)
        # Polars renames columns with an empty name.
        frame.columns = table.column_names
    except BaseException:  # Polars is missing, or it panics
        return
    try:
        assert_frame_equal(ways.polars(table), frame)
    except BaseException as error:
        yield f"polars: {schema_of(table)}: {type(error).__name__}: {error}"


def schema_of(table: pa.Table) -> str:
    return "; ".join(f"{field.name}: {field.type}" for field in table.schema)[:200]


class Tables:
    """Checks the variables of every function of the suite when the function returns."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.count = 0

    def __call__(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if event != "return" or not frame.f_code.co_filename.startswith(SUITE):
            return
        # A forked child lacks Polars' threads and would wait for them.
        if os.getpid() != PROCESS:
            return
        sys.setprofile(None)
        try:
            with ways.inside():
                for value in list(frame.f_locals.values()):
                    self.look(value)
        finally:
            sys.setprofile(self)

    def look(self, value: Any) -> None:
        if isinstance(value, list | tuple) and len(value) <= 20:
            for one in value:
                if isinstance(one, pa.RecordBatch | pa.Table | pa.Array):
                    self.look(one)
            return
        table = as_table(value)
        if table is not None:
            self.count += 1
            self.found += problems(table)


tables = Tables()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    if WAY != "tables":
        return (yield)
    tables.found.clear()
    sys.setprofile(tables)
    try:
        result = yield
    finally:
        sys.setprofile(None)
    if tables.found:
        text = "\n".join(dict.fromkeys(tables.found))
        pytest.fail(f"batchcorder:\n{text}", pytrace=False)
    return result


def pytest_configure(config: pytest.Config) -> None:
    if through is not None:
        patch_streams()
    if WAY == "registered":
        patch_duckdb()


def pytest_unconfigure(config: pytest.Config) -> None:
    ways.remove_folder()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if WAY == "tables":
        terminalreporter.write_line(f"{tables.count} tables through each way")
    elif through is not None or WAY == "registered":
        terminalreporter.write_line(f"{next(streams)} streams through {WAY}")
