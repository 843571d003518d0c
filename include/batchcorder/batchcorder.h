/* batchcorder: records any single-use Arrow stream once and replays it to any number of
 * independent readers, from memory or from disk, without copying.
 *
 *     struct bc_cache *cache;
 *     struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
 *     bc_cache_new(&source, &options, &cache, NULL);     the stream is the cache's now
 *     struct ArrowArrayStream replay;
 *     bc_cache_stream(cache, &replay, NULL);             as often as you like
 *
 * Conventions that hold for every function unless its own comment says otherwise:
 *
 *  - Functions that can fail return 0 or an errno value. The words for it go into the
 *    caller's `struct bc_error`, which may be NULL. There is no hidden "last error".
 *  - `out_` parameters are untouched on failure and always set on success.
 *  - A cache may be used from any number of threads at once; so may a reader (each batch
 *    is then delivered to one of the threads). An ArrowArrayStream, as the Arrow
 *    specification says, is used by one thread at a time. Exported arrays may be
 *    released, and their children moved out and released, on any thread.
 *  - The source is asked by one thread at a time: the one whose reader needs the next
 *    batch first. No lock is held while it runs.
 *  - Pointers handed in are borrowed for the call, except where ownership is said to
 * move.
 */
#ifndef BATCHCORDER_H
#define BATCHCORDER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BC_EXPORT __attribute__((visibility("default")))

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

/* What went wrong, for people. Filled by the callee on failure, untouched on success. */
struct bc_error {
    int code;           /* the errno value that was returned too */
    char message[1024]; /* NUL-terminated UTF-8, cut where it is longer */
};

/* A recorded stream. Counted: bc_cache_new gives one reference. */
struct bc_cache;
/* An independent position in a cache's batches. Counted; holds a reference to its cache.
 */
struct bc_reader;

/* For the memory budget: what the machine, or the process's control group, has, less a
 * reserve of an eighth. For the disk budget: no limit. */
#define BC_BYTES_DEFAULT UINT64_MAX

enum bc_write_policy {
    BC_WRITE_ON_INSERTION = 0, /* every batch goes to disk, and to memory while it fits */
    BC_WRITE_ON_EVICTION = 1   /* only batches that do not fit into memory go to disk */
};

/* Of the buffers in the cache file, as the Arrow IPC format defines it. A compressed
 * batch is decompressed into memory when it is read; others are read where they stand. */
enum bc_compression {
    BC_COMPRESSION_NONE = 0,
    BC_COMPRESSION_LZ4 = 1,
    BC_COMPRESSION_ZSTD = 2
};

/* Room in which the hooks keep what they must restore. */
struct bc_hook_state {
    void *data[2];
};

/* Called around the slow path only (asking the source, waiting for another thread), by
 * whichever thread is in it, with no lock held. A binding whose language has a global
 * lock gives that up in `enter` and takes it back in `leave`. */
struct bc_hooks {
    /* 0, or an errno that the call in progress then fails with (`leave` is not called).
     */
    int (*enter)(void *context, struct bc_hook_state *state);
    void (*leave)(void *context, struct bc_hook_state *state);
    /* Asked every 30 ms or so between `enter` and `leave`; an errno (EINTR) stops the
     * call in progress, which loses nothing and can be made again. May be NULL. */
    int (*poll)(void *context);
    void *context;
};

struct bc_cache_options {
    size_t struct_size;        /* set by the initialiser */
    uint64_t memory_bytes_max; /* budget of the memory tier */
    const char *disk_path;     /* directory for the cache file, NULL: no disk tier */
    uint64_t disk_bytes_max;   /* budget of the file, with disk_path */
    enum bc_write_policy write_policy;
    uint64_t readers_max; /* readers ever made, 0: any number. With a limit, a batch
                             is freed when all of them exist and have passed it */
    const struct bc_hooks *hooks; /* copied; NULL: none */
    int checksums;                /* 0: none in the file, and none verified */
    enum bc_compression compression;
    uint64_t prefetch; /* batches that a thread of the cache's own keeps ahead of the
                          fastest reader; the source is then asked from that thread,
                          with the hooks around it. 0: readers ask, when they need one */
    const char *record_path; /* instead of disk_path: a recording of that name, which
                                stays, and which others can read while it grows. It is
                                complete when the source has ended */
    int durable; /* of a recording: what others see of it is on the disk, and so is what
                    a call has recorded when it returns. Where synchronising fails, every
                    later call fails with the same errno */
    int resume;  /* the recording is there, not complete, and nobody writes it: goes on
                    behind its batches, so many of which the source must give again */
};

