"""Files that older releases of other libraries wrote; tests/foreign says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import batchcorder
from foreign import read_by_pyarrow, same

FILES = sorted((Path(__file__).parent.parent / "foreign" / "data").iterdir())


@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"verify": True}], ids=str)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_old_writers_wrote(path: Path, options: dict[str, Any]) -> None:
    schema, wanted = read_by_pyarrow(path.read_bytes())
    assert sum(batch.num_rows for batch in wanted) > 0
    with batchcorder.open(path, **options) as cache:
        assert cache.schema.equals(schema, check_metadata=True)
        same(list(cache), wanted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_columns_of_what_old_writers_wrote(path: Path) -> None:
    _, wanted = read_by_pyarrow(path.read_bytes())
    with batchcorder.open(path, verify=True) as cache:
        for name in cache.schema.names:
            reader = cache.reader(columns=[name])
            same(list(reader), [batch.select([name]) for batch in wanted])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_old_writers_wrote_is_recorded(path: Path, tmp_path: Path) -> None:
    _, wanted = read_by_pyarrow(path.read_bytes())
    with batchcorder.open(path) as cache:
        batchcorder.record(cache, tmp_path / "x.arrows")
    with batchcorder.open(tmp_path / "x.arrows", verify=True) as again:
        same(list(again), wanted)
