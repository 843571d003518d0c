/* Exceptions of functions that the core calls. */
#ifndef BC_EXT_CALLBACK_FAILURE_H
#define BC_EXT_CALLBACK_FAILURE_H

#include "gil.h"
#include "module.h"

/* Takes the GIL for a function that the core calls, as gil_take() does. On failure,
 * writes the words into `error`. */
int callback_begin(struct gil_taken *out_taken, struct bc_error *error);

/* Returns the errno of the exception that is set, writes its words into `error`, and
 * clears it. `otherwise`: the errno of an exception that is no OSError. Needs the GIL. */
int callback_failure(int otherwise, struct bc_error *error);

#endif
