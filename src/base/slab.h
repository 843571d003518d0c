/* Memory for many small objects that are made one after the other and freed in any order:
 * carved from slabs, each of which goes when all that it holds was given back. */
#ifndef BC_BASE_SLAB_H
#define BC_BASE_SLAB_H

#include <stddef.h>

struct bc_slab;

/* `size` bytes, aligned to 16 and not initialised, from `*current`, which is replaced
 * when it is full. One thread at a time. NULL without memory; else `*out_slab` is what
 * bc__slab_give_back wants. */
void *bc__slab_take(struct bc_slab **current, size_t size, struct bc_slab **out_slab);

/* Gives one object back, on any thread. */
void bc__slab_give_back(struct bc_slab *slab);

/* The taker is done with `*current`, which becomes NULL. */
void bc__slab_finish(struct bc_slab **current);

#endif
