/* Reference counts. A count starts at 1. */
#ifndef BC_BASE_REFCOUNT_H
#define BC_BASE_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/check.h"

/* Adds a reference. The caller has one already. */
static inline void bc__ref(atomic_uint *refs) {
    (void)atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* Drops a reference. Returns true if it was the last one, so that the caller frees the
 * object. */
static inline bool bc__unref(atomic_uint *refs) {
    unsigned before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    return before == 1;
}

/* Adds a reference unless the count is 0. Returns true if it was added. */
static inline bool bc__try_ref(atomic_uint *refs) {
    unsigned n = atomic_load(refs);
    while (n > 0 && !atomic_compare_exchange_weak(refs, &n, n + 1)) {
    }
    return n > 0;
}

#endif
