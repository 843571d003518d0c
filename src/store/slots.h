/* The slots of a store. Internal to src/store. */
#ifndef BC_STORE_SLOTS_H
#define BC_STORE_SLOTS_H

#include "base/check.h"
#include "store/store.h"

/* Returns the slot of batch `number`, which is reserved. Chunk c has (64 << c) slots. */
static inline struct bc_slot *bc__slot_at(const struct bc_store *store, uint64_t number) {
    uint64_t position = number / BC_STORE_FIRST_CHUNK + 1;
    int chunk = 63 - __builtin_clzll(position);
    bc_assert(chunk < BC_STORE_CHUNKS);
    uint64_t start = (((uint64_t)1 << chunk) - 1) * BC_STORE_FIRST_CHUNK;
    return &store->chunks[chunk][number - start];
}

/* Allocates the chunk of batch `number`, unless it exists. ENOMEM. */
int bc__slot_reserve(struct bc_store *store, uint64_t number);
/* Discards the memory of evicted slots if `end` is the end of a run of slots. The slots
 * before `end` are empty, and read as empty slots afterwards. Each run is in one chunk.
 * The slots before the first run are in several chunks, and are not discarded. */
void bc__slots_discard(struct bc_store *store, uint64_t end);
/* Frees all chunks. */
void bc__slots_finish(struct bc_store *store);

#endif
