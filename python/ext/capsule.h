/* The Arrow PyCapsule protocol, in and out. */
#ifndef BC_EXT_CAPSULE_H
#define BC_EXT_CAPSULE_H

#include "module.h"

/* The method `__arrow_c_stream__` of `source`. NULL and an exception where there is none.
 */
PyObject *stream_method(PyObject *source);
/* Calls the method: the capsule, and the stream that it holds. NULL and an exception
 * where it gives no Arrow stream. */
PyObject *capsule_from_method(PyObject *method, struct ArrowArrayStream **out_stream);

/* A capsule of the stream, which moves into it, also on failure. */
PyObject *capsule_of_stream(struct ArrowArrayStream *stream);
/* A capsule of the schema, which moves into it, also on failure. */
PyObject *capsule_of_schema(struct ArrowSchema *schema);

/* The qualified name of an object's type, "builtins.int"; NULL and an exception. */
PyObject *qualified_type_name(PyObject *object);

#endif
