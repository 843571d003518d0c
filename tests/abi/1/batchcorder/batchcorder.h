/** batchcorder records a single-use Arrow stream once and replays it to any number of
 * independent readers, from memory or from disk. Uncompressed batches are not copied.
 *
 * docs/glossary.md defines the terms of this header, such as source, tier and binding.
 *
 *     struct bc_cache *cache;
 *     struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
 *     bc_cache_new(&source, &options, &cache, NULL);
 *     struct ArrowArrayStream replay;
 *     bc_cache_stream(cache, &replay, NULL);
 *
 * These rules hold for every function, unless its comment says otherwise.
 *
 * Errors. A function that can fail returns 0 or an errno value. It also fills the
 * caller's `struct bc_error`, which may be NULL. There is no hidden "last error". Every
 * function that takes a `struct bc_error` can return ENOMEM.
 *
 * Results. An `out_` parameter is untouched on failure, and always set on success.
 *
 * Ownership. A pointer parameter is borrowed for the call, unless the comment says that
 * it moves. A string that a function returns belongs to the cache, and is valid as long
 * as the cache's last reference.
 *
 * Threads. Any number of threads may use a cache or a reader at once. If several threads
 * use one reader, each batch goes to one thread. One thread at a time may use an
 * ArrowArrayStream, as the Arrow specification says. Any thread may release an exported
 * array, and may move children out of the array. One thread at a time calls the source:
 * the first thread that needs the next batch. The library holds no lock during that call.
 *
 * After close. A function that needs batches or files returns EINVAL with the kind
 * BC_ERROR_CLOSED. If a function works after close, its comment has "Works after close".
 *
 * Struct sizes. Later versions may add members at the end of a struct with `struct_size`.
 * The caller sets `struct_size` to the struct's size in the caller's header, and the
 * initialiser does this. The library reads or writes at most that many bytes. If the
 * caller's struct has more members than the library knows, these members must be zero in
 * options, else the call returns E2BIG. In results, the library sets them to zero. If
 * `struct_size` was not set, the call returns EINVAL.
 */
#ifndef BATCHCORDER_H
#define BATCHCORDER_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

/* Define BC_STATIC to use the static library on Windows. */
#if defined(_WIN32) && !defined(BC_STATIC)
#ifdef BC_BUILDING
#define BC_EXPORT __declspec(dllexport)
#else
#define BC_EXPORT __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define BC_EXPORT __attribute__((visibility("default")))
#else
#define BC_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The Arrow C data interface and C stream interface, as their specification prints them.
 */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

/* ---- errors ---- */

/** The kinds of errors. They distinguish failures that share an errno. */
enum bc_error_kind {
    BC_ERROR_SYSTEM = 0,       /* the system refused a call; the errno says why */
    BC_ERROR_INVALID = 1,      /* an argument, an option or a schema is invalid */
    BC_ERROR_NO_MEMORY = 2,    /* an allocation failed */
    BC_ERROR_OVER_BUDGET = 3,  /* a memory or disk budget is used up */
    BC_ERROR_CLOSED = 4,       /* the cache is closed */
    BC_ERROR_EVICTED = 5,      /* the batch was evicted */
    BC_ERROR_SOURCE = 6,       /* the source returned this error */
    BC_ERROR_CHANGED = 7,      /* the resumed source is not the recorded one */
    BC_ERROR_TOO_MANY = 8,     /* max_readers readers were already made */
    BC_ERROR_NOT_ARROW = 9,    /* the file is no Arrow stream, file or recording */
    BC_ERROR_CORRUPT = 10,     /* the file is damaged */
    BC_ERROR_INCOMPLETE = 11,  /* the file is cut off, or the recording is unfinished */
    BC_ERROR_UNSUPPORTED = 12, /* the library cannot read or write this data */
    BC_ERROR_WRITER_DIED = 13, /* the followed recording will not be completed */
    BC_ERROR_NO_LOCK = 14,     /* the file system refuses locks */
    BC_ERROR_NOT_ON_DISK = 15, /* batches are in memory only */
    BC_ERROR_CANCELLED = 16,   /* a hook stopped the call */
    BC_ERROR_DEADLOCK = 17,    /* the call would wait for its own thread */
    BC_ERROR_EXISTS = 18,      /* the file exists, or the recording is complete */
    BC_ERROR_BUSY = 19,  /* another process, or a reader, uses the file or the cache */
    BC_ERROR_FORKED = 20 /* after a fork, only the parent can do this */
};

/** Describes a failure. The called function sets the struct, which may be uninitialised
 * before the call. */
struct bc_error {
    int32_t code;        /* the errno value that the function returned */
    int32_t kind;        /* enum bc_error_kind */
    int32_t reserved[6]; /* zero */
    char message[1024];  /* UTF-8, ends with NUL; a longer message is cut */
};

/* ---- caches ---- */

/** A recorded stream. Counted: bc_cache_new() returns one reference. */
struct bc_cache;

/** An independent position in the batches of a cache. Counted. A reader holds a reference
 * to its cache. */
struct bc_reader;

/** As a memory capacity: 7/8 of the machine's memory, or of the cgroup's limit if the
 * limit is lower. As a disk capacity: no limit. */
