#include "cache_reading.h"

#include <errno.h>
#include <string.h>

#include "arguments.h"
#include "batch_objects.h"
#include "capsule.h"
#include "casting.h"
#include "errors.h"
#include "signals.h"

static PyObject *new_reader(struct cache_object *self,
                            const struct bc_reader_options *options) {
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_reader *reader;
    struct bc_error error = {0};
    int code = bc_cache_reader(self->cache, options, &reader, &error);
    if (code != 0) return raise_error(code, &error);
    return reader_object_new(self, reader, options == NULL || options->columns == NULL);
}

int32_t *column_numbers(PyObject *tuple, Py_ssize_t n) {
    int32_t *columns = PyMem_Malloc(((size_t)n + 1) * sizeof(*columns));
    if (columns == NULL) return (int32_t *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GetItem(tuple, i);
        long number = item == NULL ? -1 : PyLong_AsLong(item);
        if (number == -1 && PyErr_Occurred()) {
            PyMem_Free(columns);
            return NULL;
        }
        columns[i] = number < 0 || number > INT32_MAX ? -1 : (int32_t)number;
    }
    return columns;
}

PyObject *cache_open_reader(PyObject *object, PyObject *args) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    PyObject *start;
    PyObject *stop;
    PyObject *step;
    PyObject *columns;
    if (!PyArg_ParseTuple(args, "OOOO:_open_reader", &start, &stop, &step, &columns)) {
        return NULL;
    }
    if (start != Py_None && argument_count(start, "start", &options.start) != 0) {
        return NULL;
    }
    if (stop != Py_None && argument_count(stop, "stop", &options.stop) != 0) return NULL;
    if (step != Py_None && argument_count(step, "step", &options.step) != 0) return NULL;
    int32_t *numbers = NULL;
    if (columns != Py_None) {
        Py_ssize_t n = PyTuple_Size(columns);
        numbers = n < 0 ? NULL : column_numbers(columns, n);
        if (numbers == NULL) return NULL;
        options.columns = numbers;
        options.n_columns = n;
    }
    PyObject *reader = new_reader((struct cache_object *)object, &options);
    PyMem_Free(numbers);
    return reader;
}

/* Batch `number`, or None where the stream has none. */
PyObject *cache_get(PyObject *object, PyObject *value) {
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    uint64_t number;
    if (argument_count(value, "number", &number) != 0) return NULL;
    if (number == UINT64_MAX) Py_RETURN_NONE;
    struct ArrowArray array;
    struct bc_batch_info info;
    struct bc_error error = {0};
    signals_begin_method();
    int code = bc_cache_batch_quick(self->cache, number, &array, &info, &error);
    if (code == EAGAIN) {
        Py_BEGIN_ALLOW_THREADS;
        code = bc_cache_batch(self->cache, number, &array, &info, &error);
        Py_END_ALLOW_THREADS;
    }
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    if (array.release == NULL) Py_RETURN_NONE;
    PyObject *known = batch_object_of(self, number);
    if (known != NULL) {
        array.release(&array);
        return known;
    }
    PyObject *schema = cache_schema_object(self);
    PyObject *batch = NULL;
    if (schema == NULL) {
        array.release(&array);
    } else {
        batch = batch_object(self->state, &array, schema);
        Py_DECREF(schema);
    }
    if (batch != NULL) batch_object_keep(self, &info, batch);
    return batch;
}

PyObject *cache_look_at(PyObject *object, PyObject *value) {
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    uint64_t number;
    if (argument_count(value, "number", &number) != 0) return NULL;
    struct ArrowArray array;
    struct bc_error error = {0};
    signals_begin_method();
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_batch(self->cache, number, &array, NULL, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    if (array.release != NULL) array.release(&array);
    Py_RETURN_NONE;
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

PyObject *cache_names(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_cache_schema(self->cache, &schema, &error);
    if (code != 0) return raise_error(code, &error);
    PyObject *names = names_of(&schema);
    schema.release(&schema);
    return names;
}

PyObject *cache_reader(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"from_start", NULL};
    PyObject *value = Py_True;
    int from_start;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:reader", names, &value))
        return NULL;
    if (argument_flag(value, names[0], &from_start) != 0) return NULL;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    if (!from_start) options.start = BC_READER_FRONTIER;
    return new_reader((struct cache_object *)object, &options);
}

/* By way of the method, which a subclass may have of its own. */
PyObject *cache_iter(PyObject *object) {
    return PyObject_CallMethod(object, "reader", "O", Py_True);
}

PyObject *cache_stream(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct cache_object *self = (struct cache_object *)object;
    static char *names[] = {"requested_schema", NULL};
    PyObject *requested = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:__arrow_c_stream__", names,
                                     &requested)) {
        return NULL;
    }
    if (self->cache == NULL) return cache_not_initialised();
    if (requested != Py_None) return cast_to_requested(object, requested);
    struct ArrowArrayStream stream;
    struct bc_error error = {0};
    int code = bc_cache_stream(self->cache, &stream, &error);
    return code != 0 ? raise_error(code, &error) : capsule_of_stream(&stream);
}
