/* Values between Python, pyarrow and the core. */
#ifndef BC_EXT_CONVERT_H
#define BC_EXT_CONVERT_H

#include "module.h"

/* The pyarrow.Schema of `schema`, which moves into it, also on failure. */
PyObject *schema_object(const struct module_state *state, struct ArrowSchema *schema);

/* The pyarrow.RecordBatch of `array`, which moves into it, also on failure. */
PyObject *batch_object(const struct module_state *state, struct ArrowArray *array,
                       PyObject *schema);

/* Converts an int from 0 to 2**64 - 1: 0, or -1 and an exception. */
int uint64_of(PyObject *value, uint64_t *out_number);

/* Converts a tuple of `n` column indices; PyMem_Free() frees the array. NULL and an
 * exception on failure. */
int32_t *column_indices(PyObject *tuple, Py_ssize_t n);

/* The StreamCache `object`. NULL and an exception: it is none, or not initialised. */
struct cache_object *cache_of(PyObject *module, PyObject *object);
/* The same, also if it is not initialised. */
struct cache_object *fresh_cache_of(PyObject *module, PyObject *object);

/* Raises ValueError: __init__ has not succeeded. Returns NULL. */
PyObject *cache_not_initialised(void);

/* Calls `batchcorder.MODULE.NAME(one, other)`; `other` NULL: with one argument. */
PyObject *call_package(const char *module, const char *name, PyObject *one,
                       PyObject *other);

#endif
