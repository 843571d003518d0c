#include "disk/disk.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

int bc__disk_open(struct bc_disk *disk, const struct bc_schema *schema,
                  const struct bc_disk_options *options, struct bc_error *error) {
    bc_assert(disk != NULL && options->path != NULL);
    memset(disk, 0, sizeof(*disk));
    int code = bc__encoder_init(&disk->encoder, schema, options->checksums,
                                options->codec, error);
    if (code != 0) return code;
    code = options->is_recording
               ? bc__file_record(&disk->file, options->path, options->durable,
                                 !options->is_named_later, error)
               : bc__file_create(&disk->file, options->path, options->bytes_max,
                                 options->evicts, error);
    if (code == 0) {
        code = bc__disk_init_reading(disk, schema, error);
        if (code == 0) return 0;
        bc__file_finish(&disk->file);
    }
    bc__encoder_finish(&disk->encoder);
    return code;
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
    bc__free(disk->blocks);
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

int bc__disk_append(struct bc_disk *disk, struct bc_batch *batch,
                    const struct bc_buffer_ranges *ranges, bool more, int64_t *out_offset,
                    int64_t *out_size, struct bc_error *error) {
    if (disk->schema_bytes == 0) {
        int code = bc__disk_append_schema(disk, error);
        if (code != 0) return code;
    }
    int code = bc__dictionaries_write(&disk->dictionaries, &disk->encoder, &disk->file,
                                      batch, error);
    if (code != 0) return code;
    struct bc_encoded_message message;
    code = bc__encode_batch(&disk->encoder, batch, ranges, &message, error);
    if (code != 0) return code;
    code = bc__file_append(&disk->file, message.iovecs, message.n_iovecs, message.size,
                           more, out_offset, error);
    if (code == 0) *out_size = message.size;
    return code;
}

void bc__disk_release_retired(struct bc_disk *disk, bool done) {
    bc__dictionaries_release_retired(&disk->dictionaries, done);
}

void bc__disk_release(struct bc_disk *disk, int64_t offset, int64_t size) {
    bc__dictionaries_trim(&disk->dictionaries, &disk->file, offset);
    bc__file_release(&disk->file, offset, size);
}
