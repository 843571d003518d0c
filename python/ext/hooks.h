/* The core's hooks: its slow path runs without the GIL, whoever calls. */
#ifndef BC_EXT_HOOKS_H
#define BC_EXT_HOOKS_H

#include <stdbool.h>

#include "module.h"

extern const struct bc_hooks gil_hooks;

/* Registers the end of the interpreter with atexit. */
int hooks_add(PyObject *module);

/* Raises the exception of a signal handler that is still to be raised in this thread;
 * true where there was one. An exception that was set gives way to it. */
bool hooks_raise_kept(void);

/* Brackets a call of the core from a method of ours, which raises what a signal handler
 * raised; elsewhere (a consumer's stream) the exception is put off until the main thread
 * runs Python again. */
void hooks_begin_method(void);
void hooks_end_method(void);

#endif
