#include "disk/loaded_message.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/error.h"
#include "disk/errors.h"

/* Before mapped bytes are touched: are they there at all? */
static int check_size(struct bc_disk *disk, int64_t end, struct bc_error *error) {
    int64_t size;
    int code = disk->file.is_lent ? bc__sys_size(disk->file.file, &size)
                                  : bc__sys_end(disk->file.file, &size);
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    if (size < end) {
        return bc__error_set(error, EIO,
                             "Disk read failed: the %s was shortened to %lld bytes: '%s'",
                             bc__disk_noun(disk), (long long)size, disk->file.path);
    }
    return 0;
}

int bc__disk_check(struct bc_tier *tier, struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    if (!atomic_load_explicit(&disk->file.is_public, memory_order_relaxed)) return 0;
    return check_size(
        disk, atomic_load_explicit(&disk->file.written, memory_order_relaxed), error);
}

/* The bytes [offset, offset + size) of the file, copied. */
static int copy_out(struct bc_disk *disk, int64_t offset, int64_t size,
                    struct bc_region **out_region, struct bc_error *error) {
    struct bc_region *block = bc__region_block((size_t)size);
    if (block == NULL) return bc__error_memory(error);
    size_t got;
    int code = bc__sys_read(disk->file.file, bc__region_bytes(block), (size_t)size,
                            offset, &got);
    if (code == 0 && got != (size_t)size) {
        /* It is shorter, or most of it is a hole. */
        bc__region_unref(block);
        block = bc__region_zeros((size_t)size);
        if (block == NULL) return bc__error_memory(error);
        code = bc__sys_read_over_holes(disk->file.file, bc__region_bytes(block),
                                       (size_t)size, offset, &got);
    }
    if (code != 0 || got != (size_t)size) {
        bc__region_unref(block);
        return bc__disk_error_reading(disk, code == 0 ? EIO : code, error);
    }
    block->offset = offset;
    *out_region = block;
    return 0;
}

int bc__load_range(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                   struct bc_region **out_region, struct bc_error *error) {
    if (copies) return copy_out(disk, offset, size, out_region, error);
    /* Of a public file, the store asks once for all. */
    int code = disk->file.is_public ? 0 : check_size(disk, offset + size, error);
    if (code == 0)
        code = bc__mapping_get(&disk->mapping, offset + size, out_region, error);
    return code;
}

int bc__load_message(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                     struct bc_loaded_message *out, struct bc_error *error) {
    struct bc_region *region = bc__file_collected(&disk->file, offset);
    if (region == NULL) {
        int code = bc__load_range(disk, offset, size, copies, &region, error);
        if (code != 0) return code;
    }
    out->region = region;
    out->bytes = bc__region_at(region, offset);
    out->offset = offset;
    out->size = size;
    return 0;
}

void bc__unload_message(struct bc_loaded_message *message) {
    bc__region_unref(message->region);
}

int bc__load_metadata(struct bc_loaded_message *message, bool checks) {
    int code = bc__message_parse(&message->parsed, message->bytes, message->size);
    return checks && code == EINVAL ? EBADMSG : code;
}

/* What a decoded batch or dictionary holds. */
struct holdings {
    struct bc_region *region;
    struct bc_page_refs *page_refs;
    int64_t offset; /* referenced in page_refs */
    int64_t size;
    int32_t n;
    struct bc_batch *dictionaries[]; /* or NULL */
};

static void release_holdings(struct ArrowArray *owner) {
    struct holdings *holdings = owner->private_data;
    for (int32_t i = 0; i < holdings->n; i++) bc__batch_unref(holdings->dictionaries[i]);
    bc__page_refs_remove(holdings->page_refs, holdings->offset, holdings->size);
    bc__page_refs_unref(holdings->page_refs);
    bc__region_unref(holdings->region);
    bc__free(holdings);
    owner->release = NULL;
}

int bc__load_attach(struct bc_disk *disk, struct bc_batch *batch,
                    struct bc_loaded_message *message, int32_t n,
                    struct bc_batch ***out_dictionaries) {
    struct holdings *holdings =
        bc__calloc(1, sizeof(*holdings) + (size_t)n * sizeof(void *));
    struct bc_page_refs *page_refs = disk->file.page_refs;
    if (holdings == NULL ||
        bc__page_refs_add(page_refs, message->offset, message->size) != 0) {
        bc__free(holdings);
        return ENOMEM;
    }
    holdings->n = n;
    holdings->region = message->region;
    message->region = NULL;
    if (disk->tier.copies_on_read) batch->held_bytes += (uint64_t)message->size;
    holdings->page_refs = bc__page_refs_ref(page_refs);
    holdings->offset = message->offset;
    holdings->size = message->size;
    batch->owner.release = release_holdings;
    batch->owner.private_data = holdings;
    if (out_dictionaries != NULL) *out_dictionaries = holdings->dictionaries;
    return 0;
}
