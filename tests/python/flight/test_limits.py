"""Limits, clients that read nothing, and the end of a server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from helpers import (
    TABLE,
    Gate,
    Task,
    check_python,
    numbered,
    orders,
    reader_of,
    start_python,
    wait_until,
)

Serving = Callable[..., flight.Server]


# Rows and batches of a recording that is larger than the buffers of a connection.
EACH, COUNT = 100_000, 200


def heavy(folder: Path) -> str:
    batch = pa.record_batch({"x": range(EACH)})
    batchcorder.record(reader_of([batch] * COUNT), folder / "heavy").close()
    return "heavy"


def test_streams_are_limited(folder: Path, serving: Serving) -> None:
    server = serving(folder, max_streams=2, writable=True)
    name = heavy(folder)
    plain = fl.connect(server.location)
    # Streams of a recording that grows do not end.
    gate = Gate(numbered(8), 4)
    writer = Task(batchcorder.record, gate, folder / "growing")
    assert gate.reached.wait(120)
    ticket = fl.Ticket(b'{"name": "growing", "follow": true}')
    held = [plain.do_get(ticket) for _ in range(2)]
    for one in held:
        one.read_chunk()
    with pytest.raises(fl.FlightUnavailableError, match="2 streams, its limit"):
        plain.do_get(ticket).read_all()
    patient = flight.connect(server.location, retries=1)
    with pytest.raises(ConnectionError, match="limit"):
        patient.stream(name).read_all()
    with pytest.raises(ConnectionError, match="limit"):
        patient.record(orders(), "new")
    # Descriptions need no stream.
    assert patient.info(name)["batches"] == COUNT
    waiting = Task(flight.connect(server.location).stream(name).read_all)
    for one in held:
        one.cancel()
    assert waiting.result().num_rows == EACH * COUNT
    wait_until(lambda: patient.stream("x.arrows").read_all() == TABLE)
    gate.opened.set()
    writer.result().close()


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_batches_above_the_limit(
    compression: Any, folder: Path, serving: Serving
) -> None:
    """They are sent in parts, also over connections that break."""
    batches = [pa.record_batch({"x": range(i, i + n), "y": [f"{j}" for j in range(n)]})
               for i, n in enumerate([3, 5000, 1, 0, 2000])]  # fmt: skip
    schema = pa.schema({"x": pa.int64(), "y": pa.string()})
    batches = [batch.cast(schema) for batch in batches]
    path = folder / "parts"
    batchcorder.record(reader_of(batches), path, compression=compression).close()
    client = flight.connect(serving(folder, max_message_bytes=10_000).location)
    got = list(client.stream("parts"))
    assert pa.Table.from_batches(got) == pa.Table.from_batches(batches)
    assert len(got) > 10
    assert max(batch.nbytes for batch in got) <= 10_000 * 1.2
    for start in range(5):
        part = client.stream("parts", start=start).read_all()
        assert part == pa.Table.from_batches(batches[start:], schema)
    # Each message is the place where a connection may go on.
    ticket = flight._tickets.Ticket("parts", message_bytes=10_000)
    for i in range(len(got) + 1):
        rest = client._connection.get(ticket._replace(messages=i), 60).read_all()
        assert rest == pa.Table.from_batches(got[i:], schema)
    for wrong in (0, 100, 1 << 31):
        with pytest.raises(ValueError, match="max_message_bytes"):
            flight.serve(folder, max_message_bytes=wrong)


def test_clients_that_read_nothing(folder: Path, serving: Serving) -> None:
    """They hold up neither other clients nor the end of the server."""
    server = serving(folder)
    name = heavy(folder)
    plain = [fl.connect(server.location) for _ in range(20)]
    silent = [one.do_get(fl.Ticket(b'{"name": "heavy"}')) for one in plain]
    with flight.connect(server.location) as client:
        for _ in range(3):
            assert client.stream(name).read_all().num_rows == EACH * COUNT
    server.close(timeout=0.1)
    ends = [_end_of(one) for one in silent]
    # The kernel may have had all of a stream. The end of a stream is never early.
    assert set(ends) <= {"broken", EACH * COUNT}
    assert "broken" in ends


def _end_of(stream: Any) -> int | str:
    try:
        return int(stream.read_all().num_rows)
    except (fl.FlightError, OSError, pa.ArrowException):
        return "broken"


def test_calls_that_are_cancelled_at_once(folder: Path, serving: Serving) -> None:
    """A stream that never began leaves its place, and its recording."""
    server = serving(folder, max_streams=20)
    heavy(folder)
    with flight.connect(server.location) as client:
        for i in range(60):
            reader = client._connection.get(flight._tickets.Ticket("heavy"), 60)
            if i % 2:
                reader.cancel()
            del reader
        service = server._end._service
        wait_until(lambda: service._streams == 0 and not service._recordings._users)


def test_clients_of_a_unix_socket_that_read_nothing(
    folder: Path, tmp_path: Path, serving: Serving
) -> None:
    server = serving(folder, f"grpc+unix://{tmp_path}/s")
    heavy(folder)
    client = fl.connect(server.location)
    stream = client.do_get(fl.Ticket(b'{"name": "heavy"}'))
    stream.read_chunk()
    server.close(timeout=0.1)
    assert _end_of(stream) in ("broken", EACH * (COUNT - 1))


def test_streams_may_end(folder: Path, serving: Serving) -> None:
    server = serving(folder)
    stream = flight.connect(server.location).stream(heavy(folder))
    rows = stream.read_next_batch().num_rows
    closing = Task(server.close)
    wait_until(lambda: _refuses(server.location))
    assert rows + stream.read_all().num_rows == EACH * COUNT
    closing.result()


def _refuses(location: str) -> bool:
    with flight.connect(location, retries=0) as client:
        try:
            client.stream("x.arrows").read_all()
        except ConnectionError:
            return True
        return False


def test_closing_twice(folder: Path) -> None:
    with flight.serve(folder) as server:
        server.close()
        server.close()
    assert str(server.location) in repr(server)


def test_a_server_that_is_forgotten(folder: Path) -> None:
    """The interpreter ends though a client reads nothing and the server is open."""
    heavy(folder)
    check_python(
        f"""
        from batchcorder import flight
        import pyarrow.flight as fl
        server = flight.serve({str(folder)!r})
        client = fl.connect(server.location)
        stream = client.do_get(fl.Ticket(b'{{"name": "heavy"}}'))
        stream.read_chunk()
        """,
        timeout=120,
    )


SERVER = """
import signal, sys
from batchcorder import flight
server = flight.serve(sys.argv[1] if len(sys.argv) > 1 else {folder!r})
print(server.location, flush=True)
signal.pause()
"""


def test_the_process_is_killed(folder: Path) -> None:
    name = heavy(folder)
    with start_python(SERVER.format(folder=str(folder))) as child:
        assert child.stdout is not None
        location = child.stdout.readline().strip()
        client = flight.connect(location, retries=1)
        stream = client.stream(name)
        stream.read_next_batch()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ConnectionError):
            stream.read_all()


def test_memory_stays_flat(folder: Path) -> None:
    """Many streams, followers and descriptions leave nothing behind."""
    out = check_python(
        f"""
        import gc, resource
        from batchcorder import flight
        from helpers import TABLE
        def private():
            with open("/proc/self/smaps_rollup") as file:
                rows = dict(l.split(":") for l in file if l.count(":") == 1)
            return int(rows["Anonymous"].split()[0])
        server = flight.serve({str(folder)!r})
        def once():
            with flight.connect(server.location) as client:
                assert client.stream("x.arrows").read_all() == TABLE
                client.list()
        for _ in range(100):
            once()
        before = private()
        for _ in range(300):
            once()
        gc.collect()
        print(private() - before)
        server.close()
        """
    )
    assert int(out) < 20_000


def test_the_process_ends_with_a_client_elsewhere(folder: Path) -> None:
    """The client of another process reads nothing."""
    name = heavy(folder)
    code = f"""
