"""Servers of objects on this machine: two that speak S3, and nginx."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

KEY, SECRET = "batchcorder", "not-a-secret"
BUCKET = "recordings"
REGION = "us-east-1"
# Seconds for a server to start.
_START_SECONDS = 120

_NGINX = """
{user}
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location /plain/ {{ alias {root}/; max_ranges 0; }}
        location /private/ {{ return 403; }}
    }}
}}
"""


class Server(NamedTuple):
    """A running server."""

    name: str
    port: int
    folder: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS  # clock: a deadline
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:  # clock: a deadline
                raise
        time.sleep(0.05)  # sleep: between looks at a condition


@contextlib.contextmanager
def _running(
    name: str, command: list[str], port: int, folder: Path, **variables: str
) -> Iterator[Server]:
    log = folder / f"{name}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **variables}
        )
    try:
        _wait(process, port, log)
        yield Server(name, port, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def moto(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """Run moto: it keeps objects in memory, and checks no signature."""
    port = free_port()
    code = "from moto.server import main; main()"
    command = [sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(port)]
    return _running("moto", command, port, folder)


def nanio(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """Run nanio: it keeps objects in files, and checks signatures."""
    port = free_port()
    (folder / "data").mkdir()
    command = [
        *(sys.executable, "-m", "nanio", "serve", "--no-access-log", "--host"),
        *("127.0.0.1", "--port", str(port), "--data-dir", str(folder / "data")),
    ]
    keys = {"NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET}
    return _running("nanio", command, port, folder, **keys)


def nginx_path() -> str | None:
    """Return the program nginx, which may be in a folder of administrators."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return shutil.which("nginx", path=path)


def nginx(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """Run nginx over the files in a folder `root`."""
    port = free_port()
    root = folder / "root"
    root.mkdir()
    # Another user cannot read the folder. Only root's nginx may choose the user.
    user = "user root;" if os.geteuid() == 0 else ""
    settings = folder / "nginx.conf"
    settings.write_text(_NGINX.format(folder=folder, port=port, root=root, user=user))
    command = [nginx_path() or "nginx", "-c", str(settings), "-e", f"{folder}/error.log"]
    return _running("nginx", command, port, folder)


__all__ = ["BUCKET", "KEY", "REGION", "SECRET", "Server", "free_port", "moto", "nanio",
           "nginx", "nginx_path"]  # fmt: skip
