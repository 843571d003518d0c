#include "disk/map.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"

/* Address space for a file that may become large: more is mapped when it is needed. */
static const uint64_t REACH = (uint64_t)64 << 30;

int bc__map_init(struct bc_map *map, int file, const char *path, uint64_t bytes_max) {
    bc_assert(map != NULL && file >= 0);
    memset(map, 0, sizeof(*map));
    map->file = file;
    map->path = path;
    map->first_reach = bytes_max < REACH ? bytes_max : REACH;
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

/* Maps at least `needed` bytes and, where the address space allows, much more. */
static int make(const struct bc_map *map, uint64_t needed,
                struct bc_window **out_window) {
    uint64_t reach = needed <= map->first_reach ? map->first_reach : needed * 2;
    for (;;) {
        int code = bc__window_map(map->file, map->path, (size_t)reach, out_window);
        if (code != ENOMEM || reach == needed) return code;
        reach = reach / 4 > needed ? reach / 4 : needed;
    }
}

int bc__map_get(struct bc_map *map, int64_t end, struct bc_window **out_window,
                struct bc_error *error) {
    bc_assert(end > 0);
    struct bc_window *old = NULL;
    int code = 0;
    bc__mutex_lock(&map->lock);
    if (map->current == NULL || map->current->size < (size_t)end) {
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
