/* Counted mappings of the growing cache file.
 *
 * A mapping covers [0, size) of the file, more than it has: pages past the end become
 * valid as it grows. When a batch ends beyond the mapping, a larger one takes its place;
 * the old one lives as long as a batch points into it. */
#ifndef BC_DISK_MAP_H
#define BC_DISK_MAP_H

#include <stdatomic.h>

#include "base/sync.h"
#include "batchcorder/batchcorder.h"

struct bc_mapping {
    atomic_uint refs;
    const uint8_t *memory;
    size_t size;
};

struct bc_map {
    struct bc_mutex lock; /* guards current */
    struct bc_mapping *current;
    int file;             /* borrowed */
    uint64_t limit;       /* the file never grows beyond */
    uint64_t first_reach; /* of a mapping, where more is not needed */
};

int bc__map_init(struct bc_map *map, int file, uint64_t bytes_max);
/* Gives up the current mapping; those that batches hold stay. Nobody is inside. */
void bc__map_clear(struct bc_map *map);
void bc__map_finish(struct bc_map *map);

/* A counted mapping that covers [0, end). ENOMEM and other errnos of mapping. */
int bc__map_get(struct bc_map *map, int64_t end, struct bc_mapping **out_mapping,
                struct bc_error *error);
struct bc_mapping *bc__mapping_ref(struct bc_mapping *mapping);
void bc__mapping_unref(struct bc_mapping *mapping);

#endif