#define BC_BYTES_DEFAULT UINT64_MAX

enum bc_write_policy {
    BC_WRITE_ON_INSERTION = 0, /* every batch goes to disk, and to memory if it fits */
    BC_WRITE_ON_EVICTION = 1   /* batches that do not fit into memory go to disk */
};

/** Compression of buffers in the file, as the Arrow IPC format defines it. Reads
 * decompress a compressed batch into memory. Other batches are mapped. */
enum bc_compression {
    BC_COMPRESSION_NONE = 0,
    BC_COMPRESSION_LZ4 = 1,
    BC_COMPRESSION_ZSTD = 2
};

/** When statistics are gathered, as bc_cache_statistics() returns them. */
enum bc_statistics_policy {
    BC_STATISTICS_DEFAULT = 0, /* of a recording: as each batch is recorded, and its file
                                  keeps them; else when they are first asked for */
    BC_STATISTICS_ALWAYS = 1,  /* as each batch is recorded */
    BC_STATISTICS_NEVER = 2
};

/** Space for the state that `enter` saves and `leave` restores. */
struct bc_hook_state {
    void *data[2];
};

/** Functions that a thread calls around a call of the source, and around a wait for
 * another thread. The thread holds no lock of the library when it calls them. A binding
 * releases its language's global lock in `enter` and takes it again in `leave`. */
struct bc_hooks {
    /* Returns 0 or an errno. With an errno, the library's function fails with this errno,
     * and `leave` is not called. */
    int (*enter)(void *context, struct bc_hook_state *state);
    void (*leave)(void *context, struct bc_hook_state *state);
    /* Called about every 30 ms between `enter` and `leave`. If it returns an errno such
     * as EINTR, the library's function fails with this errno. The failure loses no batch,
     * and the caller can repeat the function. May be NULL. */
    int (*poll)(void *context);
    void *context;
};

struct bc_cache_options {
    size_t struct_size;
    uint64_t memory_capacity; /* bytes of the memory tier; default: BC_BYTES_DEFAULT */
    uint64_t disk_capacity;   /* bytes of the file below disk_path; default: no limit */
    uint64_t max_readers;     /* count of readers that may ever be made; 0: no limit. With
                                 a limit, a batch is evicted once all these readers were
                                 made and have passed the batch */
    uint64_t prefetch;       /* batches that a thread records ahead of the fastest reader.
                                Only this thread calls the source, between the hooks. 0:
                                readers call the source when they need a batch */
    const char *disk_path;   /* directory for the cache's file; NULL: no disk tier */
    const char *record_path; /* path of a recording, instead of disk_path; NULL: no
                                recording. The file outlives the cache. Other processes
                                can read the file while it grows. The file is complete
                                once the source has ended. A recording keeps every batch.
                                EINVAL together with disk_path, max_readers, checksum 0 or
                                BC_WRITE_ON_EVICTION */
    const struct bc_hooks *hooks; /* copied; NULL: none */
    int32_t write_policy;         /* enum bc_write_policy */
    int32_t compression;          /* enum bc_compression */
    int32_t checksum; /* 1: the file has checksums, and the first read of a batch verifies
                         the batch's checksums; 0: no checksums. Default: 1 */
    int32_t durable;  /* 1: a recorded batch is on the disk before a reader or another
                         process gets it. If synchronising the file fails, every later
                         call fails with that errno. EINVAL without record_path */
    int32_t resume;   /* 1: continues an incomplete recording that no process is writing.
                         The source must return the recorded batches again: their row
                         counts are compared, and they are dropped. EINVAL without
                         record_path */
    int32_t statistics; /* enum bc_statistics_policy */
    const char *key; /* text that is kept in the recording, for bc_cache_key(): UTF-8, up
                        to 1 MiB. With `resume`, the recording keeps the key that it
                        has. EINVAL without record_path. NULL: no key */
};

#define BC_CACHE_OPTIONS_INIT         \
    {sizeof(struct bc_cache_options), \
     BC_BYTES_DEFAULT,                \
     BC_BYTES_DEFAULT,                \
     0,                               \
     0,                               \
     NULL,                            \
     NULL,                            \
     NULL,                            \
     BC_WRITE_ON_INSERTION,           \
     BC_COMPRESSION_NONE,             \
     1,                               \
     0,                               \
     0,                               \
     BC_STATISTICS_DEFAULT,           \
     NULL}

/** Makes a cache of `source`. Reads the schema now, and each batch when a reader needs
 * the batch.
 *
 * On success the stream moves into the cache: `source->release` is NULL. The cache
 * releases the stream once the stream has ended or failed, or when the cache is closed.
 * On failure the stream stays the caller's, and no batch was read.
 *
 * `options`: NULL means the defaults.
 * `out_cache`: one reference, which the caller gives to bc_cache_unref().
 *
 * EINVAL: the source is released or not a stream of structs; an option is invalid; with
 *     `resume`, the schema is not the recording's.
 * ENOTSUP: there is a file, and the Arrow IPC format cannot hold a type. The message
 *     names the field.
 * EEXIST: the recording's name is taken; with `resume`, the recording is complete.
 * EBUSY: with `resume`, another process is writing the recording.
 * ENOLCK: the file system refuses the lock that a recording needs.
 * Other: an errno of creating the directory and the file, or of the stream's get_schema.
 */
