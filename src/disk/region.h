/* Counted memory with a range of the file. A region is a mapping, or a block of appended
 * messages that are not written yet. */
#ifndef BC_DISK_REGION_H
#define BC_DISK_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bc_region {
    atomic_uint refs;
    bool is_mapping;
    int64_t offset; /* of the first byte in the file */
    size_t size;
    const uint8_t *memory;
    void *allocation; /* the allocation of a block */
};

/* Maps [0, size) of the file. Returns 0 or an errno. */
int bc__region_map(int file, const char *path, size_t size,
                   struct bc_region **out_region);
/* Maps `size` bytes from `offset` on, in pages that may be written: the file keeps its
 * bytes. Returns 0 or an errno. */
int bc__region_map_private(int file, int64_t offset, size_t size,
                           struct bc_region **out_region);
/* Allocates a block of `size` bytes. The caller fills it and sets its offset. NULL: out
 * of memory. */
struct bc_region *bc__region_block(size_t size);
/* Allocates a block of zeros. A large block takes no memory until it is touched. NULL:
 * out of memory. */
struct bc_region *bc__region_zeros(size_t size);
uint8_t *bc__region_bytes(struct bc_region *block);

struct bc_region *bc__region_ref(struct bc_region *region);
/* NULL is accepted. */
void bc__region_unref(struct bc_region *region);

/* Returns the address of the byte at `offset` of the file. */
const uint8_t *bc__region_at(const struct bc_region *region, int64_t offset);

#endif
