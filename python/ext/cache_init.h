/* Making a StreamCache: arguments and source. */
#ifndef BC_EXT_CACHE_INIT_H
#define BC_EXT_CACHE_INIT_H

#include "module.h"

/* tp_init of StreamCache. */
int cache_init(PyObject *object, PyObject *args, PyObject *kwargs);
/* Gives the core's cache back, without the GIL. */
void cache_give_up(struct bc_cache *cache);

#endif
