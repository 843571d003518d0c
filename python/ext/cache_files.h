/* Members of a StreamCache that are about files with names. */
#ifndef BC_EXT_CACHE_FILES_H
#define BC_EXT_CACHE_FILES_H

#include "module.h"

PyObject *cache_open_file(PyObject *object, PyObject *args);
PyObject *cache_select(PyObject *object, PyObject *columns);
PyObject *cache_save(PyObject *object, PyObject *args);
PyObject *cache_share(PyObject *object, PyObject *unused);
PyObject *cache_has_writer(PyObject *object, PyObject *unused);
PyObject *cache_is_unlocked(PyObject *object, PyObject *unused);
PyObject *file_discard(PyObject *module, PyObject *path);
PyObject *cache_describe(PyObject *object, PyObject *unused);
PyObject *cache_row_starts(PyObject *object, PyObject *start);

/* Of the module: a permutation, as the bytes of 64-bit numbers. */
PyObject *permutation(PyObject *module, PyObject *args);

#endif
