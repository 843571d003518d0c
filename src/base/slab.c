#include "base/slab.h"

#include <stdatomic.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/check.h"

enum { SLAB_BYTES = 1 << 15, UNIT = 16 };

/* `holders` counts the objects and, while it is current, the taker, who counts in `taken`
 * without an atomic and settles when the slab is full. */
struct bc_slab {
    atomic_uint holders;
    unsigned taken;
    size_t used;
    size_t size;
    _Alignas(UNIT) uint8_t bytes[];
};

enum { TAKER = 1U << 30 };

static void drop(struct bc_slab *slab, unsigned n) {
    unsigned before = atomic_fetch_sub_explicit(&slab->holders, n, memory_order_acq_rel);
    bc_assert(before >= n);
    if (before == n) bc__free(slab);
}

void *bc__slab_take(struct bc_slab **current, size_t size, struct bc_slab **out_slab) {
    bc_assert(current != NULL && size > 0);
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + UNIT - 1) / UNIT * UNIT;
    struct bc_slab *slab = *current;
    if (slab == NULL || size > slab->size - slab->used || slab->taken == TAKER - 1) {
        size_t bytes = size > SLAB_BYTES ? size : SLAB_BYTES;
        struct bc_slab *fresh = bc__malloc(sizeof(*fresh) + bytes);
        if (fresh == NULL) return NULL;
        bc__slab_finish(current);
        atomic_init(&fresh->holders, TAKER);
        fresh->taken = 0;
        fresh->used = 0;
        fresh->size = bytes;
        *current = slab = fresh;
    }
    void *memory = slab->bytes + slab->used;
    slab->used += size;
    slab->taken++;
    *out_slab = slab;
    return memory;
}

void bc__slab_give_back(struct bc_slab *slab) {
    bc_assert(slab != NULL);
    drop(slab, 1);
}

void bc__slab_finish(struct bc_slab **current) {
    struct bc_slab *slab = *current;
    *current = NULL;
    if (slab != NULL) drop(slab, TAKER - slab->taken);
}
