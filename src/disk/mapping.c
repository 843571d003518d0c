#include "disk/mapping.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"

/* The least that is mapped. */
enum { REACH_MIN = 1 << 16 };

int bc__map_init(struct bc_map *map, int file, const char *path) {
    bc_assert(map != NULL && file >= 0);
    memset(map, 0, sizeof(*map));
    map->file = file;
    map->path = path;
    return bc__mutex_init(&map->lock);
}

void bc__map_clear(struct bc_map *map) {
    bc__window_unref(map->current);
    map->current = NULL;
}

void bc__map_finish(struct bc_map *map) {
    bc__map_clear(map);
    bc__mutex_finish(&map->lock);
}

/* What is mapped where `needed` bytes are wanted: all of the file, and up to as much
 * again for it to grow, so that a growing file is mapped a few times only. */
static uint64_t reach_of(const struct bc_map *map, uint64_t needed) {
    int64_t size;
    uint64_t wanted = needed;
    if (bc__sys_size(map->file, &size) == 0 && (uint64_t)size > needed) {
        wanted = (uint64_t)size;
    }
    uint64_t reach = REACH_MIN;
    while (reach < wanted && reach < (uint64_t)INT64_MAX / 2) reach *= 2;
    return reach < wanted ? wanted : reach;
}

static int make(const struct bc_map *map, uint64_t needed,
                struct bc_window **out_window) {
    if (needed > SIZE_MAX) return EFBIG;
    uint64_t reach = reach_of(map, needed);
    int code = ENOMEM;
    if (reach <= SIZE_MAX)
        code = bc__window_map(map->file, map->path, (size_t)reach, out_window);
    /* Where address space is short, no more than must be. */
    if (code != ENOMEM || reach == needed) return code;
    return bc__window_map(map->file, map->path, (size_t)needed, out_window);
}

int bc__map_get(struct bc_map *map, int64_t end, struct bc_window **out_window,
                struct bc_error *error) {
    bc_assert(end > 0);
    struct bc_window *old = NULL;
    int code = 0;
    bc__mutex_lock(&map->lock);
    if (map->current == NULL || map->current->size < (uint64_t)end) {
        struct bc_window *larger;
        code = make(map, (uint64_t)end, &larger);
        if (code == 0) {
            old = map->current;
            map->current = larger;
        }
    }
    if (code == 0) *out_window = bc__window_ref(map->current);
    bc__mutex_unlock(&map->lock);
    bc__window_unref(old);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Disk read failed: the file cannot be mapped: %s",
                         bc__error_words(code));
}
