/* Counted regions onto the cache file: memory in which a range of it stands. Either a
 * mapping, or a block of what was appended and is not written yet. */
#ifndef BC_DISK_REGION_H
#define BC_DISK_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bc_region {
    atomic_uint refs;
    bool is_mapping;
    int64_t offset; /* of the first byte, in the file */
    size_t size;
    const uint8_t *memory;
    void *allocation; /* in which a block stands */
};

/* 0 or an errno of mapping; [0, size) of the file. */
int bc__region_map(int file, const char *path, size_t size,
                   struct bc_region **out_region);
/* A block of `size` bytes, which its maker fills and places; NULL without memory. */
struct bc_region *bc__region_block(size_t size);
/* The same of zeros, which take no memory before they are touched where it is large. */
struct bc_region *bc__region_zeros(size_t size);
uint8_t *bc__region_bytes(struct bc_region *block);

struct bc_region *bc__region_ref(struct bc_region *region);
/* NULL is accepted. */
void bc__region_unref(struct bc_region *region);

/* Where the byte at `offset` of the file stands. */
const uint8_t *bc__region_at(const struct bc_region *region, int64_t offset);

#endif
