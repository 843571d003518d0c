"""Recordings that clients send to a server."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from children import die_at, fork, killed, linger, status, write
from command_line import served
from helpers import (
    TABLE,
    Gate,
    Source,
    Task,
    identical,
    ids,
    missing,
    numbered,
    orders,
    reader_of,
    start_python,
    wait_until,
)
from kinds import ALL, batch_of, slices_of
from proxy import Proxy

Serving = Callable[..., flight.Server]


def only(folder: Path, *names: str) -> bool:
    """Return whether the folder has these files besides the two of the fixture."""
    return set(os.listdir(folder)) == {"x.arrows", "below", *names}


def test_a_recording(folder: Path, client: flight.Client) -> None:
    source = orders()
    assert client.record(source, "new.arrows") == 10
    assert (source.given, source.streams) == (10, 1)
    identical(list(batchcorder.open(folder / "new.arrows")), orders().batches)
    assert batchcorder.verify(folder / "new.arrows") == 10
    assert client.record(reader_of(numbered(1)), "below/new") == 1
    assert client.stream("below/new").read_all().num_rows == 4
    assert only(folder, "new.arrows")


@pytest.mark.parametrize("kind", ALL)
def test_every_type(kind: str, folder: Path, client: flight.Client) -> None:
    batches = slices_of(batch_of(kind))
    try:
        client.record(reader_of(batches), kind)
    except (OSError, ValueError, NotImplementedError) as error:
        pytest.skip(f"pyarrow cannot send it: {error}")
    got = list(batchcorder.open(folder / kind))
    assert [one.num_rows for one in got] == [one.num_rows for one in batches]
    for one, other in zip(got, batches, strict=True):
        one.validate(full=True)
        assert one.to_pylist() == other.to_pylist()


def test_streams_without_batches_or_columns(folder: Path, client: flight.Client) -> None:
    assert client.record(Source([]), "none") == 0
    assert len(batchcorder.open(folder / "none")) == 0
    rows = pa.record_batch({"x": [1, 2, 3]}).select([])
    assert client.record(reader_of([rows]), "rows") == 1
    assert batchcorder.open(folder / "rows").num_rows == 3


def test_the_name_is_used(folder: Path, client: flight.Client) -> None:
    before = (folder / "x.arrows").read_bytes()
    source = orders()
    for name in ("x.arrows", "below"):
        with pytest.raises(FileExistsError) as caught:
            client.record(source, name)
        assert caught.value.filename == name
    assert source.given <= 1
    assert (folder / "x.arrows").read_bytes() == before
    with pytest.raises(FileNotFoundError):
        client.record(orders(), "no-folder/x")
    assert only(folder)


def test_two_clients_record_one_name(folder: Path, client: flight.Client) -> None:
    gate = Gate(orders().batches, 3)
    first = Task(client.record, gate, "one")
    assert gate.reached.wait(120)
    with pytest.raises(FileExistsError):
        client.record(reader_of(numbered(2)), "one")
    gate.opened.set()
    assert first.result() == 10
    assert client.stream("one").read_all() == TABLE


def test_the_server_is_not_writable(folder: Path, serving: Serving) -> None:
    client = flight.connect(serving(folder).location)
    source = orders()
    with pytest.raises(PermissionError, match="writable=True"):
        client.record(source, "new")
    assert source.given <= 1
    assert only(folder)


def test_the_source_fails(folder: Path, client: flight.Client) -> None:
    for error in (ZeroDivisionError("no more"), OSError(errno.EIO, "broken")):
        with pytest.raises(type(error), match=r"no more|broken"):
            client.record(Source(orders().batches, 4, error), "failing")
        wait_until(lambda: only(folder))
    with pytest.raises(KeyboardInterrupt):
        client.record(_Interrupted(), "failing")
    wait_until(lambda: only(folder))


class _Interrupted(Source):
    def __init__(self) -> None:
        super().__init__(orders().batches, 4, KeyboardInterrupt())


def test_an_upload_is_followed(folder: Path, client: flight.Client) -> None:
    gate = Gate(numbered(8), 4)
    task = Task(client.record, gate, "live")
    assert gate.reached.wait(120)
    wait_until(lambda: client.info("live")["batches"] == 4)
    with flight.connect(client.location) as other:
        readers = [other.stream("live", follow=True) for _ in range(3)]
        got = [[reader.read_next_batch() for _ in range(4)] for reader in readers]
        gate.opened.set()
        assert task.result() == 8
        for reader, batches in zip(readers, got, strict=True):
            assert ids([*batches, *reader]) == list(range(32))


def test_the_client_dies(
    folder: Path, client: flight.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recording waits for it, and is then removed."""
    monkeypatch.setattr("batchcorder.flight._uploads._PATIENCE", 0.2)
    code = f"""
from batchcorder import flight
from helpers import Gate, numbered
flight.connect({client.location!r}).record(Gate(numbered(8), 4), "orphan")
"""
    with start_python(code) as child:
        wait_until(lambda: (folder / "orphan").exists())
        wait_until(lambda: client.info("orphan")["batches"] == 4)
        reader = client.stream("orphan", follow=True)
        assert ids([reader.read_next_batch()]) == [0, 1, 2, 3]
        child.kill()
    wait_until(lambda: only(folder))
    with pytest.raises(OSError, match=r"did not come back|writer"):
        reader.read_all()


