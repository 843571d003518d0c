/* A recording that was left before it was complete, gone on with. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/problem.h"

/* ---- going on with a recording ---- */

static int compare_schema(struct bc_disk *disk, struct bc_error *error) {
    struct bc_message message;
    int code = bc__encode_schema(&disk->encoder, &message, error);
    if (code != 0) return code;
    bc_assert(message.n_pieces == 1);
    size_t size = message.pieces[0].size;
    uint8_t *bytes = bc__malloc(size);
    if (bytes == NULL) return bc__error_memory(error);
    size_t got = 0;
    code = bc__sys_read(disk->file.file, bytes, size, 0, &got);
    if (code != 0) {
        (void)bc__problem_reading(disk, code, error);
    } else if (memcmp(bytes, message.pieces[0].data, got) != 0) {
        code = bc__error_set(error, EINVAL,
                             "The source's schema is not that of the recording, which "
                             "therefore cannot be resumed: '%s'",
                             disk->file.path);
    }
    /* A loss of power may leave a name and no more. */
    disk->schema_bytes = got == size ? (int64_t)size : 0;
    disk->schema_checksum = bc__checksum(bytes, size);
    disk->scan.at = disk->schema_bytes;
    bc__free(bytes);
    return code;
}

static int open_to_resume(struct bc_disk *disk, const struct bc_disk_options *options,
                          struct bc_error *error) {
    int file;
    int code = bc__sys_open(options->path, true, &file);
    if (code == 0) {
        code = bc__sys_check_regular(file);
        if (code == 0) code = bc__sys_lock(file);
        if (code == 0) code = bc__sys_reclaim_hidden(file, options->path);
        /* Somebody may have made it anew before it was locked. */
        if (code == 0 && !bc__sys_is_name_of(options->path, file)) code = EAGAIN;
        if (code != 0) bc__sys_close(file);
    }
    if (code != 0) {
        if (code == EAGAIN) code = EBUSY;
        return bc__error_set(
            error, code, "Failed to resume the recording: %s: '%s'",
            code == EBUSY ? "Somebody else is writing it" : strerror(code),
            options->path);
    }
    int64_t size;
    code = bc__sys_size(file, &size);
    if (code != 0) {
        bc__sys_close(file);
        return bc__error_set(error, code, "Disk read failed: %s: '%s'", strerror(code),
                             options->path);
    }
    if (bc__file_adopt(&disk->file, file, options->path, size) != 0) {
        return bc__error_memory(error);
    }
    bool complete;
    code = bc__trailer_read(file, size, &disk->trailer, &complete);
    if (code != 0) {
        (void)bc__problem_reading(disk, code, error);
    } else if (complete) {
        code = bc__error_set(error, EEXIST, "The recording is complete: '%s'",
                             disk->file.path);
    }
    if (code != 0) bc__file_finish(&disk->file);
    return code;
}

int bc__disk_resume(struct bc_disk *disk, const struct bc_schema *schema,
                    const struct bc_disk_options *options, struct bc_error *error) {
    memset(disk, 0, sizeof(*disk));
    int code = open_to_resume(disk, options, error);
    if (code != 0) return code;
    code = bc__encoder_init(&disk->encoder, schema, options->checksums, options->codec,
                            error);
    if (code == 0) {
        disk->file.durable = options->durable;
        disk->scan.file = disk->file.file;
        disk->scan.is_ours = true;
        disk->is_partial = true;
        disk->resumes = true;
        disk->batches_max = UINT64_MAX;
        code = compare_schema(disk, error);
        if (code == 0) code = bc__disk_set_up(disk, schema, BC_BYTES_DEFAULT, error);
        if (code == 0) return 0;
        bc__encoder_finish(&disk->encoder);
    }
    bc__file_finish(&disk->file);
    return code;
}

int bc__disk_go_on(struct bc_disk *disk, struct bc_error *error) {
    int code = bc__file_go_on(&disk->file, disk->scan.at, error);
    if (code == 0 && disk->schema_bytes == 0) {
        code = bc__disk_append_schema(disk, error);
        if (code == 0) code = bc__file_flush(&disk->file, error);
    } else if (code == 0 && disk->file.durable) {
        /* The process that left it may have had no time for that. */
        code = bc__file_sync(&disk->file, error);
    }
    return code;
}
