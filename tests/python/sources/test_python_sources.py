"""Python sources hold the GIL while consumers in many threads read the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers import check_python
from python_sources import SOURCES
from tiers import Tier


@pytest.mark.parametrize("source", SOURCES)
def test_every_consumer(source: Callable[[], Any], tier: Tier) -> None:
    """Several consumers of one kind at once, then one of each kind."""
    for module in ("adbc_driver_sqlite", "arro3.core", "datafusion", "duckdb", "fsspec"):
        pytest.importorskip(module)
    check_python(
        f"""
        import faulthandler
        from tiers import maker_here
        from helpers import exit_at_once
        from python_sources import *

        faulthandler.dump_traceback_later(250, exit=True)
        for name in CONSUMERS:
            print(name, flush=True)
            read_with([name] * 4, maker_here(), {source.__name__})
        for _ in range(3):
            read_with(list(CONSUMERS), maker_here(), {source.__name__})
        exit_at_once()
        """,
        timeout=300,
        **tier,
    )


def test_consumers_pass_the_gil_round() -> None:
    """Another thread takes the GIL between any two steps, so every order occurs."""
    check_python(
        """
        import sys
        import nanoarrow
        from helpers import *
        sys.setswitchinterval(1e-6)
        for _ in range(10):
            cache = StreamCache(Source(numbered(100)))
            reader = cache.reader()
            def native():
                with nanoarrow.ArrayStream(cache) as stream:
                    return sum(len(chunk) for chunk in stream.iter_chunks())
            tasks = [Task(native) for _ in range(4)]
            shared = [Task(lambda: len(list(reader))) for _ in range(3)]
            def look():
                for _ in range(500):
                    assert not reader.closed or cache.ingested_count == 100
            looking = Task(look)
            assert [t.result() for t in tasks] == [400] * 4
            assert sum(t.result() for t in shared) == 100
            looking.result()
        """
    )