BC_EXPORT int bc_cache_new(struct ArrowArrayStream *source,
                           const struct bc_cache_options *options,
                           struct bc_cache **out_cache, struct bc_error *error);

/** Adds a reference. Returns `cache`. */
BC_EXPORT struct bc_cache *bc_cache_ref(struct bc_cache *cache);

/** Releases a reference; NULL is accepted. The release of the last reference closes and
 * frees the cache. Each reader holds a reference. Exported arrays stay valid. */
BC_EXPORT void bc_cache_unref(struct bc_cache *cache);

/** Closes the cache. A second call does nothing.
 *
 * Threads that wait in a reader wake, and their calls fail. The memory is freed, and the
 * cache's own file below disk_path is removed. Exported arrays stay valid. This function
 * never waits for the source: if a thread is inside the source, that thread releases the
 * source later. Otherwise this function calls the release callbacks of the source and of
 * its arrays. In a fork's child this function only marks the cache as closed, because
 * source, memory and file belong to the parent. */
BC_EXPORT void bc_cache_close(struct bc_cache *cache);

/** Records all remaining batches of the source. A second call does nothing.
 *
 * `out_batches`: count of the batches recorded so far, by this call and earlier calls.
 *
 * Fails as bc_reader_next() does. After a failure, the caller can repeat the call. */
BC_EXPORT int bc_cache_ingest(struct bc_cache *cache, uint64_t *out_batches,
                              struct bc_error *error);

/** Like bc_cache_ingest(), but stops once `batches` batches are recorded, earlier batches
 * included. */
BC_EXPORT int bc_cache_ingest_to(struct bc_cache *cache, uint64_t batches,
                                 uint64_t *out_batches, struct bc_error *error);

/** Copies the stream's schema, which the caller releases. Never waits. Works after close.
 */
BC_EXPORT int bc_cache_schema(struct bc_cache *cache, struct ArrowSchema *out_schema,
                              struct bc_error *error);

/** Returns the errno with which the source failed, or 0 if it has not failed.
 *
 * `out_message`: the source's whole message; NULL if the source has not failed.
 *
 * Never waits. Works after close. */
BC_EXPORT int bc_cache_source_error(struct bc_cache *cache, const char **out_message);

/** The state of a recording. */
enum bc_state {
    BC_STATE_OPEN = 0,      /* the source may have more batches */
    BC_STATE_EXHAUSTED = 1, /* the source has ended */
    BC_STATE_FAILED = 2,    /* the source failed: readers get its error after the last
                               batch */
    BC_STATE_CLOSED = 3     /* the cache is closed */
};

/** Counters of a cache. Different counters may be of different moments. */
struct bc_stats {
    size_t struct_size;       /* set by the caller */
    int32_t state;            /* enum bc_state */
    int32_t exhausted;        /* 1: the source has ended; stays 1 after close */
    uint64_t batches;         /* recorded so far, evicted ones included */
    uint64_t rows;            /* in these batches */
    uint64_t bytes;           /* sum of the bytes that each batch references alone */
    uint64_t evicted;         /* batches evicted: the batches below this index */
    uint64_t memory_bytes;    /* charged to the memory tier, reservations included */
    uint64_t memory_capacity; /* bytes */
    uint64_t disk_bytes;      /* of the cache's file, without holes */
    uint64_t disk_capacity;   /* bytes; 0 without a disk tier */
    uint64_t source_calls;    /* calls of the source for a batch */
    uint64_t source_ns;       /* nanoseconds in these calls, estimated by sampling */
    uint64_t readers;         /* readers made so far, freed readers included */
    uint64_t waiting;         /* threads that wait for another thread's batch */
    uint64_t memory_hits;     /* batches that readers got from memory */
    uint64_t disk_hits;       /* batches that readers got from disk */
    uint64_t resumed;         /* batches in the recording when it was resumed */
};

/** Writes the counters. The caller has set `out_stats->struct_size`. Never waits, never
 * fails, works after close. */
BC_EXPORT void bc_cache_stats(struct bc_cache *cache, struct bc_stats *out_stats);

/** Returns the path of the cache's file, or NULL without one. Works after close. */
BC_EXPORT const char *bc_cache_path(const struct bc_cache *cache);

/** Returns the key of the cache's recording (bc_cache_options), or NULL without one. The
 * text belongs to the cache. Works after close. */
BC_EXPORT const char *bc_cache_key(const struct bc_cache *cache);

/** Sets the capacity of the memory tier.
 *
 * `capacity`: bytes; BC_BYTES_DEFAULT means the default of bc_cache_new().
 *
 * Recorded batches stay. If the old capacity stopped the recording, the next call that
 * needs a batch continues the recording.
 *
 * EINVAL: the cache is closed. */
BC_EXPORT int bc_cache_set_memory_capacity(struct bc_cache *cache, uint64_t capacity,
                                           struct bc_error *error);

