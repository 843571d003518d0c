"""A path for tests of `cached`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a name in a folder of its own; other files go beside that folder."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder / "x.arrows"
