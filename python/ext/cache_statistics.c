#include "cache_statistics.h"

#include "convert.h"
#include "errors.h"
#include "signals.h"

PyObject *statistics(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *columns;
    if (!PyArg_ParseTuple(args, "OO:statistics", &object, &columns)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    Py_ssize_t n = columns == Py_None ? 0 : PyTuple_Size(columns);
    int32_t *numbers = NULL;
    if (columns != Py_None) {
        numbers = n < 0 ? NULL : column_indices(columns, n);
        if (numbers == NULL) return NULL;
    }
    struct ArrowSchema schema;
    struct ArrowArray array;
    struct bc_error error = {0};
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_statistics(self->cache, numbers, n, &schema, &array, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    PyMem_Free(numbers);
    if (code != 0) return raise_failure(self, code, &error);
    PyObject *fields = schema_object(self->state, &schema);
    if (fields == NULL) {
        array.release(&array);
        return NULL;
    }
    PyObject *batch = batch_object(self->state, &array, fields);
    Py_DECREF(fields);
    return batch;
}

PyObject *verify_statistics(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_verify_statistics(self->cache, &error);
    Py_END_ALLOW_THREADS;
    if (code != 0) return raise_failure(self, code, &error);
    Py_RETURN_NONE;
}
