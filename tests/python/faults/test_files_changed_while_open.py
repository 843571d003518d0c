"""Files that another process changes while they are open, and files larger than 4 GiB."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from foreign import stream_of
from helpers import check_python

# The child has the file `path` of 10 batches, and opens a cache over it.
CHILD = """
    import errno, io, os, pickle, subprocess, sys
    from foreign import file_of, stream_of
    from helpers import *
    import batchcorder

    def batch(i):
        words = [str(j) for j in range(i + 1)]
        return pa.record_batch({
            "id": pa.array([2 * i, 2 * i + 1]),
            "d": pa.DictionaryArray.from_arrays(pa.array([0, i]), words),
            "s": pa.array(["a" * 300, None]),
        })

    BATCHES = [batch(i) for i in range(10)]

    def write(kind):
        if kind in ("stream", "file"):
            options = {"emit_dictionary_deltas": True}
            content = (stream_of if kind == "stream" else file_of)(BATCHES, **options)
            restore(content)
        else:
            codec = kind if kind in ("lz4", "zstd") else None
            batchcorder.record(Source(BATCHES), path, compression=codec).close()

    def restore(content):
        if os.path.exists(path):
            os.unlink(path)
        Path(path).write_bytes(content)

    def by_another_process(size):
        subprocess.run(["truncate", "-s", str(size), path], check=True)

    def is_cut(read):
        try:
            read()
        except OSError as error:
            assert error.errno == errno.EIO, error
            assert path in str(error) or "Disk read failed" in str(error), error
        else:
            raise AssertionError("not noticed")
"""


@pytest.mark.parametrize("kind", ["recording", "lz4", "stream", "file"])
@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_that_is_shortened(kind: str, mmap: bool, tmp_path: Path) -> None:
    """A shorter file is an error before and after a batch was read, and no SIGBUS."""
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        write({kind!r})
        size = os.path.getsize(path)
        content = Path(path).read_bytes()
        for cut in [0, 1, 64, size // 3, size // 2, size - 4096, size - 200, size - 1]:
            for was_read in (False, True):
                restore(content)
                cache = batchcorder.open(path, mmap={mmap!r})
                reader = cache.reader()
                if was_read:
                    assert list(cache) == BATCHES
                    next(reader)
                os.truncate(path, cut)
                for _ in range(2):
                    is_cut(lambda: list(cache))
                    is_cut(lambda: list(reader))
                    is_cut(lambda: cache[9])
                    is_cut(lambda: cache.to_table(["s"]))
                    is_cut(lambda: cache.take([0, 19]))
                    is_cut(lambda: list(cache.shuffle(1)))
                    is_cut(lambda: pa.RecordBatchReader.from_stream(cache).read_all())
                assert cache.schema == BATCHES[0].schema
                assert cache.num_rows == 20
                cache.close()
    """
    check_python(CHILD + code, timeout=300)


@pytest.mark.parametrize("kind", ["recording", "zstd", "stream", "file"])
def test_batches_that_were_copied_stay(kind: str, tmp_path: Path) -> None:
    """With mmap=False, batches survive any change of the file by another process."""
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        write({kind!r})
        with batchcorder.open(path, mmap=False) as cache:
            kept = list(cache)
            some = cache.reader(columns=["d"])
            first = next(some)
            by_another_process(10)
            assert kept == BATCHES
            assert first == BATCHES[0].select(["d"])
            is_cut(lambda: list(some))
        assert kept == BATCHES
        with open(path, "wb") as file:
            file.write(bytes(1 << 20))
        assert kept == BATCHES
    """
    check_python(CHILD + code)


def test_other_calls_on_a_shortened_file(tmp_path: Path) -> None:
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        write("recording")
        content = Path(path).read_bytes()
        for cut in (0, 100, len(content) // 2, len(content) - 1):
            restore(content)
            cache = batchcorder.open(path)
            dataset = cache.dataset()
            os.truncate(path, cut)
            is_cut(lambda: dataset.to_table())
            is_cut(lambda: cache.save(path + "2"))
            is_cut(lambda: cache.info())
            is_cut(lambda: batchcorder.record(cache, path + "3"))
            assert not os.path.exists(path + "2")
            os.unlink(path + "3")
            copy = pickle.dumps(cache)
            try:
                pickle.loads(copy)
            except OSError as error:
                assert error.errno in (errno.ENODATA, errno.EIO), error
            else:
                raise AssertionError("not noticed")
    """
    check_python(CHILD + code)


