"""A LazyFrame over a cache, which Polars asks for what a query needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._cache import StreamCache


def scan(cache: StreamCache) -> Any:
    """Return a polars.LazyFrame; see :meth:`StreamCache.scan_polars`."""
    import polars as pl
    from polars.io.plugins import register_io_source

    def generate(
        with_columns: list[str] | None,
        predicate: Any,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[Any]:
        """Yield the batches; the limit counts rows before the predicate, as Polars'."""
        left = n_rows
        for batch in cache.reader(columns=with_columns):
            if left is not None:
                batch = batch.slice(0, left)
                left -= batch.num_rows
            frame: Any = pl.from_arrow(batch)
            yield frame if predicate is None else frame.filter(predicate)
            if left == 0:
                return

    empty: Any = pl.from_arrow(cache.schema.empty_table())
    return register_io_source(generate, schema=empty.schema, is_pure=True)
