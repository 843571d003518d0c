"""Recordings in object stores by the public functions, with servers that fail."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import batchcorder
import servers
from batchcorder._remote import _http_store
from conftest import S3, Web
from helpers import wait_until
from httpproxy import Fault, HttpProxy, Request
from servers import BUCKET, KEY, REGION, SECRET
from uploads import interrupt_uploads

LATENCY = 0.02
BATCHES, ROWS, COLUMNS = 24, 4096, 12
SCHEMA = pa.schema({f"c{i}": pa.int64() for i in range(COLUMNS)})
TRANSIENT = {
    "503": Fault(status=503, times=2),
    "500": Fault(status=500, times=2),
    "429": Fault(status=429, times=2),
    "cut": Fault(cut=100, times=2),
    "drop": Fault(drop=True, times=2),
    "claim": Fault(claim=64, times=2),
}


def table_of(seed: int) -> pa.Table:
    """Return a table without patterns, whose column `c0` counts rows from the seed."""
    random = np.random.default_rng(seed)
    columns = [np.arange(BATCHES * ROWS) + seed * BATCHES * ROWS]
    columns += [random.integers(0, 1 << 60, BATCHES * ROWS) for _ in range(COLUMNS - 1)]
    return pa.table([pa.array(one) for one in columns], schema=SCHEMA)


def recorded(table: pa.Table, folder: Path) -> bytes:
    path = folder / "x.arrows"
    batches = table.to_batches(ROWS)
    reader = pa.RecordBatchReader.from_batches(SCHEMA, batches)
    batchcorder.record(reader, path).close()
    return path.read_bytes()


TABLE = table_of(0)
OTHER = table_of(1)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recorded(TABLE, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return another recording of the same size."""
    return recorded(OTHER, tmp_path_factory.mktemp("other"))


class Place:
    """An object of a server, by a proxy with latency."""

    def __init__(self, kind: str, server: S3 | Web) -> None:
        self.kind = kind
        self.server = server
        self.proxy: HttpProxy = server.proxy
        self.filesystem: Any = None
        self._seconds = 1_700_000_000
        if isinstance(server, Web):
            self.path = server.url("x.arrows")
        else:
            self.path = f"{BUCKET}/x.arrows"
            quick: Any = {"request_timeout": 0.5}
            if kind == "s3fs":
                quick = {"config_kwargs": {"read_timeout": 0.5}}
            self.filesystem = server.filesystem(kind, **quick)

    def put(self, data: bytes) -> None:
        found = self.server.put("x.arrows", data)
        if found is not None:
            # The ETag of nginx has the size, and the time in seconds.
            self._seconds += 60
            os.utime(found, (self._seconds, self._seconds))

    def delete(self) -> None:
        if isinstance(self.server, Web):
            (self.server.root / "x.arrows").unlink()
        else:
            self.server.delete("x.arrows")

    def open(self, *args: Any, **options: Any) -> batchcorder.StreamCache:
        return batchcorder.open(self.path, *args, filesystem=self.filesystem, **options)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with (
            servers.moto(tmp_path_factory.mktemp("moto")) as server,
            HttpProxy(server.port, LATENCY) as proxy,
        ):
            made = S3(server, proxy)
            made.client.create_bucket(Bucket=BUCKET)
            yield made


@pytest.fixture
def bucket(moto: S3) -> S3:
    moto.clear()
    return moto


