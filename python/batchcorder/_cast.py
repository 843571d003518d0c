"""Casts, which are pyarrow's. A failed cast uses up neither a reader nor its slot."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from . import _display
from ._core import StreamCache, StreamCacheReader


def _check_cast(source: pa.Schema, target: pa.Schema) -> None:
    """Raise pyarrow's error for a cast of `source` to `target`; reads no batch."""
    pa.RecordBatchReader.from_batches(source, []).cast(target)


def _as_schema(target: Any, argument: str) -> pa.Schema:
    """Return a schema from a pyarrow.Schema or anything with ``__arrow_c_schema__``."""
    if isinstance(target, pa.Schema):
        return target
    if hasattr(target, "__arrow_c_schema__"):
        return _schema_in(target.__arrow_c_schema__(), argument)
    kind = type(target)
    raise TypeError(
        f"argument '{argument}': Expected instance of pyarrow.lib.Schema, "
        f"got {kind.__module__}.{kind.__qualname__}"
    )


def _schema_in(capsule: Any, argument: str) -> pa.Schema:
    """Return the schema in a capsule."""
    kind = type(capsule)
    if kind.__name__ != "PyCapsule":
        what = "'None'" if capsule is None else f"'{kind.__name__}' object"
        raise TypeError(
            f"argument '{argument}': {what} is not an instance of 'PyCapsule'"
        )
    return pa.Schema._import_from_c_capsule(capsule)


def _kind_of(source: StreamCache | StreamCacheReader) -> Any:
    return StreamCache if isinstance(source, StreamCache) else StreamCacheReader


def _cast_stream(source: StreamCache | StreamCacheReader, target: pa.Schema) -> Any:
    """Return a stream capsule of `source`, cast; calls no method of a subclass."""
    kind = _kind_of(source)
    schema = vars(kind)["schema"].__get__(source)
    if target.equals(schema, check_metadata=True):
        return kind.__arrow_c_stream__(source)
    _check_cast(schema, target)
    stream = pa.RecordBatchReader._import_from_c_capsule(kind.__arrow_c_stream__(source))
    return stream.cast(target).__arrow_c_stream__()


def cast_reader(reader: StreamCacheReader, target_schema: Any) -> pa.RecordBatchReader:
    """Return the remaining batches, cast; uses the reader up if it succeeds."""
    return pa.RecordBatchReader.from_stream(reader, schema=target_schema)


def stream_as_requested(source: StreamCache | StreamCacheReader, requested: Any) -> Any:
    """Return a stream capsule of `source` in the schema that a consumer asks for."""
    kind = _kind_of(source)
    try:
        _ = vars(kind)["schema"].__get__(source)
    except Exception:
        # pyarrow refuses the stream's schema. A request may be ignored.
        return kind.__arrow_c_stream__(source)
    return _cast_stream(source, _schema_in(requested, "requested_schema"))


class CastingStreamCache:
    """
    A replayable view of a StreamCache whose streams are cast to another schema.

    :meth:`StreamCache.cast` makes it. The view is an Arrow stream, for
    ``pa.table(view)`` or ``polars.DataFrame(view)``. Each stream is a new reader of the
    cache, cast from the source's types: a cast of a cast skips the first cast.

    Parameters
    ----------
    cache : StreamCache
        The cache, which the view keeps.
    target_schema : pyarrow.Schema or object with ``__arrow_c_schema__``
        A schema with the same field names.

    Raises
    ------
    TypeError
        `target_schema` is no schema.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from batchcorder import StreamCache
    >>> cache = StreamCache(pa.table({"x": [1, 2, 3]}))
    >>> pa.table(cache.cast(pa.schema({"x": pa.float32()}))).column("x").to_pylist()
    [1.0, 2.0, 3.0]
    """

    __module__ = "batchcorder"

    def __init__(self, cache: StreamCache, target_schema: Any) -> None:
        self._cache = cache
        self._schema = _as_schema(target_schema, "target_schema")

    @property
    def schema(self) -> pa.Schema:
        """
        Schema of the streams; never waits.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> StreamCache(pa.table({"x": [1]})).cast(pa.schema({"x": pa.int8()})).schema
        x: int8
        """
        return self._schema

    def cast(self, target_schema: Any) -> CastingStreamCache:
        """
        Return a view that casts the source's types to another schema.

        Parameters
        ----------
        target_schema : pyarrow.Schema or object with ``__arrow_c_schema__``
            A schema with the same field names.

        Returns
        -------
        CastingStreamCache
            A view of the same cache.

        Raises
        ------
        TypeError
            `target_schema` is no schema.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from batchcorder import StreamCache
        >>> view = StreamCache(pa.table({"x": [1]})).cast(pa.schema({"x": pa.int8()}))
        >>> view.cast(pa.schema({"x": pa.int16()})).schema
        x: int16
        """
        return CastingStreamCache(self._cache, target_schema)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """
        Return a PyCapsule of a fresh Arrow stream, cast.

        Raises
        ------
        ValueError
            The field names differ from the source's, or no reader can be made.
        TypeError
            A type cannot be cast.
        """
        if requested_schema is not None:
            return stream_as_requested(self._cache, requested_schema)
        return _cast_stream(self._cache, self._schema)

    def __arrow_c_schema__(self) -> Any:
        """Return a PyCapsule of the schema."""
        return self._schema.__arrow_c_schema__()

    def __repr__(self) -> str:
        return _display.casting_text(self._schema)
