/* The end of the interpreter, and forks: how many threads wait inside the library.
 *
 *     running ── atexit ──▶ ending: no thread enters, waiting threads return ECANCELED
 *
 * Once finalisation has begun, taking the GIL would end the thread. So the exit handler
 * waits a moment for the threads inside. The state belongs to the process, because
 * streams outlive modules, and only the main interpreter may import this module. */
#ifndef BC_EXT_INTERPRETER_H
#define BC_EXT_INTERPRETER_H

#include <stdbool.h>

#include "module.h"

/* Registers the exit handler with atexit and the fork handlers with the library: 0, or -1
 * and an exception. */
int interpreter_add(void);

/* Counts this thread as waiting inside the library. False: the interpreter is ending, and
 * the thread is not counted. */
bool interpreter_enter(void);
void interpreter_leave(void);

bool interpreter_is_ending(void);

#endif