def test_the_server_closes_meanwhile(folder: Path, serving: Serving) -> None:
    server = serving(folder, writable=True)
    gate = Gate(numbered(8), 4)
    client = flight.connect(server.location, retries=1)
    task = Task(client.record, gate, "cut")
    assert gate.reached.wait(120)
    wait_until(lambda: client.info("cut")["batches"] == 4)
    server.close(timeout=0)
    gate.opened.set()
    with pytest.raises(ConnectionError):
        task.result()
    assert only(folder)


def test_a_batch_above_the_limit(folder: Path, serving: Serving) -> None:
    server = serving(folder, writable=True, max_message_bytes=10_000)
    client = flight.connect(server.location)
    small, large = pa.record_batch({"x": range(100)}), pa.record_batch({"x": range(5000)})
    with pytest.raises(ValueError, match="larger than the server's limit, 10000"):
        client.record(reader_of([small, large]), "large")
    wait_until(lambda: only(folder))
    assert client.record(reader_of([small]), "small") == 1


def test_a_full_disk(folder: Path, tmp_path: Path, serving: Serving) -> None:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]
    if os.getuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        missing("a file system of a certain size needs root")
    try:
        server = serving(place, writable=True)
        client = flight.connect(server.location)
        source = Source([pa.record_batch({"x": range(10_000)}) for _ in range(100)])
        with pytest.raises(OSError, match="No space left") as caught:
            client.record(source, "full")
        assert caught.value.errno == errno.ENOSPC
        wait_until(lambda: os.listdir(place) == [])
        assert client.record(reader_of(numbered(2)), "fits") == 2
        server.close()
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


# ---- clients of another library ----


def put(client: flight.Client, name: str, batches: list[pa.RecordBatch]) -> Any:
    plain = fl.connect(client.location)
    descriptor = fl.FlightDescriptor.for_path(*name.split("/"))
    writer, _ = plain.do_put(descriptor, batches[0].schema)
    for batch in batches:
        writer.write_batch(batch)
    return writer


def test_pyarrow_records(folder: Path, client: flight.Client) -> None:
    batches = orders().batches
    put(client, "below/p", batches).close()
    identical(list(batchcorder.open(folder / "below/p")), batches)
    writer = put(client, "m", batches[:2])
    # Any metadata is ignored.
    writer.write_metadata(b"\xff no JSON")
    writer.write_with_metadata(batches[2], b"more")
    writer.close()
    identical(list(batchcorder.open(folder / "m")), batches[:3])
    for name in ("x.arrows", "no-folder/x", "../x", ""):
        with pytest.raises((fl.FlightServerError, OSError, pa.ArrowException)):
            put(client, name, batches).close()
    assert only(folder, "m")