def test_a_file_that_is_shortened_while_it_is_followed(tmp_path: Path) -> None:
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        writer = batchcorder.cached(path, lambda: Source(BATCHES))
        ours = writer.reader()
        for _ in range(5):
            next(ours)
        cache = batchcorder.open(path, follow=True)
        reader = cache.reader()
        assert next(reader) == BATCHES[0]
        os.truncate(path, 100)
        is_cut(lambda: list(reader))
        is_cut(lambda: list(cache))
        is_cut(lambda: list(ours))
    """
    check_python(CHILD + code)


def test_a_file_that_is_written_over(tmp_path: Path) -> None:
    """If the size stays, checksums find the change in batches not read before."""
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        write("recording")
        content = Path(path).read_bytes()
        size = len(content)
        for other in (bytes(size), content[64:] + bytes(64), b"\\xff" * size):
            for mmap in (True, False):
                cache = batchcorder.open(path, mmap=mmap)
                with open(path, "r+b") as file:
                    file.write(other)
                for i in range(10):
                    try:
                        cache[i]
                    except OSError as error:
                        assert error.errno in (errno.EBADMSG, errno.EIO), error
                    else:
                        raise AssertionError("not noticed")
                with open(path, "r+b") as file:
                    file.write(content)
                assert list(cache) == BATCHES
                cache.close()
    """
    check_python(CHILD + code)


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    """A cache keeps its open file if the file is replaced or removed."""
    code = f"""
        path = {str(tmp_path / "x.arrows")!r}
        write("recording")
        cache = batchcorder.open(path)
        StreamCache(Source(numbered(1))).save(path, overwrite=True)
        assert list(cache) == BATCHES
        os.unlink(path)
        assert list(cache) == BATCHES
        cache.save(path)
        assert list(batchcorder.open(path)) == BATCHES
    """
    check_python(CHILD + code)


# ---- beyond 4 GiB ----

ROWS = 5_000_000_000 // 64 * 64
SMALL = 64 * 1929  # this number occurs nowhere else in the metadata


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """Return a stream of two batches: a hole of 5 GB, and a small batch."""
    first = pa.record_batch({"x": pa.array([0] * SMALL, pa.int8())})
    second = pa.record_batch({"x": pa.array([1, 2, 3], pa.int8())})
    one, two = stream_of([first]), stream_of([first, second])
    # The second message follows the first one's body, which has only zeros.
    body = one.rindex(bytes(SMALL))
    head = one[:body].replace(SMALL.to_bytes(8, "little"), ROWS.to_bytes(8, "little"))
    assert head.count(ROWS.to_bytes(8, "little")) >= 4  # rows, node, buffer and body
    path = tmp_path / "huge.arrows"
    with path.open("wb") as file:
        file.write(head)
        try:
            file.truncate(len(head) + ROWS)
        except OSError as error:
            pytest.skip(f"no sparse files here: {error}")
        file.seek(len(head) + ROWS)
        file.write(two[len(one) - 8 :])
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("no sparse files here")
    return path


