/* The mapping of the growing cache file.
 *
 * The mapping covers [0, reach), up to twice the size of the file. Pages past the end
 * become valid as the file grows. If a message ends beyond the mapping, a larger mapping
 * replaces it. The old mapping lives as long as a batch points into it. All mappings
 * together are smaller than four times the largest size of the file. */
#ifndef BC_DISK_MAPPING_H
#define BC_DISK_MAPPING_H

#include "base/sync.h"
#include "batchcorder/batchcorder.h"
#include "disk/region.h"

struct bc_mapping {
    struct bc_mutex lock; /* guards `current` */
    struct bc_region *current;
    int file;         /* borrowed; -1: the file has a storage, and is never mapped */
    const char *path; /* path of the file, borrowed */
};

int bc__mapping_init(struct bc_mapping *mapping, int file, const char *path);
/* Releases the current mapping. Mappings that batches hold stay. No other thread uses the
 * mapping. */
void bc__mapping_clear(struct bc_mapping *mapping);
void bc__mapping_finish(struct bc_mapping *mapping);

/* Gets a reference to a mapping of [0, end). ENOMEM and other errnos of mmap. */
int bc__mapping_get(struct bc_mapping *mapping, int64_t end,
                    struct bc_region **out_region, struct bc_error *error);

#endif
