#include "disk/disk.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "disk/decode.h"

int bc__disk_open(struct bc_disk *disk, const struct bc_schema *schema, const char *path,
                  uint64_t bytes_max, struct bc_error *error) {
    bc_assert(disk != NULL && path != NULL);
    memset(disk, 0, sizeof(*disk));
    int code = bc__encoder_init(&disk->encoder, schema, error);
    if (code != 0) return code;
    code = bc__file_create(&disk->file, path, bytes_max, error);
    if (code == 0) {
        code = bc__map_init(&disk->map, disk->file.file, bytes_max);
        if (code == 0) return 0;
        (void)bc__error_memory(error);
        bc__file_finish(&disk->file);
    }
    bc__encoder_finish(&disk->encoder);
    return code;
}

void bc__disk_close(struct bc_disk *disk) {
    bc__map_clear(&disk->map);
    bc__file_remove(&disk->file);
}

void bc__disk_finish(struct bc_disk *disk) {
    bc__map_finish(&disk->map);
    bc__file_finish(&disk->file);
    bc__encoder_finish(&disk->encoder);
}

static int append_schema(struct bc_disk *disk, struct bc_error *error) {
    struct bc_message message;
    int code = bc__encode_schema(&disk->encoder, &message, error);
    if (code != 0) return code;
    int64_t offset;
    code = bc__file_append(&disk->file, message.pieces, message.n_pieces, message.size,
                           &offset, error);
    if (code != 0) return code;
    bc_assert(offset == 0);
    disk->schema_bytes = message.size;
    return 0;
}

int bc__disk_append(struct bc_disk *disk, const struct bc_batch *batch,
                    const struct bc_extents *extents, int64_t *out_offset,
                    int64_t *out_size, struct bc_error *error) {
    if (disk->schema_bytes == 0) {
        int code = append_schema(disk, error);
        if (code != 0) return code;
    }
    struct bc_message message;
    int code = bc__encode_batch(&disk->encoder, batch, extents, &message, error);
    if (code != 0) return code;
    code = bc__file_append(&disk->file, message.pieces, message.n_pieces, message.size,
                           out_offset, error);
    if (code == 0) *out_size = message.size;
    return code;
}

/* Before the first touch of mapped bytes: are they there at all? */
static int check_size(struct bc_disk *disk, int64_t end, struct bc_error *error) {
    int64_t size;
    int code = bc__sys_size(disk->file.file, &size);
    if (code != 0) {
        return bc__error_set(error, code, "Disk read failed: %s", strerror(code));
    }
    if (size < end) {
        return bc__error_set(
            error, EIO, "Disk read failed: the cache file was shortened to %lld bytes",
            (long long)size);
    }
    return 0;
}

static int verify(struct bc_disk *disk, const uint8_t *memory, int64_t offset,
                  int64_t size, uint64_t number, struct bc_error *error) {
    if (!atomic_load_explicit(&disk->schema_verified, memory_order_relaxed)) {
        if (bc__decode_verify(memory, disk->schema_bytes) != 0) {
            return bc__error_set(
                error, EBADMSG,
                "Checksum mismatch for the schema; the cache file may be "
                "corrupted");
        }
        atomic_store_explicit(&disk->schema_verified, true, memory_order_relaxed);
    }
    if (bc__decode_verify(memory + offset, size) == 0) return 0;
    return bc__error_set(
        error, EBADMSG,
        "Checksum mismatch for batch %llu; the cache file may be corrupted",
        (unsigned long long)number);
}

static void release_mapping(struct ArrowArray *owner) {
    bc__mapping_unref(owner->private_data);
    owner->release = NULL;
}

int bc__disk_read(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                  bool verify_first, struct bc_batch **out_batch,
                  struct bc_error *error) {
    bc_assert(offset >= 0 && size > 0);
    int code = verify_first ? check_size(disk, offset + size, error) : 0;
    if (code != 0) return code;
    struct bc_mapping *mapping;
    code = bc__map_get(&disk->map, offset + size, &mapping, error);
    if (code != 0) return code;
    if (verify_first) code = verify(disk, mapping->memory, offset, size, number, error);
    struct bc_batch *batch = NULL;
    if (code == 0) {
        code = bc__decode_batch(disk->encoder.schema, mapping->memory + offset, size,
                                &batch);
        if (code == ENOMEM) {
            (void)bc__error_memory(error);
        } else if (code != 0) {
            code =
                bc__error_set(error, EBADMSG,
                              "Batch %llu is not what was written; the cache file may be "
                              "corrupted",
                              (unsigned long long)number);
        }
    }
    if (code != 0) {
        bc__mapping_unref(mapping);
        return code;
    }
    batch->owner.release = release_mapping;
    batch->owner.private_data = mapping;
    *out_batch = batch;
    return 0;
}