@pytest.fixture(params=["pyarrow", "s3fs", "http"])
def place(
    request: pytest.FixtureRequest, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Return an object with the recording of TABLE."""
    monkeypatch.setattr(_http_store, "_SILENCE_SECONDS", 0.5)
    name = "web" if request.param == "http" else "bucket"
    made = Place(request.param, request.getfixturevalue(name))
    made.put(data)
    made.proxy.latency = LATENCY
    yield made
    made.proxy.heal()


def is_any(request: Request) -> bool:
    return True


def is_upload(request: Request) -> bool:
    return request.method in ("PUT", "POST") and ".arrows" in request.target


def fault_of(name: str) -> Fault:
    return Fault(**vars(TRANSIENT[name]))


# ---- reading ----


def test_reading(place: Place) -> None:
    with place.open() as cache:
        assert cache.to_table().equals(TABLE)
        assert cache[7].equals(TABLE.to_batches(ROWS)[7])
        assert cache.take([90_000, 5])["c0"].to_pylist() == [90_000, 5]
        found = {batch["c0"][0].as_py() for batch in cache.shuffle(seed=1)}
        assert found == set(range(0, BATCHES * ROWS, ROWS))
        assert "word" not in repr(cache)
    assert batchcorder.verify(place.path, filesystem=place.filesystem) == BATCHES


def test_pickles(place: Place) -> None:
    with place.open(["c3"]) as cache:
        again = pickle.loads(pickle.dumps(cache))
    with again:
        assert again.to_table().equals(TABLE.select(["c3"]))


def test_a_pickle_opens_the_object_of_now(place: Place, other: bytes) -> None:
    with place.open() as cache:
        text = pickle.dumps(cache)
    place.put(other)
    with pickle.loads(text) as again:
        assert again.to_table().equals(OTHER)


def test_opening_is_three_requests(place: Place) -> None:
    place.proxy.forget()
    with place.open() as cache:
        assert cache.num_rows == TABLE.num_rows
        assert len(place.proxy.answers) == 3


def test_one_column_is_few_bytes(place: Place) -> None:
    place.proxy.forget()
    with place.open(["c5"]) as cache:
        opening = place.proxy.sent
        assert cache.to_table().equals(TABLE.select(["c5"]))
    assert place.proxy.sent - opening <= 1.2 * TABLE["c5"].nbytes


def test_a_filter_fetches_few_batches(place: Place, data: bytes) -> None:
    with place.open() as cache:
        place.proxy.forget()
        wanted = pc.field("c0") >= (BATCHES - 1) * ROWS
        assert cache.dataset().to_table(filter=wanted).num_rows == ROWS
    assert place.proxy.sent <= 3 * len(data) / BATCHES


def test_the_second_epoch_is_local(place: Place, tmp_path: Path) -> None:
    for _ in range(2):
        place.proxy.forget()
        with place.open(local=tmp_path / "copies") as cache:
            assert cache.to_table().equals(TABLE)
    assert len(place.proxy.answers) == 1


def test_a_copy_of_columns_is_continued(place: Place, tmp_path: Path) -> None:
    for columns in (["c1"], ["c2", "c1"], None):
        with place.open(columns, local=tmp_path / "copies") as cache:
            assert cache.to_table().equals(TABLE.select(columns or SCHEMA.names))
    with place.open(local=tmp_path / "copies") as cache:
        assert cache.path is not None
        assert cache.path.startswith(str(tmp_path))


# ---- faults of reading ----


@pytest.mark.parametrize("name", TRANSIENT)
def test_transient_faults(place: Place, name: str) -> None:
    with place.open() as cache:
        place.proxy.fail(fault_of(name))
        assert pa.table(cache.reader(columns=["c2"])).equals(TABLE.select(["c2"]))
        place.proxy.fail(fault_of(name))
        assert cache.to_table().equals(TABLE)


def test_a_stall(place: Place) -> None:
    with place.open() as cache:
        place.proxy.fail(Fault(stall=100))
        assert cache.to_table().equals(TABLE)


def test_a_wrong_range_is_no_data(place: Place) -> None:
    """The headers are right, so only a checksum or a signature finds the wrong bytes."""
    with place.open() as cache:
        place.proxy.fail(Fault(shift=64, times=10**6))
        with pytest.raises(OSError, match=r"Checksum mismatch|x\.arrows"):
            cache[9]


@pytest.mark.parametrize("name", ["503", "drop"])
def test_transient_faults_while_opening(place: Place, name: str) -> None:
    place.proxy.fail(Fault(**{**vars(TRANSIENT[name]), "when": is_any}))
    with place.open() as cache:
        assert len(cache) == BATCHES


def test_a_reader_is_asked_again_after_a_fault(place: Place) -> None:
    with place.open() as cache:
        reader = iter(cache.shuffle(seed=3))
        got = [next(reader)]
        place.proxy.fail(Fault(status=403, times=10**6, when=is_any))
        for _ in range(2):
            with pytest.raises(PermissionError):
                next(reader)
        place.proxy.heal()
        got += reader
        assert pa.Table.from_batches(got).sort_by("c0").equals(TABLE)


# ---- objects that change ----


@pytest.mark.parametrize("has_local", [False, True], ids=["memory", "local"])
@pytest.mark.parametrize("columns", [None, ["c0"]], ids=["all", "one"])
def test_a_replaced_object_is_no_mixture(
    place: Place,
    other: bytes,
    tmp_path: Path,
    has_local: bool,
    columns: list[str] | None,
) -> None:
    local = tmp_path / "copies" if has_local else None
    wanted = TABLE.select(columns or SCHEMA.names)
    with place.open(columns, local=local) as cache:
        got = [cache[0], cache[20]]
        place.put(other)
        with pytest.raises(OSError, match="changed") as caught:
            got.extend(cache[i] for i in reversed(range(BATCHES)))
        assert caught.value.errno == errno.ESTALE
    rows = pa.Table.from_batches(got)
    assert rows.equals(wanted.take(rows["c0"]))
    for _ in range(2):
        with place.open(columns, local=local) as cache:
            assert cache.to_table().equals(OTHER.select(columns or SCHEMA.names))


@pytest.mark.parametrize("has_local", [False, True], ids=["memory", "local"])
def test_a_deleted_object(place: Place, tmp_path: Path, has_local: bool) -> None:
    local = tmp_path / "copies" if has_local else None
    with place.open(["c0"], local=local) as cache:
        reader = iter(cache.shuffle(seed=3))
        next(reader)
        place.delete()
        with pytest.raises(FileNotFoundError):
            next(reader)
    with pytest.raises(FileNotFoundError):
        place.open(local=local)


# ---- servers that are gone ----


def test_wrong_keys(place: Place) -> None:
    place.proxy.fail(Fault(status=403, times=99, when=is_any))
    with pytest.raises(PermissionError):
        place.open()


def test_a_refused_connection(bucket: S3) -> None:
    with pytest.raises(OSError, match="http://127") as caught:
        batchcorder.open(f"http://127.0.0.1:{servers.free_port()}/x.arrows")
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_server_that_is_restarted(tmp_path: Path, data: bytes) -> None:
    if servers.nginx_path() is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path / "nginx"
    folder.mkdir()
    with servers.nginx(folder) as server, HttpProxy(server.port, LATENCY) as proxy:
        web = Web(server, proxy)
        web.put("x.arrows", data)
        with batchcorder.open(web.url("x.arrows")) as cache:
            reader = iter(cache.shuffle(seed=3))
            got = [next(reader)]
            stop_nginx(folder)
            with pytest.raises(OSError, match="http://127"):
                next(reader)
            command = [servers.nginx_path() or "nginx", "-c", f"{folder}/nginx.conf"]
            with subprocess.Popen([*command, "-e", f"{folder}/error.log"]) as process:
                try:
                    servers._wait(process, server.port, folder / "error.log")
                    got += reader
                finally:
                    process.terminate()
            assert pa.Table.from_batches(got).sort_by("c0").equals(TABLE)


def stop_nginx(folder: Path) -> None:
    pid = folder / "pid"
    os.kill(int(pid.read_text()), signal.SIGTERM)
    wait_until(lambda: not pid.exists())


# ---- writing ----


@pytest.fixture(params=["pyarrow", "s3fs"])
def writer(request: pytest.FixtureRequest, bucket: S3) -> Place:
    """Return an object that is not there yet."""
    made = Place(request.param, bucket)
    made.proxy.latency = LATENCY
    return made


def source(before: Callable[[int], None] = lambda i: None) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(TABLE.to_batches(ROWS)):
            before(i)
            yield batch

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


def write(place: Place, how: str) -> None:
    options: Any = {"filesystem": place.filesystem}
    if how == "record":
        batchcorder.record(source(), place.path, **options).close()
    elif how == "save":
        with batchcorder.StreamCache(source()) as cache:
            cache.save(place.path, overwrite=True, **options)
    else:
        batchcorder.cached(place.path, source, refresh=True, **options).close()


HOWS = pytest.mark.parametrize("how", ["record", "save", "cached"])


@HOWS
def test_writing(writer: Place, bucket: S3, how: str) -> None:
    write(writer, how)
    assert (bucket.names(), bucket.uploads()) == (["x.arrows"], [])
    with writer.open() as cache:
        assert cache.to_table().equals(TABLE)
    if how == "record":
        with pytest.raises(FileExistsError):
            write(writer, how)


@HOWS
def test_a_failing_upload(writer: Place, bucket: S3, how: str) -> None:
    bucket.proxy.fail(Fault(status=403, times=99, when=is_upload))
    with pytest.raises(PermissionError):
        write(writer, how)
    assert (bucket.names(), bucket.uploads()) == ([], [])


def test_an_old_object_stays(writer: Place, bucket: S3) -> None:
    bucket.put("x.arrows", b"old")
    bucket.proxy.fail(Fault(status=403, times=99, when=is_upload))
    with pytest.raises(PermissionError):
        write(writer, "save")
    assert bucket.get("x.arrows") == b"old"
    assert (bucket.names(), bucket.uploads()) == (["x.arrows"], [])


def test_an_interrupted_source_leaves_no_object(writer: Place, bucket: S3) -> None:
    def interrupt(i: int) -> None:
        if i == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batchcorder.record(
            source(interrupt), writer.path, filesystem=writer.filesystem
        ).close()
    assert (bucket.names(), bucket.uploads()) == ([], [])


def test_an_interrupted_upload_leaves_no_object(
    writer: Place, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_uploads(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        write(writer, "record")
    assert (bucket.names(), bucket.uploads()) == ([], [])


# ---- the command line, and processes ----


def url_of(bucket: S3, name: str) -> str:
    return (
        f"s3://{KEY}:{SECRET}@{BUCKET}/{name}?scheme=http&region={REGION}"
        f"&endpoint_override=127.0.0.1:{bucket.proxy.port}"
    )


def command(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "batchcorder", *words],
        capture_output=True,
        timeout=240,
        check=False,
    )


def test_the_command_line(bucket: S3, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    path.write_bytes(data)
    url = url_of(bucket, "y.arrows")
    done = command("record", str(path), url)
    assert done.returncode == 0, done.stderr
    done = command("cat", url, "--columns", "c3")
    found = pa.ipc.open_stream(done.stdout).read_all()
    assert found.equals(TABLE.select(["c3"]))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["verify", "x.arrows"], 0),
        (["info", "x.arrows", "--json"], 0),
        (["info", "none"], 1),
        (["cat", "x.arrows", "--columns", "none"], 2),
        (["record", "none", "y.arrows"], 1),
        (["record", "x.arrows", "y.arrows"], 0),
    ],
)
def test_the_command_line_prints_no_keys(
    bucket: S3, data: bytes, words: list[str], code: int
) -> None:
    bucket.put("x.arrows", data)
    places = {name: url_of(bucket, name) for name in ("x.arrows", "y.arrows", "none")}
    done = command(*(words[:1] + [places.get(one, one) for one in words[1:3]]),
                   *(words[3:]))  # fmt: skip
    assert done.returncode == code, done.stderr
    printed = (done.stdout + done.stderr).decode()
    assert f"s3://{BUCKET}/" in printed
    assert SECRET not in printed


FILL = """
import sys
import batchcorder
batchcorder.open(sys.argv[1], local=sys.argv[2]).to_table()
"""


def test_two_processes_fill_a_copy_and_one_is_killed(
    bucket: S3, data: bytes, tmp_path: Path
) -> None:
    bucket.put("x.arrows", data)
    url, copies = url_of(bucket, "x.arrows"), tmp_path / "copies"
    bucket.proxy.bandwidth = 8e6
    try:
        fill = [sys.executable, "-c", FILL, url, str(copies)]
        children = [subprocess.Popen(fill) for _ in range(2)]
        wait_until(lambda: list(copies.glob("*.log")) and bucket.proxy.sent > 1 << 20)
        children[0].kill()
        assert children[0].wait(240) in (-signal.SIGKILL, 0)
        assert children[1].wait(240) == 0
    finally:
        bucket.proxy.bandwidth = None
    for _ in range(2):
        with batchcorder.open(url, local=copies) as cache:
            assert cache.to_table().equals(TABLE)
    assert cache.path is not None
    assert cache.path.startswith(str(copies))
