"""Recordings as datasets of Ray Data. Needs ray, with its extra `data`."""

try:
    import ray.data  # noqa: F401 - only to name the extra
except ImportError as error:
    raise ImportError(
        f"batchcorder.ray needs Ray Data ({error}): pip install 'batchcorder[ray]'"
    ) from error

from ._read import read_recordings
from ._write import write_recordings

__all__ = ["read_recordings", "write_recordings"]

for _thing in (read_recordings, write_recordings):
    _thing.__module__ = __name__
del _thing
