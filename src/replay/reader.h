/* Readers. Each reader has a cursor. Readers share nothing but the batches that they
 * read.
 *
 *      lock the reader ─▶ closed? ─▶ cursor < published? ─▶ export, cursor += step
 *            ▲                             │ no
 *            └── wait or become producer ◀─┘ (no lock held)
 *
 * A storage is read without the lock, because the functions of the caller may wait for a
 * thread that needs the lock. The batch is then exported if the cursor has not moved.
 *
 * Each reader has its own lock, which orders the threads of one reader. Close sets
 * `closed`, and then acquires each reader's lock once. After that, no reader is in a call
 * of the store. A reader references a batch before the cursor moves past it. The lowest
 * cursor is therefore a low-water mark: no reader reads an earlier batch. A reader at its
 * `stop` reads nothing any more. The cursor of a reader with an order is an index in it,
 * and its mark is the lowest number in the order. */
#ifndef BC_REPLAY_READER_H
#define BC_REPLAY_READER_H

#include "base/list.h"
#include "record/ingest.h"
#include "replay/borrow.h"
#include "store/store.h"

/* The operations of a cache that its readers call. No lock is held. */
struct bc_reader_ops {
    /* Waits until batch `number` is published, or the stream has ended. */
    int (*advance)(void *context, uint64_t number, struct bc_error *error);
    /* The reader's cursor has moved, and batches may be evicted. NULL: the cache never
     * evicts. */
    void (*on_advance)(void *context);
    /* The reader is closed. Releases its reference to the cache. */
    void (*on_close)(void *context, struct bc_reader *reader);
    /* Keep the file of a storage open meanwhile. NULL: the cache has no storage, and the
     * reader's lock keeps the file open.
     * EINVAL: the cache is closed. */
    int (*enter)(void *context, struct bc_error *error);
    void (*leave)(void *context);
};

/* The parts of a cache that its readers use; they outlive the readers. */
struct bc_reader_cache {
    const struct bc_reader_ops *ops;
    void *context; /* of the operations */
    struct bc_ingest *ingest;
    struct bc_store *store;
    const atomic_bool *closed;
};

struct bc_reader {
    atomic_uint refs;
    struct bc_borrow_list *borrow_list; /* its lock is the reader's lock */
    _Atomic uint64_t cursor;
    uint64_t *order;                  /* NULL: the cursor is the number of a batch */
    uint64_t first;                   /* with an order: the lowest number to read */
    uint64_t stop;                    /* the end: the first cursor not to read */
    uint64_t step;                    /* batches from one read to the next */
    struct bc_projection *projection; /* NULL: all columns */
    bool counted;                     /* `max_readers` counts this reader */
    _Atomic uint64_t memory_hits;     /* batches returned from memory */
    _Atomic uint64_t disk_hits;       /* batches returned from disk */
    struct bc_reader_cache cache;
    struct bc_link link;   /* in the cache's list, which the cache's lock guards */
    struct bc_error error; /* of its exported stream */
};

/* Makes a reader of the batches and columns that the options select. On success the
 * projection moves in. `counted`: false means that the reader serves one call, and may
 * share its cache lines. Returns 0 or an errno. */
int bc__reader_new(const struct bc_reader_cache *cache,
                   const struct bc_reader_options *options,
                   struct bc_projection *projection, bool counted,
                   struct bc_reader **out_reader);
/* Returns the schema of the reader's batches, which the reader owns or outlives. */
const struct bc_schema *bc__reader_schema(const struct bc_reader *reader);
/* Returns the first batch that the reader may still read; UINT64_MAX means none. */
uint64_t bc__reader_mark(const struct bc_reader *reader);
/* Promotes the reader's borrows, with its lock. After the return, no thread is in the
 * store for this reader, and no exported batch needs the store. If `closed` is set, this
 * stays true. */
void bc__reader_promote(struct bc_reader *reader);
/* Returns true for a stream of bc_reader_export. Such a stream loses no batch by
 * EINTR. */
bool bc__reader_is_stream(const struct ArrowArrayStream *stream);
/* Frees a reader that its cache did not admit. */
void bc__reader_discard(struct bc_reader *reader);

#endif
