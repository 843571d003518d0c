/* Batches of the memory tier that were made into Python objects before, by number: a
 * replay hands out the same objects again. */
#ifndef BC_EXT_KEPT_H
#define BC_EXT_KEPT_H

#include "module.h"

/* What an object of a cache with so many columns takes: an estimate, on the high side. */
uint64_t cache_kept_bytes(Py_ssize_t columns);
/* The object kept for batch `number`, a new reference, or NULL. */
PyObject *cache_kept(struct cache_object *self, uint64_t number);
/* Keeps `batch` as the object of that batch, where the budget has room for it. */
void cache_keep(struct cache_object *self, const struct bc_batch_info *info,
                PyObject *batch);
/* Drops all kept objects. */
void cache_drop_kept(struct cache_object *self);
/* Drops them where batches need the room. */
void cache_make_room(struct cache_object *self);

#endif
