"""The command line, as a shell runs it."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import batchcorder
from kinds import ALL, batch_of

PROGRAM = (sys.executable, "-m", "batchcorder")


def run(
    *words: object, stdin: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *map(str, words)], input=stdin, capture_output=True, timeout=timeout
    )


def right(*words: object, stdin: bytes = b"") -> str:
    """Run what must succeed; return what it printed."""
    done = run(*words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


def wrong(status: int, *words: object, stdin: bytes = b"") -> str:
    """Run what must fail; return the one line that says why."""
    done = run(*words, stdin=stdin)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == status, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"batchcorder {words[0]}: ")
    return lines[0]


TABLE = pa.table(
    {
        "id": range(25),
        "name": ["x" * i for i in range(25)],
        "list": [[1, None]] * 25,
        "none": pa.nulls(25),
        "key": pa.array([f"k{i % 3}" for i in range(25)]).dictionary_encode(),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.arrows"
    batchcorder.record(TABLE.to_reader(max_chunksize=10), path).close()
    return path


def test_info(path: Path) -> None:
    text = right("info", path)
    facts = dict(re.findall(r"^(\w+) +(.*)$", text, re.M))
    assert facts["kind"] == "recording"
    assert facts["complete"] == "yes"
    assert (facts["rows"], facts["batches"], facts["columns"]) == ("25", "3", "5")
    for field in TABLE.schema:
        assert re.search(rf"^  {field.name} +[\d.]+ bytes +{re.escape(str(field.type))}$",
                         text, re.M)  # fmt: skip


def test_info_for_programs(path: Path) -> None:
    info = json.loads(right("info", "--json", path))
    with batchcorder.open(path) as cache:
        assert info["rows"] == cache.num_rows
        assert info["columns"][0]["bytes"] == cache.info()["columns"][0]["bytes"]
    assert info["columns"][1] == {
        "name": "name",
        "type": "string",
        "bytes": info["columns"][1]["bytes"],
        "nullable": True,
    }
    assert info["kind"] == "recording"
    assert info["complete"] is True
    assert info["dictionary_batches"] == 1


def test_info_of_what_is_not_complete(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)
    assert re.search(r"^complete +no", right("info", path), re.M)
    assert json.loads(right("info", "--json", path))["rows"] == 25


def test_info_of_files_of_others(tmp_path: Path) -> None:
    for new, kind in ((pa.ipc.new_stream, "stream"), (pa.ipc.new_file, "file")):
        path = tmp_path / kind
        with new(path, TABLE.schema) as out:
            out.write_table(TABLE)
        assert json.loads(right("info", "--json", path))["kind"] == kind


def test_verify(path: Path) -> None:
    assert right("verify", path) == f"{path}: 3 batches, all right\n"
    data = bytearray(path.read_bytes())
    data[data.index(b"xxxxxxxxxxxxxxx")] ^= 1
    path.write_bytes(data)
    assert re.search(r"Checksum mismatch for batch \d", wrong(1, "verify", path))


@pytest.mark.parametrize("end", ["parquet", "csv", "arrow", "PARQUET", "feather"])
def test_record(end: str, tmp_path: Path) -> None:
    source, path = tmp_path / f"source.{end}", tmp_path / "y.arrows"
    table = TABLE.select(["id", "name"])
    if end.lower() == "parquet":
        pa.parquet.write_table(table, source)
    elif end == "csv":
        pa.csv.write_csv(table, source)
    else:
        with pa.ipc.new_file(source, table.schema) as out:
            out.write_table(table)
    assert right("record", source, path, "--compression", "zstd") == ""
    recorded = batchcorder.open(path)
    assert recorded.to_table() == table
    assert recorded.info()["compression"] == "zstd"


def test_a_pipe_round_trip(tmp_path: Path) -> None:
    """What cat writes, record records: all types there are."""
    columns = {name: batch_of(name).column(0) for name in ALL}
    batch = pa.record_batch(columns)
    one, two = tmp_path / "one", tmp_path / "two"
    source = pa.RecordBatchReader.from_batches(
        batch.schema, [batch.slice(i, 5) for i in range(0, batch.num_rows, 5)]
    )
    batchcorder.record(source, one).close()
    stream = run("cat", one)
    assert stream.returncode == 0, stream.stderr
    right("record", "-", two, stdin=stream.stdout)
    with batchcorder.open(one) as mine, batchcorder.open(two, verify=True) as copy:
        assert copy.schema.equals(mine.schema, check_metadata=True)
        assert [b.num_rows for b in copy] == [b.num_rows for b in mine]
        for got, expected in zip(copy, mine, strict=True):
            for name in ALL:
                assert got[name].to_pylist() == expected[name].to_pylist(), name


def test_cat(path: Path) -> None:
    done = run("cat", path, "--columns", "key,id", "--start", 1, "--stop", 2)
    got = pa.ipc.open_stream(done.stdout).read_all()
    assert got == TABLE.select(["key", "id"]).slice(10, 10)


def test_cat_to_nobody(path: Path) -> None:
    """A consumer that has enough ends it without a word."""
    big = pa.table({"x": range(1_000_000)})
    path = path.with_name("big")
    batchcorder.record(big.to_reader(max_chunksize=1000), path).close()
    with subprocess.Popen(
        [*PROGRAM, "cat", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == -signal.SIGPIPE


def test_cat_follows(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    cache = batchcorder.StreamCache.__new__(batchcorder.StreamCache)
    cache._record(
        TABLE.to_reader(max_chunksize=5),
        os.fsencode(path),
        compression=None,
        durable=False,
        prefetch=None,
        resume=False,
    )
    cache._ingest_to(1)
    with subprocess.Popen(
        [*PROGRAM, "cat", "--follow", str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        stream = pa.ipc.open_stream(process.stdout)
        batches = [stream.read_next_batch()]
        for number in range(2, 6):
            cache._ingest_to(number)
            batches.append(stream.read_next_batch())
        cache.ingest_all()
        with pytest.raises(StopIteration):
            stream.read_next_batch()
        assert process.wait(30) == 0
    assert pa.Table.from_batches(batches) == TABLE


def test_cat_follows_a_writer_that_dies(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    cache = batchcorder.cached(path, lambda: TABLE.to_reader(max_chunksize=5))
    cache._ingest_to(2)
    cache.close()
    assert "died" in wrong(1, "cat", "--follow", path)


def test_head(path: Path) -> None:
    lines = right("head", path, "-n", 3).splitlines()
    assert lines[0].split() == ["id", "name", "list", "none", "key"]
    assert [line.split() for line in lines[2:]] == [
        ["0", "[1,", "None]", "null", "k0"],
        ["1", "x", "[1,", "None]", "null", "k1"],
        ["2", "xx", "[1,", "None]", "null", "k2"],
    ]
    assert len({line.index("[1,") for line in lines[2:]}) == 1
    lines = right("head", path, "--columns", "id", "--start", 2).splitlines()
    assert lines == ["id", "int64", "20", "21", "22", "23", "24"]
    assert len(right("head", path).splitlines()) == 12


def test_head_of_nothing(tmp_path: Path) -> None:
    for name, table in (("rows", pa.table({"x": pa.array([], pa.int8())})),
                        ("columns", pa.table({}))):  # fmt: skip
        batchcorder.record(table, tmp_path / name).close()
        right("head", tmp_path / name)
        right("info", tmp_path / name)


def test_mistakes(path: Path, tmp_path: Path) -> None:
    missing, folder, text = tmp_path / "no", tmp_path / "folder", tmp_path / "text"
    folder.mkdir()
    text.write_text("hello, this is no Arrow data\n" * 10)
    for command in ("info", "verify", "cat", "head"):
        assert str(missing) in wrong(1, command, missing)
        assert str(folder) in wrong(1, command, folder)
        assert str(text) in wrong(1, command, text)
    assert "exists" in wrong(2, "record", path, path)
    assert 'Field "nope"' in wrong(2, "cat", "--columns", "nope", path)
    wrong(1, "record", text, tmp_path / "new")
    wrong(1, "record", text, tmp_path / "new", "--format", "parquet")
    wrong(1, "record", "-", tmp_path / "new", stdin=b"not a stream")
    assert not (tmp_path / "new").exists()
    for words in (["nope"], ["info"], ["cat", path, "--start", "-1"], []):
        done = run(*words)
        assert done.returncode == 2
        assert b"usage:" in done.stderr
        assert b"Traceback" not in done.stderr


def test_an_input_that_is_cut_off(path: Path, tmp_path: Path) -> None:
    stream = run("cat", path).stdout
    new = tmp_path / "new"
    wrong(1, "record", "-", new, stdin=stream[: len(stream) * 2 // 3])
    assert "not complete" in wrong(1, "cat", new)
    with batchcorder.open(new, partial=True) as part:
        rows = part.to_table()
    assert rows.num_rows > 0
    assert rows == TABLE.slice(0, rows.num_rows)


def test_progress_in_a_terminal(path: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(
        [*PROGRAM, "record", str(path), str(tmp_path / "y")], stderr=theirs
    ) as process:
        assert process.wait(60) == 0
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 5)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    os.close(ours)
    assert b"recording" in shown
    assert b"/25.0" in shown
    assert run("record", path, tmp_path / "z").stderr.count(b"\n") == 1


def test_a_terminal_gets_no_stream(path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, "cat", str(path)], stdout=theirs, stderr=subprocess.PIPE, timeout=60
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


def test_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    cache = batchcorder.cached(path, lambda: TABLE.to_reader(max_chunksize=5))
    cache._ingest_to(1)
    with subprocess.Popen(
        [*PROGRAM, "cat", "--follow", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pa.ipc.open_stream(process.stdout).read_next_batch()
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""
    cache.close()


def test_help(path: Path) -> None:
    """Every command explains itself, and its examples are of commands that there are."""
    text = right("--help")
    commands = re.findall(r"^    (\w+)  +\w", text, re.M)
    assert set(commands) == {"info", "verify", "record", "cat", "head"}
    for command in commands:
        text += right(command, "--help")
    for example in re.findall(r"^  (?:.*\| )?batchcorder (\w+)", text, re.M):
        assert example in commands
    assert right("--version").strip() == f"batchcorder {batchcorder.__version__}"


def test_the_script_is_installed() -> None:
    script = Path(sys.executable).with_name("batchcorder")
    if not script.exists():
        pytest.skip("not installed as a script")
    done = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("batchcorder ")


def test_in_process(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from batchcorder._cli import main

    assert main(["info", str(path)]) == 0
    assert "recording" in capsys.readouterr().out
    assert main(["info", str(path) + "no"]) == 1
    assert io.StringIO(capsys.readouterr().err).readline().startswith("batchcorder info")
