"""The fixtures that ADBC's source releases leave out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def sqlite() -> Iterator[Any]:
    """Yield a connection of the DBAPI to a database in memory."""
    import adbc_driver_sqlite
    from adbc_driver_manager import dbapi

    with dbapi.connect(driver=adbc_driver_sqlite._driver_path()) as connection:
        yield connection
