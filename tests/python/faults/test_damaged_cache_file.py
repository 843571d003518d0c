"""A damaged cache file: any damaged byte is an error at the first read, never a crash."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa
import pytest

from damage import MISMATCH, flip, recorded
from helpers import Gate, Source, Task, cache_file, check_python, ids, numbered, on_disk


def test_every_byte(tmp_path: Path) -> None:
    """A reader notices the damage of any byte in the file."""
    code = f"""
        from helpers import *
        from damage import MISMATCH, flip, recorded
        path = Path({str(tmp_path)!r})
        size = None
        missed = []
        strange = []
        offset = 0
        while size is None or offset < size:
            cache, file = recorded(path, 2)
            size = file.stat().st_size
            flip(file, offset, 1 << offset % 8)
            seen = []
            try:
                for one in cache:
                    seen.append(one)
            except OSError as error:
                found = MISMATCH.search(str(error))
                if not found or (found[2] and int(found[2]) != len(seen)):
                    strange.append((offset, str(error)))
                assert ids(seen) == list(range(4 * len(seen))), offset
            else:
                missed.append(offset)
            cache.close()
            offset += 1
        assert not missed, f"not noticed, of {{size}} bytes: {{missed}}"
        assert not strange, strange[:5]
        print(size)
    """
    assert int(check_python(code, timeout=300)) > 400


def test_the_error_is_the_same_on_every_path_and_stays(tmp_path: Path) -> None:
    cache, file = recorded(tmp_path, 5)
    start = cache.reader()
    next(start)
    flip(file, file.stat().st_size - 8 - 64 * 2)
    seen = 0
    reader = cache.reader()
    with pytest.raises(OSError, match="Checksum mismatch") as first:  # noqa: PT012
        for _ in reader:
            seen += 1
    words = MISMATCH.search(str(first.value))
    assert words is not None
    assert int(words[2]) == seen
    for _ in range(2):
        with pytest.raises(OSError, match=re.escape(words[0])):
            next(reader)
    for stream in (
        pa.RecordBatchReader.from_stream(cache),
        pa.RecordBatchReader.from_stream(cache.cast(cache.schema)),
        cache.reader().cast(cache.schema),
    ):
        for _ in range(seen):
            stream.read_next_batch()
        with pytest.raises(OSError, match=re.escape(words[0])):
            stream.read_next_batch()
    assert cache.ingest_all() == 5


def test_a_batch_in_memory_is_not_affected(tmp_path: Path) -> None:
    cache = on_disk(Source(numbered(3)), tmp_path, memory_capacity=1 << 20)
    cache.ingest_all()
    file = cache_file(tmp_path)
    for offset in range(0, file.stat().st_size, 8):
        flip(file, offset)
    assert ids(cache) == list(range(12))


def test_a_batch_read_before_is_not_verified_again(tmp_path: Path) -> None:
    """The batch is mapped and not copied, so it shows the damaged bytes."""
    cache, file = recorded(tmp_path)
    assert ids(cache) == list(range(12))
    os.utime(file)
    assert ids(cache) == list(range(12))


def test_a_shortened_file(tmp_path: Path) -> None:
    """The test runs in a child: a read after a mapping's end would kill the process."""
    code = f"""
        from helpers import *
        from damage import recorded

        def refused(read):
            try:
                read()
            except OSError as error:
                assert "Disk read failed: " in str(error), error
            else:
                raise AssertionError("not noticed")

        for cut in (0, 1, 100, 400, 0.5, 0.9, -64, -8, -1):
            print(cut, flush=True)
            cache, file = recorded(Path({str(tmp_path)!r}), 10)
            size = file.stat().st_size
            if isinstance(cut, float):
                cut = int(size * cut)
            os.truncate(file, cut if cut >= 0 else size + cut)
            reader = cache.reader()
            for _ in range(3):
                refused(lambda: list(reader))
            kept = []
            fresh = cache.reader()
            def read():
                for one in fresh:
                    kept.append(one)
            refused(read)
            assert ids(kept) == list(range(4 * len(kept)))
            assert (len(kept) > 0) == (cut not in (0, 1, 100, 400)), (cut, len(kept))
            refused(lambda: pa.RecordBatchReader.from_stream(cache).read_all())
            cache.close()
    """
    check_python(code)


def test_appended_bytes_do_not_matter(tmp_path: Path) -> None:
    cache, file = recorded(tmp_path)
    with file.open("ab") as opened:
        opened.write(b"more" * 100)
    assert ids(cache) == list(range(12))


def test_damage_while_recording(tmp_path: Path) -> None:
    """Batches after the damaged one are still written and read."""
    gate = Gate(numbered(6), at=3)
    cache = on_disk(gate, tmp_path)
    ingest = Task(cache.ingest_all)
    assert gate.reached.wait(120)
    late = cache.reader(from_start=False)
    file = cache_file(tmp_path)
    flip(file, file.stat().st_size - 80)
    gate.opened.set()
    assert ingest.result() == 6
    reader = cache.reader()
    assert ids([next(reader), next(reader)]) == list(range(8))
    with pytest.raises(OSError, match="Checksum mismatch for batch 2"):
        next(reader)
    assert ids(late) == list(range(12, 24))
