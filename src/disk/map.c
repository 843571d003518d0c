#include "disk/map.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"

/* Address space for a file that may become large: more is mapped when it is needed. */
static const uint64_t REACH = (uint64_t)64 << 30;

int bc__map_init(struct bc_map *map, int file, uint64_t bytes_max) {
    bc_assert(map != NULL && file >= 0);
    memset(map, 0, sizeof(*map));
    map->file = file;
    map->limit = bytes_max;
    map->first_reach = REACH;
    return bc__mutex_init(&map->lock);
}

void bc__map_clear(struct bc_map *map) {
    bc__mapping_unref(map->current);
    map->current = NULL;
}

void bc__map_finish(struct bc_map *map) {
    bc__map_clear(map);
    bc__mutex_finish(&map->lock);
}

/* Maps at least `needed` bytes and, where the address space allows, much more. */
static int make(struct bc_map *map, uint64_t needed, struct bc_mapping **out_mapping) {
    struct bc_mapping *mapping = bc__calloc(1, sizeof(*mapping));
    if (mapping == NULL) return ENOMEM;
    uint64_t reach = needed > map->first_reach / 2 ? needed * 2 : map->first_reach;
    if (reach > map->limit) reach = map->limit;
    if (reach < needed) reach = needed;
    int code;
    for (;;) {
        code = bc__sys_map(map->file, (size_t)reach, &mapping->memory);
        if (code != ENOMEM || reach == needed) break;
        reach = reach / 4 > needed ? reach / 4 : needed;
    }
    if (code != 0) {
        bc__free(mapping);
        return code;
    }
    atomic_init(&mapping->refs, 1);
    mapping->size = (size_t)reach;
    *out_mapping = mapping;
    return 0;
}

int bc__map_get(struct bc_map *map, int64_t end, struct bc_mapping **out_mapping,
                struct bc_error *error) {
    bc_assert(end > 0);
    struct bc_mapping *old = NULL;
    int code = 0;
    bc__mutex_lock(&map->lock);
    if (map->current == NULL || map->current->size < (size_t)end) {
        struct bc_mapping *larger;
        code = make(map, (uint64_t)end, &larger);
        if (code == 0) {
            old = map->current;
            map->current = larger;
        }
    }
    if (code == 0) {
        *out_mapping = bc__mapping_ref(map->current);
    }
    bc__mutex_unlock(&map->lock);
    bc__mapping_unref(old);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Disk read failed: the file cannot be mapped: %s",
                         strerror(code));
}

struct bc_mapping *bc__mapping_ref(struct bc_mapping *mapping) {
    (void)atomic_fetch_add_explicit(&mapping->refs, 1, memory_order_relaxed);
    return mapping;
}

void bc__mapping_unref(struct bc_mapping *mapping) {
    if (mapping == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&mapping->refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    if (before != 1) return;
    bc__sys_unmap(mapping->memory, mapping->size);
    bc__free(mapping);
}
