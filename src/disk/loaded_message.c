#include "disk/loaded_message.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"

/* EIO: the file is shorter than `end`, so mapped bytes would fault. */
static int check_file_size(struct bc_disk *disk, int64_t end, struct bc_error *error) {
    /* A storage is not mapped. */
    if (bc__file_has_storage(&disk->file)) return 0;
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
    return check_file_size(
        disk, atomic_load_explicit(&disk->file.written, memory_order_relaxed), error);
}

/* Copies the extent of the file. */
static int copy_extent(struct bc_disk *disk, struct bc_extent extent,
                       struct bc_region **out_region, struct bc_error *error) {
    size_t size = (size_t)extent.size;
    struct bc_region *block = bc__region_block(size);
    if (block == NULL) return bc__error_memory(error);
    size_t got;
    int code = bc__file_read(&disk->file, bc__region_bytes(block), size, extent.offset,
                             &got, error);
    if (code == 0 && got != size && !bc__file_has_storage(&disk->file)) {
        /* The file is shorter, or most of the extent is a hole. */
        bc__region_unref(block);
        block = bc__region_zeros(size);
        if (block == NULL) return bc__error_memory(error);
        code = bc__sys_read_over_holes(disk->file.file, bc__region_bytes(block), size,
                                       extent.offset, &got);
    }
    if (code != 0 || got != size) {
        bc__region_unref(block);
        return bc__disk_error_reading(disk, code == 0 ? EIO : code, error);
    }
    block->offset = extent.offset;
    *out_region = block;
    return 0;
}

int bc__load_range(struct bc_disk *disk, struct bc_extent extent, bool copies,
                   struct bc_region **out_region, struct bc_error *error) {
    if ((uint64_t)extent.size > PTRDIFF_MAX) return bc__error_memory(error);
    struct bc_region *index = disk->index;
    if (index != NULL && extent.offset >= index->offset &&
        extent.size <= index->offset + (int64_t)index->size - extent.offset) {
        *out_region = bc__region_ref(index);
        return 0;
    }
    if (copies) return copy_extent(disk, extent, out_region, error);
    /* The store checks a public file once for all its reads. */
    int64_t end = extent.offset + extent.size;
    int code = disk->file.is_public ? 0 : check_file_size(disk, end, error);
    if (code == 0) code = bc__mapping_get(&disk->mapping, end, out_region, error);
    return code;
}

int bc__load_message(struct bc_disk *disk, struct bc_extent extent, bool copies,
                     struct bc_loaded_message *out, struct bc_error *error) {
    struct bc_region *region = bc__file_collected(&disk->file, extent.offset);
    if (region == NULL) {
        int code = bc__load_range(disk, extent, copies, &region, error);
        if (code != 0) return code;
    }
    out->region = region;
    out->bytes = bc__region_at(region, extent.offset);
    out->extent = extent;
    return 0;
}

int bc__load_batch(struct bc_disk *disk, struct bc_extent extent,
                   struct bc_loaded_message *out, struct bc_error *error) {
    bool copies = disk->tier.copies_on_read;
    if (copies || !disk->tier.is_writable) {
        return bc__load_message(disk, extent, copies, out, error);
    }
    if ((uint64_t)extent.size > PTRDIFF_MAX) return bc__error_memory(error);
    /* An opened file is public, so the store has checked its size. */
    bc_assert(disk->file.is_public);
    int code = bc__region_map_private(disk->file.file, extent.offset, (size_t)extent.size,
                                      &out->region);
    if (code != 0) return bc__disk_error_mapping(code, error);
    out->bytes = bc__region_at(out->region, extent.offset);
    out->extent = extent;
    return 0;
}

void bc__unload_message(struct bc_loaded_message *message) {
    bc__region_unref(message->region);
}

int bc__load_check(struct bc_disk *disk, struct bc_extent extent, uint64_t checksum,
                   const char *part, struct bc_error *error) {
    struct bc_loaded_message message;
    int code = bc__load_message(disk, extent, disk->tier.copies_on_read, &message, error);
    if (code != 0) return code;
    bool is_right = bc__checksum(message.bytes, (size_t)extent.size) == checksum;
    bc__unload_message(&message);
    return is_right ? 0 : bc__disk_error_checksum(disk, part, error);
}

int bc__load_metadata(struct bc_loaded_message *message, bool checks) {
    int code = bc__message_parse(&message->parsed, message->bytes, message->extent.size);
    return checks && code == EINVAL ? EBADMSG : code;
}

/* The references of a decoded batch or dictionary. */
struct batch_refs {
    struct bc_region *region;
    struct bc_page_refs *page_refs;
    struct bc_extent extent; /* referenced in page_refs */
    int32_t n;
    struct bc_batch *dictionaries[]; /* each a reference or NULL */
};

static void release_batch_refs(struct ArrowArray *owner) {
    struct batch_refs *refs = owner->private_data;
    for (int32_t i = 0; i < refs->n; i++) bc__batch_unref(refs->dictionaries[i]);
    bc__page_refs_remove(refs->page_refs, refs->extent.offset, refs->extent.size);
    bc__page_refs_unref(refs->page_refs);
    bc__region_unref(refs->region);
    bc__free(refs);
    owner->release = NULL;
}

int bc__load_attach(struct bc_disk *disk, struct bc_batch *batch,
                    struct bc_loaded_message *message, int32_t n,
                    struct bc_batch ***out_dictionaries) {
    struct batch_refs *refs = bc__calloc(1, sizeof(*refs) + (size_t)n * sizeof(void *));
    struct bc_page_refs *page_refs = disk->file.page_refs;
    if (refs == NULL ||
        bc__page_refs_add(page_refs, message->extent.offset, message->extent.size) != 0) {
        bc__free(refs);
        return ENOMEM;
    }
    refs->n = n;
    refs->region = message->region;
    message->region = NULL;
    if (disk->tier.copies_on_read) batch->held_bytes += (uint64_t)message->extent.size;
    refs->page_refs = bc__page_refs_ref(page_refs);
    refs->extent = message->extent;
    batch->owner.release = release_batch_refs;
    batch->owner.private_data = refs;
    if (out_dictionaries != NULL) *out_dictionaries = refs->dictionaries;
    return 0;
}
