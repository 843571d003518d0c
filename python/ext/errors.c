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

/* pyarrow's words for an exception of a Python source end with its traceback. */
static int is_interrupt(const char *words) {
    static const char last[] = "\nKeyboardInterrupt";
    size_t size = strlen(words);
    while (size > 0 && words[size - 1] == '\n') size--;
    size_t last_size = sizeof(last) - 1;
    return size >= last_size && memcmp(words + size - last_size, last, last_size) == 0 &&
           strstr(words, "Python exception: ") != NULL;
}

PyObject *raise_failure(struct cache_object *cache, int code,
                        const struct bc_error *error) {
    if (cache->interrupted || !is_interrupt(error->message))
        return raise_error(code, error);
    cache->interrupted = 1;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}
