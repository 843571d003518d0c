"""Tokens, TLS, and addresses."""

from __future__ import annotations

import datetime as dt
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from batchcorder import flight
from helpers import TABLE, orders

trustme = pytest.importorskip("trustme")
Serving = Callable[..., flight.Server]


def calls_of(client: flight.Client) -> list[Callable[[], Any]]:
    """Return one call of each kind."""
    return [
        client.list,
        lambda: client.info("x.arrows"),
        lambda: client.info("none"),
        lambda: client.stream("x.arrows"),
        lambda: client.record(orders(), "new"),
    ]


def test_a_token(folder: Path, serving: Serving) -> None:
    server = serving(folder, token="s3cret", writable=True)
    with flight.connect(server.location, token="s3cret") as client:
        assert client.list() == ["below/y.arrows", "x.arrows"]
        assert client.stream("x.arrows").read_all() == TABLE
        assert client.record(orders(), "new") == 10
    for token in (None, "s3cre", "s3cret2", "S3CRET", "x" * 5000, "Bearer s3cret"):
        with flight.connect(server.location, token=token) as client:
            for call in calls_of(client):
                with pytest.raises(PermissionError, match="token"):
                    call()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer other")],
        [(b"authorization", b"bearer s3cret")],
        [(b"authorization", b"Basic s3cret")],
        [(b"authorization", b"s3cret")],
        [(b"token", b"s3cret")],
        [(b"authorization", b"Bearer other"), (b"authorization", b"Bearer s3cret")],
    ],
)
def test_other_headers(headers: Any, folder: Path, serving: Serving) -> None:
    """Of any client, nothing is listed or read, and nothing is told of names."""
    plain = fl.connect(serving(folder, token="s3cret").location)
    options = fl.FlightCallOptions(headers=headers)
    descriptor = fl.FlightDescriptor.for_path("x.arrows")
    for call in (
        lambda: list(plain.list_flights(options=options)),
        lambda: plain.get_flight_info(descriptor, options),
        lambda: plain.get_schema(descriptor, options),
        lambda: plain.do_get(fl.Ticket(b'{"name": "x.arrows"}'), options).read_all(),
        lambda: plain.do_get(fl.Ticket(b"no JSON"), options).read_all(),
        lambda: list(plain.list_actions(options)),
        lambda: list(plain.do_action("x", options)),
        lambda: plain.do_put(descriptor, TABLE.schema, options)[0].close(),
    ):
        # pyarrow's get_schema has no errors of Flight.
        with pytest.raises(
            (fl.FlightUnauthenticatedError, OSError), match="missing or wrong"
        ):
            call()


def test_any_client_sends_the_header(folder: Path, serving: Serving) -> None:
    plain = fl.connect(serving(folder, token="s3cret").location)
    options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer s3cret")])
    ticket = fl.Ticket(b'{"name": "x.arrows"}')
    assert plain.do_get(ticket, options).read_all() == TABLE


class Certificates:
    """An authority, and a server's certificate."""

    def __init__(self, folder: Path, **options: Any) -> None:
        authority = trustme.CA()
        made = authority.issue_cert("127.0.0.1", "localhost", **options)
        self.root = authority.cert_pem.bytes()
        self.key = made.private_key_pem.bytes()
        self.chain = b"".join(one.bytes() for one in made.cert_chain_pems)
        self.files = (folder / "cert.pem", folder / "key.pem")
        self.files[0].write_bytes(self.chain)
        self.files[1].write_bytes(self.key)