#define BC_CACHE_OPTIONS_INIT         \
    {sizeof(struct bc_cache_options), \
     BC_BYTES_DEFAULT,                \
     NULL,                            \
     BC_BYTES_DEFAULT,                \
     BC_WRITE_ON_INSERTION,           \
     0,                               \
     NULL,                            \
     1,                               \
     BC_COMPRESSION_NONE,             \
     0,                               \
     NULL,                            \
     0,                               \
     0}

/* Makes a cache over `source`, whose schema is asked for at once and whose batches are
 * asked for when a reader needs them.
 *
 * On success the stream is moved: the cache releases it as soon as it is exhausted, has
 * failed or the cache is closed, and `source->release` is NULL. On failure the stream
 * stays the caller's, and no batch was taken from it.
 *
 * EINVAL: not a stream of structs, or options that make no sense. ENOTSUP: a disk tier
 * and a type that the Arrow IPC format cannot hold; the message names the field. ENOMEM;
 * any errno of making the directory and the file, EEXIST for a recording whose name is
 * taken, ENOLCK where the file system refuses the lock that a recording needs, EIO where
 * the system refuses a call otherwise; the errno of the stream's get_schema. With
 * `resume`: EINVAL, the schema is not the recording's; EEXIST, it is complete; EBUSY,
 * somebody is writing it. A source that turns out to be another one fails with EINVAL
 * when it is asked. */
BC_EXPORT int bc_cache_new(struct ArrowArrayStream *source,
                           const struct bc_cache_options *options,
                           struct bc_cache **out_cache, struct bc_error *error);

/* One more reference; returns `cache`. */
BC_EXPORT struct bc_cache *bc_cache_ref(struct bc_cache *cache);

/* Gives a reference back; NULL is accepted. With the last one (readers hold one each) the
 * cache is closed and freed. Arrays that were handed out stay valid. */
BC_EXPORT void bc_cache_unref(struct bc_cache *cache);

/* Closes the cache: waiting readers wake and fail, the source is released (by the thread
 * that is inside it, if there is one: this function never waits for it), the memory is
 * given back and the file removed. Arrays that were handed out stay valid. Idempotent.
 * Foreign code may run: the source's release, and those of its arrays. In a fork's child
 * it only marks the cache: source, memory and file are the parent's to give back. */
BC_EXPORT void bc_cache_close(struct bc_cache *cache);

/* Asks the source for all that is left. The batches recorded so far, this call's and
 * earlier ones, go to `*out_batches`; called again it does nothing. Fails as
 * bc_reader_next does, and can be called again then. */
BC_EXPORT int bc_cache_ingest(struct bc_cache *cache, uint64_t *out_batches,
                              struct bc_error *error);

/* A copy of the stream's schema, released by the caller. Never waits. */
BC_EXPORT int bc_cache_schema(struct bc_cache *cache, struct ArrowSchema *out_schema,
                              struct bc_error *error);

/* Asks the source until `batches` are recorded, or there are no more; else the same. */
BC_EXPORT int bc_cache_ingest_to(struct bc_cache *cache, uint64_t batches,
                                 uint64_t *out_batches, struct bc_error *error);

/* The errno with which the source failed, and its words, whole, which are valid as long
 * as the cache; 0 while it has not failed. Never waits. */
BC_EXPORT int bc_cache_failure(struct bc_cache *cache, const char **out_words);

/* Where a recording stands. */
enum bc_state {
    BC_STATE_OPEN = 0,  /* the source may have more */
    BC_STATE_EXHAUSTED, /* it said that there is no more */
    BC_STATE_FAILED,    /* it failed: every reader gets its error behind the last batch */
    BC_STATE_CLOSED     /* the cache is closed */
};

