"""Recordings read over Flight: by this package's client, and by pyarrow's."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from helpers import TABLE, Task, identical, numbered, orders, reader_of
from kinds import ALL, batch_of, slices_of

Serving = Callable[..., flight.Server]


def test_a_directory(client: flight.Client) -> None:
    assert client.list() == ["below/y.arrows", "x.arrows"]
    for name in client.list():
        info = client.info(name)
        assert info["schema"].equals(TABLE.schema, check_metadata=True)
        assert (info["name"], info["complete"]) == (name, True)
        assert (info["batches"], info["rows"]) == (10, TABLE.num_rows)
        assert info["bytes"] > 0
        identical(list(client.stream(name)), orders().batches)


def test_parts(client: flight.Client) -> None:
    for columns in (["txt"], ["v", "id"], [2, 0], []):
        got = client.stream("x.arrows", columns=columns).read_all()
        assert got == TABLE.select(columns)
        assert got.num_rows == TABLE.num_rows
    batches = orders().batches
    for start, stop in ((0, 0), (3, 7), (9, None), (10, None), (4, 99), (50, 60), (7, 3)):
        got = list(client.stream("x.arrows", start=start, stop=stop))
        identical(got, batches[start:stop])


def test_a_stream_is_a_source(client: flight.Client) -> None:
    cache = batchcorder.StreamCache(client.stream("x.arrows"))
    for _ in range(2):
        assert pa.table(cache) == TABLE


def test_files_and_several_paths(folder: Path, tmp_path: Path, serving: Serving) -> None:
    other = tmp_path / "z.arrows"
    batchcorder.record(reader_of(numbered(3)), other).close()
    one = flight.connect(serving(other).location)
    assert one.list() == ["z.arrows"]
    assert one.info("z.arrows")["rows"] == 12
    many = flight.connect(serving([other, folder]).location)
    assert many.list() == ["served/below/y.arrows", "served/x.arrows", "z.arrows"]
    assert many.stream("served/below/y.arrows").read_all() == TABLE
    for name in ("x.arrows", "served", "z.arrows/x", "served/z.arrows"):
        with pytest.raises(FileNotFoundError):
            many.stream(name)
    with pytest.raises(ValueError, match="two paths"):
        flight.serve([folder / "x.arrows", folder / "below" / ".." / "x.arrows", other,
                      _copy(folder / "x.arrows", tmp_path)])  # fmt: skip
    with pytest.raises(FileNotFoundError):
        flight.serve(tmp_path / "none")
    with pytest.raises(ValueError, match="at least one"):
        flight.serve([])


def _copy(path: Path, folder: Path) -> Path:
    made = folder / path.name
    made.write_bytes(path.read_bytes())
    return made


@pytest.mark.parametrize("kind", ALL)
def test_every_type(kind: str, folder: Path, server: flight.Server) -> None:
    batches = slices_of(batch_of(kind))
    batchcorder.record(reader_of(batches), folder / "kind").close()
    try:
        wanted = _by_pyarrow(batches)
    except (pa.ArrowException, fl.FlightError) as error:
        pytest.skip(f"pyarrow cannot send it: {error}")
    with flight.connect(server.location) as client:
        got = list(client.stream("kind"))
    assert [one.num_rows for one in got] == [one.num_rows for one in batches]
    for one, other in zip(got, wanted, strict=True):
        one.validate(full=True)
        assert one.to_pylist() == other.to_pylist()
        assert one.schema.equals(other.schema, check_metadata=True)


class _Plain(fl.FlightServerBase):
    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._batches = batches

    def do_get(self, context: Any, ticket: Any) -> Any:
        return fl.RecordBatchStream(reader_of(self._batches))


def _by_pyarrow(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    with (
        _Plain(batches) as plain,
        fl.connect(f"grpc://127.0.0.1:{plain.port}") as client,
    ):
        return list(client.do_get(fl.Ticket(b"")).to_reader())


def test_dictionaries_that_change(folder: Path, client: flight.Client) -> None:
    def batch(indices: list[int], values: list[str]) -> pa.RecordBatch:
        array = pa.DictionaryArray.from_arrays(
            pa.array(indices, pa.int32()), pa.array(values, pa.string())
        )
        return pa.record_batch({"x": array, "n": pa.array(indices, pa.int64())})

    batches = [
        batch([0, 1], ["a", "b"]),
        batch([2, 1], ["a", "b", "c"]),
        batch([0, 0], ["z"]),
        batch([], []),
        batch([1, 0], ["a", "b"]),
    ]
    batchcorder.record(reader_of(batches), folder / "d").close()
    for start in range(5):
        got = list(client.stream("d", start=start))
        assert [b.to_pylist() for b in got] == [b.to_pylist() for b in batches[start:]]
        got = list(client.stream("d", start=start, columns=["n"]))
        assert [b.num_rows for b in got] == [b.num_rows for b in batches[start:]]


@pytest.mark.parametrize("kind", ["stream", "file", "zstd", "no batches"])
def test_files_of_other_kinds(kind: str, folder: Path, client: flight.Client) -> None:
    path = folder / "other"
    batches = [] if kind == "no batches" else orders().batches
    if kind == "zstd":
        batchcorder.record(orders(), path, compression="zstd").close()
    else:
        make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with make(path, TABLE.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    assert "other" in client.list()
    assert client.info("other")["batches"] == len(batches)
    identical(list(client.stream("other")), batches)


def test_names_of_columns_that_are_repeated(folder: Path, client: flight.Client) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
    batchcorder.record(reader_of([batch]), folder / "twice").close()
    assert client.stream("twice", columns=[1]).read_all()[0].to_pylist() == [2]
    with pytest.raises(KeyError, match="stands 2 times"):
        client.stream("twice", columns=["x"])


def test_wrong_arguments(client: flight.Client) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        client.stream("none")
    assert caught.value.filename == "none"
    with pytest.raises(FileNotFoundError):
        client.info("none")
    with pytest.raises(KeyError, match="none"):
        client.stream("x.arrows", columns=["none"])
    with pytest.raises(IndexError, match="99"):
        client.stream("x.arrows", columns=[99])
    for wrong in ({"start": -1}, {"stop": -1}):
        with pytest.raises(OverflowError):
            client.stream("x.arrows", **wrong)
    for call in (
        lambda: client.stream(b"x.arrows"),
        lambda: client.stream("x.arrows", columns="id"),
        lambda: client.stream("x.arrows", follow="yes"),
        lambda: client.info(None),
        lambda: client.record(5, "new"),
        lambda: flight.connect(b"grpc://x"),
        lambda: flight.connect("grpc://x:1", token=b"t"),
        lambda: flight.serve(5),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="has no name"):
        flight.serve(["/", "/tmp"])
    for location in ("", "x", "http://127.0.0.1:1", "grpc://"):
        with pytest.raises((ValueError, OSError)):
            flight.connect(location).list()
    for token in ("", "a b\n", "é", " a"):
        with pytest.raises(ValueError, match="token"):
            flight.connect("grpc://127.0.0.1:1", token=token)
    with pytest.raises(ValueError, match="timeout"):
        flight.connect("grpc://127.0.0.1:1", timeout=0)


def test_a_pickled_client(client: flight.Client) -> None:
    with pickle.loads(pickle.dumps(client)) as again:
        assert again.list() == client.list()


def test_threads_share_a_client(client: flight.Client) -> None:
    tasks = [Task(lambda: client.stream("x.arrows").read_all()) for _ in range(16)]
    assert all(task.result() == TABLE for task in tasks)


# ---- clients of another library ----


@pytest.fixture
def plain(server: flight.Server) -> fl.FlightClient:
    return fl.connect(server.location)


def test_pyarrow_lists_and_reads(plain: fl.FlightClient) -> None:
    infos = list(plain.list_flights())
    assert len(infos) == 2
    for info in infos:
        assert info.ordered
        assert (info.total_records, info.schema) == (TABLE.num_rows, TABLE.schema)
        tables = [plain.do_get(one.ticket).read_all() for one in info.endpoints]
        assert pa.concat_tables(tables) == TABLE
        again = plain.get_flight_info(info.descriptor)
        assert again.endpoints == info.endpoints
        assert plain.get_schema(info.descriptor).schema == TABLE.schema


def test_ranges(
    folder: Path, plain: fl.FlightClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranges are all batches, in order, with rows and bytes; each can be repeated."""
    monkeypatch.setattr("batchcorder.flight._describe._RANGE_BYTES", 12_000)
    batches = [b.slice(i * 13) for i, b in enumerate(orders().batches)]
    batchcorder.record(reader_of(batches), folder / "r").close()
    for columns in (None, ["id", "txt"], []):
        command = {"name": "r", "columns": columns}
        descriptor = fl.FlightDescriptor.for_command(json.dumps(command).encode())
        info = plain.get_flight_info(descriptor)
        numbers = [json.loads(one.app_metadata) for one in info.endpoints]
        assert len(numbers) >= 2 or columns == []
        edges = [0] + [n["stop"] for n in numbers]
        assert edges == [n["start"] for n in numbers] + [10]
        assert sum(n["rows"] for n in numbers) == info.total_records
        assert abs(sum(n["bytes"] for n in numbers) - info.total_bytes) <= len(numbers)
        for n, endpoint in reversed(list(zip(numbers, info.endpoints, strict=True))):
            for _ in range(2):
                got = plain.do_get(endpoint.ticket).read_all()
                assert got.num_rows == n["rows"]
                wanted = pa.Table.from_batches(batches[n["start"] : n["stop"]])
                assert got == (wanted if columns is None else wanted.select(columns))


