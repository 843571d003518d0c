"""Record a single-use Arrow stream once and replay it to any number of readers."""

from types import FunctionType
from typing import TYPE_CHECKING, Any

from ._cached_query import cached
from ._cast import CastingStreamCache
from ._core import StreamCacheReader
from ._core import __version__ as __version__
from ._recordings import open_recording as open
from ._recordings import record, verify
from ._shuffle import Shuffled
from ._source_errors import SourceTraceback
from ._stream_cache import StreamCache
from ._tee import tee
from ._types import ArrowStream, ColumnInfo, Info, Stats, StrOrBytesPath

if TYPE_CHECKING:
    from ._dataset import CacheDataset

__all__ = [
    "ArrowStream",
    "CacheDataset",
    "CastingStreamCache",
    "ColumnInfo",
    "Info",
    "Shuffled",
    "SourceTraceback",
    "Stats",
    "StrOrBytesPath",
    "StreamCache",
    "StreamCacheReader",
    "cached",
    "open",
    "record",
    "tee",
    "verify",
]


def _publish() -> None:
    """Let help(), tracebacks and pickles name each object by its public name."""
    for name in __all__:
        thing = globals().get(name)
        # The reader's type is written in C, and has its public name.
        if isinstance(thing, type | FunctionType) and thing is not StreamCacheReader:
            thing.__module__ = __name__
            thing.__name__ = thing.__qualname__ = name


_publish()
del _publish


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import CacheDataset on first use, because it needs pyarrow.dataset."""
    if name == "CacheDataset":
        from ._dataset import CacheDataset

        return CacheDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