@pytest.mark.parametrize("round_", range(5))
def test_pyarrow_dies(round_: int, folder: Path, client: flight.Client) -> None:
    """A connection that breaks is no end of the stream."""
    code = f"""
import os, pyarrow.flight as fl
from helpers import numbered
plain = fl.connect({client.location!r})
batches = numbered(50)
writer, _ = plain.do_put(fl.FlightDescriptor.for_path("p"), batches[0].schema)
for batch in batches:
    writer.write_batch(batch)
print("written", flush=True)
if {round_} % 2:
    import time
    time.sleep(100)  # sleep: until this process is killed
os._exit(1)
"""
    with start_python(code) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
    wait_until(lambda: only(folder))


def test_invalid_commands(folder: Path, client: flight.Client) -> None:
    plain = fl.connect(client.location)
    for command in (b"", b"{}", b'{"name": 5}', b'{"name": "n", "upload": 5}', b"[]"):
        writer, _ = plain.do_put(
            fl.FlightDescriptor.for_command(command), numbered(1)[0].schema
        )
        with pytest.raises((fl.FlightServerError, OSError, pa.ArrowException)):
            writer.close()
    assert only(folder)


def test_an_upload_goes_on_with_another_schema(
    client: flight.Client, folder: Path
) -> None:
    plain = fl.connect(client.location)
    command = json.dumps({"name": "n", "upload": "id"}).encode()
    descriptor = fl.FlightDescriptor.for_command(command)
    writer, reader = plain.do_put(descriptor, numbered(1)[0].schema)
    assert json.loads(reader.read().to_pybytes()) == {"batches": 0}
    writer.write_batch(numbered(1)[0])
    assert json.loads(reader.read().to_pybytes()) == {"batches": 1}
    other, _ = plain.do_put(descriptor, TABLE.schema)
    with pytest.raises(fl.FlightServerError, match="another name or schema"):
        other.close()
    # Another connection with the same schema takes over.
    third, answers = plain.do_put(descriptor, numbered(1)[0].schema)
    assert json.loads(answers.read().to_pybytes()) == {"batches": 1}
    third.write_metadata(b'{"end": 1}')
    third.done_writing()
    assert json.loads(answers.read().to_pybytes())["complete"]
    assert ids(client.stream("n")) == [0, 1, 2, 3]
    # The answer was lost, and the client asks again.
    fourth, answers = plain.do_put(descriptor, numbered(1)[0].schema)
    assert json.loads(answers.read().to_pybytes()) == {"batches": 1, "complete": True}
    fourth.close()
    writer.close()
    assert ids(client.stream("n")) == [0, 1, 2, 3]
    assert only(folder, "n")


def test_the_served_folder_vanishes(folder: Path, client: flight.Client) -> None:
    os.rename(folder, folder.with_name("moved"))
    for call in (lambda: client.record(orders(), "n"), lambda: client.info("x.arrows")):
        with pytest.raises(FileNotFoundError):
            call()
    assert client.list() == []


def test_a_writer_in_another_process_has_the_name(
    folder: Path, client: flight.Client
) -> None:
    def write() -> None:
        batchcorder.record(Gate(numbered(8), 4), folder / "busy")
        linger()

    with killed(fork(write)):
        wait_until((folder / "busy").exists)
        with pytest.raises(FileExistsError):
            client.record(orders(), "busy")


# ---- killed servers, and wrong answers ----


# More batches than a client keeps without an acknowledgement.
SENT, COUNT = 290, 300


def uploading(client: flight.Client, name: str) -> tuple[Gate, Task]:
    """Begin an upload, and wait until the server has its first batches."""
    gate = Gate(numbered(COUNT), SENT)
    task = Task(client.record, gate, name)
    assert gate.reached.wait(120)
    wait_until(lambda: client.info(name)["batches"] == SENT)
    return gate, task


