#include "disk/disk.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
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
        if (code == 0) {
            code = bc__dictionaries_init(&disk->dictionaries, schema);
            if (code == 0) return 0;
            bc__map_finish(&disk->map);
        }
        (void)bc__error_memory(error);
        bc__file_finish(&disk->file);
    }
    bc__encoder_finish(&disk->encoder);
    return code;
}

void bc__disk_close(struct bc_disk *disk) {
    bc__dictionaries_clear(&disk->dictionaries);
    bc__map_clear(&disk->map);
    bc__file_remove(&disk->file);
}

void bc__disk_finish(struct bc_disk *disk) {
    bc__dictionaries_finish(&disk->dictionaries);
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
    bc_assert(offset == 0 && message.n_pieces == 1);
    disk->schema_bytes = message.size;
    disk->schema_checksum = bc__checksum(message.pieces[0].data, message.pieces[0].size);
    return 0;
}

int bc__disk_append(struct bc_disk *disk, struct bc_batch *batch,
                    const struct bc_extents *extents, int64_t *out_offset,
                    int64_t *out_size, struct bc_error *error) {
    if (disk->schema_bytes == 0) {
        int code = append_schema(disk, error);
        if (code != 0) return code;
    }
    int code = bc__dictionaries_write(&disk->dictionaries, &disk->encoder, &disk->file,
                                      batch, error);
    if (code != 0) return code;
    struct bc_message message;
    code = bc__encode_batch(&disk->encoder, batch, extents, &message, error);
    if (code != 0) return code;
    code = bc__file_append(&disk->file, message.pieces, message.n_pieces, message.size,
                           out_offset, error);
    if (code == 0) *out_size = message.size;
    return code;
}

/* Before mapped bytes are touched: are they there at all? */
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

static int mismatch(uint64_t number, struct bc_error *error) {
    return bc__error_set(
        error, EBADMSG,
        "Checksum mismatch for batch %llu; the cache file may be corrupted",
        (unsigned long long)number);
}

static int verify(struct bc_disk *disk, const uint8_t *memory, int64_t offset,
                  int64_t size, uint64_t number, struct bc_error *error) {
    if (!atomic_load_explicit(&disk->schema_verified, memory_order_relaxed)) {
        if (bc__checksum(memory, (size_t)disk->schema_bytes) != disk->schema_checksum) {
            return bc__error_set(
                error, EBADMSG,
                "Checksum mismatch for the schema; the cache file may be "
                "corrupted");
        }
        atomic_store_explicit(&disk->schema_verified, true, memory_order_relaxed);
    }
    if (bc__decode_verify(memory + offset, size) == 0) return 0;
    return mismatch(number, error);
}

void bc__disk_tidy(struct bc_disk *disk, bool done) {
    bc__dictionaries_tidy(&disk->dictionaries, done);
}

/* What a batch from disk holds: its mapping, and the dictionaries' nodes. */
struct holdings {
    struct bc_mapping *mapping;
    int32_t n;
    struct bc_batch *dictionaries[];
};

static void free_holdings(struct holdings *holdings) {
    for (int32_t i = 0; i < holdings->n; i++) bc__batch_unref(holdings->dictionaries[i]);
    bc__mapping_unref(holdings->mapping);
    bc__free(holdings);
}

static void release_holdings(struct ArrowArray *owner) {
    free_holdings(owner->private_data);
    owner->release = NULL;
}

static void release_mapping(struct ArrowArray *owner) {
    bc__mapping_unref(owner->private_data);
    owner->release = NULL;
}

/* Dictionary number `which` of the batch at `offset`, with a reference. */
static int read_dictionary(struct bc_disk *disk, struct bc_mapping *mapping,
                           int32_t which, int64_t offset, struct bc_batch **out_batch) {
    struct bc_dictionary_version version =
        bc__dictionaries_find(&disk->dictionaries, which, offset);
    if (version.decoded != NULL) {
        *out_batch = version.decoded;
        return 0;
    }
    const uint8_t *message = mapping->memory + version.offset;
    if (bc__decode_verify(message, version.size) != 0) return EBADMSG;
    int32_t field = disk->dictionaries.all[which].field;
    struct bc_batch *decoded;
    int code = bc__decode_dictionary(disk->encoder.schema, field, message, version.size,
                                     &decoded);
    if (code != 0) return code;
    /* It outlives the batch, and the mapping may be replaced by a larger one. */
    decoded->owner.release = release_mapping;
    decoded->owner.private_data = bc__mapping_ref(mapping);
    bc__dictionaries_keep(&disk->dictionaries, which, version.offset, decoded);
    *out_batch = decoded;
    return 0;
}

/* Decodes the batch at `offset` and its dictionaries; takes the mapping over. */
static int read(struct bc_disk *disk, struct bc_mapping *mapping, int64_t offset,
                int64_t size, struct bc_batch **out_batch) {
    const struct bc_dictionaries *dictionaries = &disk->dictionaries;
    struct holdings *holdings =
        bc__calloc(1, sizeof(*holdings) + (size_t)dictionaries->n * sizeof(void *));
    if (holdings == NULL) {
        bc__mapping_unref(mapping);
        return ENOMEM;
    }
    holdings->mapping = mapping;
    struct bc_batch *batch = NULL;
    int code =
        bc__decode_batch(disk->encoder.schema, mapping->memory + offset, size, &batch);
    for (int32_t i = 0; i < dictionaries->n && code == 0; i++) {
        code = read_dictionary(disk, mapping, i, offset, &holdings->dictionaries[i]);
        if (code != 0) break;
        holdings->n = i + 1;
        bc__dictionaries_copy_nodes(dictionaries, i, holdings->dictionaries[i], batch);
    }
    if (code != 0) {
        bc__batch_unref(batch);
        free_holdings(holdings);
        return code;
    }
    batch->owner.release = release_holdings;
    batch->owner.private_data = holdings;
    *out_batch = batch;
    return 0;
}

int bc__disk_read(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                  bool verify_first, struct bc_batch **out_batch,
                  struct bc_error *error) {
    bc_assert(offset >= 0 && size > 0);
    int code = check_size(disk, offset + size, error);
    if (code != 0) return code;
    struct bc_mapping *mapping;
    code = bc__map_get(&disk->map, offset + size, &mapping, error);
    if (code != 0) return code;
    if (verify_first) code = verify(disk, mapping->memory, offset, size, number, error);
    if (code != 0) {
        bc__mapping_unref(mapping);
        return code;
    }
    code = read(disk, mapping, offset, size, out_batch);
    if (code == ENOMEM) return bc__error_memory(error);
    if (code == EBADMSG) return mismatch(number, error);
    if (code == 0) return 0;
    return bc__error_set(error, EBADMSG,
                         "Batch %llu is not what was written; the cache file may be "
                         "corrupted",
                         (unsigned long long)number);
}
