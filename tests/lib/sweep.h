/* The steps of a sweep that makes call 1, 2, 3, ... fail until no call is left. */
#ifndef BC_TESTS_LIB_SWEEP_H
#define BC_TESTS_LIB_SWEEP_H

#include <stdlib.h>

/* Returns the call to fail after call `nth`. The variable BC_FAULT_EVERY samples the
 * calls, so that a sweep ends under emulation: 7 takes one call of seven. */
static inline unsigned long sweep_next(unsigned long nth) {
    const char *every = getenv("BC_FAULT_EVERY");
    unsigned long step = every == NULL ? 1 : strtoul(every, NULL, 10);
    return nth + (step == 0 ? 1 : step);
}

#endif
