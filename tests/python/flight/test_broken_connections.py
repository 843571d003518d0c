"""Connections that break at any byte: no batch is lost or comes twice."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import batchcorder
from batchcorder import flight
from helpers import Gate, Task, identical, orders, reader_of, wait_until
from proxy import Proxy

Serving = Callable[..., flight.Server]


def _batch(index: int, rows: int) -> pa.RecordBatch:
    """Return a batch with values of its own."""
    numbers = range(1000 * index, 1000 * index + rows)
    texts = [f"{index} {row}" for row in range(rows)]
    return pa.record_batch(
        {"id": pa.array(numbers, pa.int64()), "text": pa.array(texts, pa.string())}
    )


# Rows and batches of the recording `heavy`.
EACH, COUNT = 200_000, 60


def _wide(index: int) -> pa.RecordBatch:
    return pa.record_batch({"id": np.arange(1000 * index, 1000 * index + EACH)})


BATCHES = [_batch(i, n) for i, n in enumerate([7, 0, 900, 1, 0, 0, 300, 900, 2, 900, 0])]
BYTES = sum(batch.nbytes for batch in BATCHES)


def port_of(server: flight.Server) -> int:
    return int(server.location.rpartition(":")[2])


def through(proxy: Proxy, **options: Any) -> flight.Client:
    return flight.connect(f"grpc://127.0.0.1:{proxy.port}", **options)


@pytest.fixture
def large(folder: Path) -> str:
    batchcorder.record(reader_of(BATCHES), folder / "large").close()
    return "large"


@pytest.fixture
def heavy(folder: Path) -> str:
    """Return a recording that is too large for the buffers of a connection."""
    batchcorder.record(
        reader_of([_wide(i) for i in range(COUNT)]), folder / "heavy"
    ).close()
    return "heavy"


def limits_of(seed: int) -> list[int]:
    """Return bytes after which connections break: in the first bytes, and anywhere."""
    draw = random.Random(seed)
    most = draw.choice([40, 400, 5_000, BYTES // 2, BYTES])
    return [draw.randrange(most) for _ in range(draw.choice([1, 2, 3]))]


@pytest.mark.parametrize("seed", range(12))
def test_reading(seed: int, large: str, server: flight.Server) -> None:
    with Proxy(port_of(server), limits_of(seed)) as proxy, through(proxy) as client:
        identical(list(client.stream(large)), BATCHES)
        assert proxy.broken >= 1


@pytest.mark.parametrize("seed", range(12))
def test_recording(seed: int, folder: Path, server: flight.Server) -> None:
    with Proxy(port_of(server), limits_of(100 + seed)) as proxy, through(proxy) as client:
        assert client.record(reader_of(BATCHES), "new") == len(BATCHES)
        assert proxy.broken >= 1
    identical(list(batchcorder.open(folder / "new")), BATCHES)
    assert not (set(os.listdir(folder)) - {"new", "x.arrows", "below"})


@pytest.mark.long
@pytest.mark.parametrize("reads", [True, False])
def test_every_kind_of_byte(reads: bool, large: str, server: flight.Server) -> None:
    """Bytes of the first kilobyte, and all over the rest; BC_BREAK_EVERY=1: all bytes."""
    every = int(os.environ.get("BC_BREAK_EVERY", "29"))
    places = [*range(1, 1000, every), *range(1000, BYTES, 97 * every)]
    for at in places:
        with Proxy(port_of(server), [at]) as proxy, through(proxy) as client:
            if reads:
                identical(list(client.stream(large)), BATCHES)
            else:
                assert client.record(reader_of(BATCHES), f"n{at}") == len(BATCHES)
                identical(list(client.stream(f"n{at}")), BATCHES)


def test_each_batch_breaks_the_connection(heavy: str, server: flight.Server) -> None:
    """Failures in a row are counted, and a batch in between forgets them."""
    with Proxy(port_of(server)) as proxy, through(proxy, retries=1) as client:
        got = []
        for batch in client.stream(heavy):
            got.append(batch["id"][0].as_py())
            proxy.break_all()
        assert got == [1000 * i for i in range(COUNT)]
        assert proxy.connections > 3


def test_a_slow_source_is_recorded(folder: Path, server: flight.Server) -> None:
    """The connection breaks while the client waits for its source."""
    gate = Gate(BATCHES, 4)
    with Proxy(port_of(server)) as proxy, through(proxy) as client:
        task = Task(client.record, gate, "new")
        assert gate.reached.wait(120)
        proxy.break_all()
        gate.opened.set()
        assert task.result() == len(BATCHES)
    identical(list(batchcorder.open(folder / "new")), BATCHES)


def test_the_server_starts_again(
    large: str, folder: Path, serving: Serving, tmp_path: Path
) -> None:
    """Another server of the same files goes on, also with a token made before."""
    first = serving(folder)
    with Proxy(port_of(first)) as proxy, through(proxy) as client:
        stream = client.stream(large)
        got = [stream.read_next_batch() for _ in range(4)]
        first.close(timeout=0)
        proxy.break_all()
        proxy.retarget(port_of(serving(folder)))
        got += list(stream)
    identical(got, BATCHES)


def test_the_file_is_replaced_meanwhile(
    heavy: str, folder: Path, serving: Serving
) -> None:
    """Batches of two files are never mixed, even if both begin equally."""
    first = serving(folder)
    with Proxy(port_of(first)) as proxy, through(proxy) as client:
        stream = client.stream(heavy)
        for _ in range(4):
            stream.read_next_batch()
        first.close(timeout=0)
        proxy.break_all()
        (folder / heavy).unlink()
        others = [_wide(min(i, 7)) for i in range(COUNT)]
        batchcorder.record(reader_of(others), folder / heavy).close()
        proxy.retarget(port_of(serving(folder)))
        with pytest.raises(OSError, match="has changed") as caught:
            stream.read_all()
        assert caught.value.errno == errno.ESTALE


def test_the_last_batch_differs(folder: Path, serving: Serving) -> None:
    """A growing recording is replaced; file number and schema may be the same."""
    batches = [_batch(i, 20_000) for i in range(40)]
    gate = Gate(batches, 5)
    writer = Task(batchcorder.record, gate, folder / "growing")
    assert gate.reached.wait(120)
    first = serving(folder)
    with Proxy(port_of(first)) as proxy, through(proxy) as client:
        stream = client.stream("growing", follow=True)
        for _ in range(4):
            stream.read_next_batch()
        gate.opened.set()
        writer.result().close()
        first.close(timeout=0)
        proxy.break_all()
        # Written in place, so that the file keeps its number.
        other = folder / "other"
        batchcorder.record(reader_of(batches[::-1]), other).close()
        (folder / "growing").write_bytes(other.read_bytes())
        proxy.retarget(port_of(serving(folder)))
        with pytest.raises(OSError, match="has changed"):
            stream.read_all()


def test_a_machine_that_vanishes(heavy: str, server: flight.Server) -> None:
    """Nothing comes any more, and no connection is closed: deadlines end the calls."""
    with Proxy(port_of(server)) as proxy, through(proxy, timeout=0.5) as client:
        stream = client.stream(heavy)
        rows = stream.read_next_batch().num_rows
        proxy.silence(True)
        task = Task(stream.read_all)
        seen = proxy.connections
        wait_until(lambda: proxy.connections > seen)
        proxy.silence(False)
        assert rows + task.result().num_rows == COUNT * EACH


def test_a_machine_that_stays_silent(large: str, server: flight.Server) -> None:
    with Proxy(port_of(server)) as proxy:
        client = through(proxy, timeout=0.3, retries=1)
        stream = client.stream(large)
        proxy.silence(True)
        for call in (lambda: list(stream), lambda: client.info(large), client.list,
                     lambda: client.record(orders(), "new")):  # fmt: skip
            with pytest.raises((TimeoutError, ConnectionError)) as caught:
                call()
            assert caught.value.filename


@pytest.fixture
def closed_port() -> int:
    with Proxy(1) as proxy:
        return proxy.port


def test_there_is_no_server(closed_port: int) -> None:
    client = flight.connect(f"grpc://127.0.0.1:{closed_port}")
    source = orders()
    for call in (client.list, lambda: client.info("x"), lambda: client.stream("x"),
                 lambda: client.record(source, "x")):  # fmt: skip
        with pytest.raises(ConnectionError) as caught:
            call()
        assert caught.value.filename == client.location
    # The source was not asked, so the caller can try again.
    assert source.given == 0


def test_a_name_that_is_not_resolved() -> None:
    with pytest.raises(ConnectionError):
        flight.connect("grpc://no-such-host.invalid:1").list()


def test_the_server_never_comes_back(heavy: str, folder: Path, serving: Serving) -> None:
    server = serving(folder)
    client = flight.connect(server.location, retries=2)
    stream = client.stream(heavy)
    stream.read_next_batch()
    server.close(timeout=0)
    with pytest.raises(ConnectionError):
        stream.read_all()


def test_a_cache_over_a_broken_connection(large: str, server: flight.Server) -> None:
    with Proxy(port_of(server), [3_000, 9_000]) as proxy, through(proxy) as client:
        cache = batchcorder.StreamCache(client.stream(large))
        for _ in range(2):
            assert pa.table(cache) == pa.Table.from_batches(BATCHES)
