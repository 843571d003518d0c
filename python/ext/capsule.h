/* The Arrow PyCapsule protocol, in and out. */
#ifndef BC_EXT_CAPSULE_H
#define BC_EXT_CAPSULE_H

#include "module.h"

/* Calls the method `__arrow_c_stream__` of a source: its capsule, which owns
 * `*out_stream`. NULL and an exception if the result is no Arrow stream. */
PyObject *capsule_from_method(PyObject *method, struct ArrowArrayStream **out_stream);

/* A capsule of the stream, which moves into it, also on failure. */
PyObject *capsule_of_stream(struct ArrowArrayStream *stream);
/* A capsule of the schema, which moves into it, also on failure. */
PyObject *capsule_of_schema(struct ArrowSchema *schema);

#endif
