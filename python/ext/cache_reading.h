/* Members of a StreamCache that give readers, streams and batches. */
#ifndef BC_EXT_CACHE_READING_H
#define BC_EXT_CACHE_READING_H

#include "module.h"

/* Raises ValueError: __init__ has not succeeded; returns NULL. */
PyObject *cache_not_initialised(void);

/* The numbers in a tuple of `n` as an array for PyMem_Free, or NULL with an exception. */
int32_t *column_numbers(PyObject *tuple, Py_ssize_t n);

PyObject *cache_reader(PyObject *object, PyObject *args, PyObject *kwargs);
PyObject *cache_open_reader(PyObject *object, PyObject *args);
PyObject *cache_iter(PyObject *object);
PyObject *cache_get(PyObject *object, PyObject *value);
/* Reads a batch, and gives it back. */
PyObject *cache_look_at(PyObject *object, PyObject *value);
/* The names of the columns, as a list. */
PyObject *cache_names(PyObject *object, PyObject *unused);
PyObject *cache_stream(PyObject *object, PyObject *args, PyObject *kwargs);

#endif
