#include "casting.h"

PyObject *call_cast(const char *name, PyObject *object, PyObject *argument) {
    PyObject *module = PyImport_ImportModule("batchcorder._cast");
    if (module == NULL) return NULL;
    PyObject *result = PyObject_CallMethod(module, name, "OO", object, argument);
    Py_DECREF(module);
    return result;
}
