"""The examples in docstrings, in docs/training.md and in examples/ run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_docs import run_examples, texts_of

import batchcorder
from batchcorder import torch as public
from helpers import ROOT

Recorded = Callable[..., str]


@pytest.mark.parametrize("name", public.__all__)
def test_docstrings(name: str) -> None:
    run_examples(texts_of(getattr(public, name)))


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = range(20_000)
    table = pa.table({"id": numbers, "price": [float(n) for n in numbers]})
    with batchcorder.record(table.to_reader(max_chunksize=3000), "lineitem.arrows"):
        pass
    page = (ROOT / "docs/training.md").read_text()
    items: list[dict[str, Any]] = []
    names = {"train": items.append, "torch": torch}
    counts = []
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    for block in blocks:
        items.clear()
        exec(block, names)
        counts.append(len(items))
    # An epoch, three, five items and the rest of the third, none, one.
    assert counts == [20, 60, 5 + 15, 0, 20]
    rows = [row for item in names["loader"] for row in item["id"].tolist()]
    assert sorted(rows) == list(numbers)


def test_the_example(tmp_path: Path) -> None:
    n = 120_000
    table = pa.table(
        {
            "l_quantity": [float(i % 50) for i in range(n)],
            "l_discount": [i % 10 / 100 for i in range(n)],
            "l_tax": [i % 8 / 100 for i in range(n)],
            "l_linenumber": [i % 7 for i in range(n)],
            "l_returnflag": ["R" if i % 50 > 30 else "A" for i in range(n)],
        }
    )
    pq.write_table(table, tmp_path / "lineitem.parquet")
    example = ROOT / "examples/train_lineitem.py"
    assert len(example.read_text().splitlines()) < 60

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, example, tmp_path],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first = run()
    assert [line.partition(":")[0] for line in first] == ["epoch 0", "epoch 1"]
    # It goes on from step 100 of the last epoch, and gets to the same loss.
    assert run() == first[1:]
