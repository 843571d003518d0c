"""Real servers for the tests of stores. make test-remote installs moto, nanio, s3fs."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.fs as fs
import pytest
import s3fs

import servers
from batchcorder._remote._store import store_of
from helpers import heed_interrupts, missing
from httpproxy import HttpProxy
from servers import BUCKET, KEY, REGION, SECRET, Server

# Seconds after which a test counts as a hang: the process then ends, with its stacks.
HANG = 300
DATA = bytes(range(1, 256)) * 40_000

heed_interrupts()


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """End the process if a test hangs."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class S3:
    """A bucket of an S3 server, and a proxy before the server."""

    def __init__(self, server: Server, proxy: HttpProxy) -> None:
        self.server = server
        self.proxy = proxy
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
        )

    def filesystem(self, kind: str = "pyarrow", **options: Any) -> Any:
        """Return a filesystem of pyarrow or s3fs, by the proxy."""
        if kind == "s3fs":
            return s3fs.S3FileSystem(
                key=KEY,
                secret=SECRET,
                endpoint_url=f"http://127.0.0.1:{self.proxy.port}",
                client_kwargs={"region_name": REGION},
                skip_instance_cache=True,
                **options,
            )
        return fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=f"127.0.0.1:{self.proxy.port}",
            scheme="http",
            region=REGION,
            **options,
        )

    def store(self, name: str, kind: str = "pyarrow", **options: Any) -> Any:
        """Return an object by the proxy."""
        return store_of(f"{BUCKET}/{name}", self.filesystem(kind, **options))

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data)

    def get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read())

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=name)

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def uploads(self) -> list[str]:
        """Return the names of the multipart uploads that are not complete."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [entry["Key"] for entry in found.get("Uploads", [])]

    def clear(self) -> None:
        """Delete all objects and uploads, and forget the proxy's faults."""
        self.proxy.heal()
        for name in self.names():
            self.delete(name)
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        for entry in found.get("Uploads", []):
            self.client.abort_multipart_upload(
                Bucket=BUCKET, Key=entry["Key"], UploadId=entry["UploadId"]
            )
        self.proxy.forget()


@pytest.fixture(scope="session", params=["moto", "nanio"])
def running_s3(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        if request.param == "nanio":
            # nanio 0.1.7 stores the checksum trailers of a chunked body as data.
            patch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED")
        with (
            getattr(servers, request.param)(folder) as server,
            HttpProxy(server.port) as proxy,
        ):
            made = S3(server, proxy)
            made.client.create_bucket(Bucket=BUCKET)
            yield made


@pytest.fixture
def s3(running_s3: S3) -> S3:
    """Return an empty bucket."""
    running_s3.clear()
    return running_s3


class Web:
    """The files that nginx serves, and a proxy before nginx."""

    def __init__(self, server: Server, proxy: HttpProxy) -> None:
        self.root = server.folder / "root"
        self.proxy = proxy
        self.server = server

    def url(self, name: str, query: str = "") -> str:
        return f"http://user:word@127.0.0.1:{self.proxy.port}/{name}{query}"

    def put(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.write_bytes(data)
        path.chmod(0o644)
        return path


@pytest.fixture(scope="session")
def running_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    if servers.nginx_path() is None:
        missing("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    with servers.nginx(folder) as server, HttpProxy(server.port) as proxy:
        yield Web(server, proxy)


@pytest.fixture
def web(running_web: Web) -> Web:
    """Return nginx with the file `x` of DATA."""
    running_web.put("x", DATA)
    running_web.proxy.heal()
    running_web.proxy.forget()
    return running_web


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a local file of three parts of pyarrow's uploads."""
    path = tmp_path / "source"
    path.write_bytes(DATA * 3)
    return path
