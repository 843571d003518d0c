/* Texts of help() for public members written in C, in numpydoc's format. The first line
 * of a method's text is the signature that inspect reads. */
#ifndef BC_EXT_DOCSTRINGS_H
#define BC_EXT_DOCSTRINGS_H

#define DOC_CACHE_CLOSE                                                          \
    "close($self)\n"                                                             \
    "--\n"                                                                       \
    "\n"                                                                         \
    "Free memory, file and source at once; batches handed out stay valid.\n"     \
    "\n"                                                                         \
    "May be called again. Readers that wait for a batch fail with ValueError.\n" \
    "\n"                                                                         \
    "Examples\n"                                                                 \
    "--------\n"                                                                 \
    ">>> import pyarrow as pa\n"                                                 \
    ">>> from batchcorder import StreamCache\n"                                  \
    ">>> cache = StreamCache(pa.table({\"x\": [1, 2]}))\n"                       \
    ">>> cache.close()\n"                                                        \
    ">>> cache.stats()[\"state\"]\n"                                             \
    "'closed'\n"

#define DOC_CACHE_SCHEMA                                  \
    "Schema of the stream; never waits.\n"                \
    "\n"                                                  \
    "Examples\n"                                          \
    "--------\n"                                          \
    ">>> import pyarrow as pa\n"                          \
    ">>> from batchcorder import StreamCache\n"           \
    ">>> StreamCache(pa.table({\"x\": [1, 2]})).schema\n" \
    "x: int64\n"

#define DOC_CACHE_INGESTED_COUNT                                           \
    "Number of batches recorded so far; never waits.\n"                    \
    "\n"                                                                   \
    "Examples\n"                                                           \
    "--------\n"                                                           \
    ">>> import pyarrow as pa\n"                                           \
    ">>> from batchcorder import StreamCache\n"                            \
    ">>> cache = StreamCache(pa.table({\"x\": [1, 2]}))\n"                 \
    ">>> cache.ingested_count, cache.ingest_all(), cache.ingested_count\n" \
    "(0, 1, 1)\n"

#define DOC_CACHE_UPSTREAM_EXHAUSTED                                               \
    "True once the source has ended; never waits.\n"                               \
    "\n"                                                                           \
    "Examples\n"                                                                   \
    "--------\n"                                                                   \
    ">>> import pyarrow as pa\n"                                                   \
    ">>> from batchcorder import StreamCache\n"                                    \
    ">>> cache = StreamCache(pa.table({\"x\": [1, 2]}))\n"                         \
    ">>> cache.upstream_exhausted, cache.ingest_all(), cache.upstream_exhausted\n" \
    "(False, 1, True)\n"

#define DOC_CACHE_PATH                                                         \
    "Path of the cache file, an Arrow IPC stream; None without a disk tier.\n" \
    "\n"                                                                       \
    "Examples\n"                                                               \
    "--------\n"                                                               \
    ">>> import pyarrow as pa\n"                                               \
    ">>> from batchcorder import StreamCache\n"                                \
    ">>> with StreamCache.on_disk(pa.table({\"x\": [1, 2]})) as cache:\n"      \
    "...     cache.path.endswith(\"/cache.arrow\")\n"                          \
    "True\n"

#define DOC_CACHE_MAX_READERS                                                 \
    "Number of readers that may ever be made; None without a limit.\n"        \
    "\n"                                                                      \
    "Examples\n"                                                              \
    "--------\n"                                                              \
    ">>> import pyarrow as pa\n"                                              \
    ">>> from batchcorder import StreamCache\n"                               \
    ">>> StreamCache(pa.table({\"x\": [1, 2]}), max_readers=3).max_readers\n" \
    "3\n"

#define DOC_READER                                                                 \
    "Read the batches of a StreamCache from a position of its own, once.\n"        \
    "\n"                                                                           \
    "A reader is an iterator of pyarrow.RecordBatch, and an Arrow stream.\n"       \
    ":meth:`StreamCache.reader` makes it. It keeps the recording alive after the " \
    "cache\n"                                                                      \
    "object is gone. Exporting its stream or casting it uses the reader up.\n"     \
    "\n"                                                                           \
    "Examples\n"                                                                   \
    "--------\n"                                                                   \
    ">>> import pyarrow as pa\n"                                                   \
    ">>> from batchcorder import StreamCache\n"                                    \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n"               \
    ">>> [batch.num_rows for batch in reader], reader.closed\n"                    \
    "([2], True)\n"

#define DOC_READER_SCHEMA                            \
    "Schema of the reader's batches; never waits.\n" \
    "\n"                                             \
    "Examples\n"                                     \
    "--------\n"                                     \
    ">>> import pyarrow as pa\n"                     \
    ">>> from batchcorder import StreamCache\n"      \
    ">>> StreamCache(pa.table({\"x\": [1], \"y\": "  \
    "[2]})).reader(columns=[\"y\"]).schema\n"        \
    "y: int64\n"

