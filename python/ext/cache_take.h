/* Functions of the module that copy rows of a StreamCache by their indices. */
#ifndef BC_EXT_CACHE_TAKE_H
#define BC_EXT_CACHE_TAKE_H

#include "module.h"

/* take(cache, rows, columns) */
PyObject *take_rows(PyObject *module, PyObject *args);
/* take_values(cache, rows, columns, bits) */
PyObject *take_values(PyObject *module, PyObject *args);

#endif
