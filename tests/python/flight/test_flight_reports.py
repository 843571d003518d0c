"""Situations of public reports on Arrow Flight, with this package in them."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from helpers import TABLE, Source, Task, check_python, orders, reader_of, wait_until


def encoded(values: list[str | None], dictionary: list[str]) -> pa.RecordBatch:
    indices = [None if one is None else dictionary.index(one) for one in values]
    column = pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int8()), pa.array(dictionary, pa.string())
    )
    return pa.record_batch({"d": column})


DICTIONARIES = [
    encoded(["a", None, "b"], ["a", "b", "c"]),
    encoded(["d", "g"], ["d", "e", "f", "g"]),
    encoded([], []),
    encoded([None], []),
    encoded(["d", "c"], ["d", "c"]),
]


def values_of(batches: list[pa.RecordBatch]) -> list[list[str]]:
    return [batch["d"].to_pylist() for batch in batches]


def test_each_batch_has_another_dictionary(folder: Path, client: flight.Client) -> None:
    """apache/arrow#33921: only the first dictionary was sent."""
    assert client.record(reader_of(DICTIONARIES), "put") == len(DICTIONARIES)
    assert values_of(list(batchcorder.open(folder / "put"))) == values_of(DICTIONARIES)
    assert values_of(list(client.stream("put"))) == values_of(DICTIONARIES)
    plain = fl.connect(client.location)
    got = plain.do_get(fl.Ticket(b'{"name": "put"}')).to_reader()
    assert values_of(list(got)) == values_of(DICTIONARIES)
    writer, _ = plain.do_put(fl.FlightDescriptor.for_path("p"), DICTIONARIES[0].schema)
    for batch in DICTIONARIES:
        writer.write_batch(batch)
    writer.close()
    assert values_of(list(client.stream("p"))) == values_of(DICTIONARIES)


def test_many_columns(client: flight.Client) -> None:
    """apache/arrow#37852: a client crashed at 165 columns."""
    wide = pa.record_batch({f"column {i}": [i, i + 1] for i in range(3000)})
    assert client.record(reader_of([wide, wide]), "wide") == 2
    names = [f"column {i}" for i in range(0, 3000, 2)]
    got = client.stream("wide", columns=names).read_all()
    assert got == pa.Table.from_batches([wide, wide]).select(names)


@pytest.mark.long
def test_a_batch_of_more_than_two_gigabytes(folder: Path, client: flight.Client) -> None:
    """apache/arrow#36254: a message of Flight has at most 2 GiB."""
    import numpy as np

    count = 280_000_000
    batch = pa.record_batch({"x": pa.array(np.arange(count))})
    batchcorder.record(reader_of([batch]), folder / "huge").close()
    at = 0
    for part in client.stream("huge"):
        assert np.array_equal(part["x"].to_numpy(), np.arange(at, at + part.num_rows))
        at += part.num_rows
    assert at == count


def test_the_client_stops_in_the_middle(client: flight.Client) -> None:
    """apache/arrow#36043: the server went on for ever."""
    batch = pa.record_batch({"x": range(50_000)})
    client.record(reader_of([batch] * 200), "long")
    threads = threading.active_count()
    for _ in range(5):
        with flight.connect(client.location) as other:
            stream = other.stream("long")
            stream.read_next_batch()
            del stream
    wait_until(lambda: threading.active_count() <= threads)


def test_the_source_of_an_upload_raises(folder: Path, client: flight.Client) -> None:
    """apache/arrow#34431: a client cannot cancel, so a part looked like the whole."""
    with pytest.raises(ZeroDivisionError):
        client.record(Source(orders().batches, 3, ZeroDivisionError("part")), "part")
    wait_until(lambda: not (folder / "part").exists())
    assert client.record(orders(), "part") == 10


