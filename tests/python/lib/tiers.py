"""The tiers of a cache, for tests and for scripts in other processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchcorder import StreamCache

MakeCache = Callable[..., StreamCache]
Tier = dict[str, str]

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


def maker_here() -> MakeCache:
    """Return the fixture `make_cache` for a script that got its `tier`."""
    return maker(os.environ["TIER"], Path(os.environ["TIER_PATH"]))
