#include "capsule.h"

#include <string.h>

static const char stream_name[] = "arrow_array_stream";
static const char schema_name[] = "arrow_schema";

/* A name that may be missing or hostile, for a message. */
static PyObject *refuse_name(const char *name) {
    if (name == NULL) {
        PyErr_Format(PyExc_ValueError,
                     "Expected name '%s' in PyCapsule, instead got one without a name",
                     stream_name);
    } else {
        PyErr_Format(PyExc_ValueError,
                     "Expected name '%s' in PyCapsule, instead got '%.100s'", stream_name,
                     name);
    }
    return NULL;
}

PyObject *capsule_from_method(PyObject *method, struct ArrowArrayStream **out_stream) {
    PyObject *capsule = PyObject_CallNoArgs(method);
    if (capsule == NULL) return NULL;
    if (!PyCapsule_CheckExact(capsule)) {
        PyObject *name = PyType_GetName(Py_TYPE(capsule));
        if (name != NULL) {
            PyErr_Format(
                PyExc_TypeError,
                capsule == Py_None
                    ? "argument 'reader': 'None' is not an instance of 'PyCapsule'"
                    : "argument 'reader': '%S' object is not an instance of "
                      "'PyCapsule'",
                name);
            Py_DECREF(name);
        }
    } else if (!PyCapsule_IsValid(capsule, stream_name)) {
        const char *name = PyCapsule_GetName(capsule);
        if (!PyErr_Occurred()) (void)refuse_name(name);
    } else {
        struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, stream_name);
        if (stream != NULL && stream->release != NULL) {
            *out_stream = stream;
            return capsule;
        }
        if (stream != NULL) {
            PyErr_SetString(
                PyExc_ValueError,
                "The PyCapsule's stream is already released: it was used before");
        }
    }
    Py_DECREF(capsule);
    return NULL;
}

static void free_stream(PyObject *capsule) {
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, stream_name);
    if (stream == NULL) {
        PyErr_Clear();
        return;
    }
    if (stream->release != NULL) stream->release(stream);
    PyMem_Free(stream);
}

PyObject *capsule_of_stream(struct ArrowArrayStream *stream) {
    struct ArrowArrayStream *moved = PyMem_Malloc(sizeof(*moved));
    if (moved == NULL) {
        stream->release(stream);
        return PyErr_NoMemory();
    }
    *moved = *stream;
    stream->release = NULL;
    PyObject *capsule = PyCapsule_New(moved, stream_name, free_stream);
    if (capsule == NULL) {
        moved->release(moved);
        PyMem_Free(moved);
    }
    return capsule;
}

static void free_schema(PyObject *capsule) {
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, schema_name);
    if (schema == NULL) {
        PyErr_Clear();
        return;
    }
    if (schema->release != NULL) schema->release(schema);
    PyMem_Free(schema);
}

PyObject *capsule_of_schema(struct ArrowSchema *schema) {
    struct ArrowSchema *moved = PyMem_Malloc(sizeof(*moved));
    if (moved == NULL) {
        schema->release(schema);
        return PyErr_NoMemory();
    }
    *moved = *schema;
    schema->release = NULL;
    PyObject *capsule = PyCapsule_New(moved, schema_name, free_schema);
    if (capsule == NULL) {
        moved->release(moved);
        PyMem_Free(moved);
    }
    return capsule;
}
