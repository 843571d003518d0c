/* The batches of a stream by number: where each is, and which readers may see.
 *
 *      0 ... first-1     first ... published-1        published ...
 *      evicted           readable, never moves        not there yet
 *
 * One producer appends: it fills a slot, then stores `published` with release order.
 * Readers load it with acquire order and take no lock. A slot holds
 *
 *      batch   extent  in_memory
 *      yes     no      yes     in memory only
 *      yes     yes     yes     in memory and on disk
 *      yes     yes     no      on disk, read before: its nodes are in memory
 *      no      yes     no      on disk
 *      no      no      no      evicted, or the store is cleared
 *
 * A batch leaves its slot only by bc__store_trim, when no cursor is at or below it, and
 * bc__store_clear, when no thread is inside bc__store_get, bc__store_entry or
 * bc__store_find_row. The cache sees to that: each thread that looks at a slot has a
 * cursor, a reader's or a pin, at or below it. A batch that was got stays valid by its
 * own count. */
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
    atomic_bool verified; /* all of it was read from disk before, and right */
    _Atomic(_Atomic uint64_t *)
        columns_verified; /* some of it: a bit a column, or NULL */
};

/* Slots stand in chunks of 64, 128, 256, ... that never move. */
enum { BC_STORE_CHUNKS = 48, BC_STORE_FIRST_CHUNK = 64 };

struct bc_store {
    _Atomic uint64_t published;
    _Atomic uint64_t first;
    _Atomic uint64_t rows;
    _Atomic uint64_t bytes; /* that the batches reference, each by itself */
    struct bc_slot *chunks[BC_STORE_CHUNKS];
    const struct bc_schema *schema; /* borrowed, outlives the store */
    struct bc_tier *tier;           /* borrowed; NULL: memory only */
    enum bc_write_policy policy;
    struct bc_mutex lock; /* guards budget and first */
    struct bc_budget budget;
    _Atomic uint64_t decoded_bytes; /* of nodes of batches on disk, for later reads */
    struct bc_buffer_ranges ranges; /* the producer's */
    struct bc_buffer_ranges scratch;
    uint64_t *all_columns; /* a bit for each */
};

int bc__store_init(struct bc_store *store, const struct bc_schema *schema,
                   uint64_t memory_capacity, struct bc_tier *tier,
                   enum bc_write_policy policy);
/* After bc__store_clear. */
void bc__store_finish(struct bc_store *store);

/* Appends a batch, taking a reference of its own where it stays in memory; `more` as the
 * tier has it. One producer at a time. ENOMEM: it does not fit into the budget (and
 * there is no disk tier), or the tier's error. Calls no foreign code. */
int bc__store_put(struct bc_store *store, struct bc_batch *batch, bool more,
                  struct bc_error *error);
/* Sees to it that the disk has all that it should have. */
int bc__store_flush(struct bc_store *store, struct bc_error *error);
/* The same at the end of the stream. */
int bc__store_end(struct bc_store *store, struct bc_error *error);

/* The index of all batches, for a trailer. */
struct bc_index bc__store_index(const struct bc_store *store);
/* At the end of a stream that failed; bc__store_flush has done what it could. */
void bc__store_abort(struct bc_store *store);

/* Appends the next batch that the tier finds in its file. One producer at a time.
 * `*out_ended`: there are no more. ENOMEM, or an error of the tier's `next`. */
int bc__store_put_next(struct bc_store *store, bool *out_ended, struct bc_error *error);
/* Takes over all batches of a file that has an index, into an empty store. ENOMEM. */
int bc__store_load_index(struct bc_store *store, uint64_t batches, uint64_t rows,
                         uint64_t bytes, struct bc_error *error);

/* What is known of batch `number`, which is published; an extent of size 0: it is not on
 * disk. Whoever asks sees to it that the batch is not evicted meanwhile. */
int bc__store_entry(const struct bc_store *store, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error);
/* The batch from number `low` on that has row `row` of the stream. Those from `low` on
 * are not evicted meanwhile. EINVAL: there is none. */
int bc__store_find_row(const struct bc_store *store, uint64_t low, uint64_t row,
                       uint64_t *out_number, struct bc_index_entry *out_entry,
                       struct bc_error *error);

/* After bc__store_put, whether it succeeded or not; with `done` after the last one. No
 * lock is held. */
void bc__store_release_retired(struct bc_store *store, bool done);

/* Batch `number` will be asked for: what is known of it is fetched into the caches. */
void bc__store_prefetch_slot(const struct bc_store *store, uint64_t number);
/* What a read may touch that is quick: about a millisecond's work. */
enum { BC_STORE_QUICK_BYTES = 1 << 20 };

/* Batch `number`, which is published and not evicted; at least the columns of the
 * projection (NULL: all). `*out_borrowed`: it is the store's, and valid until the store
 * gives it up; else a reference goes to the caller. EAGAIN: it is not quick, and only a
 * `quick` one is wanted. */
int bc__store_get(struct bc_store *store, uint64_t number,
                  const struct bc_projection *projection, bool quick,
                  struct bc_batch **out_batch, bool *out_borrowed,
                  struct bc_batch_info *out_info, struct bc_error *error);

/* Evicts the batches below `low` that are published. Any thread, no lock held. */
void bc__store_trim(struct bc_store *store, uint64_t low);
/* Gives up all batches. Other threads may trim meanwhile. */
void bc__store_clear(struct bc_store *store);

static inline uint64_t bc__store_published(const struct bc_store *store) {
    return atomic_load_explicit(&store->published, memory_order_acquire);
}

#endif
