#include "convert.h"

#include <stdio.h>

PyObject *schema_object(const struct module_state *state, struct ArrowSchema *schema) {
    PyObject *address = PyLong_FromVoidPtr(schema);
    PyObject *result = NULL;
    if (address != NULL) {
        result = PyObject_CallFunctionObjArgs(state->import_schema, address, NULL);
        Py_DECREF(address);
    }
    if (schema->release != NULL) schema->release(schema);
    return result;
}

PyObject *batch_object(const struct module_state *state, struct ArrowArray *array,
                       PyObject *schema) {
    PyObject *address = PyLong_FromVoidPtr(array);
    PyObject *batch = NULL;
    if (address != NULL) {
        batch = PyObject_CallFunctionObjArgs(state->import_batch, address, schema, NULL);
        Py_DECREF(address);
    }
    if (array->release != NULL) array->release(array);
    return batch;
}

int uint64_of(PyObject *value, uint64_t *out_number) {
    unsigned long long number = PyLong_AsUnsignedLongLong(value);
    if (number == (unsigned long long)-1 && PyErr_Occurred()) return -1;
    *out_number = number;
    return 0;
}

int32_t *column_indices(PyObject *tuple, Py_ssize_t n) {
    int32_t *columns = PyMem_Malloc(((size_t)n + 1) * sizeof(*columns));
    if (columns == NULL) return (int32_t *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GetItem(tuple, i);
        long index = item == NULL ? -1 : PyLong_AsLong(item);
        if (index == -1 && PyErr_Occurred()) {
            PyMem_Free(columns);
            return NULL;
        }
        columns[i] = index < 0 || index > INT32_MAX ? -1 : (int32_t)index;
    }
    return columns;
}

PyObject *cache_not_initialised(void) {
    PyErr_SetString(PyExc_ValueError, "StreamCache.__init__() was not called");
    return NULL;
}

struct cache_object *fresh_cache_of(PyObject *module, PyObject *object) {
    const struct module_state *state = PyModule_GetState(module);
    if (PyObject_TypeCheck(object, state->cache_type)) {
        return (struct cache_object *)object;
    }
    PyErr_SetString(PyExc_TypeError, "expected a StreamCache");
    return NULL;
}

struct cache_object *cache_of(PyObject *module, PyObject *object) {
    struct cache_object *self = fresh_cache_of(module, object);
    if (self != NULL && self->cache == NULL) {
        return (struct cache_object *)cache_not_initialised();
    }
    return self;
}

PyObject *call_package(const char *module, const char *name, PyObject *one,
                       PyObject *other) {
    char full[64];
    (void)snprintf(full, sizeof(full), "batchcorder.%s", module);
    PyObject *found = PyImport_ImportModule(full);
    PyObject *function = found == NULL ? NULL : PyObject_GetAttrString(found, name);
    Py_XDECREF(found);
    if (function == NULL) return NULL;
    PyObject *result = PyObject_CallFunctionObjArgs(function, one, other, NULL);
    Py_DECREF(function);
    return result;
}
