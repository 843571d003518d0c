/* Error messages about a file. Each function returns the errno that it sets. */
#ifndef BC_DISK_ERRORS_H
#define BC_DISK_ERRORS_H

#include "disk/disk.h"

/* Returns "cache file" for a cache's file, else "file". */
const char *bc__disk_noun(const struct bc_disk *disk);
/* Sets the error of a scan at byte `at`.
 * EINVAL: no valid message.
 * EBADMSG: the footer has another size.
 * ENOTSUP: the version of its metadata is unsupported.
 * Other codes: as bc__disk_error_reading(). */
int bc__disk_error_scan(const struct bc_disk *disk, int code, int64_t at,
                        struct bc_error *error);
/* Sets the error of a failed read, or of a failed allocation. */
int bc__disk_error_reading(const struct bc_disk *disk, int code, struct bc_error *error);
/* Sets the error of a failed mapping. */
int bc__disk_error_mapping(int code, struct bc_error *error);
/* EBADMSG: no valid message at byte `at`. */
int bc__disk_error_message(const struct bc_disk *disk, int64_t at,
                           struct bc_error *error);
/* ENODATA: the file ends too early. */
int bc__disk_error_incomplete(const struct bc_disk *disk, struct bc_error *error);
/* EBADMSG: the checksum of `part`, such as "the schema", does not match. */
int bc__disk_error_checksum(const struct bc_disk *disk, const char *part,
                            struct bc_error *error);
/* Sets the error of decoding batch `number`. `code` 0 is returned as it is. */
int bc__disk_error_batch(const struct bc_disk *disk, int code, uint64_t number,
                         struct bc_error *error);

#endif
