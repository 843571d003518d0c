#include "disk/region.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/refcount.h"
#include "base/sys.h"

/* Bytes before a block's data, which begins at a multiple of 64. */
enum { HEAD = 64 };
_Static_assert(sizeof(struct bc_region) <= HEAD, "a block's bytes are aligned");

int bc__region_map(int file, const char *path, size_t size,
                   struct bc_region **out_region) {
    bc_assert(size > 0 && out_region != NULL);
    struct bc_region *region = bc__calloc(1, sizeof(*region));
    if (region == NULL) return ENOMEM;
    int code = bc__sys_map(file, path, size, &region->memory);
    if (code != 0) {
        bc__free(region);
        return code;
    }
    atomic_init(&region->refs, 1);
    region->is_mapping = true;
    region->size = size;
    *out_region = region;
    return 0;
}

int bc__region_map_private(int file, int64_t offset, size_t size,
                           struct bc_region **out_region) {
    bc_assert(offset >= 0 && size > 0 && out_region != NULL);
    size_t before = (size_t)((uint64_t)offset % bc__sys_page_size());
    if (size > SIZE_MAX - before) return ENOMEM;
    struct bc_region *region = bc__calloc(1, sizeof(*region));
    if (region == NULL) return ENOMEM;
    region->offset = offset - (int64_t)before;
    region->size = before + size;
    int code = bc__sys_map_private(file, region->offset, region->size, &region->memory);
    if (code != 0) {
        bc__free(region);
        return code;
    }
    atomic_init(&region->refs, 1);
    region->is_mapping = true;
    *out_region = region;
    return 0;
}

struct bc_region *bc__region_block(size_t size) {
    bc_assert(size > 0);
    struct bc_region *region = bc__malloc_aligned(HEAD, HEAD + size);
    if (region == NULL) return NULL;
    *region = (struct bc_region){
        .size = size, .memory = (const uint8_t *)region + HEAD, .allocation = region};
    atomic_init(&region->refs, 1);
    return region;
}

struct bc_region *bc__region_zeros(size_t size) {
    bc_assert(size > 0);
    if (size > SIZE_MAX - 2 * (size_t)HEAD) return NULL;
    uint8_t *allocation = bc__calloc(1, size + 2 * (size_t)HEAD);
    if (allocation == NULL) return NULL;
    uint8_t *start = allocation + (HEAD - (uintptr_t)allocation % HEAD) % HEAD;
    struct bc_region *region = (struct bc_region *)(void *)start;
    region->size = size;
    region->memory = start + HEAD;
    region->allocation = allocation;
    atomic_init(&region->refs, 1);
    return region;
}

uint8_t *bc__region_bytes(struct bc_region *block) {
    bc_assert(!block->is_mapping);
    return (uint8_t *)block + HEAD;
}

struct bc_region *bc__region_ref(struct bc_region *region) {
    bc__ref(&region->refs);
    return region;
}

void bc__region_unref(struct bc_region *region) {
    if (region == NULL || !bc__unref(&region->refs)) return;
    if (region->is_mapping) {
        bc__sys_unmap(region->memory, region->size);
        bc__free(region);
    } else {
        bc__free(region->allocation);
    }
}

const uint8_t *bc__region_at(const struct bc_region *region, int64_t offset) {
    bc_assert(offset >= region->offset &&
              (uint64_t)(offset - region->offset) < region->size);
    return region->memory + (offset - region->offset);
}
