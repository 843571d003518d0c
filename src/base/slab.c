#include "base/slab.h"

#include <stdatomic.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/check.h"

enum { SLAB_BYTES = 1 << 15, UNIT = 16 };

/* `refs` starts at OWNER_REFS, the owner's share. The owner is the thread that allocates.
 * Each object takes one reference out of the share, which `allocated` counts without an
 * atomic. The owner returns the rest of its share when the slab is full. */
struct bc_slab {
    atomic_uint refs;
    unsigned allocated;
    size_t used;
    size_t size;
    _Alignas(UNIT) uint8_t bytes[];
};

enum { OWNER_REFS = 1U << 30 };

static void slab_unref(struct bc_slab *slab, unsigned n) {
    unsigned before = atomic_fetch_sub_explicit(&slab->refs, n, memory_order_acq_rel);
    bc_assert(before >= n);
    if (before == n) bc__free(slab);
}

void *bc__slab_take(struct bc_slab **current, size_t size, struct bc_slab **out_slab) {
    bc_assert(current != NULL && size > 0);
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + UNIT - 1) / UNIT * UNIT;
    struct bc_slab *slab = *current;
    if (slab == NULL || size > slab->size - slab->used ||
        slab->allocated == OWNER_REFS - 1) {
        size_t bytes = size > SLAB_BYTES ? size : SLAB_BYTES;
        struct bc_slab *fresh = bc__malloc(sizeof(*fresh) + bytes);
        if (fresh == NULL) return NULL;
        bc__slab_finish(current);
        atomic_init(&fresh->refs, OWNER_REFS);
        fresh->allocated = 0;
        fresh->used = 0;
        fresh->size = bytes;
        *current = slab = fresh;
    }
    void *memory = slab->bytes + slab->used;
    slab->used += size;
    slab->allocated++;
    *out_slab = slab;
    return memory;
}

void bc__slab_give_back(struct bc_slab *slab) {
    bc_assert(slab != NULL);
    slab_unref(slab, 1);
}

void bc__slab_finish(struct bc_slab **current) {
    struct bc_slab *slab = *current;
    *current = NULL;
    if (slab != NULL) slab_unref(slab, OWNER_REFS - slab->allocated);
}
