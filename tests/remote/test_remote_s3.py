"""Objects of S3 servers, read and written by pyarrow and by s3fs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.fs as fs
import pytest

from batchcorder._remote import _upload
from batchcorder._remote._store import is_transient, store_of
from conftest import DATA, S3
from httpproxy import Fault, Request
from servers import BUCKET, KEY, REGION, SECRET
from uploads import interrupt_uploads

CLIENTS = pytest.mark.parametrize("kind", ["pyarrow", "s3fs"])


def is_any(request: Request) -> bool:
    return True


def is_second_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber=2" in request.target


def is_completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId=" in request.target


@CLIENTS
def test_opening_is_one_request_and_a_read_is_one(s3: S3, kind: str) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        identity = store.identity()
        assert s3.proxy.counts() == {"HEAD": 1}
        assert identity.size == len(DATA)
        assert identity.is_strong
        s3.proxy.forget()
        assert bytes(store.read(1000, 50_000)) == DATA[1000:51_000]
        assert s3.proxy.counts() == {"GET": 1}
        assert s3.proxy.ranges() == [(1000, 51_000)]
        assert store.identity() == identity
        assert store.renewed_identity().is_same(identity)
        assert s3.proxy.counts() == {"GET": 1, "HEAD": 1}


def test_a_url_needs_no_filesystem(s3: S3) -> None:
    s3.put("x", DATA)
    url = (
        f"s3://{KEY}:{SECRET}@{BUCKET}/x?scheme=http&region={REGION}"
        f"&endpoint_override=127.0.0.1:{s3.proxy.port}"
    )
    with store_of(url) as store:
        assert bytes(store.read(0, 10)) == DATA[:10]
        assert store.url == f"s3://{BUCKET}/x"
    assert s3.proxy.counts() == {"HEAD": 1, "GET": 1}


@CLIENTS
def test_both_clients_see_the_same_identity(s3: S3, kind: str) -> None:
    s3.put("x", DATA)
    assert s3.store("x", kind).identity() == s3.store("x").identity()


@CLIENTS
def test_threads_read_at_once(s3: S3, kind: str) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: bytes(store.read(i * 999, 700)), range(40)))
    assert found == [DATA[i * 999 : i * 999 + 700] for i in range(40)]
    assert s3.proxy.counts() == {"HEAD": 1, "GET": 40}


@CLIENTS
def test_a_missing_object_is_an_error(s3: S3, kind: str) -> None:
    with pytest.raises(FileNotFoundError, match="no such object") as caught:
        s3.store("none", kind).identity()
    assert caught.value.filename == f"s3://{BUCKET}/none"


@CLIENTS
@pytest.mark.parametrize("size", [10, 50_000])
def test_a_deleted_object_is_an_error(s3: S3, kind: str, size: int) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        store.identity()
        s3.delete("x")
        with pytest.raises(FileNotFoundError):
            store.read(0, size)


@CLIENTS
@pytest.mark.parametrize("size", [10, 900, 50_000])
def test_a_shrunk_object_is_an_error(s3: S3, kind: str, size: int) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        store.identity()
        s3.put("x", DATA[:105])
        with pytest.raises(OSError, match="changed since it was opened") as caught:
            store.read(100, size)
        assert caught.value.errno == errno.ESTALE
        assert not is_transient(caught.value)


def test_reads_of_s3fs_send_the_etag(s3: S3) -> None:
    s3.put("x", DATA)
    with s3.store("x", "s3fs") as store:
        # nanio ignores the header.
        assert not store.checks_reads
        etag = store.identity().etag
        store.read(0, 10)
        assert s3.proxy.answers[-1].request.headers["if-match"] == etag


def test_s3fs_compares_the_etags_of_answers(s3: S3) -> None:
    s3.put("x", DATA)
    with s3.store("x", "s3fs", local_expiry_check=True) as store:
        store.identity()
        assert store.checks_reads
        s3.put("x", DATA[::-1])
        with pytest.raises(OSError, match="changed since it was opened") as caught:
            store.read(0, 10)
        assert caught.value.errno == errno.ESTALE


def test_reads_of_pyarrow_are_not_conditional(s3: S3) -> None:
    s3.put("x", DATA)
    with s3.store("x") as store:
        store.identity()
        assert not store.checks_reads
        s3.put("x", DATA[::-1])
        assert bytes(store.read(0, 10)) == DATA[::-1][:10]
        assert not store.renewed_identity().is_same(store.identity())


# ---- faults of reads ----


@CLIENTS
@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (Fault(status=503, times=99), errno.EBUSY),
        (Fault(status=500, times=99), errno.EIO),
        (Fault(cut=100, times=99), errno.EIO),
        (Fault(drop=True, times=99), errno.ECONNRESET),
    ],
    ids=["503", "500", "cut", "drop"],
)
def test_a_failing_server_is_a_transient_error(
    s3: S3, kind: str, fault: Fault, number: int
) -> None:
    s3.put("x", DATA)
    options = {"config_kwargs": {"retries": {"max_attempts": 1}}}
    with s3.store("x", kind, **(options if kind == "s3fs" else {})) as store:
        if kind == "s3fs":
            store.filesystem.retries = 1
        store.identity()
        s3.proxy.fail(Fault(**vars(fault)))
        with pytest.raises(OSError, match="s3://") as caught:
            store.read(0, 1000)
        assert is_transient(caught.value)
        assert caught.value.filename == store.url
        # aiohttp has one error for a dropped connection and for a cut body.
        assert caught.value.errno == number or kind == "s3fs"


@CLIENTS
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut=100)])
def test_the_clients_try_again(s3: S3, kind: str, fault: Fault) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        store.identity()
        s3.proxy.fail(Fault(**vars(fault)))
        assert bytes(store.read(0, 1000)) == DATA[:1000]


@CLIENTS
def test_denied_access_is_an_error(s3: S3, kind: str) -> None:
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        store.identity()
        s3.proxy.fail(Fault(status=403, times=9, when=is_any))
        with pytest.raises(PermissionError, match="access is denied"):
            store.read(0, 10)
        with pytest.raises(PermissionError, match="access is denied"):
            store.renewed_identity()


@CLIENTS
def test_the_whole_object_is_no_range(s3: S3, kind: str) -> None:
    if s3.server.name == "nanio":
        pytest.skip("nanio checks signatures, and the range is signed")
    s3.put("x", DATA)
    with s3.store("x", kind) as store:
        store.identity()
        s3.proxy.fail(Fault(whole=True, times=9))
        with pytest.raises(OSError, match="try again") as caught:
            store.read(100, 1000)
        assert caught.value.errno == errno.EIO


def test_a_silent_server_ends_a_read(s3: S3) -> None:
    s3.put("x", DATA)
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=1)
    with s3.store("x", request_timeout=1, retry_strategy=retries) as store:
        store.identity()
        s3.proxy.fail(Fault(stall=100, times=9))
        with pytest.raises(TimeoutError, match="does not answer"):
            store.read(0, 1000)


@pytest.mark.parametrize(
    ("host", "number"),
    [("127.0.0.1:1", errno.ECONNREFUSED), ("no-such-host.invalid", errno.EHOSTUNREACH)],
)
def test_a_server_that_is_not_there_is_an_error(
    host: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    filesystem = fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        endpoint_override=host,
        scheme="http",
        region=REGION,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )
    with pytest.raises(OSError, match="s3://bucket/x") as caught:
        store_of("bucket/x", filesystem).identity()
    assert caught.value.errno == number


# ---- uploads ----


@pytest.fixture(params=["s3fs", "pyarrow by s3fs", "pyarrow", "pyarrow directly"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the way of an upload: the module picks the last three by itself."""
    if request.param in ("pyarrow", "pyarrow directly"):
        monkeypatch.setattr(_upload, "_s3fs_of", no_s3fs)
    if request.param == "pyarrow directly":
        monkeypatch.setattr(_upload, "_COPY_BYTES_MAX", 1000)
    monkeypatch.setattr(_upload, "_PART_BYTES", 5 << 20)
    return request.param


