/* The store: a slot for each batch of the stream. The slot tells in which tier the batch
 * is.
 *
 *      0 ... first-1     first ... published-1        published ...
 *      evicted           readable, never moves        not stored yet
 *
 * One producer at a time appends. It fills a slot, and then stores `published` with
 * release order. Readers load `published` with acquire order, and acquire no lock. The
 * states of a slot:
 *
 *      batch   extent  in_memory
 *      yes     no      yes     in memory only
 *      yes     yes     yes     in memory and on disk
 *      yes     yes     no      on disk; read before, so its nodes are in memory
 *      no      yes     no      on disk
 *      no      no      no      evicted, or the store is cleared
 *
 * Only two functions remove a batch from its slot. bc__store_trim does so if no cursor is
 * at or below the batch. bc__store_clear does so if no thread is in bc__store_get,
 * bc__store_entry or bc__store_find_row. The cache ensures both: a thread that reads a
 * slot has a cursor at or below the slot, a reader's or a pin's. A reference keeps a
 * returned batch valid. */
#ifndef BC_STORE_STORE_H
#define BC_STORE_STORE_H

#include "base/sync.h"
#include "disk/tier_ops.h"
#include "store/budget.h"

struct bc_slot {
    _Atomic(struct bc_batch *) batch;
    uint64_t first_row;
    uint64_t rows;
    struct bc_extent extent;
    struct bc_charge charge;
    bool in_memory;
    atomic_bool verified; /* a read from disk has verified all columns */
    _Atomic(_Atomic uint64_t *)
        columns_verified; /* a bit for each verified column; NULL: none */
};

/* Slots are in chunks of 64, 128, 256, ... slots. A chunk never moves. */
enum { BC_STORE_CHUNKS = 48, BC_STORE_FIRST_CHUNK = 64 };

struct bc_store {
    _Atomic uint64_t published;
    _Atomic uint64_t first;
    _Atomic uint64_t rows;
    _Atomic uint64_t bytes; /* sum of the bytes that each batch references */
    struct bc_slot *chunks[BC_STORE_CHUNKS];
    const struct bc_schema *schema;   /* borrowed; outlives the store */
    struct bc_tier *tier;             /* borrowed; NULL: memory only */
    struct bc_statistics *statistics; /* borrowed; of appended batches; NULL: none */
    enum bc_write_policy policy;
    struct bc_mutex lock; /* guards budget and first */
    struct bc_budget budget;
    _Atomic uint64_t decoded_bytes;  /* nodes of batches on disk, kept for later reads */
    struct bc_buffer_ranges ranges;  /* the producer's scratch memory */
    struct bc_buffer_ranges scratch; /* the producer's, for dictionaries */
    uint64_t *all_columns;           /* a bit for each column, all set */
};

/* Initialises an empty store. `memory_capacity`: bytes. `tier`: NULL means memory only.
 * Returns 0 or an errno. */
int bc__store_init(struct bc_store *store, const struct bc_schema *schema,
                   uint64_t memory_capacity, struct bc_tier *tier,
                   enum bc_write_policy policy);
/* Gathers statistics of all batches from now on. No batch is stored yet. */
static inline void bc__store_gather(struct bc_store *store,
                                    struct bc_statistics *statistics) {
    store->statistics = statistics;
}
/* Frees the members. Called after bc__store_clear. */
void bc__store_finish(struct bc_store *store);

/* Appends a batch. Adds a reference if the batch stays in memory. One producer at a time.
 * Calls no foreign code. `more`: as in bc_tier_ops.
 * ENOMEM: the batch exceeds the budget, and there is no disk tier; or no memory. Other
 * errors: those of the tier, and EINVAL for an invalid batch. */
int bc__store_put(struct bc_store *store, struct bc_batch *batch, bool more,
                  struct bc_error *error);
/* Writes all batches that the disk should have. */
int bc__store_flush(struct bc_store *store, struct bc_error *error);
/* Ends the tier's file at the end of the stream. */
int bc__store_end(struct bc_store *store, struct bc_error *error);

/* Returns the index of all batches, for a trailer. It borrows the store. */
struct bc_index bc__store_index(const struct bc_store *store);
/* Ends the tier's file of a failed stream. Called after bc__store_flush, whose failure is
 * ignored. */
void bc__store_abort(struct bc_store *store);

/* Appends the next batch of the tier's file. One producer at a time. `out_ended`: the
 * file has no more batches. ENOMEM, and errors of the tier's `next`. */
int bc__store_put_next(struct bc_store *store, bool *out_ended, struct bc_error *error);
/* Publishes all batches of a file with an index. The store is empty. ENOMEM. */
int bc__store_load_index(struct bc_store *store, uint64_t batches, uint64_t rows,
                         uint64_t bytes, struct bc_error *error);

/* Returns the index entry of batch `number`, which is published. An extent of size 0
 * means that the batch is not on disk. The caller's cursor prevents its eviction. */
int bc__store_entry(const struct bc_store *store, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error);
/* Finds the batch with row `row` of the stream, from batch `low` on. The caller's cursor
 * prevents the eviction of these batches. EINVAL: no such batch has the row. */
int bc__store_find_row(const struct bc_store *store, uint64_t low, uint64_t row,
                       uint64_t *out_number, struct bc_index_entry *out_entry,
                       struct bc_error *error);

/* Releases the tier's retired resources. Called after each bc__store_put, also if it
 * failed. No lock is held. `done`: no further batch follows. */
void bc__store_release_retired(struct bc_store *store, bool done);

/* Prefetches the slot of batch `number` into the processor's caches. */
void bc__store_prefetch_slot(const struct bc_store *store, uint64_t number);
/* The limit of a quick read: the bytes that it may process in about a millisecond. */
enum { BC_STORE_QUICK_BYTES = 1 << 20 };

/* A read of a batch that is published and not evicted. */
struct bc_store_read {
    uint64_t number;
    const struct bc_projection *projection; /* the least columns; NULL: all */
    bool quick;                             /* read only if the read is quick */
    uint64_t stop; /* a storage is read ahead up to this batch; 0: it is not */
};

/* Returns the batch of a read.
 * `out_borrowed`: true if the store keeps the batch, which is valid until the store drops
 * it. False if the caller gets a reference.
 * EAGAIN: `quick`, and the read is not quick. Other errors: those of the tier's read. */
int bc__store_get(struct bc_store *store, const struct bc_store_read *request,
                  struct bc_batch **out_batch, bool *out_borrowed,
                  struct bc_batch_info *out_info, struct bc_error *error);

/* Evicts the published batches below `low`. Any thread; no lock is held. */
void bc__store_trim(struct bc_store *store, uint64_t low);
/* Drops all batches. Other threads may trim concurrently. */
void bc__store_clear(struct bc_store *store);

/* ---- the memory tier's budget; any thread, no lock is held ---- */

/* Stores the bytes that are charged, reservations included, and the capacity. */
void bc__store_memory(struct bc_store *store, uint64_t *out_bytes,
                      uint64_t *out_capacity);
void bc__store_set_capacity(struct bc_store *store, uint64_t capacity);
/* Charges `bytes` that the user keeps for the cache. Returns false if they do not fit. */
bool bc__store_reserve(struct bc_store *store, uint64_t bytes);
void bc__store_unreserve(struct bc_store *store, uint64_t bytes);
/* Returns true if reservations take memory that batches were admitted to. */
bool bc__store_is_overcommitted(struct bc_store *store);

/* Returns the number of published batches. */
static inline uint64_t bc__store_published(const struct bc_store *store) {
    return atomic_load_explicit(&store->published, memory_order_acquire);
}

#endif
