#include "storage.h"

#include <errno.h>
#include <string.h>

#include "callback_failure.h"
#include "gil.h"

/* Copies of this many bytes let other threads run. */
enum { LARGE = 1 << 16 };

/* The ranges as a tuple of (offset, size). */
static PyObject *tuple_of(const struct bc_range *ranges, size_t n) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    for (size_t i = 0; i < n && tuple != NULL; i++) {
        PyObject *range =
            Py_BuildValue("(LL)", (long long)ranges[i].offset, (long long)ranges[i].size);
        if (range == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, range) != 0) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

/* Calls a method with the ranges. */
static PyObject *call(PyObject *object, const char *method, const struct bc_range *ranges,
                      size_t n) {
    PyObject *tuple = tuple_of(ranges, n);
    if (tuple == NULL) return NULL;
    PyObject *result = PyObject_CallMethod(object, method, "(O)", tuple);
    Py_DECREF(tuple);
    return result;
}

/* Copies the bytes of one range. 0, or -1 and an exception. */
static int copy_bytes(PyObject *bytes, const struct bc_range *range, void *out) {
    Py_buffer view;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) != 0) return -1;
    int is_right = view.len == range->size;
    if (is_right && view.len >= LARGE) {
        Py_BEGIN_ALLOW_THREADS;
        memcpy(out, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS;
    } else if (is_right) {
        memcpy(out, view.buf, (size_t)view.len);
    }
    PyBuffer_Release(&view);
    if (is_right) return 0;
    PyErr_Format(PyExc_RuntimeError, "read returned a range of another size");
    return -1;
}

static int copy_all(PyObject *list, const struct bc_range *ranges, void *const *buffers,
                    size_t n) {
    if (PySequence_Size(list) != (Py_ssize_t)n) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_RuntimeError, "read returned another number of ranges");
        }
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        PyObject *bytes = PySequence_GetItem(list, (Py_ssize_t)i);
        int code = bytes == NULL ? -1 : copy_bytes(bytes, &ranges[i], buffers[i]);
        Py_XDECREF(bytes);
        if (code != 0) return -1;
    }
    return 0;
}

static int read_ranges(void *context, const struct bc_range *ranges, void *const *buffers,
                       size_t n, struct bc_error *error) {
    struct gil_taken taken;
    int code = callback_begin(&taken, error);
    if (code != 0) return code;
    PyObject *list = call(context, "read", ranges, n);
    int copied = list == NULL ? -1 : copy_all(list, ranges, buffers, n);
    Py_XDECREF(list);
    if (copied != 0) code = callback_failure(EIO, error);
    gil_give(&taken);
    return code;
}

static int read_ahead(void *context, const struct bc_range *ranges, size_t n) {
    struct gil_taken taken;
    if (gil_take(&taken) != 0) return ENOBUFS;
    PyObject *found = call(context, "ahead", ranges, n);
    int code = found == Py_True ? 0 : found == Py_False ? EAGAIN : ENOBUFS;
    Py_XDECREF(found);
    struct bc_error ignored;
    if (PyErr_Occurred()) (void)callback_failure(EIO, &ignored);
    gil_give(&taken);
    return code;
}

static void distrust(void *context) {
    struct gil_taken taken;
    if (gil_take(&taken) != 0) return;
    PyObject *result = PyObject_CallMethod(context, "distrust", NULL);
    Py_XDECREF(result);
    struct bc_error ignored;
    if (PyErr_Occurred()) (void)callback_failure(EIO, &ignored);
    gil_give(&taken);
}

static void release(void *context) {
    struct gil_taken taken;
    /* An interpreter that ends keeps its objects. */
    if (gil_take(&taken) != 0) return;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *result = PyObject_CallMethod(context, "close", NULL);
    if (result == NULL) PyErr_WriteUnraisable(context);
    Py_XDECREF(result);
    Py_DECREF((PyObject *)context);
    PyErr_Restore(type, value, traceback);
    gil_give(&taken);
}

int storage_init(struct bc_storage *storage, PyObject *object) {
    PyObject *number = PyObject_GetAttrString(object, "size");
    long long size = number == NULL ? -1 : PyLong_AsLongLong(number);
    Py_XDECREF(number);
    if (size < 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "size is negative");
        return -1;
    }
    Py_INCREF(object);
    *storage = (struct bc_storage){.size = size,
                                   .read = read_ranges,
                                   .ahead = read_ahead,
                                   .distrust = distrust,
                                   .release = release,
                                   .context = object};
    return 0;
}
