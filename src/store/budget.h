/* The memory budget: bytes that the batches in memory reference, each counted once.
 *
 *     used       what batches are charged: their own ranges, their part of shared ones
 *     reserved   what the user keeps on the cache's behalf (language objects)
 *
 * A batch is admitted while used + its bytes <= limit; a reservation while used +
 * reserved + its bytes <= limit. So reservations never keep a batch out, and may be
 * overcommitted until they are given back. The limit may be lowered below what is used.
 * Not thread-safe: the store's lock is held, except for weigh. */
#ifndef BC_STORE_BUDGET_H
#define BC_STORE_BUDGET_H

#include "arrow/buffer_ranges.h"
#include "store/shared_buffers.h"

struct bc_budget {
    uint64_t limit;
    uint64_t used;
    uint64_t reserved;
    struct bc_shared_buffers shared;
};

/* A batch's part of a shared buffer. */
struct bc_share {
    const void *buffer;
    uint64_t size;
    uint64_t used;
    uint64_t added; /* what it added to the charge */
};

/* What a batch is charged. Zeroed is nothing. */
struct bc_charge {
    uint64_t own_bytes;
    struct bc_share *shared;
    size_t n_shared;
    size_t shared_capacity;
};

void bc__budget_finish(struct bc_budget *budget);

/* Weighs a batch whose walk is `ranges`; `scratch` serves for its dictionaries. On
 * success the caller finishes the charge. EINVAL, ENOMEM. Needs no lock. */
int bc__charge_measure(struct bc_charge *out_charge,
                       const struct bc_buffer_ranges *ranges,
                       struct bc_buffer_ranges *scratch, const struct bc_schema *schema,
                       const struct bc_batch *batch, struct bc_error *error);
void bc__charge_finish(struct bc_charge *charge);

/* What batches may still be charged. */
uint64_t bc__budget_free(const struct bc_budget *budget);
/* Charges it: 0, ENOSPC where it does not fit (nothing is charged then), ENOMEM. */
int bc__budget_admit(struct bc_budget *budget, struct bc_charge *charge);
void bc__budget_release(struct bc_budget *budget, const struct bc_charge *charge);

#endif