def test_a_ticket_written_by_hand(plain: fl.FlightClient) -> None:
    ticket = fl.Ticket(b'{"name": "x.arrows", "start": 2, "stop": 4, "columns": ["id"]}')
    assert plain.do_get(ticket).read_all()["id"].to_pylist() == list(range(400, 800))


@pytest.mark.parametrize(
    "ticket",
    [
        b"",
        b"x.arrows",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"name": 5}',
        b'{"name": "x.arrows", "more": 1}',
        b'{"name": "x.arrows", "start": -1}',
        b'{"name": "x.arrows", "start": 1.5}',
        b'{"name": "x.arrows", "start": true}',
        b'{"name": "x.arrows", "stop": 1e400}',
        b'{"name": "x.arrows", "stop": 99999999999999999999999}',
        b'{"name": "x.arrows", "columns": "id"}',
        b'{"name": "x.arrows", "columns": [null]}',
        b'{"name": "x.arrows", "columns": [["id"]]}',
        b'{"name": "x.arrows", "message_bytes": 0}',
        b'{"name": "x.arrows", "patience": NaN}',
        b'{"name": "x.arrows", "follow": 1}',
        b'{"name": "x.arrows", "columns": [' + b"0, " * 2000 + b"0]}",
        b"[" * 100_000,
        b'{"name": "' + b"x" * 100_000 + b'"}',
    ],
)
def test_invalid_tickets(ticket: bytes, plain: fl.FlightClient) -> None:
    descriptor = fl.FlightDescriptor.for_command(ticket)
    for call in (
        lambda: plain.do_get(fl.Ticket(ticket)).read_all(),
        lambda: plain.get_flight_info(descriptor),
        lambda: plain.get_schema(descriptor),
    ):
        with pytest.raises(
            (fl.FlightServerError, OSError, pa.ArrowException),
            match=r"invalid|no such|name|too many",
        ):
            call()
    assert len(list(plain.list_flights())) == 2


def test_a_ticket_for_a_file_that_was_replaced(folder: Path, plain: Any) -> None:
    """Ranges of two recordings are never mixed."""
    info = plain.get_flight_info(fl.FlightDescriptor.for_path("x.arrows"))
    (endpoint,) = info.endpoints
    assert plain.do_get(endpoint.ticket).read_all() == TABLE
    (folder / "x.arrows").unlink()
    batchcorder.record(reader_of(orders().batches), folder / "x.arrows").close()
    with pytest.raises(fl.FlightServerError, match="has changed"):
        plain.do_get(endpoint.ticket).read_all()
    info = plain.get_flight_info(info.descriptor)
    assert plain.do_get(info.endpoints[0].ticket).read_all() == TABLE
