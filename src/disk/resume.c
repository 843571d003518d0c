/* Continues or discards an incomplete recording. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"

/* Encodes the schema of the file again and compares it with `wanted`. An earlier version
 * may have written the same schema in other bytes. `*out_size`: size of the file's schema
 * message, or 0 if the schemas differ. */
static int compare_reencoded(struct bc_disk *disk, const struct bc_iovec *wanted,
                             int64_t *out_size) {
    *out_size = 0;
    int64_t end = 0;
    struct bc_scan_result result;
    struct bc_wire_schema read = {0};
    struct bc_encoder encoder = {0};
    struct bc_encoded_message message;
    int code = bc__sys_size(disk->file.file, &end);
    /* A schema's checksum is verified separately. */
    disk->scanner.is_ours = false;
    if (code == 0) code = bc__scanner_peek(&disk->scanner, end, &result, NULL);
    disk->scanner.is_ours = true;
    if (code == 0 && result.kind != BC_SCAN_SCHEMA) return 0;
    if (code == 0) {
        code = bc__metadata_read_schema(disk->scanner.scratch, result.metadata_size,
                                        &read, NULL);
    }
    const char *digits = read.checksums.data;
    if (code == 0 && digits == NULL) code = EINVAL;
    if (code == 0) {
        size_t at = (size_t)(digits - (const char *)disk->scanner.scratch);
        code = bc__disk_check_schema(disk, &result, at, NULL);
    }
    if (code == 0) {
        code = bc__encoder_init(&encoder, read.schema, disk->encoder.checksums,
                                disk->encoder.body.codec, NULL);
    }
    /* The file keeps its key, which may be another one. */
    encoder.key = disk->encoder.key;
    if (code == 0) code = bc__encode_schema(&encoder, &message, NULL);
    if (code == 0 && message.iovecs[0].size == wanted->size &&
        memcmp(message.iovecs[0].data, wanted->data, wanted->size) == 0) {
        code = bc__disk_set_key(disk, read.key);
        *out_size = result.size;
    }
    bc__encoder_finish(&encoder);
    bc__schema_free(read.schema);
    return code == EINVAL || code == ENOTSUP || code == EBADMSG ? 0 : code;
}

/* Reads up to `size` bytes from the start of the file. The caller frees them. */
static int read_start(struct bc_disk *disk, size_t size, uint8_t **out_bytes,
                      size_t *out_got, struct bc_error *error) {
    uint8_t *bytes = bc__malloc(size);
    if (bytes == NULL) return bc__error_memory(error);
    int code = bc__sys_read(disk->file.file, bytes, size, 0, out_got);
    if (code != 0) {
        bc__free(bytes);
        return bc__disk_error_reading(disk, code, error);
    }
    *out_bytes = bytes;
    return 0;
}

static int compare_schema(struct bc_disk *disk, struct bc_error *error) {
    struct bc_encoded_message message;
    int code = bc__encode_schema(&disk->encoder, &message, error);
    if (code != 0) return code;
    bc_assert(message.n_iovecs == 1);
    const struct bc_iovec *wanted = &message.iovecs[0];
    size_t size = wanted->size;
    uint8_t *bytes;
    size_t got;
    code = read_start(disk, size, &bytes, &got, error);
    if (code != 0) return code;
    if (memcmp(bytes, wanted->data, got) != 0) {
        bc__free(bytes);
        int64_t schema_size;
        code = compare_reencoded(disk, wanted, &schema_size);
        if (code != 0) return bc__disk_error_reading(disk, code, error);
        if (schema_size == 0) {
            return bc__error_set_kind(error, BC_ERROR_CHANGED, EINVAL,
                                      "The source's schema differs from the recording's, "
                                      "so the recording cannot be resumed: '%s'",
                                      disk->file.path);
        }
        size = (size_t)schema_size;
        code = read_start(disk, size, &bytes, &got, error);
        if (code != 0) return code;
    }
    /* After a power loss, the file may be empty. */
    disk->schema_bytes = got == size ? (int64_t)size : 0;
    disk->schema_checksum = bc__checksum(bytes, size);
    disk->scanner.offset = disk->schema_bytes;
    bc__free(bytes);
    return 0;
}

