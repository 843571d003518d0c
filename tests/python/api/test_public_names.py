"""Public names: their module, their signatures, and former names of arguments."""

from __future__ import annotations

import inspect
import pickle
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache
from helpers import Source, check_python, ids, numbered


def objects() -> Iterator[tuple[str, Any]]:
    for name in batchcorder.__all__:
        thing = getattr(batchcorder, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing


def test_all_objects_live_in_the_package() -> None:
    found = dict(objects())
    assert set(batchcorder.__all__) - set(found) == {"StrOrBytesPath"}
    for name, thing in found.items():
        assert thing.__module__ == "batchcorder", name
        assert thing.__qualname__ == thing.__name__ == name
        assert pickle.loads(pickle.dumps(thing)) is thing


def test_a_traceback_names_the_public_exception() -> None:
    printed = check_python("import batchcorder; print(batchcorder.SourceTraceback)")
    assert printed == "<class 'batchcorder.SourceTraceback'>\n"


def test_the_dataset_class_is_imported_when_it_is_used() -> None:
    check_python(
        """
        import sys
        import batchcorder
        assert "pyarrow.dataset" not in sys.modules
        kind = batchcorder.CacheDataset
        assert "pyarrow.dataset" in sys.modules
        import pyarrow
        cache = batchcorder.StreamCache(pyarrow.table({"x": [1]}))
        assert type(cache.dataset()) is kind
        """
    )
    assert set(batchcorder.__all__) <= set(dir(batchcorder))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = batchcorder.no_such_name  # type: ignore[attr-defined]


def test_booleans_are_keyword_only() -> None:
    """The one exception is `reader(from_start)`, as 0.1.3 has it."""
    callables = {name: thing for name, thing in objects() if inspect.isfunction(thing)}
    for kind in (StreamCache, batchcorder.StreamCacheReader):
        members = inspect.getmembers(kind, callable)
        callables |= {name: one for name, one in members if name[0] != "_"}
    positional = {
        f"{name}({parameter.name})"
        for name, one in callables.items()
        for parameter in inspect.signature(one).parameters.values()
        if isinstance(parameter.default, bool)
        and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    }
    assert positional == {"reader(from_start)"}


def test_typed_dicts_have_the_keys_that_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    batchcorder.record(pa.table({"x": [1]}), path, prefetch=1).close()
    for cache in (StreamCache(pa.table({"x": [1]})), batchcorder.open(path)):
        info = cache.info()
        assert list(info) == list(typing.get_type_hints(batchcorder.Info))
        assert list(cache.stats()) == list(typing.get_type_hints(batchcorder.Stats))
        for column in info["columns"]:
            assert list(column) == list(typing.get_type_hints(batchcorder.ColumnInfo))
        assert [key for key in info if key not in (StreamCache.info.__doc__ or "")] == []
        assert [
            key for key in cache.stats() if key not in (StreamCache.stats.__doc__ or "")
        ] == []


# ---- former names of arguments ----


@pytest.fixture
def cache() -> StreamCache:
    return StreamCache(Source(numbered(5)))


@pytest.mark.parametrize(
    ("method", "arguments", "old", "new", "value"),
    [
        ("shuffle", (7,), "window", "buffer_size", 8),
        ("shuffle", (7, 1), "window", "buffer_size", 0),
        ("take", (), "rows", "indices", [3, 1]),
    ],
)
def test_former_names_warn_and_work(
    method: str,
    arguments: tuple[int, ...],
    old: str,
    new: str,
    value: Any,
    cache: StreamCache,
) -> None:
    call = getattr(cache, method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = call(*arguments, **{new: value})
    with pytest.warns(DeprecationWarning, match=f"{old}=.*{new}=") as caught:
        found = call(*arguments, **{old: value})
    assert caught[0].filename == __file__
    assert pa.table(found) == pa.table(wanted)
    names = inspect.signature(call).parameters
    assert new in names
    assert old not in names


def test_both_names_at_once_are_refused(cache: StreamCache) -> None:
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (cache.shuffle, (1,), {"window": 3, "buffer_size": 3}),
        (cache.take, (), {"rows": [1], "indices": [1]}),
        (cache.take, ([1],), {"rows": [1]}),
    ]
    for call, arguments, options in calls:
        with pytest.raises(TypeError, match="the former name of"):
            call(*arguments, **options)
    for call, arguments, options in (
        (cache.take, (), {}),
        (cache.take, ([1], ["id"], 2), {}),
        (cache.shuffle, (1, 2, 3), {}),
        (cache.shuffle, (1,), {"windows": 3}),
    ):
        with pytest.raises(TypeError):
            call(*arguments, **options)
    assert cache.ingested_count == 0


def test_positional_use_needs_no_name(cache: StreamCache) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.take([4, 0])["id"].to_pylist() == [4, 0]
        assert sorted(ids(cache.shuffle(3, 1))) == list(range(20))
        assert ids(cache.shuffle(3, buffer_size=None)) == ids(cache.shuffle(3))
