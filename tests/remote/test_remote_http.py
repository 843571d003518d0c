"""Objects of nginx, read by HTTP range requests."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from batchcorder._remote import _http_store
from batchcorder._remote._requests import repeated
from batchcorder._remote._store import is_transient, store_of
from conftest import DATA, Web
from httpproxy import Fault, HttpProxy, Request


def is_any(request: Request) -> bool:
    return True


def test_opening_is_one_request_and_a_read_is_one(web: Web) -> None:
    with store_of(web.url("x")) as store:
        identity = store.identity()
        assert web.proxy.ranges() == [(0, 1)]
        assert identity.size == len(DATA)
        assert identity.is_strong
        assert store.checks_reads
        assert bytes(store.read(1000, 50_000)) == DATA[1000:51_000]
        assert web.proxy.ranges() == [(0, 1), (1000, 51_000)]
        headers = web.proxy.answers[-1].request.headers
        assert headers["if-match"] == identity.etag
        assert store.renewed_identity() == identity
        assert web.proxy.counts() == {"GET": 3}


def test_a_filesystem_of_the_caller(web: Web) -> None:
    filesystem = fsspec.filesystem("http", headers={"X-Test": "1"})
    with store_of(web.url("x"), filesystem) as store:
        assert bytes(store.read(0, 10)) == DATA[:10]
    assert web.proxy.answers[-1].request.headers["x-test"] == "1"


def test_threads_read_at_once(web: Web) -> None:
    with store_of(web.url("x")) as store, ThreadPoolExecutor(8) as pool:
        store.identity()
        found = list(pool.map(lambda i: bytes(store.read(i * 999, 700)), range(100)))
    assert found == [DATA[i * 999 : i * 999 + 700] for i in range(100)]


def test_the_whole_object_is_a_range(web: Web) -> None:
    with store_of(web.url("x")) as store:
        assert bytes(store.read(0, len(DATA))) == DATA


def test_an_empty_object(web: Web) -> None:
    web.put("empty", b"")
    with store_of(web.url("empty")) as store:
        assert store.identity().size == 0
        assert store.read(0, 0) == b""


def test_a_missing_object_is_an_error(web: Web) -> None:
    with pytest.raises(FileNotFoundError, match="no such object") as caught:
        store_of(web.url("none", "?sig=secret")).identity()
    assert caught.value.filename == f"http://127.0.0.1:{web.proxy.port}/none"
    assert "word" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_denied_access_is_an_error(web: Web) -> None:
    with pytest.raises(PermissionError, match="access is denied"):
        store_of(web.url("private/x")).identity()


def test_a_server_without_ranges_is_an_error(web: Web) -> None:
    with pytest.raises(OSError, match="download the file") as caught:
        store_of(web.url("plain/x")).identity()
    assert caught.value.errno == errno.EOPNOTSUPP
    assert not is_transient(caught.value)


@pytest.mark.parametrize("data", [DATA[::-1], DATA[:2000], DATA + b"x"])
def test_a_changed_object_is_an_error(web: Web, data: bytes) -> None:
    with store_of(web.url("x")) as store:
        store.identity()
        path = web.put("x", data)
        # nginx makes the ETag of the size and of the time in seconds.
        os.utime(path, (1, 1))
        with pytest.raises(OSError, match="changed since it was opened") as caught:
            repeated(lambda: store.read(1000, 500))
        assert caught.value.errno == errno.ESTALE
        found = repeated(store.renewed_identity)
        assert not found.is_same(store.identity())


def test_a_deleted_object_is_an_error(web: Web) -> None:
    path = web.put("y", DATA)
    with store_of(web.url("y")) as store:
        store.identity()
        path.unlink()
        with pytest.raises(FileNotFoundError):
            repeated(lambda: store.read(0, 10))


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (Fault(status=503), errno.EBUSY),
        (Fault(status=429), errno.EBUSY),
        (Fault(status=500), errno.EIO),
        (Fault(status=504), errno.ETIMEDOUT),
        (Fault(cut=100), errno.EIO),
        (Fault(claim=5), errno.EIO),
        (Fault(whole=True), errno.EIO),
    ],
    ids=["503", "429", "500", "504", "cut", "claim", "whole"],
)
def test_a_wrong_answer_is_a_transient_error(web: Web, fault: Fault, number: int) -> None:
    with store_of(web.url("x")) as store:
        store.identity()
        web.proxy.fail(Fault(**vars(fault)))
        with pytest.raises(OSError, match=f":{web.proxy.port}/x") as caught:
            store.read(100, 1000)
        assert caught.value.errno == number
        assert is_transient(caught.value)
        assert bytes(store.read(100, 1000)) == DATA[100:1100]


def test_a_dropped_connection_is_a_transient_error_or_tried_again(web: Web) -> None:
    with store_of(web.url("x")) as store:
        store.identity()
        web.proxy.fail(Fault(drop=True, times=9))
        with pytest.raises(ConnectionResetError) as caught:
            store.read(100, 1000)
        assert is_transient(caught.value)


def test_a_silent_server_ends_a_read(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http_store, "_SILENCE_SECONDS", 1)
    with store_of(web.url("x")) as store:
        store.identity()
        web.proxy.fail(Fault(stall=100, times=3))
        with pytest.raises(TimeoutError, match="does not answer"):
            store.read(100, 1000)


@pytest.mark.parametrize(
    ("host", "number"),
    [("127.0.0.1:1", errno.ECONNREFUSED), ("no-such-host.invalid", errno.EHOSTUNREACH)],
)
def test_a_server_that_is_not_there_is_an_error(host: str, number: int) -> None:
    with pytest.raises(OSError, match="http://") as caught:
        store_of(f"http://{host}/x").identity()
    assert caught.value.errno == number
    assert is_transient(caught.value)


def test_a_server_without_tls_is_an_error(web: Web) -> None:
    with pytest.raises(OSError, match="https://") as caught:
        store_of(f"https://127.0.0.1:{web.server.port}/x").identity()
    assert caught.value.errno == errno.EPROTO


def test_http_cannot_write(web: Web, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(OSError, match="the store cannot write") as caught:
        store_of(web.url("new")).upload(source, overwrite=True)
    assert caught.value.errno == errno.EROFS


# ---- the proxy ----


def test_the_proxy_counts_bytes(web: Web) -> None:
    with store_of(web.url("x")) as store:
        store.read(0, 1000)
    assert web.proxy.sent == 1001


def test_the_proxy_forwards_many_bytes(web: Web) -> None:
    with HttpProxy(web.server.port, latency=0.001, bandwidth=1e9) as proxy:
        store: Any = store_of(f"http://127.0.0.1:{proxy.port}/x")
        with store, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: store.read(0, len(DATA)), range(8)))
        assert proxy.sent == 8 * len(DATA) + 1