/* Returns the message for a recording that cannot be opened for writing. */
static const char *open_failure_message(int code) {
    switch (code) {
        case EAGAIN:
        case EBUSY:
            return "Another process or cache is writing it";
        case ENOLCK:
            return "the file system refuses locks, so whether it is being written cannot "
                   "be told";
        default:
            return bc__error_message(code);
    }
}

/* Opens and locks a file whose writer may have died.
 * EAGAIN: another process writes it, or the name has another file now. */
static int open_abandoned(const char *path, struct bc_naming *out_naming, int *out_file) {
    int file;
    int code = bc__sys_open(path, true, &file);
    if (code != 0) return code;
    struct bc_naming naming = BC_NAMING_NONE;
    code = bc__sys_check_regular(file);
    if (code == 0) code = bc__sys_lock(file);
    if (code == 0) code = bc__naming_init(&naming, path);
    if (code == 0) {
        bc__naming_reclaim(&naming, file);
        bool shows_lock = bc__naming_shows_lock(&naming, file);
        if (!bc__sys_is_name_of(path, file)) {
            code = EAGAIN;
        } else if (!shows_lock) {
            code = ENOLCK;
        }
    }
    if (code == 0) {
        *out_naming = naming;
        *out_file = file;
        return 0;
    }
    bc__naming_finish(&naming, file);
    bc__sys_close(file);
    return code;
}

/* EEXIST: the recording is complete. */
static int check_incomplete(struct bc_disk *disk, struct bc_error *error) {
    bool complete;
    int64_t size;
    int code = bc__sys_size(disk->file.file, &size);
    if (code == 0) {
        code = bc__trailer_read(&disk->file, size, &disk->trailer, &complete, error);
    }
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    if (!complete) return 0;
    return bc__error_set(error, EEXIST, "The recording is complete: '%s'",
                         disk->file.path);
}

static int open_to_resume(struct bc_disk *disk, const char *path, const char *verb,
                          struct bc_error *error) {
    int code = bc__file_adopt_locked(&disk->file, path, open_abandoned);
    if (code == ENOMEM) return bc__error_memory(error);
    if (code != 0) {
        return bc__error_set(error, code == EAGAIN ? EBUSY : code,
                             "Failed to %s the recording: %s: '%s'", verb,
                             open_failure_message(code), path);
    }
    code = check_incomplete(disk, error);
    if (code != 0) bc__file_finish(&disk->file);
    return code;
}

/* ---- discard ---- */

