"""Caches and readers as text and HTML, of bounded size; never calls the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from ._stream_cache import StreamCache

# repr() returns less than 300 characters.
_REPR_MAX = 299
_PATH_MAX = 60
_NAME_MAX = 40
_TYPE_MAX = 40
# Of an HTML page's table.
_HTML_COLUMNS_MAX = 30
_HTML_TEXT_MAX = 120
_REFUSED = "not one that pyarrow reads"


def printable(text: str) -> str:
    """Return a text in one line, with escapes in place of control characters."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def shortened(text: str, width: int) -> str:
    """Return the text, printable; if it is longer than `width`, its beginning."""
    whole = printable(text[: width + 1])
    return whole if len(whole) <= width else whole[: width - 3] + "..."


def _ending(text: str, width: int) -> str:
    """Return the text, printable; if it is longer than `width`, its end."""
    whole = printable(text[-width - 1 :])
    return whole if len(whole) <= width else "..." + whole[3 - width :]


def name_of(field: pa.Field) -> str:
    """Return the name of a field."""
    try:
        return str(field.name)
    except UnicodeDecodeError:
        return "(a name that is not UTF-8)"


def _type_of(field: pa.Field) -> str:
    try:
        return str(field.type)
    except UnicodeDecodeError:
        return "(a type with a name that is not UTF-8)"


def bytes_text(count: float) -> str:
    """Return a number of bytes with a decimal unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def fields_text(schema: pa.Schema | None, room: int) -> str:
    """Return the first fields of a schema, at most `room` characters."""
    if schema is None:
        return _REFUSED
    text = ""
    for number in range(len(schema)):
        field = schema.field(number)
        one = shortened(name_of(field), _NAME_MAX)
        one += ": " + shortened(_type_of(field), _TYPE_MAX)
        one += "" if field.nullable else " not null"
        longer = f"{text}, {one}" if text else one
        left = len(schema) - number - 1
        ending = f", ... {left:,} more" if left else ""
        if len(longer) + len(ending) > room:
            return f"{text}, ... {left + 1:,} more" if text else f"{left + 1:,} columns"
        text = longer
    return text


def schema_of(thing: Any) -> pa.Schema | None:
    """Return the schema; None if pyarrow refuses it."""
    try:
        schema = thing.schema
    except Exception:
        return None
    return schema if isinstance(schema, pa.Schema) else None


def _with_fields(start: str, schema: pa.Schema | None) -> str:
    fields = fields_text(schema, _REPR_MAX - len(start) - len("schema=[])"))
    return f"{start}schema=[{fields}])"


def cache_text(cache: StreamCache) -> str:
    """Return the repr of a cache."""
    try:
        stats = cache.stats()
    except ValueError:
        return "<StreamCache, not initialised>"
    path = cache.path
    storage = "memory" if path is None else _ending(path, _PATH_MAX)
    start = (
        f"StreamCache(ingested={stats['batches']}, exhausted={cache.upstream_exhausted}, "
        f"rows={stats['rows']}, storage='{storage}', "
        f"closed={stats['state'] == 'closed'}, "
    )
    return _with_fields(start, schema_of(cache))


def reader_text(is_closed: bool, schema: pa.Schema | None) -> str:
    """Return the repr of a reader; the extension calls this."""
    return _with_fields(f"StreamCacheReader(closed={is_closed}, ", schema)


def casting_text(schema: pa.Schema) -> str:
    """Return the repr of a view that casts."""
    return _with_fields("CastingStreamCache(", schema)


# ---- HTML ----


def _cell(text: str, tag: str = "td") -> str:
    # On first use: the module has a table of 2,000 entities.
    from html import escape

    whole = escape(shortened(text, _HTML_TEXT_MAX))
    return f'<{tag} style="text-align: left">{whole}</{tag}>'


def _line(*cells: str, tag: str = "td") -> str:
    return "<tr>" + "".join(_cell(cell, tag) for cell in cells) + "</tr>"


def _schema_lines(schema: pa.Schema) -> Iterator[str]:
    yield _line("column", "type", "nullable", tag="th")
    shown = min(len(schema), _HTML_COLUMNS_MAX)
    for number in range(shown):
        field = schema.field(number)
        null = "yes" if field.nullable else "no"
        yield _line(name_of(field), _type_of(field), null)
    if shown < len(schema):
        yield _line(f"... {len(schema) - shown:,} more columns", "", "")


def _summary_lines(cache: StreamCache) -> Iterator[str]:
    stats = cache.stats()
    yield _line("state", stats["state"])
    yield _line("batches", f"{stats['batches']:,}")
    yield _line("rows", f"{stats['rows']:,}")
    yield _line("memory tier", bytes_text(stats["memory_bytes"]))
    path = cache.path
    if path is not None:
        yield _line("disk tier", bytes_text(stats["disk_bytes"]))
        yield _line("path", _ending(path, _HTML_TEXT_MAX))


def _table(lines: Iterator[str]) -> str:
    return "<table>" + "".join(lines) + "</table>"


def cache_html(cache: StreamCache) -> str:
    """Return the HTML of a cache for notebooks."""
    try:
        summary = _table(_summary_lines(cache))
    except ValueError:
        return "<p>&lt;StreamCache, not initialised&gt;</p>"
    schema = schema_of(cache)
    columns = (
        f"<p>schema: {_REFUSED}</p>" if schema is None else _table(_schema_lines(schema))
    )
    return f"<div><strong>StreamCache</strong>{summary}{columns}</div>"
