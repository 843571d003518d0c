"""`batchcorder serve`, and `batchcorder record` of a server's recording."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import batchcorder
from batchcorder import flight
from command_line import served
from helpers import TABLE, Gate, Task, numbered, orders, wait_until

PROGRAM = [sys.executable, "-m", "batchcorder"]


def run(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_serve_and_record(folder: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with served(folder, "--writable", "--token-file", token) as (location, child):
        with flight.connect(location, token="s3cret") as client:
            assert client.record(orders(), "new") == 10
        copy = tmp_path / "copy.arrows"
        done = run(["record", f"{location}/below/y.arrows", copy, "--token-file", token])
        assert (done.returncode, done.stdout) == (0, "")
        assert "2,000 rows, 10 batches" in done.stderr
        assert batchcorder.open(copy).to_table() == TABLE
        done = run(["record", f"{location}/x.arrows", tmp_path / "z"])
        assert done.returncode == 1
        assert "the token is missing or wrong" in done.stderr
        done = run(["record", f"{location}/none", tmp_path / "z", "--token-file", token])
        assert done.returncode == 1
        assert f"{location}/none: there is no such recording" in done.stderr
        assert not (tmp_path / "z").exists()
        child.send_signal(signal.SIGTERM)
        assert child.wait(120) == 0


def test_a_recording_that_grows(folder: Path, tmp_path: Path) -> None:
    gate = Gate(numbered(8), 4)
    writer = Task(batchcorder.record, gate, folder / "growing")
    assert gate.reached.wait(120)
    with served(folder) as (location, child):
        copy = tmp_path / "copy"
        task = Task(run, ["record", f"{location}/growing", copy])
        wait_until(copy.exists)
        gate.opened.set()
        writer.result().close()
        assert task.result().returncode == 0
        assert batchcorder.open(copy).num_rows == 32
        child.send_signal(signal.SIGINT)
        assert child.wait(120) == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["serve"], 2, "PATH"),
        (["serve", "none"], 1, "none"),
        (["serve", ".", "--location", "x"], 1, "x"),
        (["serve", ".", "--location", "grpc://192.0.2.1:1"], 1, "192.0.2.1"),
        (["serve", ".", "--tls-cert", "c"], 2, "--tls-key"),
        (["serve", ".", "--tls-cert", "c", "--tls-key", "k"], 1, "No such file"),
        (["serve", ".", "--token-file", "none"], 1, "none: No such file"),
        (["serve", ".", "--token-file", "empty"], 2, "empty: the file has no token"),
        (["record", "grpc://127.0.0.1:1", "z"], 2, "grpc://host:port/name"),
        (["record", "grpc://127.0.0.1:1/x", "z"], 1, "grpc://127.0.0.1:1/x: "),
        (["record", "grpc://no-such-host.invalid:1/x", "z"], 1, "no-such-host"),
    ],
)
def test_errors(words: list[str], code: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.chdir(tmp_path)
    done = run(words)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "z").exists()
