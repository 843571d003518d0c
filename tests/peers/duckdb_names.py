"""A pytest plugin: adds DuckDB 1.3's names for results to the running DuckDB."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import duckdb


def table(self: Any, rows_per_batch: int = 1_000_000) -> Any:
    """Return the result as a table, as `arrow` did before it became a reader."""
    return self.to_arrow_table(rows_per_batch)


def reader(self: Any, rows_per_batch: int = 1_000_000) -> Any:
    return self.to_arrow_reader(rows_per_batch)


def itself(self: Any) -> Any:
    """Return the relation. In DuckDB 2, each call of a result executes it."""
    return self


def pytest_configure() -> None:
    for cls in (duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation):
        namespace = gc.get_referents(cls.__dict__)[0]
        namespace |= {"arrow": table, "fetch_arrow_table": table}
        namespace |= dict.fromkeys(
            ("fetch_record_batch", "fetch_arrow_reader", "record_batch"), reader
        )
        if cls is duckdb.DuckDBPyRelation and int(duckdb.__version__.split(".")[0]) > 1:
            namespace["execute"] = itself
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