/* What a cache holds. All counts are of this moment and never waited for. */
struct bc_cache_stats {
    size_t struct_size; /* set by the caller */
    enum bc_state state;
    uint64_t batches;         /* recorded so far, those evicted included */
    uint64_t rows;            /* in those batches */
    uint64_t bytes;           /* that those batches reference, each by itself */
    uint64_t batches_evicted; /* the first ones, freed because all readers passed them */
    uint64_t memory_bytes; /* charged to the memory budget now, reservations included */
    uint64_t memory_bytes_max;
    uint64_t disk_bytes;     /* of the cache file now, holes not counted */
    uint64_t disk_bytes_max; /* 0 without a disk tier */
    uint64_t source_calls;   /* times the source was asked for a batch */
    uint64_t source_ns;      /* nanoseconds that it took, about */
    uint64_t readers;        /* ever made */
    uint64_t waiting;        /* threads that wait for another one to bring a batch */
    uint64_t hits_memory;    /* batches that readers were given from memory, */
    uint64_t hits_disk;      /* and from disk */
    int exhausted;           /* 1: the source ended, also when the cache is closed now */
    uint64_t resumed;        /* batches that a resumed recording had before */
};

BC_EXPORT void bc_cache_stats(struct bc_cache *cache, struct bc_cache_stats *stats);

/* Path of the cache file, or NULL without a disk tier. Valid as long as the cache. */
BC_EXPORT const char *bc_cache_path(const struct bc_cache *cache);

/* Changes a budget. What is held stays held; an ingest that the budget stopped goes on
 * with the next call that asks for a batch. EINVAL: the cache is closed, or has no disk
 * tier. */
BC_EXPORT int bc_cache_limit_memory(struct bc_cache *cache, uint64_t bytes_max,
                                    struct bc_error *error);
BC_EXPORT int bc_cache_limit_disk(struct bc_cache *cache, uint64_t bytes_max,
                                  struct bc_error *error);

/* Charges `bytes` that the caller keeps on behalf of this cache (such as language objects
 * made of its batches) to its memory budget: 1, or 0 when there is no room. Batches go
 * first: they are admitted as if nothing was reserved, and bc_cache_overcommitted then
 * says that reservations should be given back. */
BC_EXPORT int bc_cache_reserve(struct bc_cache *cache, uint64_t bytes);
BC_EXPORT void bc_cache_unreserve(struct bc_cache *cache, uint64_t bytes);
BC_EXPORT int bc_cache_overcommitted(struct bc_cache *cache);

/* For a reader's start: the first batch that is not recorded yet. */
#define BC_READER_FRONTIER UINT64_MAX

/* What a reader gives. */
struct bc_reader_options {
    size_t struct_size;     /* set by the initialiser */
    uint64_t start;         /* the number of its first batch, or BC_READER_FRONTIER */
    uint64_t stop;          /* it ends before this batch, or with the stream */
    uint64_t step;          /* from one batch that it gives to the next, at least 1 */
    const int32_t *columns; /* numbers of the columns that it gives, in their order; NULL:
                               all. Of the others no byte is read, in either tier; but
                               small bodies (up to 4 KiB) are verified whole */
    int64_t n_columns;
};

#define BC_READER_OPTIONS_INIT \
    {sizeof(struct bc_reader_options), 0, UINT64_MAX, 1, NULL, 0}

/* A new reader, with one reference; `options` NULL: of all columns from batch 0. EINVAL:
 * the cache is closed or has given out readers_max readers, the first batch was evicted,
 * a column does not exist. ENOMEM. */
BC_EXPORT int bc_cache_reader(struct bc_cache *cache,
                              const struct bc_reader_options *options,
                              struct bc_reader **out_reader, struct bc_error *error);

/* What is said of a batch that is given. */
struct bc_batch_info {
    uint64_t number; /* of the batch in the stream, from 0 */
    uint64_t rows;
    int in_memory; /* 1: a batch of the memory tier, which a next replay gives again */
};

