/* A range of a file, which holds one message. */
#ifndef BC_DISK_EXTENT_H
#define BC_DISK_EXTENT_H

#include <stdint.h>

/* `size` 0: no range. */
struct bc_extent {
    int64_t offset;
    int64_t size;
};

#endif
