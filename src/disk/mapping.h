/* The mapping of the growing cache file.
 *
 * It covers [0, reach) of the file, up to twice of what that has: pages past the end
 * become valid as it grows. When a message ends beyond it, a larger one takes its place;
 * the old one lives as long as a batch points into it. All of them are less than four
 * times the largest size that the file had. */
#ifndef BC_DISK_MAPPING_H
#define BC_DISK_MAPPING_H

#include "base/sync.h"
#include "batchcorder/batchcorder.h"
#include "disk/region.h"

struct bc_mapping {
    struct bc_mutex lock; /* guards current */
    struct bc_region *current;
    int file;         /* borrowed */
    const char *path; /* of the file, borrowed */
};

int bc__mapping_init(struct bc_mapping *mapping, int file, const char *path);
/* Gives up the current mapping; those that batches hold stay. Nobody is inside. */
void bc__mapping_clear(struct bc_mapping *mapping);
void bc__mapping_finish(struct bc_mapping *mapping);

/* A counted mapping that covers [0, end). ENOMEM and other errnos of mapping. */
int bc__mapping_get(struct bc_mapping *mapping, int64_t end,
                    struct bc_region **out_region, struct bc_error *error);

#endif
