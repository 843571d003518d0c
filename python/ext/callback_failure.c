#include "callback_failure.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "signals.h"

/* Returns the errno of an OSError, or `otherwise`. */
static int errno_of(PyObject *value, int otherwise) {
    if (PyErr_GivenExceptionMatches(value, PyExc_MemoryError)) return ENOMEM;
    if (!PyErr_GivenExceptionMatches(value, PyExc_OSError)) return otherwise;
    PyObject *number = PyObject_GetAttrString(value, "errno");
    long code = number == NULL || !PyLong_Check(number) ? 0 : PyLong_AsLong(number);
    Py_XDECREF(number);
    PyErr_Clear();
    /* These errnos would let the caller repeat the call. */
    bool is_temporary = code == EINTR || code == ECANCELED || code == ENOMEM;
    return code <= 0 || code > INT_MAX || is_temporary ? otherwise : (int)code;
}

/* Returns the words of an exception as text: of an OSError, without its number. */
static PyObject *words_of(PyObject *value) {
    PyObject *strerror = PyObject_GetAttrString(value, "strerror");
    PyErr_Clear();
    if (strerror != NULL && strerror != Py_None) {
        PyObject *filename = PyObject_GetAttrString(value, "filename");
        PyErr_Clear();
        bool is_named = filename != NULL && filename != Py_None;
        PyObject *text = is_named ? PyUnicode_FromFormat("%S: %R", strerror, filename)
                                  : PyObject_Str(strerror);
        Py_XDECREF(filename);
        Py_DECREF(strerror);
        return text;
    }
    Py_XDECREF(strerror);
    PyObject *name = PyType_GetName(Py_TYPE(value));
    PyObject *text = name == NULL ? NULL : PyUnicode_FromFormat("%U: %S", name, value);
    Py_XDECREF(name);
    return text;
}

/* Writes the exception's words. Leaves the message empty if they cannot be made. */
static void write_message(PyObject *value, struct bc_error *error) {
    PyObject *text = words_of(value);
    PyObject *bytes =
        text == NULL ? NULL : PyUnicode_AsEncodedString(text, "utf-8", "replace");
    const char *words = bytes == NULL ? NULL : PyBytes_AsString(bytes);
    if (words != NULL) {
        (void)snprintf(error->message, sizeof(error->message), "%s", words);
    }
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    PyErr_Clear();
}

int callback_begin(struct gil_taken *out_taken, struct bc_error *error) {
    int code = gil_take(out_taken);
    if (code != 0) {
        (void)snprintf(error->message, sizeof(error->message),
                       "The interpreter is shutting down");
    }
    return code;
}

int callback_failure(int otherwise, struct bc_error *error) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        (void)snprintf(error->message, sizeof(error->message), "Interrupted");
        return signals_interrupt_wait();
    }
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    int code = errno_of(value, otherwise);
    write_message(value, error);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return code;
}