/* Batch `number` by itself, as bc_reader_next gives it; `out_array->release` is NULL
 * where the stream has no such batch. Asks the source for it, and for those before it,
 * where they are not recorded yet. Not one of readers_max readers. EINVAL: it was
 * evicted; else as bc_reader_next. */
BC_EXPORT int bc_cache_get(struct bc_cache *cache, uint64_t number,
                           struct ArrowArray *out_array, struct bc_batch_info *out_info,
                           struct bc_error *error);

/* The same for bc_cache_get as bc_reader_next_quick is for bc_reader_next. */
BC_EXPORT int bc_cache_get_quick(struct bc_cache *cache, uint64_t number,
                                 struct ArrowArray *out_array,
                                 struct bc_batch_info *out_info, struct bc_error *error);

/* A new reader at batch 0 as an Arrow stream, released by the caller. */
BC_EXPORT int bc_cache_stream(struct bc_cache *cache, struct ArrowArrayStream *out_stream,
                              struct bc_error *error);

/* The next batch, as a struct array that the caller releases; at the end of the stream,
 * now and whenever asked again, `out_array->release` is NULL. Zero copy: its buffers are
 * the producer's own or the mapped file's. `out_info` may be NULL.
 *
 * Asks the source or waits for another thread where the batch is not recorded yet.
 * Errors of the source stay (but EINTR of a
 * stream of this library, which is asked again): every reader gets
 * the same batches and then the same error.
 * ENOMEM (a budget is used up) and errors of the disk lose nothing: the batch is kept,
 * and the next call goes on with it. EINVAL: a batch does not fit the schema, or has
 * offsets that leave their array; with a disk tier also any wrong offset, view, type id
 * or run end. EDEADLK: the source itself asks for a batch that
 * only it can bring. EINVAL: the cache is closed. ECANCELED: hooks, or a fork's child,
 * stopped it. EINTR, or another errno: the hooks said so.
 *
 * A batch that is read from a file: EBADMSG, it is damaged; EIO, the file is shorter than
 * it was, or the system refuses a call. A recording that is followed: EOWNERDEAD, its
 * writer died or gave up; ENOLCK, the file system refuses locks, so neither can be
 * told. */
BC_EXPORT int bc_reader_next(struct bc_reader *reader, struct ArrowArray *out_array,
                             struct bc_batch_info *out_info, struct bc_error *error);

/* The same where it takes no long time to read the batch: EAGAIN, and the reader is where
 * it was, if so much is to be verified or decompressed first that a binding does well to
 * give its language's lock up for a call of bc_reader_next; or if another thread is at
 * it. Asking the source and waiting, with the hooks around, is not meant. If the source
 * itself failed with EAGAIN, that is the error of both functions, and stays. */
BC_EXPORT int bc_reader_next_quick(struct bc_reader *reader, struct ArrowArray *out_array,
                                   struct bc_batch_info *out_info,
                                   struct bc_error *error);

/* A copy of the schema of what the reader gives, released by the caller. Never waits. */
BC_EXPORT int bc_reader_schema(const struct bc_reader *reader,
                               struct ArrowSchema *out_schema, struct bc_error *error);

/* The number of the batch that bc_reader_next would give. */
BC_EXPORT uint64_t bc_reader_position(const struct bc_reader *reader);

/* Passes batch `number` without having it: 0, or EAGAIN when the reader is not there (any
 * more), another thread is at it, or the batch is not recorded yet, EINVAL when the cache
 * is closed. */
BC_EXPORT int bc_reader_skip(struct bc_reader *reader, uint64_t number);

/* One more reference; returns `reader`. */
BC_EXPORT struct bc_reader *bc_reader_ref(struct bc_reader *reader);

/* Gives a reference back; NULL is accepted. After the last one it holds no batch back. */
BC_EXPORT void bc_reader_unref(struct bc_reader *reader);

/* Makes an Arrow stream of the batches that the reader has not given yet. The caller's
 * reference moves into the stream; it cannot fail. */
BC_EXPORT void bc_reader_export(struct bc_reader *reader,
                                struct ArrowArrayStream *out_stream);

