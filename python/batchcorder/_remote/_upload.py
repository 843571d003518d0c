"""
Uploads of complete local files, which appear whole or not at all.

A thread writes, and the calling thread waits. So an interrupt never breaks a request: the
thread sees that it must stop, and cleans up.

- s3fs completes a multipart upload, or aborts it. A failure leaves nothing.
- pyarrow's S3 filesystem does the same by s3fs, if s3fs is installed.
- pyarrow's S3 filesystem alone writes a hidden object, and copies it. Parts may stay.
- All other filesystems write a hidden object, and move it. A failure leaves nothing.

pyarrow cannot abort an upload: to close or free its stream completes the object. So if
s3fs is installed, s3fs uploads with the keys and the endpoint of pyarrow's filesystem.

Without s3fs, the stream of pyarrow writes a hidden object (`.NAME.123abc.unfinished`).
Then the server copies the object to its name, and deletes the hidden object. If the local
file fails, or the user interrupts, the hidden object is completed and deleted. If the
server refuses a part, the earlier parts stay, and no name shows them.

A copy is possible to 5 GiB. A larger file goes to its name directly. If that fails, the
stream is kept until the process ends: the object does not appear, but its parts stay.

If the process is killed, or the server vanishes, parts or a hidden object stay in all
cases. A lifecycle rule of the bucket can delete them.

An existing object stays until the new one is complete. Without `overwrite`, s3fs
completes under the condition `If-None-Match`. The other filesystems have no such
condition. There, the upload looks for an object at its start and before the move. Of two
writers at the same instant, the second can replace the object of the first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import posixpath
import secrets
import threading
from typing import Any

from ._store_errors import explained, store_error

_CHUNK_BYTES = 8 << 20
# Seconds after which a waiting thread runs the handlers of signals.
_LOOK = 0.5
# The limit of a copy on Amazon S3.
_COPY_BYTES_MAX = 5 << 30
# A multipart upload has 10,000 parts at most.
_PARTS_MAX = 9_000
_PART_BYTES = 50 << 20


def _abandon(stream: Any) -> None:
    """
    Keep a stream of pyarrow from completing its object.

    The stream is not freed when the interpreter ends either. pyarrow's threads have ended
    then, and freeing the stream would wait for a thread for ever.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))


class StoppedError(Exception):
    """The calling thread wants no upload any more."""


def hidden_name(path: str) -> str:
    """Return the name of a path's object before it is complete."""
    folder, name = posixpath.split(path)
    hidden = f".{name[:64]}.{secrets.token_hex(4)}.unfinished"
    return posixpath.join(folder, hidden) if folder else hidden


class Upload:
    """Writes one object. The subclasses know how it appears."""

    def __init__(self, filesystem: Any, path: str, url: str) -> None:
        self.filesystem = filesystem
        self.path = path
        self.url = url
        # Set by the calling thread.
        self.stopped = threading.Event()

    def write(self, file: LocalFile, overwrite: bool) -> None:
        """Write the object, or leave nothing."""
        raise NotImplementedError

    def exists(self) -> bool:
        raise NotImplementedError

    def open_hidden(self, hidden: str) -> Any:
        """Return a stream that writes the hidden object."""
        raise NotImplementedError

    def size_of(self, hidden: str) -> int | None:
        raise NotImplementedError

    def move(self, hidden: str) -> None:
        """Give the hidden object its name."""
        raise NotImplementedError

    def delete(self, hidden: str) -> None:
        raise NotImplementedError

    def write_hidden(self, file: LocalFile, overwrite: bool) -> None:
        """Write a hidden object, and move it."""
        hidden = hidden_name(self.path)
        stream = None
        try:
            stream = self.open_hidden(hidden)
            self.copy(file, stream)
            stream.close()
            self.check_size(self.size_of(hidden), file)
            self.check(overwrite)
            self.move(hidden)
        except BaseException:
            if stream is not None:
                with contextlib.suppress(Exception):
                    stream.close()
            with contextlib.suppress(Exception):
                self.delete(hidden)
            raise

    def check(self, overwrite: bool) -> None:
        """Raise FileExistsError if there is an object that must stay."""
        self.go_on()
        if not overwrite and self.exists():
            raise store_error(errno.EEXIST, self.url)

    def go_on(self) -> None:
        """Raise the exception that ends an upload, if the calling thread wants it."""
        if self.stopped.is_set():
            raise StoppedError

    def copy(self, file: LocalFile, stream: Any) -> None:
        """Write all bytes of the file to a stream."""
        offset = 0
        while offset < file.size:
            self.go_on()
            part = file.read(offset)
            stream.write(part)
            offset += len(part)
        file.check_unchanged()

    def check_size(self, found: int | None, file: LocalFile) -> None:
        if found != file.size:
            text = f"the store has {found} bytes of {file.size}: save again"
            raise store_error(errno.EIO, self.url, text)


