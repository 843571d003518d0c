"""Fixtures: the same cache in each tier, here and in scripts of their own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchcorder import StreamCache
from helpers import HERE

# A shell starts its background jobs with the signal ignored, and so their children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(params=["memory", "disk"])
def make_cache(request: pytest.FixtureRequest, tmp_path: Path) -> MakeCache:
    """Make a cache in memory, or on disk alone."""
    return maker(request.param, tmp_path)


@pytest.fixture(params=list(TIERS))
def make_any_cache(request: pytest.FixtureRequest, tmp_path: Path) -> MakeCache:
    """Make a cache in each way there is."""
    return maker(request.param, tmp_path)


@pytest.fixture(params=["memory", "disk"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Tier:
    """Return the environment that tells `maker_here` in a script where to record."""
    return {"TIER": request.param, "TIER_PATH": str(tmp_path)}


def maker_here() -> MakeCache:
    """Return what `make_cache` is to a test, in a script that got its `tier`."""
    return maker(os.environ["TIER"], Path(os.environ["TIER_PATH"]))


@pytest.fixture(scope="session")
def ccode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ccode.c as a shared library."""
    made = tmp_path_factory.mktemp("ccode") / "ccode.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = HERE.parents[1] / "include"
    command = [compiler[0], "-shared", "-fPIC", "-pthread", f"-I{include}"]
    try:
        subprocess.run([*command, HERE / "ccode.c", "-o", made], check=True)
    except FileNotFoundError:
        pytest.skip(f"there is no compiler {compiler[0]}")
    return made
