#include "errors.h"

#include <errno.h>
#include <string.h>

static PyObject *type_of(int code) {
    switch (code) {
        case EINVAL:
            return PyExc_ValueError;
        case ENOMEM:
            return PyExc_MemoryError;
        case ENOSYS:
        case ENOTSUP:
            return PyExc_NotImplementedError;
        default:
            return PyExc_OSError;
    }
}

PyObject *raise_error(int code, const struct bc_error *error) {
    /* A signal handler raised while the core waited. */
    if (code == EINTR && PyErr_Occurred()) return NULL;
    PyObject *type = type_of(code);
    /* The source's words may be in any encoding. */
    PyObject *words = PyUnicode_DecodeUTF8(error->message,
                                           (Py_ssize_t)strlen(error->message), "replace");
    if (words == NULL) return NULL;
    PyObject *arguments = type == PyExc_OSError ? Py_BuildValue("(iO)", code, words)
                                                : PyTuple_Pack(1, words);
    Py_DECREF(words);
    if (arguments == NULL) return NULL;
    PyErr_SetObject(type, arguments);
    Py_DECREF(arguments);
    return NULL;
}
