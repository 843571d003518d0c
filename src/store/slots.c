#include "store/slots.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"

int bc__slot_reserve(struct bc_store *store, uint64_t number) {
    uint64_t position = number / BC_STORE_FIRST_CHUNK + 1;
    int chunk = 63 - __builtin_clzll(position);
    if (chunk >= BC_STORE_CHUNKS) return ENOMEM;
    if (store->chunks[chunk] != NULL) return 0;
    size_t slots = (size_t)BC_STORE_FIRST_CHUNK << chunk;
    store->chunks[chunk] = bc__calloc(slots, sizeof(struct bc_slot));
    return store->chunks[chunk] == NULL ? ENOMEM : 0;
}

/* Slots that are discarded at once. */
enum { RUN_SLOTS = 1 << 14 };

void bc__slots_discard(struct bc_store *store, uint64_t end) {
    if ((end + BC_STORE_FIRST_CHUNK) % RUN_SLOTS != 0 || end < RUN_SLOTS) return;
    bc__sys_discard_pages(bc__slot_at(store, end - RUN_SLOTS),
                          RUN_SLOTS * sizeof(struct bc_slot));
}

void bc__slots_finish(struct bc_store *store) {
    for (int i = 0; i < BC_STORE_CHUNKS; i++) bc__free(store->chunks[i]);
}
