"""The rows of datasets of Ray."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray


def table_of(dataset: Any) -> pa.Table:
    """Return a dataset's rows, without a change of types."""
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))


def ids_of(dataset: Any) -> list[int]:
    """Return the column `id`, sorted."""
    return sorted(table_of(dataset)["id"].to_pylist())


def words_of(error: BaseException) -> str:
    """Return the words of an error and of its causes."""
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__  # type: ignore[assignment]
    return "\n".join(words)


def damage(path: Path, value: bytes) -> None:
    """Change the first place of a file that has a value."""
    content = bytearray(path.read_bytes())
    place = re.search(re.escape(value), content)
    assert place is not None
    content[place.start()] ^= 0x10
    path.write_bytes(content)
