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

PyObject *raise_error(int code, const struct bc_error *error) {
    /* A signal handler raised while the core waited, or before, in a stream below. */
    if (code == EINTR && PyErr_Occurred()) return NULL;
    if (signals_raise_deferred()) return NULL;
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

/* The exception of a Python source, rebuilt from the message of its stream, or None if
 * the message is not an exception's. A new object each time: its traceback refers to the
 * frames of the caller. */
static PyObject *source_error(const char *words) {
    PyObject *text = PyUnicode_DecodeUTF8(words, (Py_ssize_t)strlen(words), "replace");
    if (text == NULL) return NULL;
    PyObject *found = call_package("_source_errors", "from_message", text, NULL);
    Py_DECREF(text);
    return found;
}

PyObject *raise_failure(struct cache_object *cache, int code,
                        const struct bc_error *error) {
    const char *words;
    if (signals_raise_deferred()) return NULL;
    if (error->kind != BC_ERROR_SOURCE) return raise_error(code, error);
    /* The whole message: a bc_error may have its beginning only. A source that failed to
     * give its schema made no cache. */
    if (bc_cache_source_error(cache->cache, &words) == 0) words = error->message;
    PyObject *found = source_error(words);
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
