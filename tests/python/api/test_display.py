"""repr and HTML: short for any schema, escaped, and made without reading the source."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from helpers import Source, numbered, on_disk

SECRET = "a secret of the metadata"
LONG = "x" * 100_000
HOSTILE = 'a"\n\t\x1b[31m\u202e<script>alert(1)</script>&amp;'

DEEP = pa.struct([(HOSTILE + str(i), pa.int8()) for i in range(2000)])
SCHEMAS: dict[str, pa.Schema] = {
    "no columns": pa.schema([]),
    "one": pa.schema([pa.field("id", pa.int64(), nullable=False)]),
    "10,000 columns": pa.schema([(f"column {i}", pa.string()) for i in range(10_000)]),
    "long name": pa.schema([(LONG, pa.int8())]),
    "long names": pa.schema([(LONG, pa.int8())] * 50),
    "hostile names": pa.schema([(HOSTILE, pa.int8())] * 50),
    "deep": pa.schema([("s", DEEP)]),
    "wide characters": pa.schema([("表\U0001f600é" * 200, pa.string())] * 9),
    "metadata": pa.schema(
        [pa.field("x", pa.int8(), metadata={"k": SECRET * 1000})],
        metadata={"pandas": SECRET * 1000, HOSTILE: HOSTILE},
    ),
}  # fmt: skip


class NeverAsked:
    """A source whose batches no test may request."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        def batches() -> object:
            raise AssertionError("a batch was asked for")
            yield

        reader = pa.RecordBatchReader.from_batches(self.schema, batches())
        return reader.__arrow_c_stream__()


def texts(cache: StreamCache) -> list[str]:
    things = [cache, cache.reader(), cache.cast(cache.schema), cache.dataset()]
    return [repr(thing) for thing in things] + [str(cache), f"{cache}"]


@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_texts_of_any_schema(name: str, tier: str, tmp_path: Path) -> None:
    source = NeverAsked(SCHEMAS[name])
    cache = StreamCache(source) if tier == "memory" else on_disk(source, tmp_path)
    for text in texts(cache):
        assert len(text) < 300
        assert text.isprintable()
        assert SECRET not in text
    page = cache._repr_html_()
    assert len(page) < 50_000
    assert SECRET not in page
    assert "<script" not in page
    assert not re.search(r"[\x00-\x1f\x7f]", page)
    cache.close()
    assert len(repr(cache)) < 300
    assert "closed=True" in repr(cache)
    assert "closed" in cache._repr_html_()


def test_the_text_has_the_path_and_counts(tmp_path: Path) -> None:
    cache = StreamCache(Source(numbered(3)))
    assert repr(cache) == (
        "StreamCache(ingested=0, exhausted=False, rows=0, storage='memory', "
        "closed=False, schema=[id: int64])"
    )
    cache.ingest_all()
    cache.close()
    assert "ingested=3, exhausted=True, rows=12," in repr(cache)
    assert "closed=True" in repr(cache)
    path = tmp_path / "x.arrows"
    with batchcorder.record(pa.table({"x": [1]}), path) as recording:
        assert "rows=1" in repr(recording)
        assert path.name in repr(recording)
    assert f"storage='{path}'" in repr(batchcorder.open(path)) or len(str(path)) > 60


def test_the_schema_is_cut_at_a_field() -> None:
    schema = pa.schema([(f"c{i}", pa.int8()) for i in range(1000)])
    text = repr(StreamCache(NeverAsked(schema)))
    shown = re.findall(r"c(\d+): int8, ", text)
    assert shown == [str(i) for i in range(len(shown))]
    assert len(shown) > 5
    assert text.endswith(f"int8, ... {1000 - len(shown):,} more])")
    assert len(text) > 250
    few = pa.schema(
        [("a", pa.int8()), pa.field("b", pa.list_(pa.int8()), nullable=False)]
    )
    assert repr(StreamCache(NeverAsked(few)).reader()) == (
        "StreamCacheReader(closed=False, schema=[a: int8, b: list<item: int8> not null])"
    )


class Cells(html.parser.HTMLParser):
    """Collects the cells of tables by row, and checks that tags match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in ("div", "strong", "table", "tr", "td", "th", "p")
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(3)), tmp_path)
    cache.ingest_all()
    rows = Cells(cache._repr_html_()).rows
    found = {row[0]: row[1] for row in rows}
    assert found["batches"] == "3"
    assert found["rows"] == "12"
    assert found["state"] == "exhausted"
    assert found["memory tier"].split()[0] != ""
    assert found["disk tier"] != "0 bytes"
    assert found["path"].endswith("cache.arrow")
    assert ["id", "int64", "yes"] in rows
    many = Cells(StreamCache(NeverAsked(SCHEMAS["10,000 columns"]))._repr_html_()).rows
    assert many[-1][0] == "... 9,970 more columns"
    odd = Cells(StreamCache(NeverAsked(SCHEMAS["hostile names"]))._repr_html_()).rows
    assert odd[-2][0].startswith('a"\\n\\t\\x1b[31m\\u202e<script>alert(1)')


def failed() -> StreamCache:
    cache = StreamCache(Source(numbered(3), 1, error=ValueError("broken")))
    with pytest.raises(ValueError, match="broken"):
        cache.ingest_all()
    return cache


def closed() -> StreamCache:
    cache = StreamCache(Source(numbered(3)))
    cache.close()
    return cache


@pytest.mark.parametrize(
    "make", [failed, closed, lambda: StreamCache.__new__(StreamCache)]
)
def test_nothing_raises(make: Callable[[], StreamCache]) -> None:
    cache = make()
    assert repr(cache).startswith(("StreamCache(", "<StreamCache, not initialised>"))
    assert Cells(cache._repr_html_())


def test_a_name_that_is_not_utf8() -> None:
    schema = pa.schema({b"\xff\xfe": pa.int8(), "s": pa.struct([(b"\xff", pa.int8())])})
    cache = StreamCache(NeverAsked(schema))
    for text in (repr(cache), repr(cache.reader())):
        assert "not UTF-8" in text
        assert len(text) < 300
    assert "not UTF-8" in cache._repr_html_()
