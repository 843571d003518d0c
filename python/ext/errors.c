#include "errors.h"

#include <errno.h>
#include <string.h>

#include "convert.h"
#include "signals.h"

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

/* The Python call that mends the error, for a note behind the core's message; or NULL. */
static const char *hint_of(const struct bc_error *error) {
    switch (error->kind) {
        case BC_ERROR_INCOMPLETE:
            return "partial=True opens the batches that are there; follow=True waits for "
                   "the rest";
        case BC_ERROR_NOT_ON_DISK:
            return "make the cache with StreamCache.on_disk() and write_policy "
                   "'on_insertion', or save() it and open() the file";
        case BC_ERROR_EVICTED:
            return "max_readers evicts batches that every reader has passed";
        default:
            return NULL;
    }
}

/* Raises an exception of that type, with the hint as its note. */
static void set_with_hint(PyObject *type, PyObject *arguments, const char *hint) {
    /* A type must not be called with an exception set. The core's error replaces it. */
    PyErr_Clear();
    PyObject *exception = PyObject_CallObject(type, arguments);
    if (exception == NULL) return;
    if (hint != NULL) {
        PyObject *done = PyObject_CallMethod(exception, "add_note", "s", hint);
        if (done == NULL) PyErr_Clear();
        Py_XDECREF(done);
    }
    PyErr_SetObject(type, exception);
    Py_DECREF(exception);
}

PyObject *raise_error(int code, const struct bc_error *error) {
    /* A signal handler raised while the core waited, or before, in a stream below. */
    if (code == EINTR && PyErr_Occurred()) return NULL;
    if (signals_raise_deferred()) return NULL;
    PyObject *type = type_of(code);
    /* A source's message may be in any encoding. */
    PyObject *text = PyUnicode_DecodeUTF8(error->message,
                                          (Py_ssize_t)strlen(error->message), "replace");
    if (text == NULL) return NULL;
    PyObject *arguments =
        type == PyExc_OSError ? Py_BuildValue("(iO)", code, text) : PyTuple_Pack(1, text);
    Py_DECREF(text);
    if (arguments == NULL) return NULL;
    set_with_hint(type, arguments, hint_of(error));
    Py_DECREF(arguments);
    return NULL;
}

/* The exception of a Python source, rebuilt from the message of its stream, or None if
 * the message is not an exception's. A new object each time: its traceback refers to the
 * frames of the caller. */
static PyObject *source_error(const char *message) {
    PyObject *text =
        PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text == NULL) return NULL;
    PyObject *found = call_package("_source_errors", "from_message", text, NULL);
    Py_DECREF(text);
    return found;
}

PyObject *raise_failure(struct cache_object *cache, int code,
                        const struct bc_error *error) {
    const char *message;
    if (signals_raise_deferred()) return NULL;
    if (error->kind != BC_ERROR_SOURCE) return raise_error(code, error);
    /* The whole message: a bc_error may have its beginning only. A source that failed to
     * give its schema made no cache. */
    if (bc_cache_source_error(cache->cache, &message) == 0) {
        message = error->message;
    }
    PyObject *found = source_error(message);
    if (found == NULL) return NULL;
    int is_interrupt = PyErr_GivenExceptionMatches(found, PyExc_KeyboardInterrupt);
    if (is_interrupt && cache->interrupted) {
        Py_DECREF(found);
        const struct bc_error again = {
            .code = code,
            .message =
                "The source was interrupted (KeyboardInterrupt) and cannot go on: record "
                "it anew; a source that prefetch= asks is not interrupted"};
        return raise_error(code, &again);
    }
    if (found == Py_None) {
        Py_DECREF(found);
        return raise_error(code, error);
    }
    if (is_interrupt) cache->interrupted = 1;
    PyErr_SetObject((PyObject *)Py_TYPE(found), found);
    Py_DECREF(found);
    return NULL;
}
