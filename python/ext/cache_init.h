/* Making a StreamCache: arguments and source. */
#ifndef BC_EXT_CACHE_INIT_H
#define BC_EXT_CACHE_INIT_H

#include "module.h"

/* tp_init of StreamCache. */
int cache_init(PyObject *object, PyObject *args, PyObject *kwargs);
/* Fills a fresh object in, at once: 0, or -1 and an exception. The cache is taken over
 * either way. */
int cache_init_from(struct cache_object *self, struct bc_cache *cache,
                    uint64_t max_readers);
/* The number of the cache's columns, or -1 and an exception. */
Py_ssize_t count_columns(struct bc_cache *cache);
/* Gives the core's cache back, without the GIL. */
void cache_unref_without_gil(struct bc_cache *cache);

#endif