/** Sets the capacity of the cache's file, as bc_cache_set_memory_capacity() does for
 * memory.
 *
 * `capacity`: bytes; BC_BYTES_DEFAULT means no limit.
 *
 * EINVAL: the cache is closed; it has no disk tier. */
BC_EXPORT int bc_cache_set_disk_capacity(struct bc_cache *cache, uint64_t capacity,
                                         struct bc_error *error);

/** Charges memory that the caller keeps for this cache, such as objects of a language.
 *
 * `bytes`: the size to charge. Batches have priority: they are admitted as if there were
 * no reservations, and bc_cache_is_overcommitted() then returns 1.
 *
 * Returns 1 if the bytes were charged, 0 if the capacity is used up. Works after
 * close. */
BC_EXPORT int bc_cache_reserve(struct bc_cache *cache, uint64_t bytes);

/** Takes back `bytes` that bc_cache_reserve() charged. */
BC_EXPORT void bc_cache_unreserve(struct bc_cache *cache, uint64_t bytes);

/** Returns 1 if the reservations exceed the capacity that the batches leave, else 0. The
 * caller should then call bc_cache_unreserve(). Works after close. */
BC_EXPORT int bc_cache_is_overcommitted(struct bc_cache *cache);

/* ---- readers ---- */

/** As a reader's start: the index of the first batch that is not recorded yet. */
#define BC_READER_FRONTIER UINT64_MAX

struct bc_reader_options {
    size_t struct_size;
    uint64_t start; /* index of the first batch, or BC_READER_FRONTIER; default: 0 */
    uint64_t stop;  /* index of the first batch after the range; default: no limit */
    uint64_t step;  /* difference of consecutive indices, at least 1; default: 1 */
    const int32_t *columns; /* indices of the columns to return, in this order; NULL means
                               all. Bytes of other columns are never read, except to
                               verify the checksum of a body of up to 4 KiB */
    int64_t n_columns;
    const uint64_t *order; /* indices of the batches to return, in this order; NULL means
                              the stream's order. `start`, `stop` and `step` are then
                              indices in `order`. The reader keeps a copy */
    uint64_t n_order;
};

#define BC_READER_OPTIONS_INIT \
    {sizeof(struct bc_reader_options), 0, UINT64_MAX, 1, NULL, 0, NULL, 0}

/** Makes a reader. Never waits.
 *
 * `options`: NULL means all columns from batch 0.
 * `out_reader`: one reference, which the caller gives to bc_reader_unref().
 *
 * EINVAL: the cache is closed; max_readers readers were already made; the batch at
 * `start` was evicted; a column does not exist; step is 0. */
BC_EXPORT int bc_cache_reader(struct bc_cache *cache,
                              const struct bc_reader_options *options,
                              struct bc_reader **out_reader, struct bc_error *error);

/** Describes a returned batch. */
struct bc_batch_info {
    uint64_t number; /* index of the batch in the stream, from 0 */
    uint64_t rows;   /* row count */
    int32_t
        in_memory; /* 1: from the memory tier, so later reads return this batch again */
    int32_t reserved; /* zero */
};

/** Returns batch `number`. If needed, records it and all earlier batches first.
 * `max_readers` does not count this call.
 *
 * `out_array`: as bc_reader_next() sets it; `release` is NULL if the stream has no such
 *     batch.
 * `out_info`: may be NULL. All zero if the stream has no such batch.
 *
 * EINVAL: the batch was evicted.
 * Other: as bc_reader_next(). */
BC_EXPORT int bc_cache_batch(struct bc_cache *cache, uint64_t number,
                             struct ArrowArray *out_array, struct bc_batch_info *out_info,
                             struct bc_error *error);

/** Like bc_cache_batch(), but returns EAGAIN under the conditions of
 * bc_reader_next_quick(). */
BC_EXPORT int bc_cache_batch_quick(struct bc_cache *cache, uint64_t number,
                                   struct ArrowArray *out_array,
                                   struct bc_batch_info *out_info,
                                   struct bc_error *error);

/** Makes a reader at batch 0 and exports it as an Arrow stream, which the caller
 * releases. Fails as bc_cache_reader() does. */
BC_EXPORT int bc_cache_stream(struct bc_cache *cache, struct ArrowArrayStream *out_stream,
                              struct bc_error *error);

/** Returns the next batch as a struct array. If the batch is not recorded yet, calls the
 * source, or waits for the thread that calls the source.
 *
 * `out_array`: the caller releases it. `release` is NULL at the end of the stream, and in
 *     every later call. The array's buffers are the source's own buffers or the mapped
 *     file. They are copies if the batch is compressed or was not aligned.
 * `out_info`: may be NULL. All zero at the end of the stream.
 *
 * A source error is permanent: every reader gets the batches before it, then this error.
 * If the source is a stream of another cache, EINTR from it is not permanent. After
 * ENOMEM or an error of the disk, the batch is kept, and the next call stores it again.
 *
 * ENOMEM: out of memory; the capacity of a tier is used up.
 * EINVAL: the cache is closed; a batch does not fit the schema; an offset leaves its
 *     array.
 * EINVAL, with an `order`: the stream lacks the batch.
 * EINVAL, with a file: an offset, view, type id or run end is invalid.
 * EDEADLK: the source reads a batch of its own cache that is not recorded yet.
 * ECANCELED: a hook stopped the call; in a fork's child, the batch is not recorded.
 * EBADMSG: the batch in the file is damaged.
 * EIO: the file is shorter than before; a system call failed.
 * EOWNERDEAD: the writer of the followed recording died, or its source failed.
 * ENOLCK: the file system refuses locks, so a follower cannot tell if its writer lives.
 * Other: the source's error, or an errno of a hook such as EINTR. */