from batchcorder import flight
server = flight.serve({str(folder)!r})
print(server.location, flush=True)
input()
"""
    with start_python(code, stdin=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        with flight.connect(child.stdout.readline().strip(), retries=0) as client:
            stream = client.stream(name)
            stream.read_next_batch()
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.wait(120) == 0
            with pytest.raises(ConnectionError):
                stream.read_all()


def test_a_forked_child_leaves_the_server_alone(folder: Path) -> None:
    check_python(
        f"""
        import os
        from batchcorder import flight
        from children import status
        server = flight.serve({str(folder)!r})
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        assert status(child) == 0
        with flight.connect(server.location) as client:
            assert client.stream("x.arrows").read_all().num_rows == 2000
        server.close()
        """,
        timeout=120,
    )


def test_closing_one_of_two_servers_with_one_port(folder: Path, serving: Serving) -> None:
    name = heavy(folder)
    first = serving(folder)
    port = first.location.rpartition(":")[2]
    second = serving(folder, f"grpc://127.0.0.2:{port}")
    silent = fl.connect(first.location).do_get(fl.Ticket(b'{"name": "heavy"}'))
    silent.read_chunk()
    with flight.connect(second.location, retries=0) as client:
        stream = client.stream(name)
        stream.read_next_batch()
        first.close(timeout=0.1)
        assert stream.read_all().num_rows == EACH * (COUNT - 1)
