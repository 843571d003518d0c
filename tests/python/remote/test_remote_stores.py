"""Objects in stores that need no server: memory of fsspec, and filesystems of pyarrow."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs as fs
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from batchcorder._remote import _arrow_store, _store_errors, _upload, resolved
from batchcorder._remote._store import (
    Identity,
    Store,
    cleaned,
    is_transient,
    is_url,
    key_of,
    local_path,
    store_of,
)
from uploads import interrupt_uploads

DATA = bytes(range(256)) * 4096


def put(store: Any, data: bytes) -> None:
    """Write an object by the store's own filesystem."""
    if isinstance(store.filesystem, fs.FileSystem):
        with store.filesystem.open_output_stream(store.path) as stream:
            stream.write(data)
    else:
        store.filesystem.pipe_file(store.path, data)


def remove(store: Any) -> None:
    """Delete an object by the store's own filesystem."""
    if isinstance(store.filesystem, fs.FileSystem):
        store.filesystem.delete_file(store.path)
    else:
        store.filesystem.rm_file(store.path)


def names(store: Any) -> list[str]:
    """Return the names in the folder of an object."""
    folder = os.path.dirname(store.path)
    if isinstance(store.filesystem, fs.FileSystem):
        found = store.filesystem.get_file_info(fs.FileSelector(folder))
        return sorted(info.base_name for info in found)
    try:
        found = store.filesystem.ls(folder, False)
    except FileNotFoundError:
        return []
    return sorted(os.path.basename(name) for name in found)


KINDS = ["memory", "mock", "subtree", "dir"]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return an object without a file in it."""
    if request.param == "memory":
        return store_of(f"memory://{tmp_path}/x.arrows")
    if request.param == "mock":
        mock = fs._MockFileSystem()
        mock.create_dir("d")
        return store_of("d/x.arrows", mock)
    if request.param == "subtree":
        mock = fs._MockFileSystem()
        mock.create_dir("base/d")
        return store_of("d/x.arrows", fs.SubTreeFileSystem("base", mock))
    return store_of("x.arrows", fsspec.filesystem("dir", path=str(tmp_path), fo=None))


@pytest.fixture
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a local file of several chunks' size."""
    path = tmp_path_factory.mktemp("local") / "source"
    path.write_bytes(DATA)
    return path


def test_a_range_is_read(store: Any) -> None:
    put(store, DATA)
    assert store.identity().size == len(DATA)
    assert bytes(store.read(300, 5)) == DATA[300:305]
    assert bytes(store.read(0, len(DATA))) == DATA
    assert bytes(store.read(7, 0)) == b""


@pytest.mark.parametrize("end", range(160, 175))
def test_a_read_may_end_with_any_byte(store: Any, end: int) -> None:
    put(store, DATA)
    assert bytes(store.read(0, end)) == DATA[:end]


def test_a_read_past_the_end_is_an_error(store: Any) -> None:
    put(store, DATA)
    with pytest.raises(OSError, match="are not in the object") as caught:
        store.read(len(DATA) - 1, 2)
    assert caught.value.errno == errno.EINVAL


def test_threads_read_at_once(store: Any) -> None:
    put(store, DATA)
    store.identity()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: bytes(store.read(i * 1000, 500)), range(200)))
    assert found == [DATA[i * 1000 : i * 1000 + 500] for i in range(200)]


