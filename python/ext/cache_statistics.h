/* Functions of the module about statistics. */
#ifndef BC_EXT_CACHE_STATISTICS_H
#define BC_EXT_CACHE_STATISTICS_H

#include "module.h"

/* statistics(cache, columns) */
PyObject *statistics(PyObject *module, PyObject *args);
/* verify_statistics(cache) */
PyObject *verify_statistics(PyObject *module, PyObject *cache);

#endif