/* ---- recordings: files with names ----
 *
 * docs/file-format.md describes them. Every Arrow library reads one as a stream, while it
 * grows too; with this one it is a cache whose source has ended. */

struct bc_file_options {
    size_t struct_size; /* set by the initialiser */
    int file;    /* an open file to read instead of `path`, which is then for messages; it
                    stays the caller's. -1: none */
    int verify;  /* batches are looked at as a whole when they are first read: offsets,
                    text, indices. Checksums, where a file has them, always are */
    int partial; /* what is cut off or damaged at its end, or not complete, is opened as
                    far as it goes */
    int copies;  /* read messages into memory, instead of mapping the file */
    int follow;  /* replay what another process is writing, and wait for the rest */
    uint64_t batches_max;         /* no more than these are there */
    const struct bc_hooks *hooks; /* copied; NULL: none */
};

#define BC_FILE_OPTIONS_INIT \
    {sizeof(struct bc_file_options), -1, 0, 0, 0, 0, UINT64_MAX, NULL}

/* Opens a recording, or an Arrow IPC stream or file that anybody wrote, as a cache.
 *
 * Of a complete recording the schema and the end are read, whatever its size; of others,
 * the metadata of all messages, once. The file is never changed. Batches are not copied,
 * unless they are compressed or their buffers stand unaligned; they stay valid after the
 * cache. A file must not be made shorter while batches of it are in use: a batch that is
 * not there any more when it is asked for is EIO.
 *
 * With `follow`, readers wait for what the writer has not written yet. The stream ends
 * when the recording is complete; EOWNERDEAD: its writer died before that, or gave up.
 * Where a cache of this process is the writer, readers have it ask its source instead of
 * waiting for others to; it is kept until the follower is closed, and its source's error
 * is the follower's.
 *
 * EINVAL: not such a file; ENODATA: a recording that is not complete, or a file that is
 * cut off; EBADMSG: damaged; ENOTSUP: Arrow data that this library cannot read; any errno
 * of opening; ENOMEM. `options` NULL: the defaults. */
BC_EXPORT int bc_file_open(const char *path, const struct bc_file_options *options,
                           struct bc_cache **out_cache, struct bc_error *error);

/* Reads and verifies all of a file: checksums, offsets, text, indices. 0, or the error of
 * the first batch that is wrong, whose number is then in `*out_batches`; else that is the
 * number of all batches. It may be NULL, and is untouched where the file does not open.
 */
BC_EXPORT int bc_file_verify(const char *path, uint64_t *out_batches,
                             struct bc_error *error);

/* Asks the source for all that is left, and gives the whole as a complete recording the
 * name `path`, at once: the file is a link to the cache's own where that can be, else a
 * copy. `replaces`: a file of that name is replaced in one step, else it is EEXIST.
 * `durable`: it is on the disk when this returns. EINVAL: batches were evicted; EBADMSG:
 * the cache is of an opened file, in which a batch has wrong offsets; else as
 * bc_cache_ingest, and any errno of writing: then there is no such file, or the one that
 * there was. With `durable` and `replaces`, a directory that cannot be synchronised is an
 * error after the new file has taken the other one's place. */
BC_EXPORT int bc_cache_save(struct bc_cache *cache, const char *path, int replaces,
                            int durable, struct bc_error *error);

/* Sees to it that the file at bc_cache_path can be opened by other processes: what is
 * recorded is in it, and where the source has ended it is complete. `*out_batches` of
 * them, from the first one on. EINVAL: some are in memory only, or were or will be
 * evicted; or the cache is closed. ECANCELED: in a fork's child, some are not in the file
 * yet, which only the parent writes. Else any errno of writing. */
BC_EXPORT int bc_cache_share(struct bc_cache *cache, uint64_t *out_batches,
                             struct bc_error *error);

/* 1 where the recording that the cache has opened is being written, by another process or
 * by a cache of this one; -1 where the file system refuses to tell; else 0, also where
 * the cache is closed or has opened no file, and so for the writer itself. */
BC_EXPORT int bc_cache_has_writer(struct bc_cache *cache);

/* 1 where the system refused the lock of the cache's own file (disk_path), else 0. Such a
 * file works; if its process is killed, it stays, since no other process can tell. */
