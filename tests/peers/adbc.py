"""Files that ADBC's tests need from its checkout: the source releases lack them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the driver manager find the SQLite driver by its name."""
    import adbc_driver_sqlite

    folder: Path = tmp_path_factory.mktemp("drivers")
    manifest = folder / "adbc_driver_sqlite.toml"
    library = adbc_driver_sqlite._driver_path()
    manifest.write_text(f"manifest_version = 1\n[Driver]\nshared = '{library}'\n")
    os.environ["ADBC_DRIVER_PATH"] = str(folder)


@pytest.fixture
def sqlite() -> Iterator[Any]:
    """Yield a connection of the DBAPI to a database in memory."""
    import adbc_driver_sqlite
    from adbc_driver_manager import dbapi

    with dbapi.connect(driver=adbc_driver_sqlite._driver_path()) as connection:
        yield connection
