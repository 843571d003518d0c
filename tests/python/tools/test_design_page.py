"""docs/design.md has a table for each folder of src/, with a line for each file."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def stems(names: list[str]) -> set[str]:
    """Return names without extensions: a header is described with its source."""
    return {name.rpartition(".")[0] for name in names}


def test_the_tables_list_the_files_of_each_folder() -> None:
    page = (ROOT / "docs/design.md").read_text()
    sections = re.split(r"^### src/(\w+)\n", page, flags=re.M)
    tables = {
        folder: stems(re.findall(r"^\| `([\w.]+)` \| \S", text.split("\n#")[0], re.M))
        for folder, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    folders = [path for path in (ROOT / "src").iterdir() if path.is_dir()]
    assert tables == {
        folder.name: stems([path.name for path in folder.glob("*.[ch]")])
        for folder in folders
    }