BC_EXPORT int bc_reader_next(struct bc_reader *reader, struct ArrowArray *out_array,
                             struct bc_batch_info *out_info, struct bc_error *error);

/** Like bc_reader_next(), but returns EAGAIN instead of a long read.
 *
 * A binding calls this function with its language's global lock held. After EAGAIN, it
 * releases the lock and calls bc_reader_next(). This function may still call the source
 * or wait, because the hooks release the lock around both. If the source itself failed
 * with EAGAIN, both functions return EAGAIN.
 *
 * EAGAIN: the batch takes long to verify or decompress; another thread is reading from
 *     this reader or extending the same dictionary. The reader stays at the batch. */
BC_EXPORT int bc_reader_next_quick(struct bc_reader *reader, struct ArrowArray *out_array,
                                   struct bc_batch_info *out_info,
                                   struct bc_error *error);

/** Copies the schema of the reader's batches, which the caller releases. Never waits.
 * Works after close. */
BC_EXPORT int bc_reader_schema(const struct bc_reader *reader,
                               struct ArrowSchema *out_schema, struct bc_error *error);

/** Returns the index of the reader's next batch, or with an `order` its index in there.
 * Works after close. */
BC_EXPORT uint64_t bc_reader_position(const struct bc_reader *reader);

/** Moves past batch `number` without exporting it. Never waits.
 *
 * EAGAIN: the reader is at another batch; another thread is reading from the reader; the
 *     batch is not recorded yet.
 * EINVAL: the cache is closed. */
BC_EXPORT int bc_reader_skip(struct bc_reader *reader, uint64_t number);

/** Adds a reference. Returns `reader`. */
BC_EXPORT struct bc_reader *bc_reader_ref(struct bc_reader *reader);

/** Releases a reference; NULL is accepted. The release of the last reference frees the
 * reader. A freed reader does not prevent eviction. */
BC_EXPORT void bc_reader_unref(struct bc_reader *reader);

/** Exports the reader as an Arrow stream of its remaining batches. The caller's reference
 * moves into the stream. Cannot fail. */
BC_EXPORT void bc_reader_export(struct bc_reader *reader,
                                struct ArrowArrayStream *out_stream);

/* ---- files ---- */

/** A range of bytes in a file. */
struct bc_range {
    int64_t offset;
    int64_t size; /* at least 1 */
};

/** A complete file that functions read, such as an object of an object store. The bytes
 * of the file never change.
 *
 * Any thread calls the functions, several at a time, between the hooks if it is a thread
 * of a reader. The thread holds no lock of the library. A fork's child calls `read` and
 * `ahead` too. */
struct bc_storage {
    int64_t size; /* bytes of the file */
    /* Reads `n` ranges inside the file, each into its buffer, and waits for them.
     *
     * `error`: zero; the function may fill its `message`.
     *
     * Returns 0 or an errno. The call that needs the bytes fails, and can be repeated. */
    int (*read)(void *context, const struct bc_range *ranges, void *const *buffers,
                size_t n, struct bc_error *error);
    /* Starts to read `n` ranges, which a later call of `read` will need, and does not
     * wait. NULL: nothing is read ahead.
     *
     * Returns 0 if all bytes are in memory: `read` will not wait for them.
     * EAGAIN: the bytes are not in memory yet.
     * ENOBUFS: enough is being read already, and these ranges were not started. */
    int (*ahead)(void *context, const struct bc_range *ranges, size_t n);
    /* Forgets all bytes that the storage has in memory or elsewhere, because a checksum
     * was wrong. The batch is then read once more. NULL: a wrong checksum is an error at
     * once. */
    void (*distrust)(void *context);
    /* Releases the context. Called once, by any thread, when the cache is closed and no
     * thread is inside `read` or `ahead`. A fork's child does not call it. May be NULL.
     */
    void (*release)(void *context);
    void *context;
};

struct bc_file_options {
    size_t struct_size;
    uint64_t max_batches;         /* opens only this many batches; default: no limit */
    const struct bc_hooks *hooks; /* copied; NULL: none */
    int32_t file; /* descriptor of an open file to read instead of `path`. Error messages
                     still name `path`. The descriptor stays the caller's. Default: -1,
                     none */
    int32_t verify;  /* 1: the first read of a batch validates all its values: offsets,
                        text, indices. Checksums are always verified */
    int32_t partial; /* 1: opens the valid batches of a file that is cut off, damaged at
                        its end or incomplete */
    int32_t follow;  /* 1: replays a recording while another process writes it, and waits
                        for more batches. EINVAL together with `partial` */
    int32_t read_into_memory; /* 1: reads batches into memory instead of mapping them */
    int32_t writable; /* 1: each batch has memory of its own, which its owner may write.
                         The file and other batches keep their bytes. Dictionaries stay
                         shared: never write their values */
    const struct bc_storage *storage; /* copied; reads the file instead of the system. The
                                         path is for messages. Each batch is read into
                                         memory when a reader needs it: the columns of the
                                         reader only. On failure, its `release` is not
                                         called. EINVAL together with `follow` or `file`.
                                         NULL: none */
};

