/* Functions of the module that are about files. */
#ifndef BC_EXT_CACHE_FILES_H
#define BC_EXT_CACHE_FILES_H

#include "module.h"

/* open_file(cache, path, file, verify, partial, copies, follow, max_batches,
 * storage) */
PyObject *open_file(PyObject *module, PyObject *args);
/* select_columns(cache, columns) */
PyObject *select_columns(PyObject *module, PyObject *args);
/* save(cache, path, overwrite, durable) */
PyObject *save(PyObject *module, PyObject *args);
/* row_starts(cache, start) */
PyObject *row_starts(PyObject *module, PyObject *args);
/* publish(cache), is_being_written(cache), is_unlocked(cache), recording_key(cache) */
PyObject *recording_key(PyObject *module, PyObject *cache);
PyObject *publish(PyObject *module, PyObject *cache);
PyObject *is_being_written(PyObject *module, PyObject *cache);
PyObject *is_unlocked(PyObject *module, PyObject *cache);
/* file_info(cache, measures) */
PyObject *file_info(PyObject *module, PyObject *args);
/* discard(path) */
PyObject *discard(PyObject *module, PyObject *path);
/* permutation(seed, epoch, n) */
PyObject *permutation(PyObject *module, PyObject *args);

#endif
