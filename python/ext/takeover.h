/* The functions by which a follower takes over: a Python callable for the core. */
#ifndef BC_EXT_TAKEOVER_H
#define BC_EXT_TAKEOVER_H

#include "module.h"

/* allow_takeover(cache, begin): the core calls `begin` if the followed writer died. It
 * returns the StreamCache that resumes the recording, or None: the core looks again. An
 * OSError becomes the readers' error with its errno. A KeyboardInterrupt ends the call
 * that waits, which can be repeated. Any other exception becomes EOWNERDEAD. `begin` must
 * not refer to the cache. */
PyObject *allow_takeover(PyObject *module, PyObject *args);

#endif