#define BC_FILE_OPTIONS_INIT \
    {sizeof(struct bc_file_options), UINT64_MAX, NULL, -1, 0, 0, 0, 0, 0, NULL}

/** Opens a recording, or an Arrow IPC stream or file of any writer, as a cache.
 *
 * For a complete recording this reads the schema and the trailer, in constant
 * time. For other files it reads the metadata of all messages once. The file is never
 * changed. Batches are mapped, and copied only if they are compressed or unaligned.
 * Exported batches stay valid after the cache is freed. While batches are in use, the
 * file must not be made shorter.
 *
 * With `follow`, readers wait for batches that the writer has not written yet. The stream
 * ends when the recording is complete. If the writer is a cache in the same process, the
 * follower calls that cache's source itself: a single thread cannot deadlock. The
 * follower holds a reference to that cache until the follower is closed. If that source
 * fails, the follower's readers get the same error. If the writer dies, the readers get
 * EOWNERDEAD, unless bc_cache_allow_takeover() was called.
 *
 * `options`: NULL means the defaults.
 * `out_cache`: one reference.
 *
 * EINVAL: the file is no Arrow stream or file; an option is invalid.
 * ENODATA: the recording is not complete; the file is cut off.
 * EBADMSG: the file is damaged.
 * ENOTSUP: the file has Arrow data that this library cannot read.
 * Other: an errno of opening the file. */
BC_EXPORT int bc_file_open(const char *path, const struct bc_file_options *options,
                           struct bc_cache **out_cache, struct bc_error *error);

/** Functions by which a follower continues the recording of a dead writer. */
struct bc_takeover {
    /* Starts a cache that resumes the followed recording, if the recording needs it.
     *
     * `out_writer`: one reference to that cache, or NULL: the follower looks again, some
     *     milliseconds later. The function sets NULL if another process writes the
     *     recording now, or if the recording is complete.
     * `error`: zero; the function may fill its `message`.
     *
     * Returns 0 or an errno. ENOMEM, EINTR and ECANCELED fail the call that needs the
     * batch, and the caller can repeat the call. Any other errno becomes the error of the
     * follower's readers.
     *
     * A thread that needs a batch calls this function, between the hooks. The thread
     * holds no lock of the library. One thread of the follower calls it at a time. A
     * fork's child does not call it. */
    int (*begin)(void *context, struct bc_cache **out_writer, struct bc_error *error);
    /* Releases the context. Called once, by any thread, when the follower is closed. If a
     * thread is inside `begin` at that moment, it is called when `begin` has returned.
     * The thread holds no lock of the library. A fork's child does not call it. May be
     * NULL. */
    void (*release)(void *context);
    void *context;
};

/** Lets a follower continue the recording in this process if its writer dies. A writer
 * dies if its process ends, its source fails, or its cache is closed early. Readers get
 * the batches of the new writer after the batches of the old one. The follower holds a
 * reference to the new writer until the follower is closed. If the new writer's source
 * fails, the readers get its error.
 *
 * If the recording's path names another file, or no file, `begin` is not called. The
 * readers get EOWNERDEAD then, and also if `begin` returns a cache of another file.
 *
 * A reader without this call fails with EOWNERDEAD for good. Call this function before
 * the first reader needs a batch.
 *
 * `takeover`: copied. On failure, `release` is not called.
 *
 * EINVAL: the cache was not opened with `follow`; the cache is closed.
 * EBUSY: the function was called before. */
BC_EXPORT int bc_cache_allow_takeover(struct bc_cache *cache,
                                      const struct bc_takeover *takeover,
                                      struct bc_error *error);

/** Reads and verifies a whole file: checksums, offsets, text, indices.
 *
 * `options`: as for bc_file_open(), with `verify` implied; NULL means the defaults.
 * `out_batches`: the number of valid batches, which is the index of the damaged batch on
 *     failure. Untouched if the file cannot be opened. May be NULL.
 *
 * Fails as bc_file_open() and bc_reader_next() do. */
BC_EXPORT int bc_file_verify(const char *path, const struct bc_file_options *options,
                             uint64_t *out_batches, struct bc_error *error);

/** Removes an incomplete recording that no process is writing, and no other file. Also
 * removes a file that is empty or all zeros, because a power failure leaves such files.
 *
 * EEXIST: the recording is complete.
 * EBUSY: a process is writing the recording; another file has taken the recording's name.
 * ENOLCK: the file system refuses locks, so it is unknown whether a process is writing.
 * EINVAL: the file is no recording.
 * Other: an errno of opening or removing the file. */
BC_EXPORT int bc_file_discard(const char *path, struct bc_error *error);