#define DOC_READER_CLOSED                                            \
    "True once the reader is used up, closed or at its end.\n"       \
    "\n"                                                             \
    "Examples\n"                                                     \
    "--------\n"                                                     \
    ">>> import pyarrow as pa\n"                                     \
    ">>> from batchcorder import StreamCache\n"                      \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n" \
    ">>> reader.closed, len(list(reader)), reader.closed\n"          \
    "(False, 1, True)\n"

#define DOC_READER_READ_NEXT_BATCH                                   \
    "read_next_batch($self)\n"                                       \
    "--\n"                                                           \
    "\n"                                                             \
    "Return the next batch.\n"                                       \
    "\n"                                                             \
    "Threads may share a reader: each batch goes to one thread.\n"   \
    "\n"                                                             \
    "Returns\n"                                                      \
    "-------\n"                                                      \
    "pyarrow.RecordBatch\n"                                          \
    "    The batch at the reader's position.\n"                      \
    "\n"                                                             \
    "Raises\n"                                                       \
    "------\n"                                                       \
    "StopIteration\n"                                                \
    "    The reader is at the end of its batches.\n"                 \
    "ValueError\n"                                                   \
    "    The reader is used up or closed, or the cache is closed.\n" \
    "Exception\n"                                                    \
    "    The error of the source, as iteration raises it.\n"         \
    "\n"                                                             \
    "Examples\n"                                                     \
    "--------\n"                                                     \
    ">>> import pyarrow as pa\n"                                     \
    ">>> from batchcorder import StreamCache\n"                      \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n" \
    ">>> reader.read_next_batch().to_pydict()\n"                     \
    "{'x': [1, 2]}\n"

#define DOC_READER_READ_ALL                                                          \
    "read_all($self)\n"                                                              \
    "--\n"                                                                           \
    "\n"                                                                             \
    "Return the remaining batches as a table.\n"                                     \
    "\n"                                                                             \
    "The batches are not copied. At the end of the stream, the table has no rows.\n" \
    "\n"                                                                             \
    "Returns\n"                                                                      \
    "-------\n"                                                                      \
    "pyarrow.Table\n"                                                                \
    "    The rows from the reader's position on.\n"                                  \
    "\n"                                                                             \
    "Raises\n"                                                                       \
    "------\n"                                                                       \
    "ValueError\n"                                                                   \
    "    The reader is used up or closed, or the cache is closed.\n"                 \
    "Exception\n"                                                                    \
    "    The error of the source, as iteration raises it.\n"                         \
    "\n"                                                                             \
    "Examples\n"                                                                     \
    "--------\n"                                                                     \
    ">>> import pyarrow as pa\n"                                                     \
    ">>> from batchcorder import StreamCache\n"                                      \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n"                 \
    ">>> reader.read_all().num_rows\n"                                               \
    "2\n"

#define DOC_READER_CLOSE                                                              \
    "close($self)\n"                                                                  \
    "--\n"                                                                            \
    "\n"                                                                              \
    "End the reader, so that it keeps no batch from being freed.\n"                   \
    "\n"                                                                              \
    "May be called again. A thread that waits for a batch of this reader still gets " \
    "it.\n"                                                                           \
    "Later calls raise ValueError (``Reader already consumed``).\n"                   \
    "\n"                                                                              \
    "Examples\n"                                                                      \
    "--------\n"                                                                      \
    ">>> import pyarrow as pa\n"                                                      \
    ">>> from batchcorder import StreamCache\n"                                       \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n"                  \
    ">>> reader.close()\n"                                                            \
    ">>> reader.closed\n"                                                             \
    "True\n"

#define DOC_READER_CAST                                                               \
    "cast($self, target_schema)\n"                                                    \
    "--\n"                                                                            \
    "\n"                                                                              \
    "Return the remaining batches, cast to another schema; uses the reader up.\n"     \
    "\n"                                                                              \
    "Parameters\n"                                                                    \
    "----------\n"                                                                    \
    "target_schema : pyarrow.Schema\n"                                                \
    "    A schema with the same field names.\n"                                       \
    "\n"                                                                              \
    "Returns\n"                                                                       \
    "-------\n"                                                                       \
    "pyarrow.RecordBatchReader\n"                                                     \
    "    A stream of the batches from the reader's position on.\n"                    \
    "\n"                                                                              \
    "Raises\n"                                                                        \
    "------\n"                                                                        \
    "ValueError\n"                                                                    \
    "    The field names differ, or the reader is used up.\n"                         \
    "TypeError\n"                                                                     \
    "    `target_schema` is no schema, or a type cannot be cast. The reader is not\n" \
    "    used up.\n"                                                                  \
    "\n"                                                                              \
    "Examples\n"                                                                      \
    "--------\n"                                                                      \
    ">>> import pyarrow as pa\n"                                                      \
    ">>> from batchcorder import StreamCache\n"                                       \
    ">>> reader = StreamCache(pa.table({\"x\": [1, 2]})).reader()\n"                  \
    ">>> reader.cast(pa.schema({\"x\": pa.int8()})).read_all().schema\n"              \
    "x: int8\n"

#endif
