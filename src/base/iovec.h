/* A contiguous range of memory to write. */
#ifndef BC_BASE_IOVEC_H
#define BC_BASE_IOVEC_H

#include <stddef.h>

struct bc_iovec {
    const void *data;
    size_t size;
};

#endif