struct bc_save_options {
    size_t struct_size;
    int32_t overwrite; /* 1: replaces an existing file in one step; 0: EEXIST */
    int32_t durable;   /* 1: the file is on the disk when the call returns */
};

#define BC_SAVE_OPTIONS_INIT {sizeof(struct bc_save_options), 0, 0}

/** Records all remaining batches and saves the cache as a complete recording at `path`.
 * If possible, the new file is a link to the cache's own file, else it is a copy. The
 * complete file appears at `path` in one step. On failure an existing file stays.
 *
 * `options`: NULL means the defaults.
 *
 * EINVAL: batches were evicted.
 * EBADMSG: the cache has opened a file, and a batch in it has invalid offsets.
 * EEXIST: the file exists, and `overwrite` is 0.
 * Other: as bc_cache_ingest(), or an errno of writing. With `overwrite` and `durable`, an
 *     error of synchronising the directory is reported after the new file is in place. */
BC_EXPORT int bc_cache_save(struct bc_cache *cache, const char *path,
                            const struct bc_save_options *options,
                            struct bc_error *error);

/** Writes every recorded batch to the file at bc_cache_path(), so that other processes
 * can open it. Also writes the trailer if the source has ended.
 *
 * `out_batches`: the number of batches in the file.
 *
 * EINVAL: the cache is closed; batches are in memory only; the cache has a limit
 *     max_readers, so batches were or will be evicted.
 * ECANCELED: in a fork's child, batches are not in the file, and only the parent can
 *     write it.
 * Other: an errno of writing. */
BC_EXPORT int bc_cache_publish(struct bc_cache *cache, uint64_t *out_batches,
                               struct bc_error *error);

/** Returns 1 if a process is writing the recording that the cache has opened, else 0.
 * Returns -1 if the file system refuses to tell. Returns 0 if the cache is closed, or has
 * opened no file. */
BC_EXPORT int bc_cache_is_being_written(struct bc_cache *cache);

/** Returns 1 if the system refused the lock of the cache's own file below disk_path, else
 * 0. The cache works without the lock. If its process is killed, no other process removes
 * the file. Works after close. */
BC_EXPORT int bc_cache_is_unlocked(const struct bc_cache *cache);

/** Selects columns of the cache. The cache's schema then has only these columns, in this
 * order. The column indices of a reader are indices into this schema. A binding needs the
 * schema to find columns by name, so bc_file_open() has no such option. Works after
 * close.
 *
 * EINVAL: a column does not exist.
 * EBUSY: columns were selected before; a reader of the cache was made before. */
BC_EXPORT int bc_cache_select(struct bc_cache *cache, const int32_t *columns,
                              int64_t n_columns, struct bc_error *error);

/** Finds the batch that has row `row`, in time logarithmic in the number of batches.
 *
 * `out_batch`: index of the batch.
 * `out_row_in_batch`: index of the row in the batch.
 *
 * EINVAL: no recorded batch has the row; the batch was evicted; the cache is closed. */
BC_EXPORT int bc_cache_find_row(struct bc_cache *cache, uint64_t row, uint64_t *out_batch,
                                uint64_t *out_row_in_batch, struct bc_error *error);

/** Copies rows of recorded batches into one struct array. Each batch is read once.
 * `max_readers` does not count this call.
 *
 * `rows`: indices of `n_rows` rows in the stream, in any order. An index may be repeated.
 * `columns`: as in bc_reader_options. Each has a fixed width: numbers, booleans, dates
 *     and times, binaries of fixed size, and structs and fixed-size lists of these.
 * `out_schema`: may be NULL. The caller releases it.
 * `out_array`: the caller releases it. It has the rows in the order of `rows`.
 *
 * ENOTSUP: a column has no fixed width.
 * EINVAL: no recorded batch has a row; a column does not exist; a batch was evicted; the
 *     cache is closed.
 * Other: as bc_reader_next(). */
BC_EXPORT int bc_cache_take(struct bc_cache *cache, const uint64_t *rows, uint64_t n_rows,
                            const int32_t *columns, int64_t n_columns,
                            struct ArrowSchema *out_schema, struct ArrowArray *out_array,
                            struct bc_error *error);

/** Writes the index of the first row of each of the `n` batches from batch `start` on.
 * The last entry is the index of the first row after these batches.
 *
 * `out_rows`: space for `n` + 1 row indices.
 *
 * EINVAL: fewer batches are recorded; batch `start` was evicted; the cache is closed. */
BC_EXPORT int bc_cache_row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                                  uint64_t *out_rows, struct bc_error *error);

/** The kinds of a cache's file. */
enum bc_file_kind {
    BC_FILE_NONE = 0,      /* the cache has no file */
    BC_FILE_CACHE = 1,     /* the cache's own file, removed when the cache is closed */
    BC_FILE_RECORDING = 2, /* a recording of this library */
    BC_FILE_STREAM = 3,    /* an Arrow IPC stream */
    BC_FILE_ARROW = 4      /* an Arrow IPC file (Feather V2) */
};

