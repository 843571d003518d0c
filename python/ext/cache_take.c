#include "cache_take.h"

#include <string.h>

#include "batch_objects.h"
#include "convert.h"
#include "errors.h"
#include "gil.h"
#include "signals.h"

/* Copies rows without the GIL. If `self` is NULL, an exception is set. `out_schema` may
 * be NULL. Releases the buffer of rows. Returns false with an exception set. */
static bool take_array(struct cache_object *self, PyObject *columns, Py_buffer *rows,
                       struct ArrowSchema *out_schema, struct ArrowArray *out_array) {
    Py_ssize_t n = PyTuple_Size(columns);
    int32_t *indices = self == NULL ? NULL : column_indices(columns, n);
    if (indices == NULL) {
        PyBuffer_Release(rows);
        return false;
    }
    struct bc_error error = {0};
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_take(self->cache, rows->buf, (uint64_t)rows->len / sizeof(uint64_t),
                         indices, n, out_schema, out_array, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    PyBuffer_Release(rows);
    PyMem_Free(indices);
    if (code == 0) return true;
    (void)raise_failure(self, code, &error);
    return false;
}

PyObject *take_rows(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *columns;
    Py_buffer rows;
    if (!PyArg_ParseTuple(args, "Oy*O!:take", &object, &rows, &PyTuple_Type, &columns)) {
        return NULL;
    }
    struct cache_object *self = cache_of(module, object);
    struct ArrowSchema schema;
    struct ArrowArray array;
    if (!take_array(self, columns, &rows, &schema, &array)) return NULL;
    PyObject *imported = schema_object(self->state, &schema);
    PyObject *batch =
        imported == NULL ? NULL : batch_object(self->state, &array, imported);
    if (imported == NULL) array.release(&array);
    Py_XDECREF(imported);
    return batch;
}

/* ---- values without Arrow arrays ---- */

/* Returns the array with the numbers of a column, which may be in fixed-size lists.
 * Returns NULL if there is a null, or the column is of another kind. */
static const struct ArrowArray *numbers_of(const struct ArrowArray *column) {
    for (;; column = column->children[0]) {
        if (column->null_count != 0 || column->n_children > 1) return NULL;
        if (column->n_children == 0) return column->n_buffers == 2 ? column : NULL;
    }
}

/* Returns the bytes that a column's values occupy: a bit becomes a byte. */
static Py_ssize_t bytes_of(Py_ssize_t rows, Py_ssize_t bits) {
    return bits == 1 ? rows : rows * (bits / 8);
}

/* Copies the values of all columns, one column after the other. Returns false if a column
 * has a null. */
static bool copy_values(const struct ArrowArray *array, const int32_t *bits, char *out) {
    Py_ssize_t rows = (Py_ssize_t)array->length;
    for (int64_t i = 0; i < array->n_children; i++) {
        const struct ArrowArray *numbers = numbers_of(array->children[i]);
        if (numbers == NULL) return false;
        Py_ssize_t size = bytes_of(rows, bits[i]);
        const uint8_t *values = numbers->buffers[1];
        if (bits[i] == 1) {
            for (Py_ssize_t k = 0; k < rows; k++) out[k] = values[k / 8] >> (k % 8) & 1;
        } else if (size > 0) {
            memcpy(out, values, (size_t)size);
        }
        out += size;
    }
    return true;
}

/* Returns the values of the columns as a bytearray, or None if there is a null. */
static PyObject *values_object(const struct ArrowArray *array, const int32_t *bits) {
    Py_ssize_t size = 0;
    for (int64_t i = 0; i < array->n_children; i++) {
        size += bytes_of((Py_ssize_t)array->length, bits[i]);
    }
    PyObject *values = PyByteArray_FromStringAndSize(NULL, size);
    if (values == NULL) return NULL;
    bool are_all;
    char *out = PyByteArray_AsString(values);
    Py_BEGIN_ALLOW_THREADS;
    are_all = copy_values(array, bits, out);
    Py_END_ALLOW_THREADS;
    if (are_all) return values;
    Py_DECREF(values);
    Py_RETURN_NONE;
}

PyObject *take_values(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *columns;
    PyObject *widths;
    Py_buffer rows;
    if (!PyArg_ParseTuple(args, "Oy*O!O!:take_values", &object, &rows, &PyTuple_Type,
                          &columns, &PyTuple_Type, &widths)) {
        return NULL;
    }
    if (PyTuple_Size(widths) != PyTuple_Size(columns)) {
        PyBuffer_Release(&rows);
        PyErr_SetString(PyExc_ValueError, "each column has a width");
        return NULL;
    }
    struct ArrowArray array;
    int32_t *bits = column_indices(widths, PyTuple_Size(widths));
    if (bits == NULL) {
        PyBuffer_Release(&rows);
        return NULL;
    }
    PyObject *values = NULL;
    if (take_array(cache_of(module, object), columns, &rows, NULL, &array)) {
        values = values_object(&array, bits);
        array.release(&array);
    }
    PyMem_Free(bits);
    return values;
}
