/* Construction of a StreamCache. */
#ifndef BC_EXT_CACHE_INIT_H
#define BC_EXT_CACHE_INIT_H

#include "module.h"

/* tp_init. The arguments are those of `_core.StreamCache` in _core.pyi, by position. */
int cache_init(PyObject *object, PyObject *args, PyObject *kwargs);
/* Initialises a fresh object: 0, or -1 and an exception. The object owns the cache, also
 * on failure. */
int cache_init_from(struct cache_object *self, struct bc_cache *cache,
                    uint64_t max_readers);
/* The number of the cache's columns, or -1 and an exception. */
Py_ssize_t count_columns(struct bc_cache *cache);
/* Drops a reference to the core's cache, without the GIL. */
void cache_unref_without_gil(struct bc_cache *cache);

#endif
