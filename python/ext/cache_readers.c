#include "cache_readers.h"

#include <errno.h>
#include <string.h>

#include "batch_objects.h"
#include "convert.h"
#include "errors.h"
#include "signals.h"

static int has_arguments(const char *name, Py_ssize_t n, Py_ssize_t wanted) {
    if (n == wanted) return 1;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", name, wanted,
                 n);
    return 0;
}

/* Converts an order of batches, bytes of 64-bit numbers: 0, or -1 and an exception. */
static int order_option(PyObject *order, struct bc_reader_options *out) {
    if (order == Py_None) return 0;
    char *bytes;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(order, &bytes, &n) != 0) return -1;
    out->order = (const uint64_t *)(const void *)bytes;
    out->n_order = (uint64_t)n / sizeof(uint64_t);
    return 0;
}

/* Converts the bounds, columns and order of a reader: 0, or -1 and an exception. */
static int reader_options(PyObject *const *args, struct bc_reader_options *out,
                          int32_t **out_columns) {
    if (uint64_of(args[0], &out->start) != 0) return -1;
    if (uint64_of(args[1], &out->stop) != 0) return -1;
    if (uint64_of(args[2], &out->step) != 0) return -1;
    if (order_option(args[4], out) != 0) return -1;
    if (args[3] == Py_None) return 0;
    Py_ssize_t n = PyTuple_Size(args[3]);
    *out_columns = n < 0 ? NULL : column_indices(args[3], n);
    if (*out_columns == NULL) return -1;
    out->columns = *out_columns;
    out->n_columns = n;
    return 0;
}

PyObject *open_reader(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (n != 1 && !has_arguments("open_reader", n, 6)) return NULL;
    struct cache_object *self = cache_of(module, args[0]);
    if (self == NULL) return NULL;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    int32_t *columns = NULL;
    if (n > 1 && reader_options(args + 1, &options, &columns) != 0) return NULL;
    struct bc_reader *reader;
    struct bc_error error = {0};
    int code = bc_cache_reader(self->cache, &options, &reader, &error);
    PyMem_Free(columns);
    if (code != 0) return raise_error(code, &error);
    return reader_object_new(self, reader, columns == NULL);
}

static PyObject *import_batch(struct cache_object *self, struct ArrowArray *array,
                              const struct bc_batch_info *info) {
    PyObject *batch = batch_object_of(self, info->number);
    if (batch != NULL) {
        array->release(array);
        return batch;
    }
    PyObject *schema = cache_schema_object(self);
    if (schema == NULL) {
        array->release(array);
        return NULL;
    }
    batch = batch_object(self->state, array, schema);
    Py_DECREF(schema);
    if (batch != NULL) batch_object_keep(self, info, batch);
    return batch;
}

PyObject *get_batch(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (!has_arguments("get_batch", n, 2)) return NULL;
    struct cache_object *self = cache_of(module, args[0]);
    uint64_t index;
    if (self == NULL || uint64_of(args[1], &index) != 0) return NULL;
    if (index == UINT64_MAX) Py_RETURN_NONE;
    struct ArrowArray array;
    struct bc_batch_info info;
    struct bc_error error = {0};
    signals_begin_method();
    int code = bc_cache_batch_quick(self->cache, index, &array, &info, &error);
    if (code == EAGAIN) {
        Py_BEGIN_ALLOW_THREADS;
        code = bc_cache_batch(self->cache, index, &array, &info, &error);
        Py_END_ALLOW_THREADS;
    }
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    if (array.release == NULL) Py_RETURN_NONE;
    return import_batch(self, &array, &info);
}

/* Rows of columns of a fixed width, as a batch. */
PyObject *check_batch(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned long long index;
    if (!PyArg_ParseTuple(args, "OK:check_batch", &object, &index)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    struct ArrowArray array;
    struct bc_error error = {0};
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_batch(self->cache, index, &array, NULL, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    if (array.release != NULL) array.release(&array);
    Py_RETURN_NONE;
}

PyObject *ingest_to(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned long long wanted;
    if (!PyArg_ParseTuple(args, "OK:ingest_to", &object, &wanted)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    uint64_t batches;
    struct bc_error error = {0};
    signals_begin_method();
    int code = bc_cache_ingest_to(self->cache, wanted, &batches, &error);
    signals_end_method();
    batch_objects_make_room(self);
    return code != 0 ? raise_failure(self, code, &error)
                     : PyLong_FromUnsignedLongLong(batches);
}

static PyObject *names_of(const struct ArrowSchema *schema) {
    PyObject *names = PyList_New((Py_ssize_t)schema->n_children);
    for (Py_ssize_t i = 0; i < schema->n_children && names != NULL; i++) {
        const char *name = schema->children[i]->name;
        if (name == NULL) name = "";
        PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace");
        if (text == NULL || PyList_SetItem(names, i, text) != 0) Py_CLEAR(names);
    }
    return names;
}

PyObject *column_names(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_cache_schema(self->cache, &schema, &error);
    if (code != 0) return raise_error(code, &error);
    PyObject *names = names_of(&schema);
    schema.release(&schema);
    return names;
}

static PyObject *set_limit(PyObject *module, PyObject *args,
                           int (*set)(struct bc_cache *, uint64_t, struct bc_error *)) {
    PyObject *object;
    unsigned long long bytes;
    if (!PyArg_ParseTuple(args, "OK", &object, &bytes)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    struct bc_error error = {0};
    int code = set(self->cache, bytes, &error);
    if (code != 0) return raise_error(code, &error);
    batch_objects_make_room(self);
    Py_RETURN_NONE;
}

PyObject *set_memory_limit(PyObject *module, PyObject *args) {
    return set_limit(module, args, bc_cache_set_memory_capacity);
}

PyObject *set_disk_limit(PyObject *module, PyObject *args) {
    return set_limit(module, args, bc_cache_set_disk_capacity);
}