def test_the_server_was_killed_and_starts_again(folder: Path) -> None:
    """An upload goes on with the batches of the file that the first server left."""
    with (
        served(folder, "--writable") as (location, child),
        Proxy(int(location.rpartition(":")[2])) as proxy,
    ):
        client = flight.connect(f"grpc://127.0.0.1:{proxy.port}")
        gate, task = uploading(client, "new")
        child.kill()
        child.wait()
        proxy.break_all()
        with served(folder, "--writable") as (again, _):
            proxy.retarget(int(again.rpartition(":")[2]))
            gate.opened.set()
            assert task.result() == COUNT
    assert ids(batchcorder.open(folder / "new")) == list(range(4 * COUNT))


def test_another_server_does_not_have_the_upload(
    folder: Path, tmp_path: Path, serving: Serving
) -> None:
    """Acknowledged batches cannot be sent again: an error, and no part of the stream."""
    first = serving(folder, writable=True)
    (tmp_path / "other").mkdir()
    with Proxy(int(first.location.rpartition(":")[2])) as proxy:
        client = flight.connect(f"grpc://127.0.0.1:{proxy.port}")
        gate, task = uploading(client, "new")
        second = serving(tmp_path / "other", writable=True)
        proxy.retarget(int(second.location.rpartition(":")[2]))
        proxy.break_all()
        gate.opened.set()
        with pytest.raises(OSError, match="discarded") as caught:
            task.result()
        assert caught.value.errno == errno.ESTALE
    assert os.listdir(tmp_path / "other") == []


def test_the_client_was_away_too_long(
    folder: Path, client: flight.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchcorder.flight._uploads._PATIENCE", 0.1)
    port = int(client.location.rpartition(":")[2])
    with Proxy(port) as proxy:
        sender = flight.connect(f"grpc://127.0.0.1:{proxy.port}")
        gate, task = uploading(sender, "new")
        proxy.break_all()
        wait_until(lambda: only(folder))
        gate.opened.set()
        with pytest.raises(OSError, match="discarded"):
            task.result()
    assert only(folder)


def test_the_name_that_a_killed_server_left(folder: Path) -> None:
    """The file of another upload is replaced, and no other incomplete file."""
    with (
        served(folder, "--writable") as (location, child),
        flight.connect(location, retries=0) as client,
    ):
        gate, task = uploading(client, "new")
        child.kill()
        child.wait()
        gate.opened.set()
        with pytest.raises(ConnectionError):
            task.result()
    assert (folder / "new").exists()
    assert status(fork(write, folder / "mine", 8, die_at(3))) == -9
    with (
        served(folder, "--writable") as (location, _),
        flight.connect(location) as client,
    ):
        assert client.record(orders(), "new") == 10
        with pytest.raises(FileExistsError):
            client.record(orders(), "mine")
    assert len(batchcorder.open(folder / "mine", partial=True)) == 3


class _Answering(fl.FlightServerBase):
    def __init__(self, answer: bytes) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._answer = answer

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        writer.write(self._answer)


@pytest.mark.parametrize(
    "answer", [b"1", b"[]", b"no JSON", b"{}", b'{"batches": "x"}', b'{"batches": 5}',
               b'{"batches": true, "complete": 1}', b'{"complete": true}', b"\xff"]
)  # fmt: skip
def test_wrong_answers(answer: bytes) -> None:
    with _Answering(answer) as server:
        client = flight.connect(f"grpc://127.0.0.1:{server.port}", retries=1)
        with pytest.raises((OSError, ValueError)):
            client.record(orders(), "new")


def test_long_ids(client: flight.Client) -> None:
    plain = fl.connect(client.location)
    for upload in ("", "x" * 65, "\u00e9"):
        command = json.dumps({"name": "n", "upload": upload}).encode()
        writer, _ = plain.do_put(
            fl.FlightDescriptor.for_command(command), numbered(1)[0].schema
        )
        with pytest.raises(fl.FlightServerError, match="ASCII"):
            writer.close()


def test_errors_do_not_tell_the_servers_paths(
    folder: Path, client: flight.Client
) -> None:
    with pytest.raises(OSError, match="name too long") as caught:
        client.record(orders(), "x" * 300)
    assert str(folder) not in str(caught.value)
    for name in ("\ud800", "\udcff"):
        with pytest.raises(ValueError, match="Unicode"):
            client.record(orders(), name)
