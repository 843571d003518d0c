"""Names cannot leave the served directory, in any spelling."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest

import batchcorder
from batchcorder import flight
from helpers import TABLE, orders

OUTSIDE = [
    "",
    "/",
    ".",
    "..",
    "../secret.arrows",
    "below/../../secret.arrows",
    "below/../x.arrows",
    "./x.arrows",
    "x.arrows/",
    "//x.arrows",
    "below//y.arrows",
    "x.arrows\0",
    "x.arrows\0.txt",
    "..\\secret.arrows",
    "%2e%2e/secret.arrows",
    "%2e%2e%2fsecret.arrows",
    "..%2fsecret.arrows",
    "..%c0%afsecret.arrows",
    "\uff0e\uff0e/secret.arrows",
    "..\uff0fsecret.arrows",
    "..\u2215secret.arrows",
    "\u2024\u2024/secret.arrows",
    "file:x.arrows",
    "~/secret.arrows",
    "$HOME/secret.arrows",
    ".hidden.arrows",
    "below/.hidden.arrows",
    "link.arrows",
    "folder-link/secret.arrows",
    "inner-link.arrows",
    "pipe.arrows",
    "below",
    "X.ARROWS",
    "x" * 300,
    "x/" * 3000 + "x",
]


@pytest.fixture
def hostile(folder: Path) -> Path:
    """Put a recording beside the folder, and links to it into the folder."""
    for path in (folder.parent / "secret.arrows", folder / ".hidden.arrows",
                 folder / "below" / ".hidden.arrows"):  # fmt: skip
        batchcorder.record(orders(), path).close()
    (folder / "link.arrows").symlink_to(folder.parent / "secret.arrows")
    (folder / "folder-link").symlink_to(folder.parent)
    (folder / "inner-link.arrows").symlink_to("x.arrows")
    os.mkfifo(folder / "pipe.arrows")
    return folder


@pytest.mark.parametrize("name", OUTSIDE, ids=range(len(OUTSIDE)))
def test_names_outside(name: str, hostile: Path, client: flight.Client) -> None:
    before = sorted(hostile.rglob("*"))
    absolute = str(hostile.parent / "secret.arrows")
    for one in (name, absolute, absolute[1:]):
        for call in (
            lambda one=one: client.stream(one),
            lambda one=one: client.info(one),
        ):
            with pytest.raises((FileNotFoundError, ValueError, OSError)):
                call()
    plain = fl.connect(client.location)
    parts = name.encode().split(b"/")
    for path in ([name.encode()], parts):
        descriptor = fl.FlightDescriptor.for_path(*path)
        with pytest.raises((fl.FlightServerError, OSError)):
            plain.get_flight_info(descriptor)
    for part in ([b"below", b"..", b"x.arrows"], [b"\xff\xfe"], [b"below", b""], []):
        with pytest.raises((fl.FlightServerError, OSError, pa.ArrowException)):
            plain.get_flight_info(fl.FlightDescriptor.for_path(*part))
    assert sorted(hostile.rglob("*")) == before
    assert client.list() == ["below/y.arrows", "x.arrows"]


# Names of new files in the folder, for a server that decodes nothing.
PLAIN = {"%2e%2e%2fsecret.arrows", "..%2fsecret.arrows", "file:x.arrows", "X.ARROWS"}
REFUSED = [name for name in OUTSIDE if name not in PLAIN]


@pytest.mark.parametrize("name", REFUSED, ids=range(len(REFUSED)))
def test_nothing_is_recorded_outside(
    name: str, hostile: Path, client: flight.Client
) -> None:
    before = _files(hostile.parent)
    with pytest.raises((OSError, ValueError)):
        client.record(orders(), name)
    assert _files(hostile.parent) == before


def _files(folder: Path) -> dict[Path, int]:
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {
        path: 0 if path.is_dir() else status.st_mtime_ns for path, status in found.items()
    }


def test_plain_names_with_unusual_characters(client: flight.Client, folder: Path) -> None:
    for name in ("%2e%2e", "a b", "é", "\uff0e\uff0e", "a\\b", "a..", "~", "x\n", "*"):
        client.record(orders(), name)
        assert client.stream(name).read_all() == TABLE
        assert (folder / name).is_file()
        assert name in client.list()


def test_names_that_are_not_utf8(folder: Path, client: flight.Client) -> None:
    """Flight cannot name such a file, so it is not listed."""
    os.link(folder / "x.arrows", os.fsencode(folder) + b"/\xff.arrows")
    assert client.list() == ["below/y.arrows", "x.arrows"]


def test_files_that_are_not_listed(folder: Path, client: flight.Client) -> None:
    (folder / "notes.txt").write_text("no Arrow data")
    (folder / "empty.arrows").touch()
    (folder / "damaged.arrows").write_bytes(b"\xff\xff\xff\xff" + b"\x01" * 100)
    cut = (folder / "x.arrows").read_bytes()[:-500]
    (folder / "cut.arrows").write_bytes(cut)
    assert client.list() == ["below/y.arrows", "x.arrows"]
    for name in ("notes.txt", "empty.arrows", "damaged.arrows", "cut.arrows"):
        with pytest.raises((OSError, ValueError)):
            client.info(name)


def test_the_folder_changes(folder: Path, client: flight.Client) -> None:
    """Files come, go, and are replaced while the server runs."""
    batchcorder.record(orders(), folder / "new.arrows").close()
    assert "new.arrows" in client.list()
    assert client.stream("new.arrows").read_all() == TABLE
    stream = client.stream("new.arrows")
    (folder / "new.arrows").unlink()
    with pytest.raises(FileNotFoundError):
        client.stream("new.arrows")
    with pytest.raises(FileNotFoundError):
        stream.read_all()
    batchcorder.record(TABLE.slice(5).to_reader(), folder / "new.arrows").close()
    assert client.stream("new.arrows").read_all() == TABLE.slice(5)


def test_a_file_that_vanishes_while_it_is_read(
    folder: Path, client: flight.Client
) -> None:
    """A stream keeps the file with which it began."""
    big = TABLE.slice(0, 1000)
    batchcorder.record(_repeated(big, 200), folder / "big").close()
    stream = client.stream("big")
    stream.read_next_batch()
    (folder / "big").unlink()
    assert stream.read_all().num_rows == 199 * 1000


def _repeated(table: pa.Table, times: int) -> pa.RecordBatchReader:
    (batch,) = table.combine_chunks().to_batches()
    return pa.RecordBatchReader.from_batches(table.schema, (batch for _ in range(times)))


def test_more_recordings_than_stay_open(
    folder: Path, serving: Callable[..., flight.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchcorder.flight._served._KEPT", 3)
    client = flight.connect(serving(folder, writable=True).location)
    for i in range(10):
        client.record(orders(), f"{i}.arrows")
    for _ in range(2):
        for i in range(10):
            assert client.stream(f"{i}.arrows").read_all() == TABLE
    files = [
        os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()
    ]
    # A recording has its file open twice.
    assert sum(str(folder) in file for file in files) <= 3 * 3
