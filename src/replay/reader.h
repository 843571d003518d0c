/* Readers: a cursor each, and nothing shared between them but what they read.
 *
 *      lock the reader ─▶ closed? ─▶ cursor < published? ─▶ lend the batch, cursor + 1
 *            ▲                             │ no
 *            └── wait or become producer ◀─┘ (no lock held)
 *
 * The lock is the reader's own: it orders the threads that share one reader, and lets
 * close know when a reader has left the store (close sets `closed`, then takes every
 * reader's lock once). A batch is referenced before the cursor passes it, so the lowest
 * cursor of all readers is a low-water mark below which nobody looks. A reader that has
 * come to its `stop` looks at nothing any more. */
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
    struct bc_borrow_list *borrow_list; /* its lock is the reader's */
    _Atomic uint64_t cursor;
    uint64_t stop;                    /* it gives no batch from this number on */
    uint64_t step;                    /* from one batch to the next */
    struct bc_projection *projection; /* NULL: all columns */
    bool counted;                     /* one of those that `max_readers` is about */
    _Atomic uint64_t memory_hits;     /* batches that it gave, by where they were */
    _Atomic uint64_t disk_hits;
    struct bc_reader_cache cache;
    struct bc_link link;   /* in the cache's list, under the cache's lock */
    struct bc_error error; /* of the stream it was exported as */
};

/* What a reader is to give. */
struct bc_range {
    uint64_t start;
    uint64_t stop;
    uint64_t step;
};

/* The projection moves in on success. One that is not `counted` serves one call, on cache
 * lines that it may share. */
int bc__reader_new(const struct bc_reader_cache *cache, struct bc_range range,
                   struct bc_projection *projection, bool counted,
                   struct bc_reader **out_reader);
/* The first batch that it may still look at; UINT64_MAX: none. */
uint64_t bc__reader_mark(const struct bc_reader *reader);
/* Returns when nobody is inside the store on behalf of this reader and nothing that it
 * gave out needs the store any more. Where `closed` is set, this stays so. */
void bc__reader_promote(struct bc_reader *reader);
/* True of a stream that bc_reader_export made: what interrupts it loses nothing. */
bool bc__reader_is_stream(const struct ArrowArrayStream *stream);
/* Frees a reader that its cache never took in. */
void bc__reader_discard(struct bc_reader *reader);

#endif