class LocalFile:
    """The file to upload: it must not change meanwhile."""

    def __init__(self, path: str | int) -> None:
        self._descriptor = (
            os.dup(path)
            if isinstance(path, int)
            else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        )
        self._state = self._now()
        self.size = self._state[0]

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def read(self, offset: int) -> bytes:
        data = os.pread(self._descriptor, _CHUNK_BYTES, offset)
        if not data:
            self.check_unchanged()
            raise OSError(errno.EIO, "the local file ends early")
        return data

    def check_unchanged(self) -> None:
        if self._now() != self._state:
            raise OSError(errno.ESTALE, "the local file changed while it was uploaded")

    def close(self) -> None:
        os.close(self._descriptor)


class ArrowUpload(Upload):
    """Writes by a filesystem of pyarrow."""

    def exists(self) -> bool:
        return self._size() is not None

    def _size(self, path: str | None = None) -> int | None:
        """Return an object's size, or None if there is no object."""
        info = self.filesystem.get_file_info(path or self.path)
        # The numbers of pyarrow.fs.FileType: NotFound, Unknown, File, Directory.
        if info.type.value == 3:
            raise store_error(errno.EISDIR, self.url)
        return info.size if info.is_file else None

    def _is_s3(self) -> bool:
        base = self.filesystem
        while hasattr(base, "base_fs"):
            base = base.base_fs
        return bool(base.type_name == "s3")

    def write(self, file: LocalFile, overwrite: bool) -> None:
        self.check(overwrite)
        if file.size > _COPY_BYTES_MAX and self._is_s3():
            self._write_directly(file, overwrite)
        else:
            self.write_hidden(file, overwrite)

    def open_hidden(self, hidden: str) -> Any:
        return self.filesystem.open_output_stream(hidden)

    def size_of(self, hidden: str) -> int | None:
        return self._size(hidden)

    def delete(self, hidden: str) -> None:
        self.filesystem.delete_file(hidden)

    def move(self, hidden: str) -> None:
        try:
            self.filesystem.move(hidden, self.path)
        except NotImplementedError:
            self.filesystem.copy_file(hidden, self.path)
            self.filesystem.delete_file(hidden)

    def _write_directly(self, file: LocalFile, overwrite: bool) -> None:
        stream = self.filesystem.open_output_stream(self.path)
        try:
            self.copy(file, stream)
            self.check(overwrite)
            stream.close()
        except BaseException:
            _abandon(stream)
            raise
        self.check_size(self._size(), file)


class FsspecUpload(Upload):
    """Writes a hidden object by a filesystem of fsspec, and moves it."""

    def exists(self) -> bool:
        self.filesystem.invalidate_cache(self.path)
        if self.filesystem.isdir(self.path):
            raise store_error(errno.EISDIR, self.url)
        return bool(self.filesystem.exists(self.path))

    def open_hidden(self, hidden: str) -> Any:
        return self.filesystem.open(hidden, "wb")

    def size_of(self, hidden: str) -> int | None:
        size: int | None = self.filesystem.info(hidden)["size"]
        return size

    def move(self, hidden: str) -> None:
        self.filesystem.mv(hidden, self.path)

    def delete(self, hidden: str) -> None:
        self.filesystem.rm_file(hidden)

    def write(self, file: LocalFile, overwrite: bool) -> None:
        self.check(overwrite)
        self.write_hidden(file, overwrite)


