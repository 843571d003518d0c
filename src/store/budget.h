/* The memory budget: the bytes that the batches in memory reference, each byte once.
 *
 *     used       the charges of batches: their own ranges, and their part of shared ones
 *     reserved   the bytes that a binding reserved for its objects
 *
 * A batch is admitted if used + its bytes <= capacity, a reservation if used + reserved +
 * its bytes <= capacity. A reservation therefore never prevents a batch. Reservations may
 * be overcommitted until they are released. The capacity may be set below the used bytes.
 * Not thread-safe: the store's lock is held, except in bc__charge_measure. */
#ifndef BC_STORE_BUDGET_H
#define BC_STORE_BUDGET_H

#include "arrow/buffer_ranges.h"
#include "store/shared_buffers.h"

struct bc_budget {
    uint64_t capacity;
    uint64_t used;
    uint64_t reserved;
    struct bc_shared_buffers shared;
};

/* A batch's part of a shared buffer. */
struct bc_share {
    const void *buffer;
    uint64_t size;
    uint64_t used;
    uint64_t added; /* bytes that this batch added to the buffer's charge */
};

/* The charge of a batch. A zeroed charge is empty. */
struct bc_charge {
    uint64_t own_bytes;
    struct bc_share *shared;
    size_t n_shared;
    size_t shared_capacity;
};

void bc__budget_finish(struct bc_budget *budget);

/* Measures the charge of a batch. On success the caller finishes the charge. Needs no
 * lock.
 * `ranges`: the buffer ranges of the batch. `scratch`: used for its dictionaries.
 * EINVAL: the batch is invalid.
 * ENOMEM: no memory. */
int bc__charge_measure(struct bc_charge *out_charge,
                       const struct bc_buffer_ranges *ranges,
                       struct bc_buffer_ranges *scratch, const struct bc_schema *schema,
                       const struct bc_batch *batch, struct bc_error *error);
void bc__charge_finish(struct bc_charge *charge);

/* Returns the bytes that may still be charged. */
uint64_t bc__budget_free(const struct bc_budget *budget);
/* Charges a batch to the budget. On failure nothing is charged.
 * ENOSPC: the batch does not fit.
 * ENOMEM: no memory. */
int bc__budget_admit(struct bc_budget *budget, struct bc_charge *charge);
/* Undoes bc__budget_admit. */
void bc__budget_release(struct bc_budget *budget, const struct bc_charge *charge);

#endif
