"""Record a single-use Arrow stream once and replay it to any number of readers."""

from ._cast import CastingStreamCache
from ._core import StreamCache, StreamCacheReader, __version__

__all__ = ["CastingStreamCache", "StreamCache", "StreamCacheReader", "__version__"]
