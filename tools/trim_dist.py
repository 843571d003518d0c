#!/usr/bin/env python3
"""Run by `meson dist`: leave out those parts of the third-party sources we never use."""

import os
import shutil
from pathlib import Path

ROOT = Path(os.environ["MESON_DIST_ROOT"]) / "subprojects"
UNUSED = (
    "nanoarrow-*/src",
    "nanoarrow-*/tests",
    "nanoarrow-*/README.*",
    # Of the codecs, all but lib and LICENSE.
    "nanoarrow-*/subprojects/lz4-*/[!lL]*",
    "nanoarrow-*/subprojects/lz4-*/lib/dll",
    "nanoarrow-*/subprojects/zstd-*/[!lL]*",
    "nanoarrow-*/subprojects/zstd-*/lib/deprecated",
    "nanoarrow-*/subprojects/zstd-*/lib/dictBuilder",
    "nanoarrow-*/subprojects/zstd-*/lib/dll",
    "nanoarrow-*/subprojects/zstd-*/lib/legacy",
    "nanoarrow-*/subprojects/flatcc-*/test",
    "nanoarrow-*/subprojects/flatcc-*/samples",
    "nanoarrow-*/subprojects/flatcc-*/reflection",
    "nanoarrow-*/subprojects/flatcc-*/external",
    "xxhash-*/src",
    "xxhash-*/tests",
    "xxhash-*/xxhash",
)

for pattern in UNUSED:
    for path in ROOT.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
