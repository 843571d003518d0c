"""Recordings that grow are followed by any number of clients."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from children import die_at, fork, killed, linger, status, stream, write
from helpers import Gate, Task, ids, numbered, wait_until

Serving = Callable[..., flight.Server]
BATCHES = numbered(8)
ALL = list(range(32))


class Growing:
    """A recording whose writer, a thread, waits before batch 5."""

    def __init__(self, folder: Path) -> None:
        self.gate = Gate(BATCHES, 5)
        self.name = "growing"
        self.writer = Task(batchcorder.record, self.gate, folder / self.name)
        assert self.gate.reached.wait(120)

    def finish(self) -> None:
        self.gate.opened.set()
        self.writer.result().close()


@pytest.fixture
def growing(folder: Path) -> Iterator[Growing]:
    made = Growing(folder)
    yield made
    made.finish()


def test_a_follower(growing: Growing, client: flight.Client) -> None:
    info = client.info(growing.name)
    assert (info["complete"], info["batches"], info["rows"]) == (False, 5, 20)
    assert growing.name in client.list()
    with client.stream(growing.name, follow=True) as reader:
        got = [reader.read_next_batch() for _ in range(5)]
        growing.finish()
        got += list(reader)
    assert ids(got) == ALL
    assert client.info(growing.name)["complete"]
    assert ids(client.stream(growing.name)) == ALL


def test_many_followers_at_once(growing: Growing, client: flight.Client) -> None:
    begun = threading.Barrier(21)

    def follow(start: int) -> list[int]:
        reader = client.stream(growing.name, follow=True, start=start)
        first = reader.read_next_batch() if start < 5 else None
        begun.wait(120)
        return ids([*([first] if first else []), *reader])

    tasks = [Task(follow, i % 8) for i in range(20)]
    begun.wait(120)
    growing.finish()
    for i, task in enumerate(tasks):
        assert task.result() == ALL[4 * (i % 8) :]


def test_ranges_of_a_follower(growing: Growing, client: flight.Client) -> None:
    name = growing.name
    assert ids(client.stream(name, follow=True, stop=3)) == ALL[:12]
    assert ids(client.stream(name, follow=True, start=2, stop=5)) == ALL[8:20]
    late = Task(lambda: ids(client.stream(name, follow=True, start=4, stop=7)))
    columns = Task(lambda: client.stream(name, follow=True, columns=[]).read_all())
    growing.finish()
    assert late.result() == ALL[16:28]
    assert columns.result().num_rows == 32


def test_not_complete(growing: Growing, client: flight.Client) -> None:
    with pytest.raises(OSError, match="follow=True") as caught:
        client.stream(growing.name)
    assert (caught.value.errno, caught.value.filename) == (errno.ENODATA, growing.name)


def test_any_client_gets_all_batches(growing: Growing, client: flight.Client) -> None:
    """The last endpoint has the batches that are still to come."""
    plain = fl.connect(client.location)
    info = plain.get_flight_info(fl.FlightDescriptor.for_path(growing.name))
    assert (info.total_records, info.total_bytes) == (-1, -1)
    assert json.loads(info.endpoints[-1].app_metadata)["stop"] is None
    first = plain.do_get(info.endpoints[0].ticket).read_all()
    rest = Task(lambda: plain.do_get(info.endpoints[-1].ticket).read_all())
    growing.finish()
    assert ids([*first.to_batches(), *rest.result().to_batches()]) == ALL
    # These tickets stay valid when the recording is complete.
    tables = [plain.do_get(one.ticket).read_all() for one in info.endpoints]
    assert ids(pa.concat_tables(tables)) == ALL


def test_nothing_is_recorded_yet(folder: Path, client: flight.Client) -> None:
    gate = Gate(BATCHES, 0)
    writer = Task(batchcorder.record, gate, folder / "empty")
    assert gate.reached.wait(120)
    assert client.info("empty")["batches"] == 0
    task = Task(lambda: ids(client.stream("empty", follow=True)))
    gate.opened.set()
    assert task.result() == ALL
    writer.result().close()


def test_the_writer_is_another_process(folder: Path, client: flight.Client) -> None:
    path = folder / "other"
    go = folder.parent / "go"

    def before(i: int) -> None:
        if i == 4:
            wait_until(go.exists)

    with killed(fork(write, path, 8, before)) as child:
        wait_until(path.exists)
        with client.stream("other", follow=True) as reader:
            got = [reader.read_next_batch() for _ in range(4)]
            go.touch()
            got += list(reader)
        assert ids(got) == ALL
        assert status(child) == 0


def test_the_writer_dies(folder: Path, client: flight.Client) -> None:
    path = folder / "dead"
    with killed(fork(write, path, 8, _wait_at_4)) as child:
        wait_until(path.exists)
        readers = [client.stream("dead", follow=True) for _ in range(3)]
        got = [[reader.read_next_batch() for _ in range(4)] for reader in readers]
        os.kill(child, 9)
        for reader, batches in zip(readers, got, strict=True):
            with pytest.raises(OSError, match="writer") as caught:
                reader.read_next_batch()
            assert caught.value.errno == errno.EOWNERDEAD
            assert ids(batches) == ALL[:16]
    # Without a writer, it is an incomplete file.
    assert "dead" not in client.list()
    for call in (lambda: client.info("dead"), lambda: client.stream("dead", follow=True)):
        with pytest.raises(OSError, match="not complete") as caught:
            call()
        assert caught.value.errno == errno.ENODATA


def _wait_at_4(i: int) -> None:
    if i == 4:
        linger()


def test_the_writer_fails(folder: Path, client: flight.Client) -> None:
    def before(i: int) -> None:
        if i == 4:
            reached.set()
            assert go.wait(120)
            raise ZeroDivisionError("broken source")

    reached, go = threading.Event(), threading.Event()
    writer = Task(batchcorder.record, stream(8, before), folder / "failing")
    assert reached.wait(120)
    reader = client.stream("failing", follow=True)
    got = [reader.read_next_batch() for _ in range(4)]
    go.set()
    with pytest.raises(OSError, match=r"broken source|writer"):
        reader.read_all()
    with pytest.raises(ZeroDivisionError):
        writer.result()
    assert ids(got) == ALL[:16]


def test_a_killed_writer_is_replaced(folder: Path, client: flight.Client) -> None:
    """`cached` records it again under the same name: followers of the new file get it."""
    path = folder / "again"
    assert status(fork(write, path, 8, die_at(5))) == -9
    assert "again" not in client.list()
    with batchcorder.cached(path, lambda: stream(8)) as cache:
        next(iter(cache))
        reader = client.stream("again", follow=True)
        assert ids([reader.read_next_batch()]) == ALL[:4]
        cache.ingest_all()
        assert ids(reader) == ALL[4:]


def test_a_follower_that_goes(folder: Path, client: flight.Client) -> None:
    """Nothing stays of it on the server, though no batch comes."""
    path = folder / "silent"
    with killed(fork(write, path, 8, _wait_at_4)):
        wait_until(path.exists)
        client.info("silent")
        threads = threading.active_count()
        for _ in range(3):
            with flight.connect(client.location) as other:
                reader = other.stream("silent", follow=True)
                for _ in range(4):
                    reader.read_next_batch()
                del reader
        wait_until(lambda: threading.active_count() <= threads)


def test_the_server_closes(growing: Growing, folder: Path, serving: Serving) -> None:
    """A follower gets an error, not an end, and goes on at another server."""
    first = serving(folder)
    plain = fl.connect(first.location)
    info = plain.get_flight_info(fl.FlightDescriptor.for_path(growing.name))
    got = plain.do_get(info.endpoints[-1].ticket)
    task = Task(got.read_all)
    reader = flight.connect(first.location, retries=0).stream(growing.name, follow=True)
    for _ in range(5):
        reader.read_next_batch()
    first.close()
    with pytest.raises(fl.FlightUnavailableError, match="shutting down"):
        task.result()
    with pytest.raises(ConnectionError):
        reader.read_all()


def test_a_long_silence(
    growing: Growing, client: flight.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower asks again now and then, which loses nothing."""
    asked = []
    monkeypatch.setattr("batchcorder.flight._stream._PATIENCE", 0.01)
    described = flight._stream.RemoteBatches._described

    def count(self: Any, ticket: Any) -> Any:
        asked.append(ticket)
        return described(self, ticket)

    monkeypatch.setattr(flight._stream.RemoteBatches, "_described", count)
    task = Task(lambda: ids(client.stream(growing.name, follow=True)))
    wait_until(lambda: len(asked) > 5)
    growing.finish()
    assert task.result() == ALL


