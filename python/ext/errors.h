/* Errors of the core as Python exceptions. */
#ifndef BC_EXT_ERRORS_H
#define BC_EXT_ERRORS_H

#include "module.h"

/* Raises the exception for a failed call of the core; returns NULL. */
PyObject *raise_error(int code, const struct bc_error *error);

/* The same for a call that may have asked the source: an exception of a Python source
 * comes back as itself, chained to its traceback. An interrupt does so the first time,
 * and is the error that its stream made of it then. */
PyObject *raise_failure(struct cache_object *cache, int code,
                        const struct bc_error *error);

#endif
