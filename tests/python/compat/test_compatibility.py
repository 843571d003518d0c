"""The behaviour that code for 0.1.3 can see: equal, except as the page documents."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

import batchcorder
from batchcorder import flight
from helpers import ROOT, Task

PAGE = ROOT / "docs" / "compatibility.md"
PEER = ROOT / "build" / "rust-0.1.3"

sys.path.append(str(ROOT / "tests" / "compat"))

import runner  # noqa: E402
from probes import PROBES  # noqa: E402

# 0.1.3 hangs in these probes. They get a shorter deadline.
HANGING = {"threads_share_a_reader", "properties_while_the_source_is_slow"}


def rows() -> list[list[str]]:
    """Return the cells of the page's tables: probes, 0.1.3, this package, reason."""
    lines = PAGE.read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]


def documented() -> list[str]:
    """Return the names of the probes in the page's tables; ``[*]`` is every case."""
    names = []
    for row in rows():
        names += re.findall(r"`([^`]+)`", row[0])
    cases: list[str] = []
    for name in names:
        base, star, _ = name.partition("[*]")
        cases += [one for one in PROBES if one.startswith(base + "[")] if star else [name]
    return cases


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """Return the findings of the probes for each package."""
    tasks = {"here": Task(runner.run, None, PROBES)}
    if PEER.is_dir():
        tasks["there"] = Task(
            runner.run, PEER, PROBES, lambda name: 3 if name in HANGING else 20
        )
    return {name: task.result() for name, task in tasks.items()}


def test_every_probe_runs_here(found: dict[str, dict[str, Any]]) -> None:
    """No probe hangs, ends the process, or raises an exception that it does not catch."""
    bad = {
        name: what
        for name, what in found["here"].items()
        if (isinstance(what, str) and what.startswith(("hangs", "ends the process")))
        or (isinstance(what, dict) and "uncaught" in what)
    }
    assert bad == {}
    assert list(found["here"]) == list(PROBES)


def test_differences_are_those_of_the_page(found: dict[str, dict[str, Any]]) -> None:
    if "there" not in found:
        pytest.skip("0.1.3 is not there to compare with: make build/rust-0.1.3")
    here, there = found["here"], found["there"]
    assert here.keys() == there.keys()
    different = {name for name in PROBES if runner.differ(here[name], there[name])}
    named = set(documented())
    assert {
        name: {"0.1.3": there[name], "here": here[name]} for name in different - named
    } == {}, "differences that docs/compatibility.md does not name"
    assert named - different == set(), (
        "docs/compatibility.md names these probes, which agree"
    )


def test_the_page_lists_new_names() -> None:
    page = PAGE.read_text()
    text = page[page.index("New names: ") : page.index("Four differences can surprise")]
    named = {name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", text)}
    old = {"cast", "close", "ingest_all", "ingested_count", "reader", "schema"}
    old |= {"upstream_exhausted", "CastingStreamCache", "StreamCache"}
    old |= {"StreamCacheReader"}
    old |= {"closed"}
    kinds = (batchcorder.StreamCache, batchcorder.StreamCacheReader)
    members = {name for kind in kinds for name in dir(kind) if name[0] != "_"}
    # tests/training needs PyTorch, and compares these.
    named -= {"torch", "RecordingDataset", "RowDataset"}
    named -= {"flight", *flight.__all__}
    # tests/ray needs Ray.
    named -= {"ray", "read_recordings", "write_recordings"}
    assert named - {"batchcorder", "close"} == (members | {*batchcorder.__all__}) - old


def test_the_page_names_probes_that_exist_and_once() -> None:
    names = documented()
    assert set(names) <= PROBES.keys()
    assert len(names) == len(set(names))
    assert "[*]" not in "".join(names)
    for row in rows():
        assert len(row) == 4, row
        assert all(cell.strip() for cell in row), row
