#include "disk/errors.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

const char *bc__disk_noun(const struct bc_disk *disk) {
    return disk->file.dir_path != NULL ? "cache file" : "file";
}

int bc__disk_error_message(const struct bc_disk *disk, int64_t at,
                           struct bc_error *error) {
    return bc__error_set(
        error, EBADMSG,
        "No valid Arrow message at byte %lld; the file may be corrupted: '%s'",
        (long long)at, disk->file.path);
}

int bc__disk_error_scan(const struct bc_disk *disk, int code, int64_t at,
                        struct bc_error *error) {
    switch (code) {
        case EINVAL:
            return bc__disk_error_message(disk, at, error);
        case EBADMSG:
            return bc__error_set(error, EBADMSG,
                                 "The message at byte %lld has a different size than in "
                                 "the footer; the file may be corrupted: '%s'",
                                 (long long)at, disk->file.path);
        case ENOTSUP:
            return bc__error_set(error, ENOTSUP,
                                 "The message at byte %lld has metadata of a version "
                                 "that cannot be read; write the file again with Arrow "
                                 "0.8 or later: '%s'",
                                 (long long)at, disk->file.path);
        default:
            return bc__disk_error_reading(disk, code, error);
    }
}

/* Returns whether `error` has the storage's message for `code`. Before a storage is read,
 * the code of `error` is zero. */
static bool is_of_storage(const struct bc_disk *disk, int code,
                          const struct bc_error *error) {
    return bc__file_has_storage(&disk->file) && error != NULL && error->code == code;
}

int bc__disk_error_reading(const struct bc_disk *disk, int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    if (is_of_storage(disk, code, error)) return code;
    return bc__error_set(error, code, "Disk read failed: %s: '%s'",
                         bc__error_message(code), disk->file.path);
}

int bc__disk_error_mapping(int code, struct bc_error *error) {
    return bc__error_set(error, code, "Disk read failed: the file cannot be mapped: %s",
                         bc__error_message(code));
}

int bc__disk_error_incomplete(const struct bc_disk *disk, struct bc_error *error) {
    if (!disk->scanner.is_ours) {
        return bc__error_set(error, ENODATA,
                             "The file is cut off in the middle of a message: '%s'",
                             disk->file.path);
    }
    return bc__error_set(error, ENODATA,
                         "The recording is not complete: a process is still writing it, "
                         "or its writer died: '%s'",
                         disk->file.path);
}

int bc__disk_error_checksum(const struct bc_disk *disk, const char *part,
                            struct bc_error *error) {
    return bc__error_set(error, EBADMSG,
                         "Checksum mismatch for %s; the %s may be corrupted: '%s'", part,
                         bc__disk_noun(disk), disk->file.path);
}

int bc__disk_error_batch(const struct bc_disk *disk, int code, uint64_t number,
                         struct bc_error *error) {
    switch (code) {
        case 0:
            return 0;
        case ENOMEM:
            return bc__error_memory(error);
        case EBADMSG:
            return bc__error_set(
                error, EBADMSG,
                "Checksum mismatch for batch %llu; the %s may be corrupted: '%s'",
                (unsigned long long)number, bc__disk_noun(disk), disk->file.path);
        case EINVAL:
            return bc__error_set(error, EBADMSG,
                                 "Batch %llu is not a valid batch of its schema; the %s "
                                 "may be corrupted: '%s'",
                                 (unsigned long long)number, bc__disk_noun(disk),
                                 disk->file.path);
        case ENOTSUP:
            return bc__error_set(error, ENOTSUP,
                                 "Batch %llu has data that cannot be read: a union with "
                                 "nulls of its own: '%s'",
                                 (unsigned long long)number, disk->file.path);
        default:
            if (is_of_storage(disk, code, error)) return code;
            return bc__error_set(error, code, "Disk read failed: %s",
                                 bc__error_message(code));
    }
}