def test_a_missing_object_is_an_error(store: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no such object") as caught:
        store.identity()
    assert caught.value.filename == store.url
    assert not is_transient(caught.value)


def test_a_directory_is_an_error(store: Any) -> None:
    folder = os.path.dirname(store.path)
    put(store, DATA)
    with pytest.raises(IsADirectoryError):
        store_of(folder or "/", store.filesystem).identity()


def test_a_changed_object_has_another_identity(store: Any) -> None:
    put(store, DATA)
    first = store.identity()
    assert store.renewed_identity().is_same(first)
    put(store, DATA[:-1])
    assert store.identity() == first
    assert not store.renewed_identity().is_same(first)


def test_a_deleted_object_has_no_identity(store: Any) -> None:
    put(store, DATA)
    store.identity()
    remove(store)
    with pytest.raises(FileNotFoundError):
        store.renewed_identity()


def test_a_short_read_of_a_shrunk_object_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = store_of("memory://shrunk/x")
    put(memory, DATA)
    memory.identity()
    put(memory, DATA[:100])
    with pytest.raises(OSError, match="changed since it was opened") as caught:
        memory.read(50, 100)
    assert caught.value.errno == errno.ESTALE


def test_a_short_read_of_the_same_object_may_be_tried_again(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, DATA)
    monkeypatch.setattr(store, "_read", lambda offset, size: b"x" * (size - 1))
    with pytest.raises(OSError, match="4 bytes instead of 5") as caught:
        store.read(0, 5)
    assert caught.value.errno == errno.EIO
    assert is_transient(caught.value)


class Shortened:
    """A file of pyarrow's S3: it tells the asked size, and writes fewer bytes."""

    def __init__(self, missing: int) -> None:
        self.missing = missing

    def get_stream(self, offset: int, size: int) -> Any:
        missing = self.missing

        class Stream:
            def readinto(self, data: bytearray) -> int:
                written = max(0, size - missing)
                data[:written] = b"x" * written
                return size

        return Stream()


@pytest.mark.parametrize("missing", [1, 2, 999])
def test_memory_that_pyarrow_did_not_fill_is_no_data(missing: int) -> None:
    store: Any = store_of("x", fs._MockFileSystem())
    put(store, DATA)
    store.identity()
    store._file = Shortened(missing)
    with pytest.raises(OSError, match="instead of 1000"):
        store.read(0, 1000)


# ---- uploads ----


def test_a_file_is_uploaded(store: Any, source: Path) -> None:
    store.upload(source, overwrite=False)
    assert bytes(store.read(0, len(DATA))) == DATA
    assert names(store) == ["x.arrows"]


def test_an_upload_reads_a_descriptor_from_its_begin(store: Any, source: Path) -> None:
    with open(source, "rb") as file:
        file.seek(100)
        store.upload(file.fileno(), overwrite=False)
        assert file.tell() == 100
    assert store.identity().size == len(DATA)


def test_an_empty_file_is_uploaded(store: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    store.upload(empty, overwrite=False)
    assert store.identity().size == 0
    assert bytes(store.read(0, 0)) == b""


def test_an_existing_object_stays(store: Any, source: Path) -> None:
    put(store, b"old")
    with pytest.raises(FileExistsError, match="overwrite=True") as caught:
        store.upload(source, overwrite=False)
    assert caught.value.filename == store.url
    assert bytes(store.read(0, 3)) == b"old"
    assert names(store) == ["x.arrows"]


def test_an_existing_object_is_replaced(store: Any, source: Path) -> None:
    put(store, b"old")
    store.upload(source, overwrite=True)
    assert bytes(store.read(0, len(DATA))) == DATA
    assert names(store) == ["x.arrows"]


def test_an_object_that_appears_meanwhile_stays(
    store: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _upload.LocalFile.read

    def slow(self: Any, offset: int) -> bytes:
        put(store, b"another writer's")
        return read(self, offset)

    monkeypatch.setattr(_upload.LocalFile, "read", slow)
    with pytest.raises(FileExistsError):
        store.upload(source, overwrite=False)
    assert bytes(store.read(0, 7)) == b"another"
    assert names(store) == ["x.arrows"]


def failing(error: BaseException, after: int) -> Callable[..., bytes]:
    read = _upload.LocalFile.read

    def fail(self: Any, offset: int) -> bytes:
        if offset >= after:
            raise error
        return read(self, offset)

    return fail


@pytest.mark.parametrize("existing", [False, True])
def test_a_local_error_leaves_nothing(
    store: Any, source: Path, existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        put(store, b"old")
    monkeypatch.setattr(_upload, "_CHUNK_BYTES", 1 << 18)
    error = OSError(errno.EIO, "the local file cannot be read")
    monkeypatch.setattr(_upload.LocalFile, "read", failing(error, 1 << 19))
    with pytest.raises(OSError, match="the local file cannot be read"):
        store.upload(source, overwrite=True)
    if existing:
        assert bytes(store.read(0, 3)) == b"old"
    else:
        with pytest.raises(FileNotFoundError):
            store.identity()
    assert names(store) == ["x.arrows"] * existing


def test_a_file_that_changes_is_not_uploaded(
    store: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _upload.LocalFile.read

    def grow(self: Any, offset: int) -> bytes:
        with open(source, "ab") as file:
            file.write(b"more")
        return read(self, offset)

    monkeypatch.setattr(_upload.LocalFile, "read", grow)
    with pytest.raises(OSError, match="the local file changed") as caught:
        store.upload(source, overwrite=False)
    assert caught.value.errno == errno.ESTALE
    assert names(store) == []


def test_an_interrupt_leaves_nothing(
    store: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_upload, "_CHUNK_BYTES", 1 << 18)
    interrupt_uploads(monkeypatch, 1 << 18)
    with pytest.raises(KeyboardInterrupt):
        store.upload(source, overwrite=False)
    assert names(store) == []


def test_a_missing_local_file_is_an_error(store: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        store.upload(tmp_path / "none", overwrite=False)
    assert caught.value.filename == str(tmp_path / "none")


def test_a_hidden_name_is_beside_the_object_and_short() -> None:
    name = _upload.hidden_name("bucket/folder/" + "n" * 255)
    folder, _, last = name.rpartition("/")
    assert folder == "bucket/folder"
    assert last.startswith(".n")
    assert last.endswith(".unfinished")
    assert len(last) < 100
    assert "/" not in _upload.hidden_name("x")


# ---- URLs ----


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3://bucket/key", True),
        ("https://host/x", True),
        ("simplecache::https://host/x", True),
        ("file:///x", True),
        ("x.arrows", False),
        ("/a/b://c", False),
        ("c:/x", False),
        (Path("s3://bucket/key"), False),
        (b"s3://bucket/key", False),
    ],
)
def test_is_url(text: Any, wanted: bool) -> None:
    assert is_url(text) is wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://user:word@host/x?sig=secret#part", "https://host/x"),
        ("s3://key:secret@bucket/a?endpoint_override=h", "s3://bucket/a"),
        ("s3://key:se/cret@bucket/a", "s3://key:se/cret@bucket/a"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("abfs://account:word@host/x", "abfs://host/x"),
        ("memory://a/b", "memory://a/b"),
    ],
)
def test_a_cleaned_url_has_no_password(url: str, wanted: str) -> None:
    assert cleaned(url) == wanted


def test_keys_tell_objects_apart_but_not_signatures() -> None:
    signed = [f"https://host/x?id=1&X-Amz-Signature={i}&sig={i}" for i in range(2)]
    assert key_of(signed[0]) == key_of(signed[1])
    assert key_of("https://u:p@host/x?id=1") == key_of(signed[0])
    assert key_of("https://host/x?id=2") != key_of(signed[0])


def test_local_paths(tmp_path: Path) -> None:
    local = fs.LocalFileSystem()
    wrapped = fs.PyFileSystem(fs.FSSpecHandler(LocalFileSystem()))
    assert local_path("file:///a%20b/c") == "/a b/c"
    assert local_path("file://localhost/a") == "/a"
    assert local_path("a/b") == "a/b"
    assert local_path(Path("a")) == "a"
    assert local_path("s3://a/b") is None
    for filesystem in (local, LocalFileSystem(), wrapped):
        assert local_path("/a/b", filesystem) == "/a/b"
        assert local_path("file:///a/b", filesystem) == "/a/b"
    assert local_path("b", fs.SubTreeFileSystem("/a", local)) == "/a/b"
    assert local_path("b", fs._MockFileSystem()) is None
    assert local_path("b", MemoryFileSystem()) is None
    with pytest.raises(ValueError, match="not a local file"):
        local_path("file://another.host/a")


@pytest.mark.parametrize("url", ["nonsense://host/x", "s3x://a/b"])
def test_an_unknown_scheme_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match="no filesystem has URLs with"):
        store_of(url)


def test_a_plain_path_is_no_url() -> None:
    with pytest.raises(ValueError, match="not a URL"):
        store_of("x.arrows")


def test_a_filesystem_of_another_library_is_an_error() -> None:
    with pytest.raises(TypeError, match="argument 'filesystem'"):
        store_of("x", object())


@pytest.mark.parametrize("filesystem", [fs._MockFileSystem(), MemoryFileSystem()])
def test_a_url_of_another_filesystem_is_an_error(filesystem: Any) -> None:
    with pytest.raises(ValueError, match="argument 'filesystem'"):
        store_of("s3://bucket/x", filesystem)


def test_a_url_in_its_filesystem() -> None:
    MemoryFileSystem().pipe_file("/url/x", b"abc")
    assert bytes(store_of("memory://url/x", MemoryFileSystem()).read(1, 2)) == b"bc"
    s3 = fs.S3FileSystem(anonymous=True, region="r")
    store: Any = store_of("s3://bucket/a%20b", s3)
    assert (store.path, store.url) == ("bucket/a b", "s3://bucket/a%20b")


def test_a_wrapped_filesystem_is_unwrapped() -> None:
    MemoryFileSystem().pipe_file("/wrapped/x", b"abc")
    wrapped = fs.PyFileSystem(fs.FSSpecHandler(MemoryFileSystem()))
    store: Any = store_of("/wrapped/x", wrapped)
    assert bytes(store.read(1, 2)) == b"bc"
    assert isinstance(store.filesystem, MemoryFileSystem)


def test_a_wrong_url_shows_no_key() -> None:
    with pytest.raises(ValueError, match="pyarrow refuses the URL") as caught:
        store_of("s3://key:hidden-word@bucket/x?nonsense=hidden-word&region=r")
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://b/a b", "percent-encode it"),
        ("s3://b/ö", "percent-encode it"),
        ("s3://b/a#b", "write %23"),
        ("gs://b/a#b", "write %23"),
    ],
)
def test_a_url_that_pyarrow_reads_as_another_one(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store_of(url)


def test_a_scheme_may_have_capitals() -> None:
    assert store_of("MEMORY://b/x").url == "memory://b/x"


def test_a_bucket_has_no_slash_before_it() -> None:
    store = fs.S3FileSystem(anonymous=True, region="us-east-1")
    with pytest.raises(ValueError, match="remove the slash"):
        store_of("/b/x", store)


@pytest.mark.parametrize("path", [Path("s3://b/x"), "s3:/b/x", b"s3://b/x"])
def test_a_damaged_url_is_an_error(
    path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="pass a URL as a str"):
        resolved(path)
    (tmp_path / "s3:").mkdir()
    assert resolved(path) == (None, path)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("UNAVAILABLE: Could not create a OAuth2 access token to", errno.EACCES),
        ("Failed to get token from DefaultAzureCredential.", errno.EACCES),
        ("When resolving region for bucket 'b': curlCode: 6, Could", errno.EHOSTUNREACH),
    ],
)
def test_pyarrow_tells_the_reason_in_a_text(text: str, number: int) -> None:
    found = _store_errors.explained(OSError(text), "s3://b/x")
    assert isinstance(found, OSError)
    assert found.errno == number


