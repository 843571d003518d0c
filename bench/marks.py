"""Sections of pages that programs write: from a mark to the end mark after it."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def put(page: Path, begin: str, text: str) -> None:
    """Replace the text of a page from a mark to the end mark after it."""
    before, rest = page.read_text().split(begin)
    _, after = rest.split(END, 1)
    page.write_text(f"{before}{begin}\n\n{text}{END}{after}")


def take(page: Path, begin: str) -> str:
    """Return the text that `put` wrote."""
    _, rest = page.read_text().split(begin)
    return rest.split(END, 1)[0].removeprefix("\n\n")
