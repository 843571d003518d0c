/* The pyarrow.RecordBatch objects of the memory tier, by batch index: a replay returns
 * the same objects again. */
#ifndef BC_EXT_BATCH_OBJECTS_H
#define BC_EXT_BATCH_OBJECTS_H

#include "module.h"

/* Size of one object of a cache with `columns` columns, in bytes; an upper estimate. */
uint64_t batch_object_size(Py_ssize_t columns);
/* The object of batch `number`, a new reference, or NULL. */
PyObject *batch_object_of(struct cache_object *self, uint64_t number);
/* Keeps `batch` as the object of its batch, if the budget has room for it. */
void batch_object_keep(struct cache_object *self, const struct bc_batch_info *info,
                       PyObject *batch);
/* Drops all objects, and releases the budget reserved for them. */
void batch_objects_clear(struct cache_object *self);
/* Drops them if batches need the room. */
void batch_objects_make_room(struct cache_object *self);

#endif
