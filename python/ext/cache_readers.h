/* Functions of the module that read a StreamCache: readers, batches, recording. */
#ifndef BC_EXT_CACHE_READERS_H
#define BC_EXT_CACHE_READERS_H

#include "module.h"

/* get_batch(cache, index) */
PyObject *get_batch(PyObject *module, PyObject *const *args, Py_ssize_t n);
/* open_reader(cache[, start, stop, step, columns, order]) */
PyObject *open_reader(PyObject *module, PyObject *const *args, Py_ssize_t n);
/* check_batch(cache, index) */
PyObject *check_batch(PyObject *module, PyObject *args);
/* ingest_to(cache, batches) */
PyObject *ingest_to(PyObject *module, PyObject *args);
/* column_names(cache) */
PyObject *column_names(PyObject *module, PyObject *cache);
/* set_memory_limit(cache, bytes), set_disk_limit(cache, bytes) */
PyObject *set_memory_limit(PyObject *module, PyObject *args);
PyObject *set_disk_limit(PyObject *module, PyObject *args);

#endif
