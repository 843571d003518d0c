/* Estimates the work of a read before it begins, without a look at the file's bytes. */
#include "base/check.h"
#include "disk/disk.h"

/* Estimates: bytes of a decoded value, and growth of compressed bytes. */
enum { VALUE_BYTES = 8, EXPANSION = 4 };

static uint64_t decompressed_cost(const struct bc_disk *disk, uint64_t size,
                                  uint64_t rows) {
    uint64_t each = VALUE_BYTES * (uint64_t)disk->encoder.schema->n_fields;
    uint64_t bytes;
    if (__builtin_mul_overflow(rows, each, &bytes)) return UINT64_MAX / 4;
    return bytes > EXPANSION * size ? bytes : EXPANSION * size;
}

uint64_t bc__disk_read_cost(struct bc_tier *tier, struct bc_extent extent, uint64_t rows,
                            bool is_new) {
    const struct bc_disk *disk = bc__disk_of(tier);
    bc_assert(extent.size > 0);
    /* A storage may wait for a network. */
    if (bc__file_has_storage(&disk->file)) return UINT64_MAX;
    uint64_t size = (uint64_t)extent.size;
    uint64_t bytes = disk->tier.copies_on_read ? size : 0;
    bool is_opened = disk->encoder.metadata == NULL;
    /* Before the first read of a foreign file, compression is unknown. */
    bool decompresses = disk->encoder.body.codec != BC_CODEC_NONE ||
                        (is_opened && is_new) ||
                        atomic_load_explicit(&disk->decompresses, memory_order_relaxed);
    if (decompresses) bytes += decompressed_cost(disk, size, rows);
    if (is_new && (disk->encoder.checksums || disk->validates)) bytes += size;
    return bytes;
}
