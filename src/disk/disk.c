#include "disk/disk.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/read_ahead.h"

int bc__disk_open(struct bc_disk *disk, const struct bc_schema *schema,
                  const struct bc_disk_options *options, struct bc_error *error) {
    bc_assert(disk != NULL && options->path != NULL);
    memset(disk, 0, sizeof(*disk));
    disk->tier.ops = &bc__disk_ops;
    disk->is_recording = options->is_recording;
    int code = bc__encoder_init(&disk->encoder, schema, options->checksums,
                                options->codec, error);
    if (code != 0) return code;
    const char *key = options->key;
    struct bc_wire_text text = {key, key == NULL ? 0 : strlen(key)};
    if (bc__disk_set_key(disk, text) != 0) {
        bc__encoder_finish(&disk->encoder);
        return bc__error_memory(error);
    }
    code = options->is_recording
               ? bc__file_record(&disk->file, options->path, options->durable,
                                 !options->is_named_later, error)
               : bc__file_create(&disk->file, options->path, options->capacity,
                                 options->evicts, error);
    if (code == 0) {
        code = bc__disk_init_reading(disk, schema, error);
        if (code == 0) return 0;
        bc__file_finish(&disk->file);
    }
    bc__encoder_finish(&disk->encoder);
    bc__free(disk->key);
    return code;
}

int bc__disk_set_key(struct bc_disk *disk, struct bc_wire_text key) {
    char *copy = NULL;
    if (key.data != NULL) {
        copy = bc__malloc(key.size + 1);
        if (copy == NULL) return ENOMEM;
        memcpy(copy, key.data, key.size);
        copy[key.size] = '\0';
    }
    bc__free(disk->key);
    disk->key = copy;
    disk->encoder.key = copy;
    return 0;
}

int bc__disk_init_reading(struct bc_disk *disk, const struct bc_schema *schema,
                          struct bc_error *error) {
    disk->encoder.schema = schema;
    int code = bc__mapping_init(&disk->mapping, disk->file.file, disk->file.path);
    if (code != 0) return bc__error_memory(error);
    code = bc__dictionaries_init(&disk->dictionaries, schema);
    if (code == 0) return 0;
    bc__mapping_finish(&disk->mapping);
    if (code != EINVAL) return bc__error_memory(error);
    return bc__error_set(error, EBADMSG,
                         "Dictionaries of different types have the same id; the file may "
                         "be corrupted: '%s'",
                         disk->file.path);
}

void bc__disk_close(struct bc_disk *disk) {
    bc__dictionaries_clear(&disk->dictionaries);
    bc__mapping_clear(&disk->mapping);
    bc__file_remove(&disk->file);
}

void bc__disk_finish(struct bc_disk *disk) {
    bc__dictionaries_finish(&disk->dictionaries);
    bc__mapping_finish(&disk->mapping);
    bc__file_finish(&disk->file);
    bc__encoder_finish(&disk->encoder);
    bc__scanner_finish(&disk->scanner);
    bc__read_ahead_free(disk->ahead);
    bc__region_unref(disk->index);
    bc__free(disk->blocks);
    bc__free(disk->key);
}

int bc__disk_append_schema(struct bc_disk *disk, struct bc_error *error) {
    struct bc_encoded_message message;
    int code = bc__encode_schema(&disk->encoder, &message, error);
    if (code != 0) return code;
    int64_t offset;
    code = bc__file_append(&disk->file, message.iovecs, message.n_iovecs, message.size,
                           true, &offset, error);
    if (code != 0) return code;
    bc_assert(offset == 0 && message.n_iovecs == 1);

    disk->schema_bytes = message.size;
    disk->schema_checksum = bc__checksum(message.iovecs[0].data, message.iovecs[0].size);
    return 0;
}

int bc__disk_publish_name(struct bc_disk *disk, struct bc_error *error) {
    bc_assert(disk->file.publishes_last && disk->schema_bytes == 0);
    int code = bc__disk_append_schema(disk, error);
    if (code == 0) code = bc__file_flush(&disk->file, error);
    if (code == 0) code = bc__file_name(&disk->file, false, error);
    return code;
}

static int append_batch(struct bc_tier *tier, const struct bc_tier_write *write,
                        struct bc_extent *out_extent, struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    if (disk->schema_bytes == 0) {
        int code = bc__disk_append_schema(disk, error);
        if (code != 0) return code;
    }
    int code = bc__dictionaries_write(&disk->dictionaries, &disk->encoder, &disk->file,
                                      write->batch, error);
    if (code != 0) return code;
    struct bc_encoded_message message;
    code = bc__encode_batch(&disk->encoder, write->batch, write->ranges, &message, error);
    if (code != 0) return code;
    if (write->statistics != NULL) {
        bc__statistics_add(write->statistics, write->batch->number, write->batch);
    }
    code = bc__file_append(&disk->file, message.iovecs, message.n_iovecs, message.size,
                           write->more, &out_extent->offset, error);
    if (code == 0) out_extent->size = message.size;
    return code;
}

static int flush_file(struct bc_tier *tier, struct bc_error *error) {
    return bc__file_flush(&bc__disk_of(tier)->file, error);
}

static void release_retired_dictionaries(struct bc_tier *tier, bool done) {
    bc__dictionaries_release_retired(&bc__disk_of(tier)->dictionaries, done);
}

static void release_extent(struct bc_tier *tier, struct bc_extent extent) {
    struct bc_disk *disk = bc__disk_of(tier);
    bc__dictionaries_trim(&disk->dictionaries, &disk->file, extent.offset);
    bc__file_release(&disk->file, extent.offset, extent.size);
}

static int end_file(struct bc_tier *tier, const struct bc_index *index,
                    struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    if (!disk->is_recording) return bc__file_flush(&disk->file, error);
    return bc__disk_finalize(disk, index, error);
}

static void abort_recording(struct bc_tier *tier) {
    struct bc_disk *disk = bc__disk_of(tier);
    if (disk->is_recording) bc__file_abort(&disk->file);
}

const struct bc_tier_ops bc__disk_ops = {
    .append = append_batch,
    .flush = flush_file,
    .read = bc__disk_read,
    .read_cost = bc__disk_read_cost,
    .release = release_extent,
    .release_retired = release_retired_dictionaries,
    .check = bc__disk_check,
    .locate = bc__disk_locate,
    .next = bc__disk_next,
    .end = end_file,
    .abort = abort_recording,
};