def test_a_filesystem_of_the_parent_is_an_error() -> None:
    error = RuntimeError("This class is not fork-safe")
    found = _store_errors.explained(error, "s3://b/x")
    assert isinstance(found, OSError)
    assert found.errno == errno.ECANCELED


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.delitem(sys.modules, "batchcorder._remote._fsspec_store", raising=False)
    with pytest.raises(ImportError, match="install fsspec and aiohttp"):
        store_of("https://host/x")


def test_a_store_is_imported_late() -> None:
    script = (
        "import sys, batchcorder._remote, batchcorder._remote._store\n"
        "bad = {'pyarrow.fs', 'fsspec', 'aiohttp', 's3fs'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# ---- identities and errors ----


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (Identity(1, '"a"', 1), Identity(1, '"a"', 2), True),
        (Identity(1, '"a"', 1), Identity(1, '"b"', 1), False),
        (Identity(1, '"a"', 1), Identity(2, '"a"', 1), False),
        (Identity(1, 'W/"a"', 1), Identity(1, 'W/"a"', 2), False),
        (Identity(1, 'W/"a"', 1), Identity(1, 'W/"a"', 1), True),
        (Identity(1, None, 1), Identity(1, None, 2), False),
        (Identity(1, None, None), Identity(1, None, 2), True),
        (Identity(1, '"a"', None), Identity(1, None, 2), True),
    ],
)
def test_is_same(one: Identity, other: Identity, wanted: bool) -> None:
    assert one.is_same(other) is wanted
    assert other.is_same(one) is wanted