def no_s3fs(filesystem: Any) -> Any:
    raise ImportError("s3fs is not installed")


def store_by(s3: S3, way: str, name: str = "x") -> Any:
    return s3.store(name, "s3fs" if way == "s3fs" else "pyarrow")


def test_a_file_is_uploaded(s3: S3, way: str, source: Path) -> None:
    store = store_by(s3, way)
    store.upload(source, overwrite=False)
    assert s3.get("x") == source.read_bytes()
    assert (s3.names(), s3.uploads()) == (["x"], [])
    assert store.identity().size == source.stat().st_size


def test_a_small_file_is_uploaded(s3: S3, way: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"abc")
    store_by(s3, way).upload(small, overwrite=False)
    assert s3.get("x") == b"abc"
    assert (s3.names(), s3.uploads()) == (["x"], [])


def test_an_existing_object_stays(s3: S3, way: str, source: Path) -> None:
    s3.put("x", b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        store_by(s3, way).upload(source, overwrite=False)
    assert s3.get("x") == b"old"
    assert (s3.names(), s3.uploads()) == (["x"], [])


def test_an_existing_object_is_replaced(s3: S3, way: str, source: Path) -> None:
    s3.put("x", b"old")
    store_by(s3, way).upload(source, overwrite=True)
    assert s3.get("x") == source.read_bytes()
    assert (s3.names(), s3.uploads()) == (["x"], [])


# The head of _upload.py tells which parts stay.
LEAVES_PARTS = {"pyarrow", "pyarrow directly"}


@pytest.mark.parametrize(
    "when", [is_second_part, is_completion], ids=["part", "completion"]
)
def test_a_refused_upload_leaves_no_object(
    s3: S3, way: str, source: Path, when: Any
) -> None:
    s3.put("x", b"old")
    s3.proxy.fail(Fault(status=403, times=9, when=when))
    with pytest.raises(PermissionError, match="access is denied") as caught:
        store_by(s3, way).upload(source, overwrite=True)
    assert caught.value.filename == f"s3://{BUCKET}/x"
    assert s3.get("x") == b"old"
    assert s3.names() == ["x"]
    if way not in LEAVES_PARTS:
        assert s3.uploads() == []


def test_a_local_error_leaves_no_object(
    s3: S3, way: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _upload.LocalFile.read

    def fail(self: Any, offset: int) -> bytes:
        if offset >= 16 << 20:
            raise OSError(errno.EIO, "the local file cannot be read")
        return read(self, offset)

    monkeypatch.setattr(_upload.LocalFile, "read", fail)
    with pytest.raises(OSError, match="the local file cannot be read"):
        store_by(s3, way).upload(source, overwrite=False)
    assert s3.names() == []
    if way != "pyarrow directly":
        assert s3.uploads() == []


def test_an_interrupt_leaves_no_object(
    s3: S3, way: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_uploads(monkeypatch, 16 << 20)
    with pytest.raises(KeyboardInterrupt):
        store_by(s3, way).upload(source, overwrite=False)
    assert s3.names() == []
    if way != "pyarrow directly":
        assert s3.uploads() == []


DIRECTLY = """
import sys
import pyarrow.fs as fs
from batchcorder._remote import _upload
from batchcorder._remote._store import store_of

_upload._COPY_BYTES_MAX = 1000

def none(filesystem):
    raise ImportError

def fail(self, offset):
    if offset >= 16 << 20:
        raise OSError(5, "the local file cannot be read")
    return read(self, offset)

_upload._s3fs_of = none
read = _upload.LocalFile.read
_upload.LocalFile.read = fail
s3 = fs.S3FileSystem(access_key=sys.argv[1], secret_key=sys.argv[2], scheme="http",
                     endpoint_override=sys.argv[3], region=sys.argv[4])
try:
    store_of(sys.argv[5], s3).upload(sys.argv[6], overwrite=False)
except OSError as error:
    assert "the local file" in str(error), error
else:
    raise AssertionError
"""


def test_an_abandoned_stream_completes_nothing_at_exit(s3: S3, source: Path) -> None:
    host = f"127.0.0.1:{s3.proxy.port}"
    arguments = [KEY, SECRET, host, REGION, f"{BUCKET}/x", str(source)]
    subprocess.run(
        [sys.executable, "-c", DIRECTLY, *arguments],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=240,
    )
    assert s3.names() == []
    assert not any(is_completion(answer.request) for answer in s3.proxy.answers)


def test_a_vanished_server_leaves_no_object(
    s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_upload, "_s3fs_of", no_s3fs)
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=1)
    store = s3.store("x", retry_strategy=retries)
    s3.proxy.fail(Fault(drop=True, times=999, when=is_any))
    with pytest.raises(OSError, match=f"s3://{BUCKET}/x") as caught:
        store.upload(source, overwrite=False)
    assert is_transient(caught.value)
    s3.proxy.heal()
    assert s3.names() == []
