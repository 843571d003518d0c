"""The command line in its own process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchcorder
from children import fork, kill, killed, status, stream, write
from command_line import run, served, works
from helpers import ids, numbered, reader_of, wait_until
from kinds import ALL as KINDS

BATCHES = 4
IDS = list(range(4 * BATCHES))
PROGRAM = [sys.executable, "-m", "batchcorder"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own directory, with a recording in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def x() -> str:
    batchcorder.record(stream(BATCHES), "x.arrows").close()
    return "x.arrows"


def start(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start the program as a separate process."""
    return subprocess.run(
        [*PROGRAM, *words], check=False, text=True, timeout=300, **options
    )


def record(*words: str, **options: Any) -> str:
    """Record, and return the standard error of the command."""
    done = run("record", *words, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return str(done.stderr)


def fails(code: int, *words: str, **options: Any) -> str:
    """Return the one line of the error message."""
    done = run(*words, **options)
    assert done.returncode == code, done.stderr
    assert re.fullmatch(rf"batchcorder {words[0]}: [^\n]+\n", done.stderr), done.stderr
    return str(done.stderr).removeprefix(f"batchcorder {words[0]}: ").rstrip("\n")


def misused(*words: str) -> str:
    """Return the last line of argparse's message."""
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: batchcorder")
    return str(done.stderr).splitlines()[-1]


def cat(*words: str) -> pa.Table:
    done = run("cat", *words, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return pa.ipc.open_stream(done.stdout).read_all()


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which `batchcorder` is the tested program."""
    own = f'batchcorder() {{ "{sys.executable}" -m batchcorder "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", own + "set -o pipefail\n" + line],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


# ---- info ----


def test_info(x: str) -> None:
    lines = works("info", x).splitlines()
    facts = dict(line.split(None, 1) for line in lines[:-1])
    assert facts["path"] == x
    assert facts["kind"] == "recording"
    assert facts["complete"] == "yes"
    assert (facts["rows"], facts["batches"]) == ("16", "4")
    assert facts["size"].endswith(f"({os.path.getsize(x):,})")
    assert (facts["compression"], facts["checksums"]) == ("none", "yes")
    assert facts["dictionaries"] == "0 messages, 0 bytes"
    assert lines[-1].split() == ["id", "128", "bytes", "int64"]


def test_info_as_json() -> None:
    table = pa.table(
        {"a": pa.array(["x", "y", "x"]).dictionary_encode(), "é": [1, 2, None]},
        pa.schema(
            [
                pa.field("a", pa.dictionary(pa.int32(), pa.string()), nullable=False),
                pa.field("é", pa.int64()),
            ],
            {"key": "value"},
        ),
    )
    batchcorder.record(table, "x.arrows", compression="zstd")
    info = json.loads(works("info", "--json", "x.arrows"))
    assert info["path"] == "x.arrows"
    assert info["kind"] == "recording"
    assert info["complete"] is True
    assert info["is_written"] is False
    assert (info["rows"], info["batches"]) == (3, 1)
    assert info["bytes"] == os.path.getsize("x.arrows")
    assert info["compression"] == "zstd"
    assert info["checksums"] is True
    assert info["dictionary_batches"] == 1
    assert info["dictionary_bytes"] > 0
    assert info["metadata"] == {"key": "value"}
    assert [column["name"] for column in info["columns"]] == ["a", "é"]
    assert [column["nullable"] for column in info["columns"]] == [False, True]
    assert info["columns"][1]["type"] == "int64"
    assert all(column["bytes"] > 0 for column in info["columns"])
    assert "not null" in works("info", "x.arrows")


@pytest.mark.parametrize("form", ["file", "stream"])
def test_info_of_files_of_other_libraries(form: str) -> None:
    batches = numbered(BATCHES)
    make = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with make("x.arrow", batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    info = json.loads(works("info", "--json", "x.arrow"))
    assert (info["kind"], info["complete"], info["rows"]) == (form, True, 16)
    assert info["checksums"] is False
    assert f"Arrow IPC {form}" in works("info", "x.arrow")
    assert "16 of 16 rows" in works("head", "-n", "20", "x.arrow")
    assert ids(cat("x.arrow")) == IDS
    assert "all right" in works("verify", "x.arrow")
    os.truncate("x.arrow", os.path.getsize("x.arrow") - 40)
    info = json.loads(works("info", "--json", "x.arrow"))
    assert info["complete"] is False
    assert info["is_written"] is False


def test_info_of_incomplete_recordings() -> None:
    cache = batchcorder.cached("x.arrows", lambda: stream(BATCHES))
    cache[:3]
    assert "no: it is being written" in works("info", "x.arrows")
    cache.close()
    said = works("info", "x.arrows")
    assert "no: it is cut off" in said
    assert re.search(r"^batches +3$", said, re.MULTILINE)


# ---- verify ----


def test_verify(x: str) -> None:
    assert works("verify", x) == "x.arrows: 4 batches, all right\n"
    shutil.copy(x, "y.arrows")
    with open("y.arrows", "r+b") as file:
        file.seek(os.path.getsize(x) // 2)
        file.write(b"\xff")
    done = run("verify", "y.arrows", x, "none")
    assert done.returncode == 1
    assert done.stdout == "x.arrows: 4 batches, all right\n"
    wrong, missing = done.stderr.splitlines()
    assert re.fullmatch(r"batchcorder verify: y.arrows: .*batch \d.*", wrong)
    assert missing == "batchcorder verify: none: No such file or directory"


def test_verify_of_incomplete_recordings() -> None:
    batchcorder.cached("x.arrows", lambda: stream(BATCHES)).close()
    assert fails(1, "verify", "x.arrows") == (
        "x.arrows: The recording is not complete: a process is still writing it, or its "
        "writer died"
    )


# ---- record ----


def test_record_parquet() -> None:
    table = pa.table(
        {
            "id": pa.array(range(200_000), pa.int64()),
            "d": pa.array([f"v{i % 7}" for i in range(200_000)]).dictionary_encode(),
            "l": pa.array([[i, None] for i in range(200_000)]),
        }
    ).replace_schema_metadata({"key": "value"})
    pq.write_table(table, "x.parquet", row_group_size=50_000)
    assert record("x.parquet", "x.arrows").startswith(
        "batchcorder record: x.arrows: 200,000 rows, "
    )
    with batchcorder.open("x.arrows") as cache:
        assert len(cache) > 1
        assert cache.schema.metadata[b"key"] == b"value"
        assert cache.schema.equals(table.schema)
        assert cache.to_table().equals(table)
    # The format also follows from the first bytes, or from `--format`.
    shutil.copy("x.parquet", "y")
    record("y", "y.arrows", "--compression", "lz4", "--durable")
    assert batchcorder.open("y.arrows").info()["compression"] == "lz4"
    record("y", "z.arrows", "--format", "parquet")


def test_record_csv() -> None:
    Path("x.csv").write_text("a,b\n1,x\n2,\n")
    Path("x.tsv").write_text("a\tb\n1\tx,y\n")
    Path("x.txt").write_text("a\n5\n")
    with gzip.open("y.csv.gz", "wt") as out:
        out.write("a,b\n1,x\n2,\n")
    assert record("x.csv", "a") == "batchcorder record: a: 2 rows, 1 batch\n"
    assert cat("a").to_pydict() == {"a": [1, 2], "b": ["x", ""]}
    record("x.tsv", "b")
    assert cat("b").to_pydict() == {"a": [1], "b": ["x,y"]}
    record("y.csv.gz", "c")
    assert cat("c").to_pydict() == {"a": [1, 2], "b": ["x", ""]}
    hint = fails(1, "record", "x.txt", "d")
    assert hint.startswith("x.txt: Not an Arrow stream or file")
    assert hint.endswith("or name the format with --format")
    assert "--format" not in fails(1, "record", "x.txt", "d", "--format", "arrow")
    record("x.txt", "d", "--format", "csv")
    assert cat("d").to_pydict() == {"a": [5]}


def test_record_arrow_files_and_pipes(x: str) -> None:
    record(x, "a.arrows")
    assert ids(cat("a.arrows")) == IDS
    with pa.ipc.new_file("x.feather", numbered(1)[0].schema) as out:
        for batch in numbered(BATCHES):
            out.write_batch(batch)
    record("x.feather", "b.arrows")
    assert ids(cat("b.arrows")) == IDS
    done = shell("batchcorder record <(batchcorder cat x.arrows) c.arrows")
    assert done.returncode == 0, done.stderr
    assert ids(cat("c.arrows")) == IDS
    done = shell("cat x.arrows | batchcorder record - d.arrows")
    assert done.returncode == 0, done.stderr
    assert ids(cat("d.arrows")) == IDS
    for command in ("info", "verify", "head", "cat"):
        raw = Path(x).read_bytes()
        assert run(command, "-", input=raw, text=False).returncode == 0
        done = shell(f"cat {x} | batchcorder {command} - > out")
        assert (done.returncode, done.stderr) == (0, "")
        done = shell(f"batchcorder {command} <(cat {x}) > out")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_record_needs_little_memory(form: str) -> None:
    """The command records about 60 MB and keeps a small part of it in memory."""
    rows = 1 << 22
    if form == "csv":
        with open("x.csv", "w") as out:
            out.write("a,b\n")
            line = "".join(f"{i},{i * 7}\n" for i in range(1 << 14))
            for _ in range(rows >> 14):
                out.write(line)
    else:
        import numpy as np

        numbers = pa.array(np.random.default_rng(1).integers(0, 1 << 62, rows))
        table = pa.table({"a": numbers, "b": numbers})
        pq.write_table(table, "x.parquet", row_group_size=1 << 18)
        del table, numbers

    def peak(*words: str) -> int:
        with subprocess.Popen([*PROGRAM, *words], stderr=subprocess.DEVNULL) as child:
            _, code, usage = os.wait4(child.pid, 0)
            child.returncode = code
        assert code == 0
        return usage.ru_maxrss >> 10

    Path("small.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({"a": [1]}), "small.parquet")
    base = peak("record", f"small.{form}", "small.arrows")
    assert peak("record", f"x.{form}", "x.arrows") - base < 48
    assert os.path.getsize("x.arrows") > 60 << 20


# ---- pipes ----


def everything() -> pa.Table:
    """Return a table of every type, in batches that are slices of it."""
    names = list(KINDS)
    fields = [pa.field(name, KINDS[name].type, metadata={"unit": name}) for name in names]
    schema = pa.schema(fields, {"of": "kinds"})
    batch = pa.RecordBatch.from_arrays([KINDS[name] for name in names], schema=schema)
    parts = [batch, batch.slice(3, 11), batch.slice(7, 0), batch.slice(8, 8)]
    return pa.Table.from_batches(parts, schema)


def test_a_pipe_carries_every_type() -> None:
    with batchcorder.record(everything(), "x.arrows") as cache:
        wanted = cache.to_table()
    done = shell("batchcorder cat x.arrows | batchcorder record - y.arrows")
    assert done.returncode == 0, done.stderr
    with batchcorder.open("y.arrows", verify=True) as cache:
        got = cache.to_table()
        assert got.schema.equals(wanted.schema, check_metadata=True)
        for name in wanted.column_names:
            assert got[name].equals(wanted[name]), name
        assert [b.num_rows for b in cache] == [
            b.num_rows for b in everything().to_batches()
        ]
    assert batchcorder.verify("y.arrows") == 4
    shown = works("head", "-n", "30", "x.arrows")
    assert all(name in shown for name in KINDS)


def changing_dictionaries() -> list[pa.RecordBatch]:
    """Return batches whose dictionaries stay, grow, change or are nested."""
    made = []
    for values in ("ab", "ab", "abc", "xyz", "xyzw", "a"):
        texts = pa.DictionaryArray.from_arrays(
            pa.array([len(values) - 1, None, 0], pa.int8()), list(values)
        )
        inner = pa.DictionaryArray.from_arrays(
            pa.array([0, 1, 0], pa.int16()),
            pa.StructArray.from_arrays([texts[:2]], ["t"]),
        )
        lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 3], pa.int32()), texts)
        made.append(pa.record_batch([texts, inner, lists], ["t", "i", "l"]))
    return made


def test_cat_of_dictionaries_that_change() -> None:
    batches = changing_dictionaries()
    wanted = [batch.to_pydict() for batch in batches]
    source = reader_of(batches)
    batchcorder.record(source, "x.arrows").close()
    done = run("cat", "x.arrows", text=False)
    got = list(pa.ipc.open_stream(done.stdout))
    assert [batch.to_pydict() for batch in got] == wanted
    done = run("cat", "x.arrows", "--columns", "l,t", "--start", "3", text=False)
    got = list(pa.ipc.open_stream(done.stdout))
    assert [batch.to_pydict() for batch in got] == [
        {"l": one["l"], "t": one["t"]} for one in wanted[3:]
    ]
    shell("batchcorder cat x.arrows | batchcorder record - y.arrows")
    with batchcorder.open("y.arrows", verify=True) as cache:
        assert [batch.to_pydict() for batch in cache] == wanted
    done = run("head", "-n", "20", "x.arrows")
    assert done.returncode == 0, done.stderr


def test_cat_of_a_part() -> None:
    table = pa.table({"a": [1, 2, 3], "b": list("xyz"), "c": [0.5, 1.5, 2.5]})
    batchcorder.record(table.to_reader(max_chunksize=1), "x.arrows").close()
    assert cat("x.arrows").equals(table)
    assert cat("x.arrows", "--columns", "c,a").equals(table.select(["c", "a"]))
    assert cat("x.arrows", "--start", "1").equals(table[1:])
    assert cat("x.arrows", "--stop", "2").equals(table[:2])
    part = cat("x.arrows", "--start", "1", "--stop", "2", "--columns", "b")
    assert part.to_pydict() == {"b": ["y"]}
    assert cat("x.arrows", "--start", "9").num_rows == 0
    assert cat("x.arrows", "--start", "2", "--stop", "1").num_rows == 0


def test_cat_ends_quietly_if_its_pipe_is_closed(x: str) -> None:
    done = shell(f"batchcorder cat {x} | head -c 10 | wc -c")
    assert (done.stdout.strip(), done.stderr) == ("10", "")
    batchcorder.record(stream(2000), "long.arrows").close()
    # As cat itself does, the process ends by SIGPIPE, and the shell prints nothing.
    done = shell("batchcorder cat long.arrows | head -c 10 > out")
    assert done.returncode == 128 + signal.SIGPIPE
    for command in ("cat", "head -n 8000", "info", "verify"):
        done = shell(f"batchcorder {command} long.arrows | head -c 1 > out")
        assert done.stderr == "", command
        done = shell(f"batchcorder {command} long.arrows | true")
        assert done.stderr == "", command


def test_cat_of_an_incomplete_recording_writes_no_end(x: str) -> None:
    cache = batchcorder.cached("y.arrows", lambda: stream(BATCHES))
    cache[:2]
    cache.close()
    assert "not complete" in fails(1, "cat", "y.arrows")
    assert ids(cat("y.arrows", "--partial")) == IDS[:8]
    # If a batch in the middle is damaged, cat writes the batches before it and no end.
    raw = bytearray(Path(x).read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    Path("z.arrows").write_bytes(raw)
    done = run("cat", "z.arrows", text=False)
    assert done.returncode == 1
    assert b"z.arrows: " in done.stderr
    assert not done.stdout.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    done = shell("batchcorder cat z.arrows | batchcorder record - w.arrows")
    assert done.returncode == 1
    assert "standard input: the stream is cut off" in done.stderr
    assert "w.arrows: not complete" in done.stderr


# ---- cut and damaged sources ----


def test_record_of_a_stream_that_is_cut_off() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, numbered(1)[0].schema) as out:
        for batch in numbered(BATCHES):
            out.write_batch(batch)
    raw = sink.getvalue().to_pybytes()
    # Within the last batch, after it, and within the end marker.
    for number, cut in enumerate((30, 8, 3)):
        name = f"{number}.arrows"
        done = run("record", "-", name, input=raw[:-cut], text=False)
        assert done.returncode == 1
        kept, wrong = done.stderr.decode().splitlines()
        there = 3 if cut == 30 else 4
        assert kept.startswith(f"batchcorder record: {name}: not complete; ")
        assert f"{there} batches" in kept
        assert wrong.startswith("batchcorder record: standard input: ")
        assert fails(1, "cat", name).startswith(f"{name}: The recording is not complete")
        assert ids(cat(name, "--partial")) == IDS[: 4 * there]
    for text in (b"", b"no Arrow", raw[:20]):
        done = run("record", "-", "none.arrows", input=text, text=False)
        assert done.returncode == 1
        assert done.stderr.startswith(b"batchcorder record: standard input: ")
        assert done.stderr.count(b"\n") == 1
    assert not os.path.exists("none.arrows")


def test_record_of_a_recording_in_a_pipe(x: str) -> None:
    """The checksums and the trailer of a recording are also checked in a pipe."""
    raw = Path(x).read_bytes()
    record("-", "whole.arrows", input=raw)
    assert ids(batchcorder.open("whole.arrows")) == IDS
    assert batchcorder.verify("whole.arrows") == BATCHES
    flipped = bytearray(raw)
    flipped[raw.index(batchcorder.open(x)[2]["id"].buffers()[1].to_pybytes())] ^= 1
    renamed = raw.replace(b"batchcorder.xxh3", b"batchcordes.xxh3", 1)
    message = 8 + int.from_bytes(raw[4:8], "little")
    unpublished = raw[:message] + bytes(8) + raw[message + 8 : -40]
    for content, words in (
        (flipped, "Checksum mismatch for batch 2"),
        (renamed, "Checksum mismatch for the schema"),
        (unpublished, "The recording is not complete"),
        (raw[:-40], "The recording is not complete"),
    ):
        done = run("record", "-", "y", input=bytes(content))
        assert done.returncode == 1
        assert f"batchcorder record: standard input: {words}" in done.stderr
        assert done.stderr.count("\n") <= 2
        assert "y" not in os.listdir() or "y: not complete" in done.stderr
        Path("y").unlink(missing_ok=True)


def test_record_of_other_things_in_a_pipe() -> None:
    batches = numbered(BATCHES)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    record("-", "y", input=sink.getvalue())
    assert ids(batchcorder.open("y")) == IDS
    done = run("record", "-", "z", input=b"a,b\n1,2\n" * 99)
    assert done.returncode == 1
    assert "standard input: Not an Arrow stream or file, but text" in done.stderr


def test_info_of_a_pipe(x: str) -> None:
    """An incomplete recording in a pipe is reported, though a pipe is read only once."""
    raw = Path(x).read_bytes()[:-40]
    Path("cut.arrows").write_bytes(raw)
    os.mkfifo("pipe")
    done = shell("cat cut.arrows > pipe & batchcorder info pipe")
    assert (done.returncode, done.stderr) == (0, "")
    assert "it is cut off" in done.stdout
    assert "it is cut off" in works("info", "-", input=raw)


def test_control_characters_in_names() -> None:
    name = "a\nb\x1b[31m"
    batchcorder.record(pa.table({name: [1]}, metadata={name: "x"}), "x").close()
    for command in ("info", "head"):
        out = works(command, "x")
        assert "\x1b" not in out
        assert "a\\nb\\x1b[31m" in out


@pytest.mark.parametrize(
    ("column", "at", "value"),
    [
        (pa.array(["some", "text"]), 4, 2_000_000_000),
        (pa.array([[1, 2], [3]]), 4, 1_000_000_000),
        (pa.array(["some", "text"]).dictionary_encode(), 4, 1_000_000),
    ],
)
def test_head_of_a_damaged_recording(column: pa.Array, at: int, value: int) -> None:
    sink = io.BytesIO()
    table = pa.table({"x": column})
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    raw = bytearray(sink.getvalue())
    indices = getattr(column, "indices", None)
    known = column.buffers()[1][:12] if indices is None else indices.buffers()[1][:8]
    where = raw.rindex(known)
    raw[where + at : where + at + 4] = value.to_bytes(4, "little")
    Path("x").write_bytes(raw)
    assert "x: Batch 0 is invalid" in fails(1, "head", "x")


def test_head_of_an_unknown_time_zone() -> None:
    unknown = pa.array([2**62], pa.timestamp("ns", "nowhere/zone"))
    batchcorder.record(pa.table({"t": unknown}), "x").close()
    assert "2116-02-20" in works("head", "x")


def test_record_of_other_files_by_a_pipe(x: str) -> None:
    pq.write_table(pa.table({"a": [1]}), "x.parquet")
    Path("x.csv").write_text("a,b\n1,2\n")
    with gzip.open("x.gz", "w") as packed:
        packed.write(Path(x).read_bytes())
    Path("x.none").touch()
    other = "Not an Arrow stream or file, but"
    for name, words in {
        "x.parquet": f"{other} a Parquet file",
        "x.csv": f"{other} text, perhaps CSV",
        "x.gz": f"{other} compressed with gzip",
        "x.none": "The file ends before its schema does",
    }.items():
        for command in (f"cat {name} |", f"<{name}"):
            done = shell(f"{command} batchcorder record - to")
            assert done.returncode == 1
            assert done.stderr.startswith(f"batchcorder record: standard input: {words}")
    assert not os.path.exists("to")
    # The stream format of Arrow before 0.15.
    how = pa.ipc.IpcWriteOptions(use_legacy_format=True)
    with pa.ipc.new_stream("x.old", numbered(1)[0].schema, options=how) as old:
        for batch in numbered(BATCHES):
            old.write_batch(batch)
    done = shell("cat x.old | batchcorder record - to")
    assert done.returncode == 0, done.stderr
    assert ids(cat("to")) == IDS


# Four bytes that could be the size of a schema, as random bytes are now and then.
SIZED = r"printf '\x00\x00\x10\x00\xfc\xff\xff\xff'; cat /dev/zero"
ENDLESS = ["yes", "cat /dev/zero", "cat /dev/urandom", SIZED]


@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("command", ["record - to", "head -", "verify -", "info -"])
def test_an_endless_pipe_is_refused_by_its_beginning(endless: str, command: str) -> None:
    """An endless pipe would fill the disk."""
    done = shell(f"({endless}) 2>&- | batchcorder {command}")
    assert done.returncode == 1
    assert "Not an Arrow stream or file" in done.stderr


def test_errors_show_names_of_columns_that_are_printable() -> None:
    batchcorder.record(pa.table({"a\nb\x1b[31m": [1]}), "x.arrows").close()
    for command in ("cat", "head"):
        words = fails(2, command, "x.arrows", "--columns", "other")
        assert words.endswith(r"schema: a\nb\x1b[31m")


def test_record_of_sources_that_are_wrong() -> None:
    Path("bad.parquet").write_bytes(b"PAR1 and no more of it")
    Path("bad.csv").write_text("a,b\n" + "1,2\n" * 300_000 + "1,2,3\n")
    Path("empty.csv").write_text("")
    Path("text").write_text("no Arrow")
    pq.write_table(pa.table({"a": range(100_000)}), "cut.parquet", use_dictionary=False)
    raw = bytearray(Path("cut.parquet").read_bytes())
    raw[2000:60_000] = b"\xff" * 58_000
    Path("cut.parquet").write_bytes(raw)
    assert fails(1, "record", "bad.parquet", "y").startswith("bad.parquet: ")
    assert fails(1, "record", "empty.csv", "y") == "empty.csv: Empty CSV file"
    assert fails(1, "record", "text", "y").startswith("text: Not an Arrow")
    assert fails(1, "record", "none.csv", "y") == "none.csv: No such file or directory"
    assert fails(1, "record", ".", "y") == ".: Is a directory"
    assert not os.path.exists("y")
    for name in ("bad.csv", "cut.parquet"):
        done = run("record", name, f"{name}.arrows")
        assert done.returncode == 1
        kept, wrong = done.stderr.splitlines()
        assert "not complete" in kept
        assert wrong.startswith(f"batchcorder record: {name}: ")
        assert "Traceback" not in wrong


def test_record_to_invalid_destinations(x: str) -> None:
    before = Path(x).read_bytes()
    assert fails(1, "record", x, x).startswith("x.arrows: the file exists already")
    assert Path(x).read_bytes() == before
    assert "exists already" in fails(1, "record", "none", x)
    assert fails(1, "record", x, "none/y") == "none/y: No such file or directory"
    assert "Is a directory" in fails(1, "record", x, "none/")
    os.symlink("nowhere", "link")
    assert "exists already" in fails(1, "record", x, "link")
    assert sorted(os.listdir()) == ["link", "x.arrows"]


def test_record_on_a_full_disk() -> None:
    with open("x.csv", "w") as out:
        out.write("a\n" + "12345\n" * 500_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = start("record", "x.csv", "y.arrows", preexec_fn=limit, stderr=subprocess.PIPE)
    assert done.returncode == 1
    kept, wrong = done.stderr.splitlines()
    assert "y.arrows: not complete" in kept
    words = f"Disk write failed: {os.strerror(errno.EFBIG)}"
    assert wrong == f"batchcorder record: y.arrows: {words}"
    done = run("cat", "y.arrows", "--partial", text=False)
    assert done.returncode == 0


def test_output_on_a_full_disk(x: str) -> None:
    for words in (["info", x], ["cat", x], ["head", x], ["verify", x]):
        with open("/dev/full", "w") as full:
            done = start(*words, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == (
            f"batchcorder {words[0]}: standard output: No space left on device\n"
        )


def test_closed_descriptors(x: str) -> None:
    for line in (f"info {x} >&-", f"cat {x} >&-", "record - y <&-", "cat - <&-"):
        done = shell(f"batchcorder {line}")
        assert done.returncode == 2, line
        assert re.fullmatch(
            r"batchcorder \w+: standard (in|out)put is closed\n", done.stderr
        ), line
    assert shell(f"batchcorder info {x} 2>&-").returncode == 0
    assert shell("batchcorder info none 2>&-").returncode == 1


# ---- misuse ----


@pytest.mark.parametrize("command", ["info", "verify", "cat", "head"])
def test_files_that_are_wrong(x: str, command: str) -> None:
    assert fails(1, command, "none") == "none: No such file or directory"
    assert fails(1, command, ".") == ".: Is a directory"
    Path("empty").touch()
    assert fails(1, command, "empty").startswith("empty: The file ends before")
    Path("text").write_text("no Arrow, but some text of some length\n" * 9)
    assert fails(1, command, "text").startswith("text: Not an Arrow stream or file")
    shutil.copy(x, "damaged")
    with open("damaged", "r+b") as file:
        file.seek(20)
        file.write(b"\xff\xff\xff")
    assert fails(1, command, "damaged").startswith("damaged: ")
    assert fails(1, command, "a\nb \udcff").endswith("No such file or directory")


def test_calls_that_make_no_sense(x: str) -> None:
    assert "COMMAND" in misused()
    assert "invalid choice" in misused("play", x)
    assert "PATH" in misused("cat")
    assert "unrecognized" in misused("cat", x, "--nothing")
    assert "invalid number value: '-1'" in misused("head", x, "-n", "-1")
    assert "invalid number value: 'x'" in misused("cat", x, "--start", "x")
    assert "invalid number value" in misused("cat", x, "--stop", str(1 << 64))
    assert "not allowed with" in misused("cat", x, "--partial", "--follow")
    assert "invalid choice" in misused("record", x, "y", "--compression", "gzip")
    for command in ("cat", "head"):
        assert fails(2, command, x, "--columns", "id,other") == (
            'x.arrows: Field "other" does not exist in schema: id'
        )
    assert "pipe" in fails(2, "record", "-", "y", "--format", "csv", input=b"a\n1\n")
    assert "followed" in fails(2, "cat", "-", "--follow")
    assert works("--version") == f"batchcorder {batchcorder.__version__}\n"


# ---- head ----


def test_head() -> None:
    table = pa.table({"id": range(25), "text": [f"t{i}" for i in range(25)]})
    batchcorder.record(table.to_reader(max_chunksize=4), "x.arrows").close()
    lines = works("head", "x.arrows").splitlines()
    assert lines[0].split() == ["id", "text"]
    assert lines[1].split() == ["int64", "string"]
    assert [line.split() for line in lines[2:12]] == [
        [str(i), f"t{i}"] for i in range(10)
    ]
    assert lines[12:] == ["10 of 25 rows, 2 columns"]
    lines = works("head", "x.arrows", "-n", "1", "--start", "2").splitlines()
    assert lines[2].split() == ["8", "t8"]
    lines = works("head", "x.arrows", "-n", "0", "--columns", "text").splitlines()
    assert lines == ["text", "string", "0 of 25 rows, 1 column"]


def test_head_of_values_of_all_sorts() -> None:
    table = pa.table(
        {
            "n": [1, None, -300],
            "t": ["", None, "NULL"],
            "w": ["日本語", "a\tb\n\x1b[0m", "long " * 50],
            "l": [[1, None], None, []],
            "s": [{"a": 1, "b": None}, None, {"a": None, "b": "x"}],
            "when": pa.array([0, 1 << 60, None], pa.timestamp("s")),
        }
    )
    batchcorder.record(table, "x.arrows").close()
    done = run("head", "x.arrows", ascii_only=True)
    assert done.returncode == 0, done.stderr
    assert "\\u65e5" in done.stdout
    lines = works("head", "x.arrows").splitlines()
    assert len(lines) == 6
    first, second, third = lines[2:5]
    assert re.search(r"^ +1 +日本語 +\[1, None\] +\{'a': 1, 'b': None\} +1970-", first)
    assert re.search(r"^ *NULL +NULL +a\\tb\\n\\x1b\[0m +NULL +NULL +", second)
    assert re.search(r"^ *-300 +'NULL' +long long .{10,40}… +\[\] +\{.*\} +NULL$", third)
    # Wide characters take two columns, and the columns after them stay aligned.
    assert first.index("[1") + 3 == lines[0].index("l  ")


def test_head_of_nothing() -> None:
    batchcorder.record(pa.table({"a": pa.array([], pa.int8())}), "x.arrows").close()
    assert works("head", "x.arrows") == "   a\nint8\n0 of 0 rows, 1 column\n"
    rows = pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))
    batchcorder.record(
        pa.RecordBatchReader.from_batches(rows.schema, [rows]), "y"
    ).close()
    assert works("head", "y").splitlines()[-1] == "5 of 5 rows, 0 columns"
    assert json.loads(works("info", "--json", "y"))["columns"] == []


# ---- terminals ----


def in_terminal(*words: str, on: str, columns: int = 60) -> tuple[int, str]:
    """Run with a terminal as one of its files.

    Return its exit status and its output there.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    files = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    files["stderr"] = subprocess.PIPE
    files[on] = slave
    # pytest imports readline, which sets COLUMNS in C but not in os.environ.
    with subprocess.Popen([*PROGRAM, *words], env=dict(os.environ), **files) as child:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data
        if child.stderr is not None:
            shown += child.stderr.read()
    os.close(master)
    return child.returncode, shown.decode()


def test_progress_is_shown_in_a_terminal(x: str) -> None:
    code, shown = in_terminal("record", x, "y.arrows", on="stderr")
    assert code == 0
    assert "recording" in shown
    assert "100%" in shown
    assert "y.arrows: 16 rows, 4 batches" in shown
    code, shown = in_terminal("verify", x, on="stderr")
    assert code == 0
    assert "verifying" in shown
    pq.write_table(pa.table({"a": range(1000)}), "x.parquet")
    code, shown = in_terminal("record", "x.parquet", "z.arrows", on="stderr")
    assert code == 0
    assert re.search(r"100%.*1\.00k/1\.00k", shown)
    assert "recording" not in record(x, "w.arrows").replace("recording:", "")


def test_no_streams_in_a_terminal(x: str) -> None:
    code, shown = in_terminal("cat", x, on="stdout")
    assert code == 2
    assert "terminal" in shown
    code, shown = in_terminal("record", "-", "y", on="stdin")
    assert code == 2
    assert "terminal" in shown
    assert not os.path.exists("y")


def test_a_table_fits_the_terminal() -> None:
    table = pa.table({f"column{i}": [f"value {i}"] for i in range(20)})
    batchcorder.record(table, "x.arrows").close()
    for columns in (40, 60):
        code, shown = in_terminal("head", "x.arrows", on="stdout", columns=columns)
        assert code == 0
        lines = shown.replace("\r", "").splitlines()
        assert [line for line in lines if len(line) > columns] == []
        assert lines[0].startswith("column0  column1")
        assert re.match(r"and 1\d more columns: column\d", lines[3])
    assert "column19" in works("head", "x.arrows").splitlines()[0]


# ---- following ----


def lets(pipe: int) -> Callable[[int], None]:
    def before(i: int) -> None:
        if i < BATCHES:
            assert os.read(pipe, 1) == b"."

    return before


def follow(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, "cat", "x.arrows", "--follow", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def there(path: str) -> int:
    """Return the number of batches in the file so far."""
    try:
        return len(batchcorder.open(path, partial=True))
    except OSError:
        return 0


def test_cat_follows() -> None:
    out, into = os.pipe()
    writer = fork(write, "x.arrows", BATCHES, lets(out))
    wait_until(lambda: os.path.exists("x.arrows"))
    with killed(writer), follow() as child:
        os.write(into, b".")
        reader = pa.ipc.open_stream(child.stdout)
        for number in range(BATCHES):
            # cat writes each batch before the next one is recorded.
            assert ids([reader.read_next_batch()]) == IDS[4 * number : 4 * number + 4]
            os.write(into, b".")
        with pytest.raises(StopIteration):
            reader.read_next_batch()
        assert child.wait(120) == 0
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert status(writer) == 0
    os.close(out)
    os.close(into)


def test_cat_follows_a_writer_that_dies() -> None:
    out, into = os.pipe()
    writer = fork(write, "x.arrows", BATCHES, lets(out))
    wait_until(lambda: os.path.exists("x.arrows"))
    os.write(into, b"..")
    with follow() as child:
        reader = pa.ipc.open_stream(child.stdout)
        assert ids([reader.read_next_batch() for _ in range(2)]) == IDS[:8]
        kill(writer)
        assert child.wait(120) == 1
        assert child.stdout is not None
        assert child.stderr is not None
        # The stream has no end marker.
        assert child.stdout.read() == b""
        assert child.stderr.read() == (
            b"batchcorder cat: x.arrows: The recording's writer died before it was "
            b"complete\n"
        )
    os.close(out)
    os.close(into)


def test_interrupts() -> None:
    """Ctrl-C ends each wait with status 130 and no traceback."""
    out, into = os.pipe()
    writer = fork(write, "x.arrows", BATCHES, lets(out))
    wait_until(lambda: os.path.exists("x.arrows"))
    os.write(into, b".")
    with killed(writer), follow() as child:
        pa.ipc.open_stream(child.stdout).read_next_batch()
        child.send_signal(signal.SIGINT)
        assert child.wait(120) == 130
        assert child.stderr is not None
        assert child.stderr.read() == b""
    os.close(out)
    os.close(into)
    command = [*PROGRAM, "record", "-", "y.arrows"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        with pa.ipc.new_stream(child.stdin, numbered(1)[0].schema) as sink:
            sink.write_batch(numbered(1)[0])
            child.stdin.flush()
            wait_until(lambda: there("y.arrows") == 1)
            child.send_signal(signal.SIGINT)
            assert child.wait(120) == 130
            said = child.stderr.read().decode()
            child.stdin.close = lambda: None  # type: ignore[method-assign]
    assert "Traceback" not in said
    assert re.fullmatch(
        r"batchcorder record: y.arrows: not complete; .*1 batch .*\n", said
    ), said


# ---- help ----


def examples(*words: str) -> list[str]:
    text = works(*words, "--help")
    _, _, text = text.partition("examples:\n")
    lines = [line[2:] for line in text.splitlines() if line.startswith("  batchcorder")]
    # Text after two spaces or more describes the example.
    return [line.split("   ")[0].strip() for line in lines]


def serve_example(line: str) -> None:
    """Run an example that serves until it is ended."""
    with served(*line.replace(":8815", ":0").split()[2:]) as (_, child):
        child.terminate()
        assert child.wait(120) == 0


@pytest.mark.parametrize(
    "command", ["", "info", "verify", "record", "cat", "head", "serve"]
)
def test_examples_of_the_help_run(command: str) -> None:
    Path("recordings").mkdir()
    Path("token.txt").write_text("s3cret")
    table = pa.table({"id": [1, 2, 3], "price": [0.5, 1.5, 2.5], "at": list("xyz")})
    pq.write_table(table, "trades.parquet")
    if command:
        batchcorder.record(table.to_reader(max_chunksize=1), "trades.arrows").close()
    lines = examples(*filter(None, [command]))
    assert len(lines) >= (1 if command else 4)
    for line in lines:
        if line.startswith("batchcorder serve"):
            serve_example(line)
            continue
        with contextlib.ExitStack() as stack:
            if "grpc://" in line:
                location, _ = stack.enter_context(served("."))
                line = line.replace("grpc://host:8815", location)
            done = shell(line)
        assert done.returncode == 0, (line, done.stderr)
        for made in ("copy.arrows", "new.arrows"):
            Path(made).unlink(missing_ok=True)


def test_the_installed_program_is_the_same(x: str) -> None:
    program = Path(sys.executable).with_name("batchcorder")
    if not program.exists():
        pytest.skip("the program is not installed")
    done = subprocess.run(
        [program, "info", x], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == works("info", x)
