"""Record a single-use Arrow stream once and replay it to any number of readers."""

from ._cache import StreamCache, tee
from ._cached import cached
from ._cast import CastingStreamCache
from ._core import StreamCacheReader
from ._core import __version__ as __version__
from ._errors import SourceTraceback
from ._recordings import open, record, verify

__all__ = [
    "CastingStreamCache",
    "SourceTraceback",
    "StreamCache",
    "StreamCacheReader",
    "cached",
    "open",
    "record",
    "tee",
    "verify",
]
