/* The core's hooks: its slow path runs without the GIL, whoever calls. */
#ifndef BC_EXT_HOOKS_H
#define BC_EXT_HOOKS_H

#include "module.h"

extern const struct bc_hooks gil_hooks;

/* Registers the end of the interpreter with atexit. */
int hooks_add(PyObject *module);

/* Brackets a call of the core from a method of ours, which raises what a signal handler
 * raised; elsewhere (a consumer's thread) the signal is put off until the next bytecode.
 */
void hooks_begin_method(void);
void hooks_end_method(void);

#endif
