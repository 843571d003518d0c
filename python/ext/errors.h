/* Errors of the core as Python exceptions. */
#ifndef BC_EXT_ERRORS_H
#define BC_EXT_ERRORS_H

#include "module.h"

/* Raises the exception for a failed call of the core; returns NULL. */
PyObject *raise_error(int code, const struct bc_error *error);

#endif