struct bc_file_info {
    size_t struct_size;          /* set by the caller */
    int32_t kind;                /* enum bc_file_kind */
    int32_t complete;            /* 1: the end of the stream is in the file */
    int32_t checksum;            /* 1: the file has checksums */
    int32_t compression;         /* enum bc_compression, of the first batch */
    uint64_t bytes;              /* size of the file */
    uint64_t dictionary_batches; /* messages with dictionaries, deltas included */
    uint64_t dictionary_bytes;   /* size of these messages */
};

/** Describes the file of a cache.
 *
 * `out_info`: the caller has set `struct_size`.
 * `out_column_bytes`: space for one size per column, or NULL. A size is that of the
 *     column's stored buffers in all batches, dictionaries included. If not NULL, the
 *     function reads the metadata of every batch.
 *
 * EINVAL: the cache is closed; `struct_size` is not set.
 * Other: an errno of reading. */
BC_EXPORT int bc_cache_file_info(struct bc_cache *cache, struct bc_file_info *out_info,
                                 uint64_t *out_column_bytes, struct bc_error *error);

/* ---- statistics ---- */

/** Returns the statistics of the recorded batches that are not evicted, as a struct array
 * with one row for each batch. Its first children are
 *
 *     batch: int64       index of the batch in the stream
 *     row_count: int64
 *
 * A child follows for each ordered column, and for each ordered field inside structs.
 * Ordered types are bool, integers, floats, decimals, dates, times, timestamps,
 * durations, strings, binary, and dictionaries of these. The children are in the order
 * of the columns, depth first. A child's name is the dotted path. Its metadata has the
 * indices of the path: `batchcorder.path` is "3.0" for child 0 of column 3. It is a
 * struct:
 *
 *     null_count: int64  rows in which the field, or a struct around it, is null
 *     min, max           bounds of the other values, without NaN
 *     exact: bool        both bounds are values of the batch, or the batch has no value
 *     nan_count: int64   floats only
 *
 * `min` and `max` have the type of the column. For a dictionary, that is the type of its
 * values, and for an extension type the storage type. Bounds of fixed-size binary above
 * 32 bytes are binary. Without a value, both are null. A bound of a string or of binary
 * has at most 32 bytes: a longer one is cut so that it still is a bound. If that is
 * impossible, or the string is invalid UTF-8, the bound is null and `exact` is false. If
 * nothing is known of a batch, `null_count` is null too. If the least value is zero,
 * `min` is -0.0. If the greatest value is zero, `max` is 0.0.
 *
 * Statistics of a complete recording come from its file. If the file has none, or damaged
 * ones, and for any other cache, the first call reads the columns of all batches. Later
 * calls read only batches that were recorded since. The source is not called. A wide
 * schema has statistics of its first 65,536 fields only.
 *
 * `columns`: indices of the columns whose statistics are returned, in this order; NULL
 *     means all columns.
 * `out_schema`, `out_array`: the caller releases both.
 *
 * EINVAL: the cache is closed, or was made with BC_STATISTICS_NEVER; a column does not
 *     exist.
 * Other: as bc_cache_batch(). A hook may stop the call, which can be repeated. */
BC_EXPORT int bc_cache_statistics(struct bc_cache *cache, const int32_t *columns,
                                  int64_t n_columns, struct ArrowSchema *out_schema,
                                  struct ArrowArray *out_array, struct bc_error *error);

/** Verifies the checksums of the statistics in the cache's file. Succeeds if there are
 * none. bc_file_verify() calls this function.
 *
 * EBADMSG: the statistics are damaged. bc_cache_statistics() then reads the columns.
 * EINVAL: the cache is closed.
 * Other: an errno of reading. */
BC_EXPORT int bc_cache_verify_statistics(struct bc_cache *cache, struct bc_error *error);

/* ---- the rest ---- */

/** Writes a permutation of the numbers below `n`. The permutation depends only on `seed`,
 * `epoch` and `n`, and is the same in every version and on every machine.
 *
 * `out`: space for `n` numbers. */
BC_EXPORT void bc_permutation(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t *out);

/** Functions of a binding that the library calls around a fork. `before` acquires the
 * binding's locks. `in_parent` and `in_child` release the locks in the parent and in the
 * child. The thread that forks calls them. No function is NULL, and no function may call
 * the library.
 *
 * The library takes its own locks after `before` has returned, and releases them before
 * it calls `in_parent` or `in_child`. A binding may therefore hold its locks around any
 * call of the library. If there are several bindings, `before` of the latest binding is
 * called first, and its `in_parent` or `in_child` last. If two threads fork at once, both
 * call `before`. */
struct bc_fork_calls {
    void (*before)(void *context);
    void (*in_parent)(void *context);
    void (*in_child)(void *context);
    void *context;
};

/** Registers the functions for every fork that begins from now on. They stay registered.
 *
 * `calls`: copied; its `context` must stay valid until the process ends.
 *
 * Returns 0 or ENOMEM. */
BC_EXPORT int bc_watch_forks(const struct bc_fork_calls *calls);

/** Returns the version of the library as "major.minor.patch". */
BC_EXPORT const char *bc_version(void);

#ifdef __cplusplus
}
#endif

#endif /* BATCHCORDER_H */
