/* Casts are pyarrow's; `batchcorder._cast` asks for them. */
#ifndef BC_EXT_CASTING_H
#define BC_EXT_CASTING_H

#include "module.h"

/* Calls `batchcorder._cast.NAME(object, argument)`. */
PyObject *call_cast(const char *name, PyObject *object, PyObject *argument);

/* The stream capsule of `object`, cast to the schema of the capsule `requested`. */
static inline PyObject *cast_to_requested(PyObject *object, PyObject *requested) {
    return call_cast("stream_as_requested", object, requested);
}

#endif
