"""Other file systems, systems that refuse calls, and difficult file names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchcorder
from batchcorder import StreamCache, _cached_query
from helpers import LIB, check_python, missing

PLACES = [sys.executable, "-X", "faulthandler", str(LIB / "places.py")]

# Commands that mount a file system at {there}. {below} is an empty directory. Root is
# tried first: bindfs needs a device, which a new user namespace does not have.
MOUNTS = {
    "tmpfs": "mount -t tmpfs tmpfs {there}",
    "overlayfs": (
        "mount -t tmpfs tmpfs {below} && mkdir {below}/lower {below}/upper {below}/work "
        "&& mount -t overlay overlay {there} "
        "-o lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work"
    ),
    "bindfs": "bindfs {below} {there}",
}


def mount_and_run(kind: str, task: str, where: Path) -> None:
    if kind == "bindfs" and shutil.which("bindfs") is None:
        missing("bindfs is missing (on Debian and Ubuntu: the package bindfs)")
    there, below = where / "there", where / "below"
    there.mkdir()
    below.mkdir()
    mount = MOUNTS[kind].format(there=there, below=below)
    command = " ".join(map(shlex.quote, [*PLACES, str(there), task]))
    script = f"({mount}) || exit 77; {command}; code=$?; umount {there}; exit $code"
    for before in (["unshare", "--mount"], ["unshare", "-r", "--mount"]):
        run = subprocess.run(
            [*before, "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if run.returncode == 0:
            return
        mounted = run.returncode not in (1, 77) or "places.py" in run.stderr
        assert not mounted, f"rc {run.returncode}\n{run.stdout}\n{run.stderr}"
    pytest.skip(f"{kind} cannot be mounted here: {run.stderr.strip()}")


@pytest.mark.parametrize("task", ["use", "share"])
@pytest.mark.parametrize("kind", MOUNTS)
def test_a_file_system(kind: str, task: str, tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        missing("unshare is needed")
    mount_and_run(kind, task, tmp_path)


@pytest.fixture(scope="module")
def refuse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return refuse.c as a library to preload."""
    made = tmp_path_factory.mktemp("refuse") / "refuse.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))[0]
    if shutil.which(compiler) is None:
        missing(f"there is no compiler {compiler}")
    command = [compiler, "-shared", "-fPIC", LIB / "refuse.c", "-o", made, "-ldl"]
    subprocess.run(command, check=True)
    return made


def run_refused(task: list[str], where: Path, library: Path, refused: str) -> None:
    run = subprocess.run(
        [*PLACES, str(where), *task],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"LD_PRELOAD": str(library), "REFUSE": refused},
    )
    assert run.returncode == 0, f"rc {run.returncode}\n{run.stdout}\n{run.stderr}"


@pytest.mark.long
def test_calls_that_are_refused(refuse: Path, tmp_path: Path) -> None:
    """If the system refuses a call, the operation works or raises a clean OSError."""
    run_refused(["refuse", str(refuse)], tmp_path, refuse, "")


@pytest.mark.parametrize("calls", ["proc", "renameat2,linkat,proc,fallocate,getrandom"])
def test_processes_that_are_refused_calls(
    calls: str, refuse: Path, tmp_path: Path
) -> None:
    run_refused(["share"], tmp_path, refuse, calls)


def hard_paths(where: Path) -> list[Path]:
    """Return paths that are too long to append a suffix to the name or the path."""
    paths = [where / ("n" * size) for size in (*range(242, 250), 254, 255)]
    paths += [where / ("é" * 127), where / ("xé" * 85), where / "a\nb", where / ".x"]
    deep = where
    while len(os.fsencode(deep)) < 4095 - 250:
        deep /= "d" * 240
    deep /= "d" * (4095 - len(os.fsencode(deep)) - 3)
    deep.mkdir(parents=True)
    return [*paths, deep / "y"]


