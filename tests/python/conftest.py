"""Fixtures: the same cache in each tier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchcorder import StreamCache

MakeCache = Callable[..., StreamCache]

TIERS: dict[str, dict[str, Any]] = {
    "memory": {},
    "disk": {"memory_capacity": 1, "disk_capacity": 1 << 30},
    "both": {"memory_capacity": 1 << 30, "disk_capacity": 1 << 30},
    "evict": {
        "memory_capacity": 64,
        "disk_capacity": 1 << 30,
        "write_policy": "on_eviction",
    },
}


def maker(tier: str, path: Path) -> MakeCache:
    """Return a function that makes caches in `tier`."""

    def make(source: Any, **options: Any) -> StreamCache:
        settings = dict(TIERS[tier])
        if tier != "memory":
            settings["disk_path"] = path
        return StreamCache(source, **(settings | options))

    return make


@pytest.fixture(params=["memory", "disk"])
def make_cache(request: pytest.FixtureRequest, tmp_path: Path) -> MakeCache:
    """Make a cache in memory, or on disk alone."""
    return maker(request.param, tmp_path)


@pytest.fixture(params=list(TIERS))
def make_any_cache(request: pytest.FixtureRequest, tmp_path: Path) -> MakeCache:
    """Make a cache in each way there is."""
    return maker(request.param, tmp_path)
