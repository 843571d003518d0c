#include "takeover.h"

#include <errno.h>

#include "callback_failure.h"
#include "convert.h"
#include "errors.h"
#include "gil.h"

/* The context of the functions is a tuple of the module and the callable. */
static PyObject *module_of(PyObject *context) { return PyTuple_GetItem(context, 0); }
static PyObject *callable_of(PyObject *context) { return PyTuple_GetItem(context, 1); }

static int begin(void *context, struct bc_cache **out_writer, struct bc_error *error) {
    struct gil_taken taken;
    int code = callback_begin(&taken, error);
    if (code != 0) return code;
    PyObject *writer = PyObject_CallNoArgs(callable_of(context));
    if (writer != NULL && writer != Py_None) {
        struct cache_object *self = cache_of(module_of(context), writer);
        if (self != NULL) *out_writer = bc_cache_ref(self->cache);
    }
    if (PyErr_Occurred()) code = callback_failure(EOWNERDEAD, error);
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
