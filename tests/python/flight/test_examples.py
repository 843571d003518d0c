"""The examples of the docstrings run."""

from __future__ import annotations

import inspect

import pytest
from test_docs import run_examples, texts_of

from batchcorder import flight


@pytest.mark.parametrize("name", flight.__all__)
def test_examples(name: str) -> None:
    thing = getattr(flight, name)
    if inspect.isclass(thing):
        run_examples(texts_of(thing))
    else:
        run_examples({name: inspect.getdoc(thing) or ""})
