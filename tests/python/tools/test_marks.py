"""bench/marks.py replaces the sections of pages."""

from __future__ import annotations

from pathlib import Path

from marks import put, take


def test_a_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\nc\n")
    for text in ("| x |\n", "| y |\n"):
        put(page, "<!-- one -->", text)
        assert take(page, "<!-- one -->") == text
    assert page.read_text().endswith("<!-- end -->\nb\n<!-- two -->\n<!-- end -->\nc\n")
