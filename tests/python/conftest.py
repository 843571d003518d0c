"""Fixtures: the same cache in each tier, and the C code that tests call."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from helpers import LIB, ROOT, heed_interrupts, missing
from tiers import TIERS, MakeCache, Tier, maker

heed_interrupts()


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


@pytest.fixture(scope="session")
def ccode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ccode.c as a shared library."""
    made = tmp_path_factory.mktemp("ccode") / "ccode.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = ROOT / "include"
    command = [compiler[0], "-shared", "-fPIC", "-pthread", f"-I{include}"]
    try:
        subprocess.run([*command, LIB / "ccode.c", "-o", made], check=True)
    except FileNotFoundError:
        missing(f"there is no compiler {compiler[0]}")
    return made
