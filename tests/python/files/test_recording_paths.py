"""The paths of recordings: names, open files, and files in the way."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from foreign import stream_of
from helpers import check_python, ids, numbered, recorded_file

WANTED = list(range(12))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded_file(tmp_path, pa.Table.from_batches(numbered(3)))


# ---- names ----

NAMES: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "bytes": os.fsencode,
    "PathLike": lambda path: path,
    "PathLike of bytes": lambda path: BytesPath(os.fsencode(path)),
}


class BytesPath:
    def __init__(self, path: bytes) -> None:
        self.path = path

    def __fspath__(self) -> bytes:
        return self.path


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ["x", "été 日本", "a b'\n", "." * 50, "x" * 200])
def test_names(kind: str, name: str, tmp_path: Path) -> None:
    path = NAMES[kind](tmp_path / name)
    with batchcorder.record(pa.Table.from_batches(numbered(3)), path) as cache:
        assert cache.path == str(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    with batchcorder.open(path) as cache:
        assert ids(cache) == WANTED
        assert cache.path == str(tmp_path / name)
    assert batchcorder.verify(path) == 3


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe"
    batchcorder.record(pa.Table.from_batches(numbered(3)), path).close()
    assert ids(batchcorder.open(path)) == WANTED
    assert ids(batchcorder.open(os.fsdecode(path))) == WANTED
    with pytest.raises(FileNotFoundError):
        batchcorder.open(path + b"\x80")


@pytest.mark.parametrize("path", ["a\0b", b"a\0b", Path("a\0b"), "\0", ""], ids=repr)
def test_invalid_names(
    path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": [1]})
    expected = ValueError if path else FileNotFoundError
    for use in (
        lambda: batchcorder.open(path),
        lambda: batchcorder.verify(path),
        lambda: batchcorder.cached(path, lambda: table),
        lambda: batchcorder.record(table, path),
        lambda: batchcorder.StreamCache(table).save(path),
    ):
        with pytest.raises(expected):
            use()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [None, 5, 1.5, ["x"]], ids=repr)
def test_values_that_are_not_paths(path: Any) -> None:
    table = pa.table({"x": [1]})
    for use in (
        lambda: batchcorder.open(path),
        lambda: batchcorder.record(table, path),
        lambda: batchcorder.StreamCache(table).save(path),
    ):
        with pytest.raises(TypeError, match=r"[pP]ath"):
            use()


def test_the_working_directory_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative name refers to the working directory at the call."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    cache = batchcorder.record(pa.Table.from_batches(numbered(3)), "x.arrows")
    opened = batchcorder.open("x.arrows")
    monkeypatch.chdir(tmp_path / "b")
    assert cache.path == opened.path == str(tmp_path / "a" / "x.arrows")
    assert ids(opened) == ids(cache) == WANTED
    cache.save("y.arrows")
    assert ids(batchcorder.open("../b/y.arrows")) == WANTED
    with pytest.raises(FileNotFoundError):
        batchcorder.open("x.arrows")


def test_links(recording: Path, tmp_path: Path) -> None:
    """Opening follows a link. Recording never does."""
    link = tmp_path / "link"
    link.symlink_to(recording)
    with batchcorder.open(link) as cache:
        assert ids(cache) == WANTED
        assert cache.path == str(link)
    other = tmp_path / "other"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(other)
    table = pa.table({"id": [1]})
    for taken in (link, dangling):
        with pytest.raises(FileExistsError, match=str(taken)):
            batchcorder.record(table, taken)
        with pytest.raises(FileExistsError, match=str(taken)):
            batchcorder.StreamCache(table).save(taken)
    assert not other.exists()
    with pytest.raises(FileNotFoundError, match=str(dangling)):
        batchcorder.open(dangling)
    # The save replaces the link, not its target.
    batchcorder.StreamCache(table).save(link, overwrite=True)
    assert not link.is_symlink()
    assert ids(batchcorder.open(link)) == [1]
    assert ids(batchcorder.open(recording)) == WANTED


# ---- names that are taken ----


def test_a_name_that_is_taken(recording: Path) -> None:
    content = recording.read_bytes()
    table = pa.table({"x": [1]})
    with pytest.raises(FileExistsError, match=str(recording)) as caught:
        batchcorder.record(table, recording)
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(FileExistsError, match=str(recording)):
        batchcorder.StreamCache(table).save(recording)
    assert recording.read_bytes() == content
    assert len(os.listdir(recording.parent)) == 1


def test_a_name_that_is_taken_leaves_the_source(recording: Path) -> None:
    """The source was not read."""
    source = pa.table({"x": [1, 2]}).to_reader()
    with pytest.raises(FileExistsError):
        batchcorder.record(source, recording)
    assert source.read_all().num_rows == 2


def test_no_such_directory(tmp_path: Path) -> None:
    path = tmp_path / "no" / "x.arrows"
    table = pa.table({"x": [1]})
    for use in (
        lambda: batchcorder.open(path),
        lambda: batchcorder.record(table, path),
        lambda: batchcorder.StreamCache(table).save(path),
        lambda: batchcorder.StreamCache(table).save(path, overwrite=True),
    ):
        with pytest.raises(FileNotFoundError, match=str(path)):
            use()


def test_a_directory_of_that_name(tmp_path: Path) -> None:
    table = pa.table({"x": [1]})
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        batchcorder.open(tmp_path)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        batchcorder.verify(tmp_path)
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        batchcorder.record(table, tmp_path)
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        batchcorder.StreamCache(table).save(tmp_path)
    with pytest.raises(OSError, match=str(tmp_path)):
        batchcorder.StreamCache(table).save(tmp_path, overwrite=True)
    assert os.listdir(tmp_path) == []
    below = tmp_path / "file" / "x.arrows"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=str(below)):
        batchcorder.open(below)
    with pytest.raises(NotADirectoryError, match=str(below)):
        batchcorder.record(table, below)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_without_permission(recording: Path) -> None:
    recording.chmod(0)
    with pytest.raises(PermissionError, match=str(recording)):
        batchcorder.open(recording)
    recording.parent.chmod(0o500)
    with pytest.raises(PermissionError):
        batchcorder.record(pa.table({"x": [1]}), recording.parent / "y.arrows")
    recording.parent.chmod(0o700)


def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    code = f"""
        import batchcorder, errno, os
        path = {str(tmp_path)!r} + "/pipe"
        os.mkfifo(path)
        for name in (path, "/dev/null", "/dev/zero"):
            for use in (batchcorder.open, batchcorder.verify):
                try:
                    use(name)
                except OSError as error:
                    assert name in str(error), error
                else:
                    raise AssertionError(name)
    """
    check_python(code, timeout=300)


def test_permissions_are_those_of_new_files(tmp_path: Path) -> None:
    table = pa.table({"x": [1]})
    old = os.umask(0o027)
    try:
        batchcorder.record(table, tmp_path / "recorded").close()
        batchcorder.StreamCache(table).save(tmp_path / "copied")
        cache = batchcorder.StreamCache.on_disk(table, path=tmp_path)
        cache.save(tmp_path / "linked")
        cache.close()
    finally:
        os.umask(old)
    for name in ("recorded", "copied", "linked"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640, name
    assert len(os.listdir(tmp_path)) == 3


# ---- content of files ----

NOTHING: dict[str, bytes] = {
    "empty": b"",
    "text": b"x,y\n1,2\n" * 100,
    "one byte": b"\xff",
    "zeros": bytes(4096),
    "parquet": b"PAR1" + bytes(100) + b"PAR1",
    "magic alone": b"ARROW1\0\0",
    "end alone": b"\xff\xff\xff\xff\0\0\0\0",
    "noise": bytes(i * 7 % 251 for i in range(5000)),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("partial", [False, True])
def test_files_without_arrow_data(name: str, partial: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    path.write_bytes(NOTHING[name])
    is_cut = name in ("empty", "one byte", "magic alone")
    expected = OSError if is_cut else ValueError
    for source, words in (
        (path, str(path)),
        (io.BytesIO(NOTHING[name]), "<BytesIO>"),
    ):
        with pytest.raises(expected, match=words) as caught:
            batchcorder.open(source, partial=partial)
        if isinstance(caught.value, OSError):
            assert caught.value.errno == errno.ENODATA
    with pytest.raises(expected, match=str(path)):
        batchcorder.verify(path)


# ---- open files ----


def test_an_open_file(recording: Path) -> None:
    """The file stays open, and its position does not matter."""
    with recording.open("rb") as file:
        file.seek(100)
        cache = batchcorder.open(file)
        assert file.tell() == 100
        assert ids(cache) == WANTED
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 100
        file.seek(0)
        assert file.read() == recording.read_bytes()
        assert batchcorder.verify(file) == 3
    recording.unlink()
    assert ids(cache) == WANTED
    assert cache.info()["kind"] == "recording"


def test_a_file_that_was_written_a_moment_ago(tmp_path: Path) -> None:
    """The bytes in the buffer of the file object are flushed first."""
    with (tmp_path / "x").open("w+b") as file:
        file.write(stream_of(numbered(3)))
        with batchcorder.open(file) as cache:
            assert ids(cache) == WANTED


def test_a_file_without_a_name(recording: Path) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(recording.read_bytes())
        with batchcorder.open(file) as cache:
            assert ids(cache) == WANTED
    descriptor = os.open(recording, os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        assert ids(batchcorder.open(file)) == WANTED


def test_memory_and_compressed_files(recording: Path, tmp_path: Path) -> None:
    content = recording.read_bytes()
    with batchcorder.open(io.BytesIO(content)) as cache:
        assert ids(cache) == WANTED
        assert cache.info()["kind"] == "recording"
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(content)
    with gzip.open(tmp_path / "x.gz", "rb") as file:
        assert ids(batchcorder.open(file)) == WANTED
        assert batchcorder.verify(file) == 3
    # The compressed bytes are not an Arrow stream.
    with pytest.raises(ValueError, match="Not an Arrow stream"):
        batchcorder.open(tmp_path / "x.gz")


def test_a_pipe_and_a_socket(recording: Path) -> None:
    content = recording.read_bytes()
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source:
        thread = threading.Thread(target=write_all, args=(write, content))
        thread.start()
        assert ids(batchcorder.open(source)) == WANTED
        thread.join()
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as source:
        far.sendall(content)
        far.shutdown(socket.SHUT_WR)
        assert ids(batchcorder.open(source, verify=True)) == WANTED


def write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(content)


def test_a_file_object_that_fails() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        batchcorder.open(Broken())
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        batchcorder.open(closed)
    with pytest.raises(TypeError):
        batchcorder.open(io.StringIO("text"))
