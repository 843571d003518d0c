#!/usr/bin/env python3
"""Make sure that the third-party sources of the build are there, and the right ones.

Every subprojects/*.wrap file names a source release on PyPI and its SHA-256; that is the
only place where versions and hashes are written. The release goes to
subprojects/packagefiles/, where meson takes it from and unpacks it. Nothing is downloaded
when the release or the unpacked folder is there already (an sdist carries the folders).
"""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUBPROJECTS = Path(__file__).resolve().parent.parent / "subprojects"
PACKAGEFILES = SUBPROJECTS / "packagefiles"

# pip builds the metadata of each download, and nanoarrow's takes 90 seconds to compile.
# Stand-ins for the build backends return the metadata at once.
BACKEND = """\
import os
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = "{name}-{version}.dist-info"
    os.makedirs(os.path.join(directory, folder), exist_ok=True)
    with open(os.path.join(directory, folder, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder
def get_requires_for_build_wheel(config_settings=None):
    return []
"""
BACKEND_FILES = (
    *("mesonpy.py", "setuptools/__init__.py", "setuptools/build_meta.py", "maturin.py"),
    *("hatchling/__init__.py", "hatchling/build.py"),
)


def check_hash(path: Path, expected: str) -> None:
    """Stop the build if the file is not the pinned one."""
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        sys.exit(
            f"{path}: wrong SHA-256\n  expected {expected}\n  actual   {actual}\n"
            "Delete the file to have it downloaded again."
        )


def download(filename: str, expected: str, target: Path) -> None:
    """Download one source release with pip, which checks its hash."""
    name, version = filename.removesuffix(".tar.gz").rsplit("-", 1)
    by_hand = f"Or put {filename} (SHA-256 {expected}) into {target.parent} yourself."
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        sys.exit(
            f"{filename} is missing, and {sys.executable} has no pip to download it.\n"
            f"Install pip for that interpreter. {by_hand}"
        )
    print(f"downloading {filename}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        for file in BACKEND_FILES:
            stub = tmp / "backend" / file
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text(BACKEND.format(name=name, version=version))
        requirements = tmp / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{expected}\n")
        command = [
            *[*pip, "download", "--quiet", "--disable-pip-version-check"],
            *["--no-deps", "--no-build-isolation", f"--no-binary={name}"],
            *["--require-hashes", f"--requirement={requirements}", f"--dest={tmp}"],
        ]
        path = [str(tmp / "backend"), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        result = subprocess.run(command, env=env, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(
                f"could not download {filename}:\n{result.stderr.strip()}\n{by_hand}"
            )
        check_hash(tmp / filename, expected)
        # Renamed into place, so that a half-written file is never seen.
        partial = target.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(tmp / filename, partial)
        partial.replace(target)


def refresh(overlay: Path, folder: Path) -> None:
    """Carry a changed overlay into a folder that was unpacked with an older one."""
    for source in (path for path in overlay.rglob("*") if path.is_file()):
        target = folder / source.relative_to(overlay)
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def main() -> None:
    for wrap_path in sorted(SUBPROJECTS.glob("*.wrap")):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(wrap_path)
        # Anything else in this folder is meson's own note of a nested subproject.
        if "wrap-file" not in parser:
            continue
        wrap = parser["wrap-file"]
        archive = PACKAGEFILES / wrap["source_filename"]
        folder = SUBPROJECTS / wrap["directory"]
        if archive.exists():
            check_hash(archive, wrap["source_hash"])
        elif not folder.is_dir():
            download(archive.name, wrap["source_hash"], archive)
        if folder.is_dir():
            refresh(PACKAGEFILES / wrap["patch_directory"], folder)


if __name__ == "__main__":
    main()