static bool is_zero(const uint8_t *bytes, size_t size) {
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static bool has_key(const uint8_t *bytes, size_t size) {
    static const char key[] = BC_CHECKSUM_KEY;
    const uint8_t *end = bytes + size;
    while ((size_t)(end - bytes) >= sizeof(key) - 1) {
        bytes = memchr(bytes, key[0], (size_t)(end - bytes) - (sizeof(key) - 2));
        if (bytes == NULL) return false;
        if (memcmp(bytes, key, sizeof(key) - 1) == 0) return true;
        bytes++;
    }
    return false;
}

/* After a power loss, the first pages of a recording, or all pages, may be zeros.
 * EINVAL: no message of a recording follows the zeros. */
static int check_zeroed(int file, int64_t size) {
    enum { BLOCK = 1 << 20, OVERLAP = sizeof(BC_CHECKSUM_KEY) };
    uint8_t *block = bc__malloc(BLOCK);
    if (block == NULL) return ENOMEM;
    bool only_zeros = true;
    bool has_checksum = false;
    int code = 0;
    for (int64_t at = 0; code == 0 && !has_checksum && at < size; at += BLOCK - OVERLAP) {
        size_t wanted = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
        size_t got = 0;
        memset(block, 0, wanted);
        code = bc__sys_read_over_holes(file, block, wanted, at, &got);
        only_zeros = only_zeros && is_zero(block, got);
        has_checksum = has_key(block, got);
    }
    bc__free(block);
    if (code != 0 || has_checksum || only_zeros) return code;
    return EINVAL;
}

/* Checks that the file is a recording: it begins with a recording's schema, or with zeros
 * after a power loss.
 * EINVAL: it is another file. */
static int check_is_recording(struct bc_disk *disk) {
    uint8_t head[8] = {0};
    size_t got;
    int64_t size = 0;
    int code = bc__sys_read(disk->file.file, head, sizeof(head), 0, &got);
    if (code == 0) code = bc__sys_size(disk->file.file, &size);
    if (code != 0) return code;
    if (is_zero(head, sizeof(head))) return check_zeroed(disk->file.file, size);
    struct bc_scan_result result;
    disk->scanner.file = &disk->file;
    code = bc__scanner_peek(&disk->scanner, size, &result, NULL);
    if (code == 0 && result.kind != BC_SCAN_SCHEMA) code = EINVAL;
    struct bc_wire_schema read = {0};
    if (code == 0) {
        code = bc__metadata_read_schema(disk->scanner.scratch, result.metadata_size,
                                        &read, NULL);
    }
    if (code == 0 && read.checksums.data == NULL) code = EINVAL;
    bc__schema_free(read.schema);
    bc__scanner_finish(&disk->scanner);
    return code;
}

int bc__disk_discard(const char *path, struct bc_error *error) {
    struct bc_disk disk;
    memset(&disk, 0, sizeof(disk));
    int code = open_to_resume(&disk, path, "discard", error);
    if (code != 0) return code;
    code = check_is_recording(&disk);
    if (code == 0) code = bc__naming_remove(&disk.file.naming, disk.file.file);
    if (code == EINVAL) {
        (void)bc__error_set_kind(error, BC_ERROR_NOT_ARROW, code,
                                 "Not a recording, so it stays: '%s'", path);
    } else if (code != 0) {
        code = bc__error_set(error, code == EAGAIN ? EBUSY : code,
                             "Failed to discard the recording: %s: '%s'",
                             open_failure_message(code), path);
    }
    bc__file_finish(&disk.file);
    return code;
}

/* ---- resume ---- */

int bc__disk_resume(struct bc_disk *disk, const struct bc_schema *schema,
                    const struct bc_disk_options *options, struct bc_error *error) {
    memset(disk, 0, sizeof(*disk));
    disk->tier.ops = &bc__disk_ops;
    disk->is_recording = true;
    int code = open_to_resume(disk, options->path, "resume", error);
    if (code != 0) return code;
    code = bc__encoder_init(&disk->encoder, schema, options->checksums, options->codec,
                            error);
    if (code == 0) {
        bc__naming_finish(&disk->file.naming, disk->file.file);
        disk->file.durable = options->durable;
        disk->scanner.file = &disk->file;
        disk->scanner.is_ours = true;
        disk->is_partial = true;
        disk->resumes = true;
        disk->max_batches = UINT64_MAX;
        const char *key = options->key;
        struct bc_wire_text text = {key, key == NULL ? 0 : strlen(key)};
        code = bc__disk_set_key(disk, text);
        if (code != 0) (void)bc__error_memory(error);
        if (code == 0) code = compare_schema(disk, error);
        if (code == 0) code = bc__disk_init_reading(disk, schema, error);
        if (code == 0) return 0;
        bc__encoder_finish(&disk->encoder);
        bc__scanner_finish(&disk->scanner);
        bc__free(disk->key);
    }
    bc__file_finish(&disk->file);
    return code;
}

int bc__disk_start_appending(struct bc_disk *disk, struct bc_error *error) {
    int code = bc__file_start_appending(&disk->file, disk->scanner.offset, error);
    if (code == 0 && disk->schema_bytes == 0) {
        code = bc__disk_append_schema(disk, error);
        if (code == 0) code = bc__file_flush(&disk->file, error);
    } else if (code == 0 && disk->file.durable) {
        /* The writer may have died before it synchronised the file. */
        code = bc__file_sync(&disk->file, error);
    }
    return code;
}
