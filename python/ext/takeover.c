#include "takeover.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "convert.h"
#include "errors.h"
#include "gil.h"
#include "signals.h"

/* The context of the functions is a tuple of the module and the callable. */
static PyObject *module_of(PyObject *context) { return PyTuple_GetItem(context, 0); }
static PyObject *callable_of(PyObject *context) { return PyTuple_GetItem(context, 1); }

/* Returns the errno of an OSError, or EOWNERDEAD. */
static int errno_of(PyObject *value) {
    if (PyErr_GivenExceptionMatches(value, PyExc_MemoryError)) return ENOMEM;
    if (!PyErr_GivenExceptionMatches(value, PyExc_OSError)) return EOWNERDEAD;
    PyObject *number = PyObject_GetAttrString(value, "errno");
    long code = number == NULL || !PyLong_Check(number) ? 0 : PyLong_AsLong(number);
    Py_XDECREF(number);
    PyErr_Clear();
    /* These errnos would let the caller repeat the call. */
    bool is_temporary = code == EINTR || code == ECANCELED || code == ENOMEM;
    return code <= 0 || code > INT_MAX || is_temporary ? EOWNERDEAD : (int)code;
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

/* Returns the errno of the exception that is set, and clears it. */
static int fail(struct bc_error *error) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        (void)snprintf(error->message, sizeof(error->message), "Interrupted");
        return signals_interrupt_wait();
    }
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    int code = errno_of(value);
    write_message(value, error);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return code;
}

static int begin(void *context, struct bc_cache **out_writer, struct bc_error *error) {
    struct gil_taken taken;
    int code = gil_take(&taken);
    if (code != 0) {
        (void)snprintf(error->message, sizeof(error->message),
                       "The interpreter is shutting down");
        return code;
    }
    PyObject *writer = PyObject_CallNoArgs(callable_of(context));
    if (writer != NULL && writer != Py_None) {
        struct cache_object *self = cache_of(module_of(context), writer);
        if (self != NULL) *out_writer = bc_cache_ref(self->cache);
    }
    if (PyErr_Occurred()) code = fail(error);
    Py_XDECREF(writer);
    gil_give(&taken);
    return code;
}

static void release(void *context) {
    struct gil_taken taken;
    /* An interpreter that ends keeps its objects. */
    if (gil_take(&taken) != 0) return;
    Py_DECREF((PyObject *)context);
    gil_give(&taken);
}

PyObject *allow_takeover(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *callable;
    if (!PyArg_ParseTuple(args, "OO:allow_takeover", &object, &callable)) return NULL;
    struct cache_object *self = cache_of(module, object);
    PyObject *context = self == NULL ? NULL : PyTuple_Pack(2, module, callable);
    if (context == NULL) return NULL;
    const struct bc_takeover takeover = {begin, release, context};
    struct bc_error error = {0};
    int code = bc_cache_allow_takeover(self->cache, &takeover, &error);
    if (code == 0) Py_RETURN_NONE;
    Py_DECREF(context);
    return raise_error(code, &error);
}