def arrow_upload(filesystem: Any, path: str, url: str) -> Upload:
    """Return the upload for a filesystem of pyarrow: by s3fs, if s3fs has its options."""
    if getattr(filesystem, "type_name", None) == "s3" and hasattr(filesystem, "region"):
        with contextlib.suppress(ImportError, LookupError):
            return S3fsUpload(_s3fs_of(filesystem), path, url)
    return ArrowUpload(filesystem, path, url)


def _s3fs_of(filesystem: Any) -> Any:
    """Return a filesystem of s3fs with the options of one of pyarrow."""
    import s3fs

    # The only list of the options. It has the keys only if the user gave them.
    _, (options,) = filesystem.__reduce__()
    proxy = (options["proxy_options"] or {}).get("host")
    if options["role_arn"] or options["tls_ca_file_path"] or proxy:
        raise LookupError("an option that s3fs does not have")
    configuration: dict[str, Any] = {}
    endpoint = options["endpoint_override"]
    if endpoint:
        style = "virtual" if options["force_virtual_addressing"] else "path"
        configuration["s3"] = {"addressing_style": style}
        if "://" not in endpoint:
            endpoint = f"{options['scheme']}://{endpoint}"
    return s3fs.S3FileSystem(
        key=options["access_key"],
        secret=options["secret_key"],
        token=options["session_token"],
        anon=options["anonymous"],
        endpoint_url=endpoint or None,
        client_kwargs={"region_name": options["region"] or None},
        config_kwargs=configuration,
    )


class S3fsUpload(FsspecUpload):
    """Writes a multipart upload by s3fs, and completes or aborts it."""

    def write(self, file: LocalFile, overwrite: bool) -> None:
        self.check(overwrite)
        stream = self.filesystem.open(
            self.path,
            "wb" if overwrite else "xb",
            block_size=max(_PART_BYTES, file.size // _PARTS_MAX),
            # The upload is completed by commit().
            autocommit=False,
        )
        try:
            self.copy(file, stream)
            stream.close()
            self.check(overwrite)
            stream.commit()
        except BaseException:
            stream.discard()
            # Else a finalizer writes again.
            stream.closed = True
            raise
        self.filesystem.invalidate_cache(self.path)
        self.check_size(self.filesystem.info(self.path)["size"], file)


def uploaded(upload: Upload, path: str | int, overwrite: bool) -> None:
    """
    Write a complete local file to an object, in a thread.

    Parameters
    ----------
    upload : Upload
        The object.
    path : str or int
        The path or descriptor of the local file.
    overwrite : bool
        Whether to replace an existing object.

    Raises
    ------
    FileExistsError
        If there is an object, and `overwrite` is false.
    OSError
        If the file cannot be read, or the store fails. The head of this file lists the
        things that are left then.
    """
    file = LocalFile(path)
    failure: list[BaseException] = []
    # An interrupt of Thread.join() makes Python 3.11 believe that the thread has ended.
    ended = threading.Event()

    def work() -> None:
        try:
            upload.write(file, overwrite)
        except BaseException as error:
            failure.append(error)
        finally:
            file.close()
            ended.set()

    thread = threading.Thread(target=work, name="batchcorder upload", daemon=True)
    try:
        thread.start()
        # A signal that comes just before the wait does not end it.
        while not ended.wait(_LOOK):
            pass
    except BaseException:
        upload.stopped.set()
        while thread.ident is not None and not ended.is_set():
            # A second interrupt must not leave half an object.
            with contextlib.suppress(KeyboardInterrupt):
                ended.wait(_LOOK)
        raise
    if failure:
        raise _reason(failure[0], upload.url) from None


def _reason(error: BaseException, url: str) -> BaseException:
    local = isinstance(error, OSError) and str(error.strerror).startswith(
        "the local file"
    )
    return error if local else explained(error, url)


__all__ = [
    "ArrowUpload",
    "FsspecUpload",
    "S3fsUpload",
    "arrow_upload",
    "hidden_name",
    "uploaded",
]
