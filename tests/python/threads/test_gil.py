"""Long reads from disk release the GIL for other threads (see test_quick.c)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers import check_python

# The counting thread runs only after another thread releases the GIL by itself.
COUNTING = """
    import os
    import sys
    import threading
    import numpy as np
    import batchcorder
    from helpers import *

    counted = 0
    over = False

    def count():
        global counted
        while not over:
            counted += 1
            os.sched_yield()

    def batches(number, rows):
        rng = np.random.default_rng(1)
        for i in range(number):
            x = pa.array(rng.integers(0, 1000, rows))
            yield pa.record_batch({"x": x, "t": x})

    def recorded(number, rows, **how):
        schema = pa.schema({"x": pa.int64(), "t": pa.int64()})
        source = pa.RecordBatchReader.from_batches(schema, batches(number, rows))
        batchcorder.record(source, PATH, **how)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    sys.setswitchinterval(1000)

    def passed(call):
        before = counted
        call()
        return counted - before
"""
END = """
    over = True
    sys.setswitchinterval(0.005)
    thread.join()
"""

READS = {
    "reader": "reader = cache.reader(); reads = lambda i: next(reader)",
    "columns": 'reader = cache.reader(columns=["t"]); reads = lambda i: next(reader)',
    "get": "reads = lambda i: cache[i]",
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_long_read_releases_the_gil(
    compression: str | None, how: str, tmp_path: Path
) -> None:
    check_python(
        f"PATH = {str(tmp_path / 'x.arrows')!r}\n{COUNTING}\n".replace("\n    ", "\n")
        + f"""
recorded(6, 1_000_000, compression={compression!r})
# On a busy machine, a read may end before the thread runs.
for attempt in range(300):
    cache = batchcorder.open(PATH)
    {READS[how]}
    if sum(passed(lambda: reads(i)) for i in range(6)) > 0:
        break
else:
    raise AssertionError("no read gave the interpreter up")
"""
        + END.replace("\n    ", "\n"),
        timeout=300,
    )


SCANS = {
    "nanoarrow": "import nanoarrow; read = lambda s: nanoarrow.ArrayStream(s).read_all()",
    "arro3": "from arro3.core import Table; read = Table.from_arrow",
    "datafusion": "import datafusion; read = datafusion.SessionContext().from_arrow",
}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="threads make states, see gil.c")
@pytest.mark.parametrize("name", SCANS)
def test_a_client_with_the_gil_waits_for_a_scanner(name: str) -> None:
    """pyarrow's threads call a cache's C source without the GIL."""
    check_python(
        f"""
    from helpers import *
    {SCANS[name]}
    table = pa.table({{"x": range(200_000)}})
    cache = StreamCache(table.to_reader(max_chunksize=10))
    read(cache.dataset().scanner().to_reader())
    assert cache.upstream_exhausted
    """,
        timeout=300,
    )
