"""
Names of recordings on a server, and the files that have them.

- If one directory is served, a recording's name is its path below the directory: for
  example "x.arrows" or "2026/x.arrows".
- If one file is served, its name is the last component of its path.
- If several paths are served, each name begins with the path's last component.

A name has plain components only: none is empty, hidden, `.` or `..`. Every component is
opened relative to its parent, and never through a link. A name is used as it is: no
character is decoded, folded or unescaped. A name therefore cannot lead outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

from .._arguments import absolute

# First bytes of Arrow IPC streams and files.
_MAGIC = (b"\xff\xff\xff\xff", b"ARROW1")


def _missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such recording", name)


def _components(name: str) -> list[str]:
    """Return the components of a name; ValueError: it is not the name of a recording."""
    parts = name.split("/")
    if any(part == "" or part.startswith(".") or "\0" in part for part in parts):
        raise ValueError(
            f"{name!r} cannot be the name of a recording: expected names with slashes in "
            "between, which do not begin with a dot"
        )
    return parts


def _open_below(directory: int, parts: list[str], name: str, flags: int) -> int:
    """Return a descriptor; every component is opened in its parent, without links."""
    number = os.dup(directory)
    try:
        for part in parts[:-1]:
            # A link is no directory, if links are not followed.
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
                            dir_fd=number)  # fmt: skip
            os.close(number)
            number = inner
        # Opening a pipe would tell its writer that there is a reader.
        if not flags & os.O_DIRECTORY:
            status = os.stat(parts[-1], dir_fd=number, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise _missing(name)
        return os.open(parts[-1], flags | os.O_NOFOLLOW, dir_fd=number)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EILSEQ):
            raise _missing(name) from None
        error.filename = name
        raise
    except UnicodeEncodeError:
        raise _missing(name) from None
    finally:
        os.close(number)


class Names:
    """
    The names under which paths are served.

    Parameters
    ----------
    paths : path or list of paths
        A directory, a file, or several of these.
    """

    def __init__(self, paths: Any) -> None:
        is_one = isinstance(paths, str | bytes | PathLike)
        if not is_one and not isinstance(paths, Iterable):
            raise TypeError(
                "argument 'paths_or_directory': expected a path or a list of paths, got "
                f"'{type(paths).__name__}'"
            )
        served = [absolute(path) for path in ([paths] if is_one else paths)]
        if not served:
            raise ValueError("argument 'paths_or_directory': expected at least one path")
        # The first component of a name, and its path. "" has the names of a directory.
        self._roots: dict[str, bytes] = {}
        for path in served:
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
            first = os.fsdecode(os.path.basename(path.rstrip(b"/")))
            if is_directory and len(served) == 1:
                first = ""
            elif not first:
                raise ValueError(
                    f"argument 'paths_or_directory': {os.fsdecode(path)!r} has no name, "
                    "which it needs beside other paths"
                )
            elif self._roots.setdefault(first, path) != path:
                raise ValueError(
                    "argument 'paths_or_directory': two paths would have the name "
                    f"{first!r}"
                )
            self._roots[first] = path

    def _root(self, name: str) -> tuple[bytes, list[str]]:
        """Return the served path of a name, and the components below it."""
        parts = _components(name)
        if "" in self._roots:
            return self._roots[""], parts
        if parts[0] not in self._roots:
            raise _missing(name)
        return self._roots[parts[0]], parts[1:]

    def open(self, name: str) -> int:
        """Return a descriptor of the regular file that has this name."""
        root, parts = self._root(name)
        # A pipe must not make this wait.
        flags = os.O_RDONLY | os.O_NONBLOCK
        if not parts:
            number = os.open(root, flags)
        else:
            try:
                directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                raise _missing(name) from None
            try:
                number = _open_below(directory, parts, name, flags)
            finally:
                os.close(directory)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise _missing(name)
        return number

    def new(self, name: str) -> bytes:
        """Return the path for a new recording of this name, in an existing directory."""
        root, parts = self._root(name)
        if not parts:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if len(parts) > 1:
                flags = os.O_RDONLY | os.O_DIRECTORY
                os.close(_open_below(directory, parts[:-1], name, flags))
        except FileNotFoundError:
            words = "the server has no directory for a recording of this name"
            raise FileNotFoundError(errno.ENOENT, words, name) from None
        finally:
            os.close(directory)
        return os.path.join(root, *map(os.fsencode, parts))

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all Arrow files, in order."""
        for first, root in sorted(self._roots.items()):
            for name in _files(root) if os.path.isdir(root) else [""]:
                joined = "/".join(part for part in (first, name) if part)
                if self._is_arrow(joined):
                    yield joined

    def _is_arrow(self, name: str) -> bool:
        try:
            number = self.open(name)
        except (OSError, ValueError):
            return False
        try:
            return os.pread(number, 8, 0).startswith(_MAGIC)
        except OSError:
            return False
        finally:
            os.close(number)


def _files(root: bytes) -> Iterator[str]:
    """Yield the paths below a directory that can be names."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(one for one in inner if not one.startswith(b"."))
        below = os.path.relpath(folder, root)
        for file in sorted(one for one in files if not one.startswith(b".")):
            path = file if below == b"." else os.path.join(below, file)
            try:
                yield path.decode()
            except UnicodeDecodeError:
                # A name is UTF-8, as Flight sends it.
                continue


__all__ = ["Names"]