def test_tls(folder: Path, tmp_path: Path, serving: Serving) -> None:
    made = Certificates(tmp_path)
    for tls in ((made.chain, made.key), made.files, (made.chain.decode(), made.key)):
        server = serving(folder, tls=tls, token="s3cret", writable=True)
        assert server.location.startswith("grpc+tls://127.0.0.1:")
        with flight.connect(
            server.location, token="s3cret", tls_root=made.root
        ) as client:
            assert client.stream("x.arrows").read_all() == TABLE
    root = tmp_path / "root.pem"
    root.write_bytes(made.root)
    with flight.connect(server.location, token="s3cret", tls_root=root) as client:
        assert len(client.list()) == 2
    # Another authority, none, and no TLS.
    other = Certificates(tmp_path)
    for location, options in (
        (server.location, {"tls_root": other.root}),
        (server.location, {}),
        (server.location.replace("+tls", ""), {}),
    ):
        with flight.connect(location, token="s3cret", retries=0, **options) as client:
            for call in calls_of(client):
                with pytest.raises(ConnectionError):
                    call()


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
def test_a_certificate_of_another_time(
    days: tuple[int, int], folder: Path, tmp_path: Path, serving: Serving
) -> None:
    """It has expired, or this machine's clock is behind."""
    now = dt.datetime.now(dt.UTC)
    first, last = (now + dt.timedelta(days=n) for n in days)
    made = Certificates(tmp_path, not_before=first, not_after=last)
    server = serving(folder, tls=(made.chain, made.key))
    with flight.connect(server.location, tls_root=made.root, retries=0) as client:
        for call in calls_of(client):
            with pytest.raises(ConnectionError, match=r"(?i)certificate|verif"):
                call()


def test_wrong_certificates(folder: Path, tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    (tmp_path / "text").write_text("no PEM")
    for tls, error in (
        ((tmp_path / "none", made.key), FileNotFoundError),
        ((tmp_path / "text", made.key), ValueError),
        ((5, made.key), TypeError),
        ((made.chain, b"-----BEGIN PRIVATE KEY-----\nx"), ValueError),
        ((b"-----BEGIN CERTIFICATE-----\nx", made.key), ValueError),
        ((made.key, made.chain), ValueError),
    ):
        with pytest.raises(error):
            flight.serve(folder, tls=tls)
    with pytest.raises(ValueError, match="certificate"):
        flight.serve(folder, "grpc+tls://127.0.0.1:0")
    with pytest.raises(ValueError, match="PEM"):
        flight.connect("grpc+tls://127.0.0.1:1", tls_root=tmp_path / "text")


# ---- addresses ----


def test_the_port_is_in_use(folder: Path, server: flight.Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for location in (server.location, f"grpc://127.0.0.1:{port}"):
            with pytest.raises(OSError, match="in use") as caught:
                flight.serve(folder, location)
            assert caught.value.filename == location


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_addresses_of_other_machines(host: str, folder: Path) -> None:
    with pytest.raises(OSError, match=host):
        flight.serve(folder, f"grpc://{host}:0")


@pytest.mark.parametrize(
    "location",
    [
        "",
        "x",
        "http://x:1",
        "grpc://127.0.0.1",
        "grpc://:1",
        "grpc://x:99999",
        "grpc+unix:",
    ],
)
def test_invalid_addresses(location: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="location"):
        flight.serve(folder, location)
    with pytest.raises(TypeError, match="location"):
        flight.serve(folder, None)  # type: ignore[arg-type]


def test_the_path_of_a_socket_is_in_use(
    folder: Path, tmp_path: Path, serving: Serving
) -> None:
    location = f"grpc+unix://{tmp_path}/s"
    server = serving(folder, location)
    with pytest.raises(OSError, match="in use"):
        flight.serve(folder, location)
    with flight.connect(server.location) as client:
        assert len(client.list()) == 2
    server.close()
    assert flight.connect(serving(folder, location).location).list()


def test_addresses(folder: Path, tmp_path: Path, serving: Serving) -> None:
    os.chdir(tmp_path)
    for location in (
        "grpc://localhost:0",
        "grpc+tcp://127.0.0.1:0",
        "grpc://0.0.0.0:0",
        "grpc://[::1]:0",
        "grpc+unix:///" + os.path.relpath(tmp_path / "s", "/"),
    ):
        try:
            server = serving(folder, location)
        except OSError:
            assert "::1" in location
            continue
        with flight.connect(server.location) as client:
            assert client.stream("x.arrows").read_all() == TABLE


def test_errors_tell_nothing_of_the_machine(folder: Path, server: flight.Server) -> None:
    plain = fl.connect(server.location)
    for name in ("none", "below", "../x"):
        for call in (
            lambda name=name: plain.get_flight_info(fl.FlightDescriptor.for_path(name)),
            lambda name=name: plain.do_get(
                fl.Ticket(b'{"name": "%s"}' % name.encode())
            ).read_all(),
        ):
            with pytest.raises((fl.FlightServerError, pa.ArrowException)) as caught:
                call()
            assert str(folder) not in str(caught.value)
            assert "Traceback" not in str(caught.value)