def test_memory_after_errors(folder: Path) -> None:
    """apache/arrow#36540: memory was held as long as the error was."""
    out = check_python(
        f"""
        import gc
        import pyarrow as pa
        from batchcorder import flight
        from helpers import Source
        batch = pa.record_batch({{"x": range(100_000)}})
        errors = []
        with flight.serve({str(folder)!r}, writable=True) as server:
            client = flight.connect(server.location)
            for i in range(50):
                try:
                    client.record(Source([batch] * 10, 5, ValueError("no")), "x")
                except ValueError as error:
                    errors.append(error)
                gc.collect()
                if i == 10:
                    before = pa.total_allocated_bytes()
        print(pa.total_allocated_bytes() - before, len(errors))
        """
    )
    grown, errors = map(int, out.split())
    assert (grown < 8_000_000, errors) == (True, 50)


def test_streams_in_the_main_thread(folder: Path) -> None:
    """apache/arrow#38359: a list of flights that was not read to its end warned."""
    out = check_python(
        f"""
        import os, sys
        os.dup2(1, 2)
        from batchcorder import StreamCache, flight
        with flight.serve({str(folder)!r}) as server:
            client = flight.connect(server.location)
            names = iter(client.list())
            outer = client.stream(next(names))
            for batch in outer:
                inner = client.stream("x.arrows").read_all()
                cache = StreamCache(client.stream("x.arrows"))
                assert next(iter(cache)).num_rows == 200
        print("done")
        """
    )
    assert out == "done\n"


def test_rows_without_columns(client: flight.Client) -> None:
    """A batch may have rows and no column (apache/arrow-rs#3783)."""
    batch = pa.record_batch({"x": range(7)}).select([])
    assert client.record(reader_of([batch, batch]), "rows") == 2
    assert [one.num_rows for one in client.stream("rows")] == [7, 7]
    got = client.stream("x.arrows", columns=[]).read_all()
    assert (got.num_rows, got.num_columns) == (TABLE.num_rows, 0)


def test_metadata_of_schemas_and_fields(folder: Path, client: flight.Client) -> None:
    """Metadata with bytes that are not UTF-8, as pandas and extension types have it."""
    field = pa.field("x", pa.int64(), metadata={b"unit": b"\xff\x00"})
    schema = pa.schema([field], metadata={b"pandas": b"{}", b"raw": b"\x00\xff"})
    batch = pa.record_batch([pa.array([1])], schema=schema)
    client.record(reader_of([batch]), "m")
    for stream in (batchcorder.open(folder / "m"), client.stream("m")):
        assert stream.schema.equals(schema, check_metadata=True)
        assert stream.schema.field(0).metadata == field.metadata


def test_the_server_raises_in_the_middle(folder: Path, client: flight.Client) -> None:
    """A failed stream does not look like a complete one (Basekick-Labs/arc#721)."""
    path = folder / "damaged"
    batches = [pa.record_batch({"x": range(1000 * i, 1000 * i + 900)}) for i in range(20)]
    batchcorder.record(reader_of(batches), path).close()
    data = bytearray(path.read_bytes())
    data[data.index((9_500).to_bytes(8, "little"))] ^= 1
    path.write_bytes(data)
    stream = client.stream("damaged")
    for i in range(9):
        assert stream.read_next_batch()["x"][0].as_py() == 1000 * i
    with pytest.raises(OSError, match=r"(?i)checksum"):
        stream.read_next_batch()
    plain = fl.connect(client.location)
    with pytest.raises((OSError, pa.ArrowException, fl.FlightError)):
        plain.do_get(fl.Ticket(b'{"name": "damaged"}')).read_all()


def test_many_clients_in_threads(client: flight.Client) -> None:
    """Each thread has a client, and other threads record (apache/arrow#36043)."""

    def both(i: int) -> list[pa.Table]:
        with flight.connect(client.location) as mine:
            mine.record(orders(), f"t{i}")
            return [mine.stream(f"t{i}").read_all() for _ in range(3)]

    for task in [Task(both, i) for i in range(12)]:
        assert all(one == TABLE for one in task.result())