def test_silence_is_no_broken_connection(folder: Path, serving: Serving) -> None:
    """A follower waits for longer than its calls may take."""
    growing = Growing(folder)
    client = flight.connect(serving(folder).location, timeout=0.6, retries=0)
    asked: list[Any] = []
    ask = client._connection.ask
    client._connection.ask = lambda ticket: (asked.append(ticket), ask(ticket))[1]  # type: ignore
    task = Task(lambda: ids(client.stream(growing.name, follow=True)))
    wait_until(lambda: len(asked) > 6)
    growing.finish()
    assert task.result() == ALL


def test_batches_without_rows_at_the_end(
    folder: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They arrive too, after a silence and if other batches are sent in parts."""
    monkeypatch.setattr("batchcorder.flight._stream._PATIENCE", 0.01)
    big = pa.record_batch({"id": range(5000)})
    gate = Gate([big, big.slice(0, 0), big.slice(0, 0), big.slice(0, 0)], 2)
    writer = Task(batchcorder.record, gate, folder / "empty")
    assert gate.reached.wait(120)
    client = flight.connect(serving(folder, max_message_bytes=5000).location)
    stream = client.stream("empty", follow=True)
    got = []
    while sum(batch.num_rows for batch in got) < 5000 or got[-1].num_rows > 0:
        got.append(stream.read_next_batch())
    gate.opened.set()
    got += list(stream)
    assert [batch.num_rows for batch in got[-3:]] == [0, 0, 0]
    assert sum(batch.num_rows for batch in got) == 5000
    writer.result().close()


def test_a_closed_client(client: flight.Client) -> None:
    client.close()
    client._connection.renew()
    for call in (client.list, lambda: client.info("x"), lambda: client.stream("x"),
                 lambda: client.record(numbered_stream(), "y")):  # fmt: skip
        with pytest.raises(ValueError, match="closed"):
            call()


def numbered_stream() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(BATCHES[0].schema, BATCHES)