def test_every_name_that_open_takes(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2]})

    def fail() -> Iterator[pa.RecordBatch]:
        yield table.to_batches()[0]
        raise RuntimeError("enough")

    for path in hard_paths(tmp_path):
        batchcorder.record(table, path).close()
        assert batchcorder.open(path).to_table() == table
        StreamCache(table).save(path, overwrite=True)
        path.unlink()
        StreamCache(table).save(path)
        path.unlink()
        source = pa.RecordBatchReader.from_batches(table.schema, fail())
        with pytest.raises(RuntimeError, match="enough"):
            batchcorder.record(source, path)
        cache = batchcorder.cached(path, lambda: table, resume=True)
        assert cache.to_table() == table
        assert cache.stats()["resumed"] == 1
        path.unlink()
        assert batchcorder.cached(path, lambda: table).to_table() == table
        assert set(os.listdir(path.parent)) - {"d" * 240} == {path.name}
        path.unlink()


def test_pipes_make_nothing_wait(tmp_path: Path) -> None:
    """A pipe at any of the file names does not block a call."""
    check_python(f"""
    import os, batchcorder, pyarrow as pa
    from batchcorder import StreamCache
    table = pa.table({{"x": [1]}})
    os.chdir({str(tmp_path)!r})
    os.mkdir("batchcorder-" + "0" * 16, 0o700)
    os.mkfifo("batchcorder-" + "0" * 16 + "/cache.arrow")
    for name in (".x.unfinished", ".x.unfinished-1", ".x.lock", "pipe"):
        os.mkfifo(name)
    assert StreamCache.on_disk(table, path=".").to_table() == table
    batchcorder.record(table, "x").close()
    os.unlink("x")
    StreamCache(table).save("x")
    StreamCache(table).save("x", overwrite=True)
    os.unlink("x")
    assert batchcorder.cached("x", lambda: table).to_table() == table
    for call in (
        lambda: batchcorder.open("pipe"),
        lambda: batchcorder.cached("pipe", lambda: table),
        lambda: batchcorder.cached("pipe", lambda: table, resume=True),
        lambda: batchcorder.record(table, "pipe"),
        lambda: batchcorder.verify("pipe"),
    ):
        try:
            call()
        except OSError:
            pass
        else:
            raise AssertionError("a pipe was taken for a file")
    """)


def test_cached_removes_only_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process saves a recording between any two steps of `cached`."""
    path = tmp_path / "x.arrows"
    fresh, own = pa.table({"x": [7, 8, 9]}), pa.table({"x": [2]})
    saved: list[str] = []

    def left() -> None:
        with batchcorder.cached(path, lambda: pa.table({"x": [1]})):
            pass

    def save_then(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            StreamCache(fresh).save(path, overwrite=True)
            saved.append(real.__name__)
            return real(*args, **kwargs)

        return call

    steps: list[tuple[Any, str]] = [
        (_cached_query, "_is_lost"),
        (_cached_query._core, "discard"),
        (_cached_query._recordings, "start"),
        (_cached_query.os.path, "lexists"),
    ]
    for resume in (False, True):
        for module, name in steps:
            left()
            saved.clear()
            with monkeypatch.context() as patch:
                patch.setattr(module, name, save_then(getattr(module, name)))
                with batchcorder.cached(path, lambda: own, resume=resume) as cache:
                    assert cache.to_table() == (fresh if saved else own)
            assert saved or (resume and name == "discard") or name == "_is_lost"
            path.unlink()


def test_threads_that_save_one_name(tmp_path: Path) -> None:
    """Threads save links and copies under one name: the file there is always whole."""
    path = tmp_path / "x.arrows"
    table = pa.table({"x": [7] * 5})
    errors: list[BaseException] = []
    with (
        StreamCache(table) as memory,
        StreamCache.on_disk(table, path=tmp_path / "tier") as disk,
    ):

        def save() -> None:
            try:
                for i in range(40):
                    (memory if i % 2 else disk).save(path, overwrite=True)
                    assert batchcorder.open(path).to_table() == table
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=save) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert sorted(os.listdir(tmp_path)) == ["tier", "x.arrows"]