@pytest.mark.parametrize(
    "value",
    [
        b"2026-11-30T20:28:38Z",
        "Mon, 30 Nov 2026 20:28:38 GMT",
        1796070518,
        1796070518.0,
    ],
)
def test_times_in_nanoseconds(value: Any) -> None:
    assert _arrow_store.nanoseconds(value) == 1796070518 * 10**9


@pytest.mark.parametrize("value", [None, "yesterday", b"\xff", True])
def test_a_time_that_is_none(value: Any) -> None:
    assert _arrow_store.nanoseconds(value) is None


class ClientError(Exception):
    """Has a status, like errors of aiohttp, and a text with a password."""

    status = 403

    def __str__(self) -> str:
        return "https://user:hidden-word@host"


AWS = "When reading: AWS Error {} during HeadObject operation: {}"


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (ClientError(), errno.EACCES),
        (
            OSError(AWS.format("NETWORK_CONNECTION", "curlCode: 6, no")),
            errno.EHOSTUNREACH,
        ),
        (
            OSError(AWS.format("NETWORK_CONNECTION", "curlCode: 7, no")),
            errno.ECONNREFUSED,
        ),
        (OSError(AWS.format("NETWORK_CONNECTION", "curlCode: 28, no")), errno.ETIMEDOUT),
        (OSError(AWS.format("ACCESS_DENIED", "no")), errno.EACCES),
        (OSError(AWS.format("SLOW_DOWN", "no")), errno.EBUSY),
        (OSError(AWS.format("UNKNOWN (HTTP status 412)", "no")), errno.ESTALE),
        (OSError(AWS.format("UNKNOWN (HTTP status 502)", "no")), errno.EIO),
        (OSError(AWS.format("INTERNAL_FAILURE", "no")), errno.EIO),
        (OSError("Not a regular file: 'x'"), errno.EISDIR),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError(errno.EREMOTEIO, "We"), errno.EIO),
        (OSError(errno.EINVAL, "At least one of the pre-conditions"), errno.ESTALE),
        (TimeoutError(), errno.ETIMEDOUT),
        (PermissionError("no"), errno.EACCES),
        (ValueError("hidden-word"), errno.EINVAL),
        (RuntimeError("hidden-word"), errno.EIO),
    ],
)
def test_errors_have_an_errno_and_no_password(error: Exception, number: int) -> None:
    found: Any = _store_errors.explained(error, "s3://bucket/x")
    assert isinstance(found, OSError)
    assert (found.errno, found.filename) == (number, "s3://bucket/x")
    assert "hidden-word" not in str(found)
    assert _store_errors.explained(found, "another") is found


@pytest.mark.parametrize("kind", [MemoryError, TypeError, KeyboardInterrupt])
def test_errors_that_no_store_made_stay(kind: type[BaseException]) -> None:
    error = kind()
    assert _store_errors.explained(error, "s3://bucket/x") is error


def test_transient_errors() -> None:
    for number in (errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET):
        assert is_transient(OSError(number, "x"))
    for number in (errno.ENOENT, errno.EACCES, errno.ESTALE, errno.EINVAL):
        assert not is_transient(OSError(number, "x"))
    assert not is_transient(ValueError())


def test_a_store_without_uploads(source: Path) -> None:
    with pytest.raises(OSError, match="the store cannot write") as caught:
        Store("x://y", "key").upload(source, overwrite=True)
    assert caught.value.errno == errno.EROFS
