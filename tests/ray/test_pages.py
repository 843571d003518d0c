"""The examples in docstrings and in docs/ray.md run."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_docs import run_examples

import batchcorder
from batchcorder import ray as public
from helpers import ROOT, check_python


def test_without_ray() -> None:
    code = """
        import sys
        sys.modules["ray"] = None
        import batchcorder
        try:
            import batchcorder.ray
        except ImportError as error:
            print(error)
        """
    assert check_python(code).endswith("pip install 'batchcorder[ray]'\n")


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", public.__all__)
def test_docstrings(name: str) -> None:
    run_examples({name: getattr(public, name).__doc__})


@pytest.mark.usefixtures("local_ray")
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lineitem").mkdir()
    for name, numbers in (("a", range(10_000)), ("b", range(10_000, 20_000))):
        table = pa.table({"id": numbers, "price": [float(n) for n in numbers]})
        source = table.to_reader(max_chunksize=3000)
        batchcorder.record(source, f"lineitem/{name}.arrows").close()
    page = (ROOT / "docs/ray.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    wanted = re.findall(r"^print\(.*\)  # (.*)$", page, re.M)
    assert len(blocks) == len(wanted) == 3
    for block, text in zip(blocks, wanted, strict=True):
        printed = io.StringIO()
        names: dict[str, Any] = {}
        with contextlib.redirect_stdout(printed):
            exec(block, names)
        assert printed.getvalue().splitlines()[-1] == text
