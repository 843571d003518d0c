"""Local recordings of a server's recordings, resumed after the process was killed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import flight
from helpers import (
    TABLE,
    Gate,
    Task,
    check_python,
    identical,
    ids,
    numbered,
    orders,
    reader_of,
    run_python,
)
from proxy import Proxy

Serving = Callable[..., flight.Server]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    return tmp_path / "local" / "copy.arrows"


def heavy(folder: Path, first: int = 0) -> list[pa.RecordBatch]:
    batches = [
        pa.record_batch({"id": range(i, i + 20_000)}) for i in range(first, first + 30)
    ]
    batchcorder.record(reader_of(batches), folder / "heavy").close()
    return batches


def port_of(server: flight.Server) -> int:
    return int(server.location.rpartition(":")[2])


def test_recorded_once_then_opened(path: Path, client: flight.Client) -> None:
    with client.open("x.arrows", path=path) as cache:
        identical(list(cache), orders().batches)
    before = path.stat()
    with client.open("x.arrows", path=path) as cache:
        assert cache.upstream_exhausted
        identical(list(cache), orders().batches)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert batchcorder.verify(path) == 10
    assert os.listdir(path.parent) == [path.name]


def test_columns(path: Path, client: flight.Client) -> None:
    for i, columns in enumerate((["txt"], ["v", "id"], [0])):
        mine = path.with_name(f"{i}")
        for _ in range(2):
            with client.open("x.arrows", path=mine, columns=columns) as cache:
                assert cache.to_table() == TABLE.select(columns)
        # Another recording, or other columns, do not replace it.
        for name, others in (("x.arrows", None), ("below/y.arrows", columns)):
            with pytest.raises(FileExistsError, match="not replaced"):
                client.open(name, path=mine, columns=others)
        assert batchcorder.open(mine).to_table() == TABLE.select(columns)
    with pytest.raises(KeyError):
        client.open("x.arrows", path=path, columns=["none"])
    with pytest.raises(TypeError):
        client.open("x.arrows", path=path, columns="txt")


def test_broken_connections(folder: Path, path: Path, server: flight.Server) -> None:
    batches = heavy(folder)
    with (
        Proxy(port_of(server), [500_000, 1_000_000]) as proxy,
        flight.connect(f"grpc://127.0.0.1:{proxy.port}") as client,
        client.open("heavy", path=path) as cache,
    ):
        identical(list(cache), batches)
        assert proxy.broken == 2


@pytest.mark.parametrize("count", [0, 1, 17, 30])
def test_a_killed_process(
    count: int, folder: Path, path: Path, server: flight.Server
) -> None:
    """The next process reads only the batches that are missing."""
    batches = heavy(folder)
    run = run_python(
        f"""
        import os
        from batchcorder import _core, flight
        client = flight.connect({server.location!r})
        cache = client.open("heavy", path={str(path)!r})
        _core.ingest_to(cache, {count})
        os._exit(7)
        """
    )
    assert run.returncode == 7, run.stderr
    with (
        Proxy(port_of(server)) as proxy,
        flight.connect(f"grpc://127.0.0.1:{proxy.port}") as client,
        client.open("heavy", path=path) as cache,
    ):
        identical(list(cache), batches)
        assert cache.stats()["resumed"] == count
        # The last batch comes again, to be compared.
        missing = sum(batch.nbytes for batch in batches[max(count - 1, 0) :])
        assert proxy.bytes <= missing + 100_000
    assert batchcorder.verify(path) == 30


def test_the_server_has_another_file_now(
    folder: Path, path: Path, server: flight.Server, client: flight.Client
) -> None:
    heavy(folder)
    cache = client.open("heavy", path=path)
    next(iter(cache))
    cache.close()
    (folder / "heavy").unlink()
    batches = heavy(folder, first=1000)
    # An incomplete recording of the old file, and then a complete one.
    for _ in range(2):
        with client.open("heavy", path=path) as cache:
            assert cache.stats()["resumed"] == 0
            identical(list(cache), batches)
        (folder / "heavy").unlink()
        batches = heavy(folder, first=2000)
    assert os.listdir(path.parent) == [path.name]


def test_the_file_changes_while_it_is_read(
    folder: Path, path: Path, client: flight.Client
) -> None:
    heavy(folder)
    with client.open("heavy", path=path) as cache:
        (folder / "heavy").unlink()
        heavy(folder, first=1000)
        with pytest.raises(OSError, match="has changed") as caught:
            cache.ingest_all()
        assert caught.value.errno == errno.ESTALE


def test_a_recording_that_grows(folder: Path, path: Path, client: flight.Client) -> None:
    gate = Gate(numbered(8), 4)
    writer = Task(batchcorder.record, gate, folder / "growing")
    assert gate.reached.wait(120)
    with client.open("growing", path=path) as cache:
        reader = cache.reader()
        got = [next(reader) for _ in range(4)]
        gate.opened.set()
        assert ids([*got, *reader]) == list(range(32))
    writer.result().close()
    with client.open("growing", path=path) as cache:
        assert ids(cache) == list(range(32))


def test_two_processes(folder: Path, path: Path, server: flight.Server) -> None:
    """One reads from the server, and the other follows it."""
    heavy(folder)
    code = f"""
        from batchcorder import flight
        with flight.connect({server.location!r}) as client:
            with client.open("heavy", path={str(path)!r}) as cache:
                assert sum(batch.num_rows for batch in cache) == 600_000
        """
    tasks = [Task(check_python, code) for _ in range(3)]
    for task in tasks:
        task.result()
    assert batchcorder.verify(path) == 30


def test_other_files_stay(path: Path, client: flight.Client) -> None:
    batchcorder.record(reader_of(numbered(1)), path).close()
    with pytest.raises(FileExistsError, match="not replaced"):
        client.open("x.arrows", path=path)
    assert batchcorder.open(path).num_rows == 4
    path.write_text("notes")
    with pytest.raises(ValueError, match="Not an Arrow"):
        client.open("x.arrows", path=path)
    assert path.read_text() == "notes"
    with pytest.raises(FileNotFoundError):
        client.open("none", path=path)
    with pytest.raises(FileNotFoundError):
        client.open("x.arrows", path=path.parent / "none" / "x")