BC_EXPORT int bc_cache_is_unlocked(const struct bc_cache *cache);

/* Removes the recording that its writer left before it was complete, and no other file.
 * A file that is empty or has zeros only counts as one: a loss of power leaves that.
 * EEXIST: it is complete; EBUSY: it is being written, or another file has taken its name;
 * ENOLCK: the file system refuses locks, so neither can be told; EINVAL: not a recording;
 * any errno of opening it. */
BC_EXPORT int bc_file_discard(const char *path, struct bc_error *error);

/* From now on the cache has these columns only, in this order: its schema is theirs, and
 * a reader's numbers of columns count among them. Once, before its first reader; else it
 * is EBUSY. EINVAL: a column does not exist. ENOMEM. */
BC_EXPORT int bc_cache_select(struct bc_cache *cache, const int32_t *columns,
                              int64_t n_columns, struct bc_error *error);

/* The batch that has row `row` of those recorded so far, and the row's number in it.
 * EINVAL: there is none, or it was evicted. Takes time in the logarithm of the number of
 * batches. */
BC_EXPORT int bc_cache_find_row(struct bc_cache *cache, uint64_t row, uint64_t *out_batch,
                                uint64_t *out_row_in_batch, struct bc_error *error);
/* The first row of each of `n` batches from number `start` on, and of the one behind:
 * `n` + 1 numbers. EINVAL: so many are not recorded, or the first of them was evicted. */
BC_EXPORT int bc_cache_row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                                  uint64_t *out_rows, struct bc_error *error);

/* The kinds of files that bc_file_open knows. */
enum bc_file_kind {
    BC_FILE_NONE = 0,  /* the cache has no file */
    BC_FILE_CACHE,     /* a cache's own, which goes with it */
    BC_FILE_RECORDING, /* of this library */
    BC_FILE_STREAM,    /* an Arrow IPC stream */
    BC_FILE_ARROW      /* an Arrow IPC file (Feather V2) */
};

struct bc_file_info {
    size_t struct_size; /* set by the caller */
    enum bc_file_kind kind;
    int complete;                    /* nothing is missing at its end */
    int checksums;                   /* it has some */
    enum bc_compression compression; /* of its first batch */
    uint64_t bytes;                  /* of the file */
    uint64_t dictionary_batches;     /* messages of dictionaries, deltas included */
    uint64_t dictionary_bytes;       /* in them */
};

/* What the file of a cache is. `out_column_bytes` (may be NULL) has room for as many
 * numbers as the cache has columns: the bytes that their buffers take in all batches, as
 * they stand in the file, which takes a look at each batch's metadata; dictionaries are
 * counted with their column. */
BC_EXPORT int bc_cache_describe(struct bc_cache *cache, struct bc_file_info *out_info,
                                uint64_t *out_column_bytes, struct bc_error *error);

/* A permutation of the numbers below `n`, for `out` to hold: a pure function of `seed`,
 * `epoch` and `n`, the same in every version and on every machine. */
BC_EXPORT void bc_shuffle(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t *out);

/* What a binding does around a fork of the process, for locks of its own that a child
 * needs: `before` takes them, the others give them back. The thread that forks calls all
 * three; none is NULL, and none calls the library.
 *
 * The library takes no lock of its own before `before` has returned, and has given all
 * back when it calls `in_parent` or `in_child`. So a binding may hold its locks around
 * any call of the library. Of several bindings, the latest one's `before` comes first,
 * and its `in_parent` or `in_child` last. Two threads may fork at once, and each calls
 * `before`. */
struct bc_fork_calls {
    void (*before)(void *context);
    void (*in_parent)(void *context);
    void (*in_child)(void *context);
    void *context;
};

/* Has them called around every fork that begins from now on, for good. `calls` is copied;
 * its `context` is valid as long as the process. ENOMEM. */
BC_EXPORT int bc_watch_forks(const struct bc_fork_calls *calls);

/* The version of the library, "major.minor.patch". */
BC_EXPORT const char *bc_version(void);

#ifdef __cplusplus
}
#endif

#endif /* BATCHCORDER_H */
