/* A storage of the core that is a Python object (batchcorder._remote). */
#ifndef BC_EXT_STORAGE_H
#define BC_EXT_STORAGE_H

#include "module.h"

/* Makes a storage of an object with `size`, `read`, `ahead` and `close`. The storage owns
 * a reference to the object. 0, or -1 and an exception. */
int storage_init(struct bc_storage *storage, PyObject *object);

#endif
