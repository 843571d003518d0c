/* The slots of a store. Internal to src/store. */
#ifndef BC_STORE_SLOTS_H
#define BC_STORE_SLOTS_H

#include "base/check.h"
#include "store/store.h"

/* Chunk c starts at slot 64 * (2^c - 1). */
static inline struct bc_slot *bc__slot_at(const struct bc_store *store, uint64_t number) {
    uint64_t place = number / BC_STORE_FIRST_CHUNK + 1;
    int chunk = 63 - __builtin_clzll(place);
    bc_assert(chunk < BC_STORE_CHUNKS);
    uint64_t start = (((uint64_t)1 << chunk) - 1) * BC_STORE_FIRST_CHUNK;
    return &store->chunks[chunk][number - start];
}

int bc__slot_reserve(struct bc_store *store, uint64_t number);
/* The slots before `end` will not be looked at any more, but to see that they are empty:
 * what they take goes too, a run at a time. A run is in one chunk, but for the first. */
void bc__slots_discard(struct bc_store *store, uint64_t end);
void bc__slots_finish(struct bc_store *store);

#endif
