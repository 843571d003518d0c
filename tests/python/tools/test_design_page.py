"""docs/design.md has a table for each folder of sources, with a line for each file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = [
    *sorted(path for path in (ROOT / "src").glob("**/*") if path.is_dir()),
    ROOT / "python/ext",
    ROOT / "python/batchcorder",
    ROOT / "python/batchcorder/_cli",
    ROOT / "python/batchcorder/_duckdb",
    ROOT / "python/batchcorder/_remote",
    ROOT / "python/batchcorder/flight",
    ROOT / "python/batchcorder/ray",
    ROOT / "python/batchcorder/torch",
]


def stems(names: Iterable[str]) -> set[str]:
    """Return names without extensions, since a header is described with its source."""
    return {name.rpartition(".")[0] for name in names}


def tables() -> dict[str, set[str]]:
    page = (ROOT / "docs/design.md").read_text()
    sections = re.split(r"^### ((?:src|python)/\S+)\n", page, flags=re.M)
    return {
        folder: stems(re.findall(r"^\| `([\w.]+)` \| \S", text.split("\n#")[0], re.M))
        for folder, text in zip(sections[1::2], sections[2::2], strict=True)
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_a_table_lists_the_files_of_a_folder(folder: Path) -> None:
    files = [path.name for path in folder.glob("*.[chp]*") if path.suffix != ".pyi"]
    listed = tables()[folder.relative_to(ROOT).as_posix()]
    assert listed == stems(files) - {"__init__", "__main__"}


def test_each_table_has_its_folder() -> None:
    assert tables().keys() == {f.relative_to(ROOT).as_posix() for f in FOLDERS}
