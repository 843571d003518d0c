/* Memory for many small objects that are freed in any order. The objects share slabs. A
 * slab is freed when all of its objects are returned. */
#ifndef BC_BASE_SLAB_H
#define BC_BASE_SLAB_H

#include <stddef.h>

struct bc_slab;

/* Returns `size` bytes of `*current`, aligned to 16 and not initialised, or NULL if there
 * is no memory. A full slab is replaced in `*current`. One thread at a time.
 * `out_slab`: the slab of the object, for bc__slab_give_back. */
void *bc__slab_take(struct bc_slab **current, size_t size, struct bc_slab **out_slab);

/* Returns one object to its slab. Any thread. */
void bc__slab_give_back(struct bc_slab *slab);

/* Ends the allocation from `*current`, which becomes NULL. Its objects stay valid. */
void bc__slab_finish(struct bc_slab **current);

#endif