def test_batches_beyond_4_gib(huge: Path) -> None:
    """Lengths and offsets are right, and no row is read to compute them."""
    code = f"""
        import resource
        from helpers import *
        import batchcorder
        rows = {ROWS}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for how in ({{}}, {{"verify": True}}, {{"partial": True}}):
            with batchcorder.open({str(huge)!r}, **how) as cache:
                assert (len(cache), cache.num_rows) == (2, rows + 3)
                assert cache[0].num_rows == rows
                assert cache[0]["x"].nbytes == rows
                assert cache[0]["x"][rows - 1].as_py() == 0
                assert cache[1]["x"].to_pylist() == [1, 2, 3]
                taken = cache.take([-1, 0, rows + 1, rows - 1])
                assert taken["x"].to_pylist() == [3, 0, 2, 0]
                assert cache.info()["columns"][0]["bytes"] == rows + 3
                assert cache.to_table().num_rows == rows + 3
                assert cache.dataset().count_rows() == rows + 3
        assert batchcorder.verify({str(huge)!r}) == 2
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 64 << 10, grown
    """
    check_python(code)


def test_a_row_of_5_gb_cut_off(huge: Path) -> None:
    os.truncate(huge, ROWS)
    with pytest.raises(OSError, match="cut off"):
        batchcorder.open(huge)
    with batchcorder.open(huge, partial=True) as cache:
        assert len(cache) == 0


def test_index_calls_on_a_shortened_file(tmp_path: Path) -> None:
    """Calls that read only the index also find that the file is shorter."""
    check_python(
        f"""
    import errno, os
    from helpers import *
    import batchcorder
    path = {str(tmp_path / "x.arrows")!r}
    table = pa.table({{"id": range(3000)}})
    batchcorder.record(table.to_reader(max_chunksize=1), path).close()
    for look in ("take([17])", "info()", "shuffle(1, buffer_size=10)", "shuffle(1)"):
        batchcorder.StreamCache(table.to_reader(max_chunksize=1)).save(
            path, overwrite=True
        )
        with batchcorder.open(path) as cache:
            os.truncate(path, 12288)
            try:
                found = eval("cache." + look)
                getattr(found, "read_all", list)()
            except OSError as error:
                assert error.errno == errno.EIO, error
            else:
                raise AssertionError(look)
    """
    )


@pytest.mark.parametrize("columns", [None, ["x"]])
def test_copied_batches_are_verified_at_each_read(
    columns: list[str] | None, tmp_path: Path
) -> None:
    """Without a mapping, each read copies the bytes from the file again."""
    path = tmp_path / "x.arrows"
    batch = pa.record_batch({"x": pa.array([5] * 1000), "y": pa.array([6] * 1000)})
    batchcorder.record(pa.Table.from_batches([batch]), path).close()
    with batchcorder.open(path, verify=True, mmap=False) as cache:
        reader = cache.reader(columns=columns)
        assert next(reader)["x"][0].as_py() == 5
        data = bytearray(path.read_bytes())
        at = data.index((5).to_bytes(8, "little") * 1000)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\7")
        if columns is not None:  # the nodes and the bytes of a whole batch are kept
            with pytest.raises(OSError, match="Checksum mismatch for batch 0"):
                next(cache.reader(columns=columns))


def test_copies_are_not_kept_beyond_a_bound(tmp_path: Path) -> None:
    check_python(
        f"""
    from helpers import *
    import batchcorder
    path = {str(tmp_path / "x.arrows")!r}
    table = pa.table({{"x": np.zeros(20_000_000)}})
    batchcorder.record(table.to_reader(max_chunksize=500_000), path).close()
    del table

    def anonymous():
        lines = open("/proc/self/status").read().splitlines()
        return next(int(l.split()[1]) for l in lines if l.startswith("RssAnon")) >> 10

    with batchcorder.open(path, mmap=False) as cache:
        before = anonymous()
        for _ in range(2):
            assert sum(len(batch) for batch in cache) == 20_000_000
        # 32 MiB of 160 MB, and memory that the allocator keeps.
        assert anonymous() - before < 100, anonymous() - before
    """.replace("from helpers", "import numpy as np\n    from helpers", 1)
    )
