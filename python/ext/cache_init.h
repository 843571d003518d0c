/* Making a StreamCache: arguments, source, and the classmethods that call the class. */
#ifndef BC_EXT_CACHE_INIT_H
#define BC_EXT_CACHE_INIT_H

#include "module.h"

/* tp_init of StreamCache. */
int cache_init(PyObject *object, PyObject *args, PyObject *kwargs);
/* Gives the core's cache back, without the GIL. */
void cache_give_up(struct bc_cache *cache);

PyObject *cache_in_memory(PyObject *type, PyObject *args, PyObject *kwargs);
PyObject *cache_on_disk(PyObject *type, PyObject *args, PyObject *kwargs);

#endif
