#include "disk/mapping.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/sys.h"
#include "disk/errors.h"

/* The smallest mapping. */
enum { REACH_MIN = 1 << 16 };

int bc__mapping_init(struct bc_mapping *mapping, int file, const char *path) {
    bc_assert(mapping != NULL);
    memset(mapping, 0, sizeof(*mapping));
    mapping->file = file;
    mapping->path = path;
    return bc__mutex_init(&mapping->lock);
}

void bc__mapping_clear(struct bc_mapping *mapping) {
    bc__region_unref(mapping->current);
    mapping->current = NULL;
}

void bc__mapping_finish(struct bc_mapping *mapping) {
    bc__mapping_clear(mapping);
    bc__mutex_finish(&mapping->lock);
}

/* Returns the size of a mapping for `needed` bytes: the whole file, and up to the same
 * size again. A growing file is therefore mapped only a few times. */
static uint64_t reach_for(const struct bc_mapping *mapping, uint64_t needed) {
    int64_t size;
    uint64_t wanted = needed;
    if (bc__sys_size(mapping->file, &size) == 0 && (uint64_t)size > needed) {
        wanted = (uint64_t)size;
    }
    uint64_t reach = REACH_MIN;
    while (reach < wanted && reach < (uint64_t)INT64_MAX / 2) reach *= 2;
    return reach < wanted ? wanted : reach;
}

static int map_larger(const struct bc_mapping *mapping, uint64_t needed,
                      struct bc_region **out_region) {
    if (needed > SIZE_MAX) return EFBIG;
    uint64_t reach = reach_for(mapping, needed);
    int code = ENOMEM;
    if (reach <= SIZE_MAX)
        code = bc__region_map(mapping->file, mapping->path, (size_t)reach, out_region);
    /* If address space is short, map only the needed bytes. */
    if (code != ENOMEM || reach == needed) return code;
    return bc__region_map(mapping->file, mapping->path, (size_t)needed, out_region);
}

int bc__mapping_get(struct bc_mapping *mapping, int64_t end,
                    struct bc_region **out_region, struct bc_error *error) {
    bc_assert(end > 0);
    struct bc_region *old = NULL;
    int code = 0;
    bc__mutex_lock(&mapping->lock);
    if (mapping->current == NULL || mapping->current->size < (uint64_t)end) {
        struct bc_region *larger;
        code = map_larger(mapping, (uint64_t)end, &larger);
        if (code == 0) {
            old = mapping->current;
            mapping->current = larger;
        }
    }
    if (code == 0) *out_region = bc__region_ref(mapping->current);
    bc__mutex_unlock(&mapping->lock);
    bc__region_unref(old);
    if (code == 0) return 0;
    return bc__disk_error_mapping(code, error);
}
